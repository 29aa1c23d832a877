//! What every [`Tables`] must do where additions meet conditional writes, readers, and rows that are
//! not what they should be.

use shared::flow::{Addition, How, Stored, Write};
use shared::handlers::Table;
use shared::model::Timestamp;
use shared::ports::Added::{Done, Held};
use shared::ports::Committed::Conflict;
use shared::ports::{ConversionQuery, ErrorKind, Tables};

use super::Fixture;
use super::additions::{add, add_all, conversions, grown};
use super::tables::{as_stored, commit, commit_all, one, read};
use crate::fixtures::{
    addition, amount, at, by, converted, count, counted, group, key, lead, lead_key, sold,
    taking_away, write,
};

suite! { $ additions_and_commits_suite, additions_and_commits: Tables;
    a_commit_replaces_what_was_added,
    an_addition_goes_on_from_a_commit,
    an_addition_makes_a_commit_conflict,
    a_row_that_was_taken_away_is_made_anew,
    a_field_of_another_type_fails_the_whole_call,
    an_addition_that_is_not_sound_fails_the_whole_call,
    leads_stand_where_additions_put_them,
}

async fn a_commit_replaces_what_was_added(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    add_all(fixture, &[counted(&key, 1), counted(&key, 2)]).await;
    for wrong in [None, Some(0), Some(1), Some(3)] {
        let write = write(&key, wrong, lead(&one(), "lost"));
        assert_eq!(commit(fixture, &[write]).await, [Conflict], "{wrong:?}");
    }
    let second = write(&key, Some(2), lead(&one(), "open"));
    commit_all(fixture, std::slice::from_ref(&second)).await;
    assert_eq!(read(fixture, &key).await, Some(as_stored(&second)));
    // A commit forgets nothing that was taken in.
    assert_eq!(add(fixture, &[counted(&key, 2)]).await, [Held]);
    assert_eq!(read(fixture, &key).await, Some(as_stored(&second)));
}

async fn an_addition_goes_on_from_a_commit(fixture: &mut impl Fixture<Ports: Tables>) {
    let (lead_key, sales) = (lead_key(&one()), conversions("lead-1"));
    let mut out_of_order = write(&lead_key, None, lead(&one(), "open"));
    let put = out_of_order.put.as_mut().expect("a row");
    put.trail.out_of_order = 2;
    put.trail.checksum = 77;
    let writes = [
        out_of_order,
        write(&sales, None, converted(&one(), &[("visit", at(4))])),
    ];
    commit_all(fixture, &writes).await;
    let additions = [counted(&lead_key, 3), sold(&sales, 9, "0.5")];
    add_all(fixture, &additions).await;
    for (write, addition) in writes.iter().zip(&additions) {
        let expect = grown(Some(&as_stored(write)), std::slice::from_ref(addition));
        assert_eq!(expect.trail.version, 2);
        assert_eq!(read(fixture, &write.key).await, Some(expect));
    }
    let stored = read(fixture, &lead_key).await.expect("a row");
    assert_eq!((stored.trail.out_of_order, stored.trail.checksum), (2, 0));
}

/// Who read the row before the addition must not write it away.
async fn an_addition_makes_a_commit_conflict(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let insert = write(&key, None, lead(&one(), "open"));
    commit_all(fixture, std::slice::from_ref(&insert)).await;
    add_all(fixture, &[counted(&key, 3)]).await;
    let stored = read(fixture, &key).await;
    let late = [
        write(&key, Some(1), lead(&one(), "lost")),
        taking_away(&key, 1),
        insert,
    ];
    assert_eq!(commit(fixture, &late).await, [Conflict; 3]);
    assert_eq!(read(fixture, &key).await, stored);
}

async fn a_row_that_was_taken_away_is_made_anew(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let stage = by("stage", How::SetOnInsert("new".into()));
    let staged = |n: i64| addition(&key, n, &[stage.clone(), count("events", 1)]);
    add_all(fixture, &[staged(1), staged(2)]).await;
    commit_all(fixture, &[taking_away(&key, 2)]).await;
    assert_eq!(read(fixture, &key).await, None);
    assert_eq!(add(fixture, &[staged(1)]).await, [Held]);
    assert_eq!(read(fixture, &key).await, None, "nothing new, no row");
    assert_eq!(add(fixture, &[staged(2), staged(3)]).await, [Held, Done]);
    let stored = read(fixture, &key).await;
    assert_eq!(stored, Some(grown(None, &[staged(3)])));
}

/// A row whose body another writer spoiled.
fn spoiled(body: &str) -> Write {
    let mut spoiled = write(&lead_key(&one()), None, lead(&one(), "open"));
    body.clone_into(&mut spoiled.put.as_mut().expect("a row").body);
    spoiled
}

async fn a_field_of_another_type_fails_the_whole_call(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let body = r#"{"amount":"much","closedAt":"soon","createdAt":7,"events":[],"leadId":"lead-1","tenant":"acme"}"#;
    commit_all(fixture, &[spoiled(body)]).await;
    let stored = read(fixture, &key).await;
    let other = lead_key(&group("acme", "lead-2"));
    for (n, fault) in (10..).zip([
        count("events", 1),
        count("amount", 1),
        amount("amount", "0.5"),
        amount("closedAt", "0.5"),
        by("closedAt", How::Least(at(1))),
        by("closedAt", How::Greatest(at(1))),
        by("createdAt", How::Least(at(1))),
        by("createdAt", How::Greatest(at(1))),
        count("leadId/n", 1),
        by("events/n", How::Least(at(1))),
    ]) {
        let call = [
            counted(&other, n),
            addition(&key, n, &[count("new", 1), fault.clone()]),
            counted(&lead_key(&group("globex", "lead-3")), n),
        ];
        let failed = fixture.ports().add(&call, fixture.now()).await;
        let kind = failed.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::Corrupt), "{fault:?}");
        assert_eq!(read(fixture, &key).await, stored, "{fault:?}");
        assert_eq!(read(fixture, &other).await, None, "{fault:?}");
    }
    // Nothing of a failed call counts as taken in: once the row is mended, all of it is new.
    commit_all(fixture, &[write(&key, Some(1), lead(&one(), "open"))]).await;
    let again: Vec<Addition> = [&other, &key].map(|key| counted(key, 10)).to_vec();
    add_all(fixture, &again).await;
}

async fn an_addition_that_is_not_sound_fails_the_whole_call(
    fixture: &mut impl Fixture<Ports: Tables>,
) {
    let sales = conversions("lead-1");
    let inner = [count("conversions/sale/count", 1), count("conversions", 1)];
    let mut of_another_table = sold(&sales, 1, "1");
    of_another_table.start = lead(&one(), "open");
    let temporal = key(&one(), Table::RSAppointmentChanges, "meeting");
    for unsound in [
        addition(&sales, 1, &inner),
        addition(&sales, 1, &[count("n", 1), by("n", How::Least(at(1)))]),
        of_another_table,
        addition(&temporal, 1, &[]),
    ] {
        let call = [counted(&lead_key(&one()), 1), unsound];
        let failed = fixture.ports().add(&call, fixture.now()).await;
        let kind = failed.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::Reject), "{call:?}");
        let rows = fixture.ports().read_groups(&[one()]).await;
        assert_eq!(rows.expect("read groups"), [vec![]]);
    }
    add_all(fixture, &[sold(&sales, 1, "1")]).await;
}

/// Sales of acme, newest first.
async fn sales(fixture: &impl Fixture<Ports: Tables>) -> Vec<Stored> {
    let query = ConversionQuery {
        tenant: "acme".into(),
        name: "sale".into(),
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        limit: 100,
        after: None,
    };
    let page = fixture.ports().conversions(&query).await;
    page.expect("conversions").rows
}

async fn leads_stand_where_additions_put_them(fixture: &mut impl Fixture<Ports: Tables>) {
    let [a, b, c] = ["a", "b", "c"].map(conversions);
    let insert = write(&b, None, converted(&group("acme", "b"), &[("sale", at(5))]));
    commit_all(fixture, std::slice::from_ref(&insert)).await;
    let additions = [sold(&a, 7, "1"), sold(&b, 9, "1"), sold(&c, 8, "1")];
    add_all(fixture, &additions).await;
    let b_grown = grown(Some(&as_stored(&insert)), &additions[1..2]);
    let [a_new, c_new] = [0, 2].map(|i| grown(None, &additions[i..=i]));
    assert_eq!(sales(fixture).await, [b_grown, c_new, a_new]);
    add_all(fixture, &[sold(&a, 10, "1"), sold(&c, 1, "1")]).await;
    let leads = |rows: Vec<Stored>| -> Vec<String> {
        rows.iter().map(|row| row.key.id.to_string()).collect()
    };
    assert_eq!(leads(sales(fixture).await), ["a", "b", "c"]);
    // A commit finds the place that the addition left, and moves on from it.
    let update = write(
        &a,
        Some(2),
        converted(&group("acme", "a"), &[("sale", at(2))]),
    );
    commit_all(fixture, &[update, taking_away(&b, 2)]).await;
    assert_eq!(leads(sales(fixture).await), ["c", "a"]);
}
