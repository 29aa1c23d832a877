//! What every [`Tables`] must do with rows that are gone: no event leads to them any more, and of each nothing
//! but the trail is left, so that nobody who knows less brings it back.

use shared::flow::{HistoryWrite, RowKey, Write};
use shared::handlers::{Row, Table};
use shared::model::{Amended, Group, Held, Timestamp};
use shared::ports::Committed::Conflict;
use shared::ports::{ConversionQuery, HistoryVersion, Tables};

use super::Fixture;
use super::additions::{add_all, grown};
use super::tables::{as_stored, commit, commit_all, one, read, rows_of_every_table};
use crate::fixtures::{
    addition, at, changes, converted, count, group, key, lead, lead_key, taking_away, write,
};

suite! { $ gone_suite, gone: Tables;
    of_every_table_the_trail_is_left,
    what_is_gone_is_not_inserted_by_who_saw_none,
    what_never_was_may_be_gone,
    a_row_comes_back,
    a_history_ends_and_begins_anew,
    conversions_leave_their_pages_and_come_back,
    additions_go_on_from_what_is_gone,
    what_is_gone_can_be_taken_away,
}

/// The write that leaves of version `expected` nothing but its trail.
fn gone(key: &RowKey, expected: Option<u64>) -> Write {
    let mut gone = write(key, expected, key.table.new_row(&key.group, &key.id));
    let put = gone.put.as_mut().expect("a row");
    put.body.clear();
    put.trail.held = Held::default();
    put.trail.amended = Some(Amended::unknown());
    put.history = key.table.is_temporal().then(|| HistoryWrite::anew(&[]));
    gone
}

/// Asserts that the trail of a row that is gone is all that is read, and that nobody finds it.
async fn assert_gone(fixture: &impl Fixture<Ports: Tables>, gone: &Write) {
    let stored = read(fixture, &gone.key).await.expect("its trail");
    assert!(stored.is_gone(), "{stored:?}");
    assert_eq!(stored, as_stored(gone));
    let groups = std::slice::from_ref(&gone.key.group);
    let of_group = fixture.ports().read_groups(groups).await.expect("read");
    assert!(of_group.concat().contains(&stored));
    let found = fixture.ports().find(None, &gone.key.id).await;
    assert!(!found.expect("find").contains(&gone.key), "{:?}", gone.key);
}

async fn of_every_table_the_trail_is_left(fixture: &mut impl Fixture<Ports: Tables>) {
    let rows = rows_of_every_table(&one());
    commit_all(fixture, &rows).await;
    let gone: Vec<Write> = rows.iter().map(|row| gone(&row.key, Some(1))).collect();
    commit_all(fixture, &gone).await;
    for one in &gone {
        assert_gone(fixture, one).await;
    }
    fixture.reopen().await;
    for one in &gone {
        assert_gone(fixture, one).await;
    }
}

async fn what_is_gone_is_not_inserted_by_who_saw_none(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let insert = write(&key, None, lead(&one(), "open"));
    commit_all(fixture, std::slice::from_ref(&insert)).await;
    let gone_now = gone(&key, Some(1));
    commit_all(fixture, std::slice::from_ref(&gone_now)).await;
    let late = [
        insert,
        write(&key, Some(1), lead(&one(), "late")),
        gone(&key, None),
        taking_away(&key, 1),
    ];
    assert_eq!(commit(fixture, &late).await, [Conflict; 4]);
    assert_gone(fixture, &gone_now).await;
}

async fn what_never_was_may_be_gone(fixture: &mut impl Fixture<Ports: Tables>) {
    let leads = ["lead-1", "lead-2", "lead-3"].map(|lead| group("acme", lead));
    let gone = leads.each_ref().map(|lead| gone(&lead_key(lead), None));
    commit_all(fixture, &gone).await;
    for one in &gone {
        assert_gone(fixture, one).await;
    }
    let insert = write(&gone[0].key, None, lead(&leads[0], "open"));
    assert_eq!(commit(fixture, &[insert]).await, [Conflict]);
}

async fn a_row_comes_back(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    commit_all(fixture, &[write(&key, None, lead(&one(), "open"))]).await;
    commit_all(fixture, &[gone(&key, Some(1))]).await;
    let back = write(&key, Some(2), lead(&one(), "back"));
    commit_all(fixture, std::slice::from_ref(&back)).await;
    assert_eq!(read(fixture, &key).await, Some(as_stored(&back)));
    let found = fixture.ports().find(Some("acme"), "lead-1").await;
    assert_eq!(found.expect("find"), [key]);
}

async fn a_history_ends_and_begins_anew(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = key(&one(), Table::RSAppointmentChanges, "a-1");
    let told: [(i64, &str); 2] = [(0, "scheduled"), (10, "started")];
    commit_all(fixture, &[changes(&key, None, 0, false, &told)]).await;
    fixture.pass(1_000).await;
    let gone_now = gone(&key, Some(1));
    commit_all(fixture, std::slice::from_ref(&gone_now)).await;
    assert_gone(fixture, &gone_now).await;
    let history = fixture.ports().history(&key).await.expect("history");
    assert_eq!(history.len(), told.len());
    assert!(history.iter().all(|one| one.recorded_to.is_some()));
    fixture.pass(1_000).await;
    commit_all(
        fixture,
        &[changes(&key, Some(2), 0, true, &[(5, "completed")])],
    )
    .await;
    let stored = read(fixture, &key).await.expect("a row");
    assert!(!stored.is_gone());
    let in_force: Vec<_> = stored.history.expect("versions");
    assert_eq!((in_force.len(), in_force[0].n), (1, 1));
    let history = fixture.ports().history(&key).await.expect("history");
    let open = |one: &&HistoryVersion| one.recorded_to.is_none();
    assert_eq!((history.len(), history.iter().filter(open).count()), (3, 1));
}

async fn sales(fixture: &impl Fixture<Ports: Tables>) -> usize {
    let query = ConversionQuery {
        tenant: "acme".into(),
        name: "sale".into(),
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        limit: 10,
        after: None,
    };
    let page = fixture.ports().conversions(&query).await;
    page.expect("a page").rows.len()
}

async fn conversions_leave_their_pages_and_come_back(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = key(&one(), Table::RSLeadGlobalConversions, "lead-1");
    let sold = || converted(&one(), &[("sale", at(5))]);
    commit_all(fixture, &[write(&key, None, sold())]).await;
    assert_eq!(sales(fixture).await, 1);
    commit_all(fixture, &[gone(&key, Some(1))]).await;
    assert_eq!(sales(fixture).await, 0);
    commit_all(fixture, &[write(&key, Some(2), sold())]).await;
    assert_eq!(sales(fixture).await, 1);
}

async fn additions_go_on_from_what_is_gone(fixture: &mut impl Fixture<Ports: Tables>) {
    let day = Group::of_day(&"acme".into(), at(0));
    let key = key(&day, Table::RSTenantDailyConversions, day.subject());
    let met = |n: i64| addition(&key, n, &[count("conversions/met/count", 1)]);
    add_all(fixture, &[met(1), met(2)]).await;
    let gone_now = gone(&key, Some(2));
    commit_all(fixture, std::slice::from_ref(&gone_now)).await;
    assert_gone(fixture, &gone_now).await;
    add_all(fixture, &[met(3)]).await;
    let stored = read(fixture, &key).await.expect("a row");
    assert!(!stored.is_gone());
    let expect = grown(None, &[met(3)]);
    assert_eq!(stored.row, expect.row);
    assert_eq!((stored.trail.version, stored.trail.held.events), (4, 1));
    let Row::RSTenantDailyConversions(row) = stored.row else {
        panic!("no day");
    };
    assert_eq!(row.conversions["met"].count, 1);
}

async fn what_is_gone_can_be_taken_away(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    commit_all(fixture, &[gone(&key, None)]).await;
    commit_all(fixture, &[taking_away(&key, 1)]).await;
    assert_eq!(read(fixture, &key).await, None);
    commit_all(fixture, &[write(&key, None, lead(&one(), "open"))]).await;
}
