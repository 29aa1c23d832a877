//! What every [`Tables`] must do with additions.
//!
//! What they are together with conditional writes is in
//! [`additions_and_commits`](super::additions_and_commits).

use shared::flow::{Addition, How, RowKey, Stored};
use shared::model::{EventHash, Fingerprint, Order, Sequence, Stamps, Timestamp};
use shared::ports::Added::{Done, Held};
use shared::ports::{Added, Partition, Tables};

use super::Fixture;
use super::tables::{one, read};
use crate::fixtures::{addition, at, by, count, counted, group, lead_key, sold};

suite! { $ additions_suite, additions: Tables;
    a_row_is_made_and_grows,
    any_order_gives_the_same_row,
    a_redelivery_changes_nothing,
    what_was_taken_in_is_never_forgotten,
    amounts_add_up_exactly,
    moments_keep_the_first_and_the_last,
    objects_on_the_way_are_made,
    fields_are_set_where_the_row_is_made_alone,
    the_start_gives_what_no_change_names,
    the_trail_says_what_was_taken_in,
    many_rows_go_in_one_call,
    groups_tenants_and_rows_are_apart,
    rows_are_read_listed_and_found,
}

pub(super) async fn add(
    fixture: &impl Fixture<Ports: Tables>,
    additions: &[Addition],
) -> Vec<Added> {
    let added = fixture.ports().add(additions, fixture.now()).await;
    added.expect("add")
}

/// Takes additions in that must all be new.
pub(super) async fn add_all(fixture: &impl Fixture<Ports: Tables>, additions: &[Addition]) {
    assert_eq!(add(fixture, additions).await, vec![Done; additions.len()]);
}

/// The row of a lead's conversions.
pub(super) fn conversions(lead: &str) -> RowKey {
    RowKey::conversions("acme", lead)
}

/// What a store should hold after these additions to one row, which had `before`.
pub(super) fn grown(before: Option<&Stored>, additions: &[Addition]) -> Stored {
    let mut body =
        before.map(|stored| serde_json::from_str(&stored.row.body()).expect("an object"));
    let mut trail = before.map(|stored| stored.trail.clone());
    for addition in additions {
        trail = Some(addition.trail(trail.as_ref()));
        body = Some(addition.body(body).expect("an addition to that row"));
    }
    let key = additions[0].key.clone();
    let body = serde_json::Value::Object(body.expect("a body")).to_string();
    Stored {
        row: key.table.read_row(&body).expect("a row of the table"),
        readable: true,
        trail: trail.expect("a trail"),
        history: None,
        key,
    }
}

/// Every order of the numbers from 0 to below `n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let with_last = |shorter: Vec<usize>| {
        (0..n).map(move |place| {
            let mut order = shorter.clone();
            order.insert(place, last);
            order
        })
    };
    permutations(last).into_iter().flat_map(with_last).collect()
}

async fn a_row_is_made_and_grows(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = conversions("lead-1");
    let additions = [
        sold(&key, 5, "10"),
        sold(&key, 9, "0.5"),
        sold(&key, 2, "-3"),
    ];
    for taken in 1..=additions.len() {
        add_all(fixture, &additions[taken - 1..taken]).await;
        let stored = read(fixture, &key).await.expect("a row");
        assert_eq!(stored, grown(None, &additions[..taken]));
        assert_eq!(stored.trail.version, taken as u64);
    }
    let expect = r#"{"appointmentsCancelled":0,"appointmentsCompleted":0,"appointmentsOpen":6,"conversions":{"sale":{"count":3,"firstAt":"2026-03-01T09:02:00.000Z","lastAt":"2026-03-01T09:09:00.000Z","value":7.5}},"leadId":"lead-1","tenant":"acme"}"#;
    let stored = read(fixture, &key).await.expect("a row");
    assert_eq!(stored.row.body(), expect);
    assert_eq!(add(fixture, &[]).await, []);
}

/// Of the trail, only the event that was taken in last depends on the order.
async fn any_order_gives_the_same_row(fixture: &mut impl Fixture<Ports: Tables>) {
    for order in permutations(4) {
        let mut rows = Vec::new();
        for way in ["at once", "one by one"] {
            let key = conversions(&format!("{order:?} {way}"));
            let all = [
                sold(&key, 7, "0.1"),
                sold(&key, 3, "0.2"),
                sold(&key, 9, "99999999999.9999"),
                addition(&key, 5, &[count("appointmentsOpen", -9)]),
            ];
            let arrivals: Vec<Addition> = order.iter().map(|i| all[*i].clone()).collect();
            if way == "at once" {
                add_all(fixture, &arrivals).await;
            } else {
                for addition in &arrivals {
                    add_all(fixture, std::slice::from_ref(addition)).await;
                }
            }
            let mut stored = read(fixture, &key).await.expect("a row");
            assert_eq!(stored, grown(None, &arrivals), "{order:?} {way}");
            stored.trail.held.taken = None;
            let mut in_order = grown(None, &all);
            in_order.trail.held.taken = None;
            assert_eq!(stored, in_order, "{order:?} {way}");
            rows.push(stored.trail);
        }
        assert_eq!(rows[0], rows[1], "{order:?}");
    }
}

async fn a_redelivery_changes_nothing(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = conversions("lead-1");
    let (first, second) = (sold(&key, 5, "10"), sold(&key, 9, "20"));
    let twice = [first.clone(), first.clone()];
    assert_eq!(add(fixture, &twice).await, [Done, Held], "within a call");
    let stored = read(fixture, &key).await;
    assert_eq!(stored, Some(grown(None, &twice[..1])));
    assert_eq!(add(fixture, &twice).await, [Held, Held], "in a later call");
    assert_eq!(read(fixture, &key).await, stored);
    fixture.reopen().await;
    fixture.pass(86_400_000).await;
    // It is the action that counts, whatever else is said of it.
    let in_other_words = Addition {
        settings: 9,
        ..addition(&key, 5, &[count("appointmentsOpen", 7)])
    };
    let three = [in_other_words, second.clone(), first.clone()];
    assert_eq!(add(fixture, &three).await, [Held, Done, Held]);
    let stored = read(fixture, &key).await;
    assert_eq!(stored, Some(grown(None, &[first, second])));
}

async fn what_was_taken_in_is_never_forgotten(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let additions: Vec<Addition> = (0..2_001).map(|n| counted(&key, n)).collect();
    for call in additions.chunks(667) {
        add_all(fixture, call).await;
    }
    let stored = read(fixture, &key).await;
    assert_eq!(stored, Some(grown(None, &additions)));
    for old in [0, 1, 1_000, 2_000] {
        assert_eq!(add(fixture, &additions[old..=old]).await, [Held], "{old}");
    }
    assert_eq!(read(fixture, &key).await, stored);
}

async fn amounts_add_up_exactly(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = conversions("lead-1");
    let dimes: Vec<Addition> = (0..1_000).map(|n| sold(&key, n, "0.1")).collect();
    let mut all = Vec::new();
    for (call, expect) in [
        (&dimes[..3], "0.3"),
        (&dimes[3..700], "70"),
        (&dimes[700..], "100"),
        (&[sold(&key, 1_000, "-99.9999")], "0.0001"),
        (&[sold(&key, 1_001, "99999999999.9998")], "99999999999.9999"),
        (&[sold(&key, 1_002, "-100000000000")], "-0.0001"),
        (&[sold(&key, 1_003, "0.0001")], "0"),
    ] {
        add_all(fixture, call).await;
        all.extend_from_slice(call);
        let stored = read(fixture, &key).await.expect("a row");
        assert_eq!(stored, grown(None, &all));
        let body: serde_json::Value = serde_json::from_str(&stored.row.body()).expect("JSON");
        assert_eq!(body["conversions"]["sale"]["value"].to_string(), expect);
    }
}

async fn moments_keep_the_first_and_the_last(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let seen = |n: i64, moment: Timestamp| {
        let first = by("createdAt", How::Least(moment));
        addition(&key, n, &[first, by("closedAt", How::Greatest(moment))])
    };
    let mut all = Vec::new();
    let around_midnight = Timestamp::parse("2026-03-09T23:59:59.999Z").expect("a moment");
    for (n, moment) in (0..).zip([
        around_midnight,
        around_midnight.plus_ms(1),
        around_midnight,
        at(5),
        Timestamp::from_ms(-1),
        Timestamp::MAX,
        Timestamp::MIN,
        at(0),
    ]) {
        all.push(seen(n, moment));
        add_all(fixture, &all[all.len() - 1..]).await;
        let stored = read(fixture, &key).await;
        assert_eq!(stored, Some(grown(None, &all)), "{moment}");
    }
}

async fn objects_on_the_way_are_made(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = conversions("lead-1");
    let named = |n: i64, name: &str| {
        let field = |field: &str| format!("conversions/{name}/{field}");
        let changes = [
            count(&field("count"), 1),
            by(&field("firstAt"), How::Least(at(n))),
            by(&field("lastAt"), How::Greatest(at(n))),
        ];
        addition(&key, n, &changes)
    };
    let names = ["sale", "first call", "名前 %_'\"\\", "0", "a$", "sale"];
    let additions: Vec<Addition> = (0..).zip(names).map(|(n, name)| named(n, name)).collect();
    for (i, one) in additions.iter().enumerate() {
        add_all(fixture, std::slice::from_ref(one)).await;
        let stored = read(fixture, &key).await;
        assert_eq!(stored, Some(grown(None, &additions[..=i])), "{}", names[i]);
    }
}

async fn fields_are_set_where_the_row_is_made_alone(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let staged = |n: i64, stage: &str| {
        let stage = by("stage", How::SetOnInsert(stage.into()));
        addition(&key, n, &[stage, count("events", 1)])
    };
    let mut additions = vec![
        staged(5, "of the first"),
        staged(2, "of the second"),
        addition(&key, 7, &[by("assignee", How::SetOnInsert("Ann".into()))]),
    ];
    add_all(fixture, &additions[..2]).await;
    add_all(fixture, &additions[2..]).await;
    additions.push(staged(9, "of the last"));
    add_all(fixture, &additions[3..]).await;
    let stored = read(fixture, &key).await.expect("a row");
    assert_eq!(stored, grown(None, &additions));
    let expect = r#"{"events":3,"leadId":"lead-1","stage":"of the first","tenant":"acme"}"#;
    assert_eq!(stored.row.body(), expect);
}

async fn the_start_gives_what_no_change_names(fixture: &mut impl Fixture<Ports: Tables>) {
    let (bare, named) = (lead_key(&one()), lead_key(&group("acme", "lead-2")));
    let nothing = addition(&bare, 1, &[]);
    add_all(fixture, std::slice::from_ref(&nothing)).await;
    assert_eq!(read(fixture, &bare).await, Some(grown(None, &[nothing])));
    let mut one = counted(&named, 1);
    one.start = crate::fixtures::lead(&named.group, "open");
    let expect = r#"{"createdAt":"2026-03-01T09:00:00.000Z","events":1,"leadId":"lead-2","stage":"open","tenant":"acme"}"#;
    add_all(fixture, &[one]).await;
    let stored = read(fixture, &named).await.expect("a row");
    assert_eq!(stored.row.body(), expect, "1 event, not one more");
}

async fn the_trail_says_what_was_taken_in(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let precise = Order {
        time: at(5),
        below_ms: 999_999,
        sequence: Some(Sequence("010".into())),
        source: "//crm.example/Zürich".into(),
        id: "名前 \u{1f600}".into(),
    };
    let moments = |event: i64, read_start: i64, write_start: i64| Stamps {
        event: at(event),
        read_start: at(read_start),
        write_start: at(write_start),
    };
    let mut additions = [5, 4, 3].map(|n| counted(&key, n));
    additions[0].order = precise.clone();
    additions[0].stamps = moments(5, 10, 1);
    additions[1].stamps = moments(4, 11, 2);
    additions[2].stamps = moments(3, 9, 12);
    additions[1].settings = u32::MAX;
    let [first, second, third] = [0, 1, 2].map(|i| additions[i].event);
    let of = |events: &[EventHash]| {
        let none = Fingerprint::default();
        events.iter().fold(none, |sum, event| sum.with(*event))
    };
    for (i, (held, stamps)) in [
        (of(&[first]), moments(5, 10, 1)),
        (of(&[first, second]), moments(5, 11, 2)),
        (of(&[first, second, third]), moments(5, 11, 12)),
    ]
    .into_iter()
    .enumerate()
    {
        add_all(fixture, &additions[i..=i]).await;
        let trail = read(fixture, &key).await.expect("a row").trail;
        assert_eq!(trail, grown(None, &additions[..=i]).trail);
        assert_eq!(trail.held.events, i as u64 + 1);
        assert_eq!(trail.held.fingerprint, held);
        assert_eq!(trail.held.last.as_ref(), Some(&precise));
        assert_eq!(trail.held.taken, Some(additions[i].event));
        let oldest = additions[..=i].iter().map(|one| one.settings).min();
        assert_eq!(Some(trail.settings), oldest);
        assert_eq!((trail.out_of_order, trail.checksum), (0, 0));
        assert_eq!(trail.stamps, stamps);
    }
    let later = [counted(&key, 99)];
    add_all(fixture, &later).await;
    let trail = read(fixture, &key).await.expect("a row").trail;
    assert_eq!(trail.held.last.as_ref(), Some(&later[0].order));
}

async fn many_rows_go_in_one_call(fixture: &mut impl Fixture<Ports: Tables>) {
    let keys: Vec<RowKey> = (0..150)
        .map(|i| conversions(&format!("lead-{i}")))
        .collect();
    let early: Vec<Addition> = keys.iter().step_by(3).map(|k| sold(k, 1, "1")).collect();
    add_all(fixture, &early).await;
    // Every row once or twice, the old ones between the new, what some have again.
    let mut call: Vec<Addition> = keys.iter().map(|key| sold(key, 2, "0.2")).collect();
    call.extend(keys.iter().map(|key| sold(key, 1, "1")));
    call.extend(keys.iter().step_by(5).map(|key| sold(key, 3, "0.03")));
    let added = add(fixture, &call).await;
    let mut taken = early;
    for (i, (one, became)) in call.iter().zip(&added).enumerate() {
        let again = (150..300).contains(&i) && i % 3 == 0;
        assert_eq!(*became, if again { Held } else { Done }, "{i}");
        if !again {
            taken.push(one.clone());
        }
    }
    for key in &keys {
        let own: Vec<Addition> = taken.iter().filter(|a| a.key == *key).cloned().collect();
        assert_eq!(read(fixture, key).await, Some(grown(None, &own)));
    }
}

/// Two tenants may have the same external system, and so one identity, even one action, each.
async fn groups_tenants_and_rows_are_apart(fixture: &mut impl Fixture<Ports: Tables>) {
    let keys = [
        lead_key(&group("acme", "lead-1")),
        lead_key(&group("globex", "lead-1")),
        RowKey {
            group: group("acme", "lead-2"),
            ..lead_key(&group("acme", "lead-1"))
        },
        RowKey {
            id: "LEAD-1".into(),
            ..lead_key(&group("acme", "lead-1"))
        },
        lead_key(&group("acm", "elead-1")),
    ];
    let same = [keys[0].clone(), keys[1].clone(), keys[2].clone()].map(|key| counted(&key, 1));
    assert!(same.iter().all(|one| one.action == same[0].action));
    for key in &keys {
        add_all(fixture, &[counted(key, 1)]).await;
    }
    let table = conversions("lead-1");
    add_all(fixture, &[sold(&table, 1, "1")]).await;
    for key in &keys {
        let stored = read(fixture, key).await;
        assert_eq!(stored, Some(grown(None, &[counted(key, 1)])), "{key:?}");
        assert_eq!(add(fixture, &[counted(key, 1)]).await, [Held], "{key:?}");
    }
    let both = [counted(&keys[0], 2), counted(&keys[1], 2)];
    add_all(fixture, &both).await;
}

async fn rows_are_read_listed_and_found(fixture: &mut impl Fixture<Ports: Tables>) {
    let (lead, sales) = (lead_key(&one()), conversions("lead-1"));
    let additions = [counted(&lead, 1), sold(&sales, 1, "1")];
    add_all(fixture, &additions).await;
    let expect = [&additions[..1], &additions[1..]].map(|own| grown(None, own));
    let ports = fixture.ports();
    let groups = [group("acme", "none"), one()];
    let mut read = ports.read_groups(&groups).await.expect("read groups");
    read[1].sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(read, [vec![], expect.to_vec()]);
    let listed = ports.groups_with_rows(Partition::WHOLE, None, 10).await;
    assert_eq!(listed.expect("groups"), [one()]);
    let mut found = ports.find(Some("acme"), "lead-1").await.expect("find");
    found.sort();
    assert_eq!(found, [lead, sales]);
}
