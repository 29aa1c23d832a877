//! What every [`Journal`] must do.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::model::{Entry, Event, Group, Payload, Sequence};
use shared::ports::Appended::{Conflict, Duplicate, New};
use shared::ports::{Appended, Journal, Partition};

use super::Fixture;
use crate::fixtures::{at, entry, event, every_shape, group, plain};

suite! { $ journal_suite, journal: Journal;
    entries_come_back_as_they_were,
    entries_stay_in_the_order_of_arrival,
    many_entries_of_many_groups_go_in_one_append,
    a_large_payload_comes_back,
    an_append_of_nothing_is_nothing,
    groups_without_entries_give_none,
    answers_follow_the_groups_asked_for,
    groups_do_not_run_together,
    the_same_event_is_a_duplicate,
    other_content_is_a_conflict,
    the_first_content_stays,
    each_entry_is_answered_on_its_own,
    an_identity_belongs_to_its_tenant,
    source_and_id_do_not_run_together,
    groups_are_paged_once_each,
    partitions_share_the_groups_out,
    groups_keep_their_order,
    a_group_that_accepted_nothing_is_not_listed,
    entries_and_identities_survive_reopening,
}

async fn append(
    fixture: &impl Fixture<Ports: Journal>,
    entries: &[Arc<Entry>],
) -> Vec<Appended> {
    fixture.ports().append(entries).await.expect("append")
}

async fn entries(fixture: &impl Fixture<Ports: Journal>, group: &Group) -> Vec<Entry> {
    let groups = std::slice::from_ref(group);
    let mut read = fixture.ports().entries(groups).await.expect("entries");
    assert_eq!(read.len(), 1, "one answer for one group");
    read.remove(0)
}

/// The groups of a partition, read page by page.
async fn listed(
    fixture: &impl Fixture<Ports: Journal>,
    partition: Partition,
    limit: usize,
) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    loop {
        let page = fixture
            .ports()
            .groups(partition, all.last(), limit)
            .await
            .expect("groups");
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        let full = page.len() == limit;
        all.extend(page);
        if !full {
            return all;
        }
        assert!(all.len() < 10_000, "the pages have no end");
    }
}

fn bare(entries: &[Arc<Entry>]) -> Vec<Entry> {
    entries.iter().map(|entry| Entry::clone(entry)).collect()
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.event.id.as_str()).collect()
}

async fn entries_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Journal>) {
    for group in [group("acme", "lead-1"), group("Ünï", "名前 \u{1f600}/#%_'")] {
        let shapes = every_shape(&group);
        assert_eq!(append(fixture, &shapes).await, vec![New; shapes.len()]);
        assert_eq!(entries(fixture, &group).await, bare(&shapes));
    }
}

/// Arrival, not event time: that is what tells which events came late.
async fn entries_stay_in_the_order_of_arrival(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let timed = |group: &Group, id: &str, minutes: i64| {
        let time = at(minutes);
        entry(group, Event { time, ..event(group, id) })
    };
    append(fixture, &[timed(&one, "z", 9), timed(&two, "a", 1), timed(&one, "m", 5)]).await;
    append(fixture, &[timed(&two, "0", 0), timed(&one, "y", 2)]).await;
    append(fixture, &[timed(&one, "a", 7)]).await;
    assert_eq!(ids(&entries(fixture, &one).await), ["z", "m", "y", "a"]);
    assert_eq!(ids(&entries(fixture, &two).await), ["a", "0"]);
}

async fn many_entries_of_many_groups_go_in_one_append(fixture: &mut impl Fixture<Ports: Journal>) {
    let groups: Vec<Group> = (0..30).map(|i| group("acme", &format!("lead-{i}"))).collect();
    let all: Vec<Arc<Entry>> = (0..600)
        .map(|i| plain(&groups[i * 7 % groups.len()], &format!("event-{i}")))
        .collect();
    assert_eq!(append(fixture, &all).await, vec![New; all.len()]);
    let read = fixture.ports().entries(&groups).await.expect("entries");
    for (group, read) in groups.iter().zip(read) {
        let sent: Vec<Arc<Entry>> = all.iter().filter(|e| e.group == *group).cloned().collect();
        assert_eq!(read, bare(&sent), "{group}");
    }
}

/// As large as an event may be: 256 KiB.
async fn a_large_payload_comes_back(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let words: String = (0..30_000).map(|i| format!("{:07x} ", i * 2_654_435_761_u64 % 0xfff_ffff)).collect();
    let data = Payload::Json(format!("\"{words}\"").into());
    let large = entry(&group, Event { data, ..event(&group, "large") });
    append(fixture, &[plain(&group, "before"), Arc::clone(&large)]).await;
    assert_eq!(entries(fixture, &group).await[1], *large);
    assert_eq!(append(fixture, &[large]).await, [Duplicate]);
}

async fn an_append_of_nothing_is_nothing(fixture: &mut impl Fixture<Ports: Journal>) {
    assert_eq!(append(fixture, &[]).await, []);
    assert_eq!(listed(fixture, Partition::WHOLE, 10).await, []);
}

async fn groups_without_entries_give_none(fixture: &mut impl Fixture<Ports: Journal>) {
    append(fixture, &[plain(&group("acme", "lead-1"), "1")]).await;
    for unknown in [group("acme", "lead-2"), group("globex", "lead-1"), group("acme", "")] {
        assert_eq!(entries(fixture, &unknown).await, [], "{unknown}");
    }
}

async fn answers_follow_the_groups_asked_for(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    append(fixture, &[plain(&one, "1"), plain(&two, "2")]).await;
    let asked = [two.clone(), group("acme", "none"), one, two];
    let read = fixture.ports().entries(&asked).await.expect("entries");
    let read: Vec<_> = read.iter().map(|entries| ids(entries)).collect();
    assert_eq!(read, [vec!["2"], vec![], vec!["1"], vec!["2"]]);
    let none = fixture.ports().entries(&[]).await.expect("entries");
    assert!(none.is_empty());
}

async fn groups_do_not_run_together(fixture: &mut impl Fixture<Ports: Journal>) {
    let alike = [group("ab", "c"), group("a", "bc"), group("a", "b#c"), group("A", "bc")];
    for (group, id) in alike.iter().zip(["1", "2", "3", "4"]) {
        assert_eq!(append(fixture, &[plain(group, id)]).await, [New]);
    }
    for (group, id) in alike.iter().zip(["1", "2", "3", "4"]) {
        assert_eq!(ids(&entries(fixture, group).await), [id], "{group}");
    }
}

/// A change to an event.
type Change = fn(Event) -> Event;

/// Appends an event and its changed form, both in one call and in two, and expects `expect` of the
/// second.
async fn check_again(
    fixture: &impl Fixture<Ports: Journal>,
    changes: &[(&str, Change)],
    expect: Appended,
) {
    for (what, change) in changes {
        for together in [false, true] {
            let id = format!("{what} {together}");
            let known = group("acme", &format!("lead {id}"));
            let first = entry(
                &known,
                Event {
                    data: Payload::Json(r#"{"a":1,"b":[true,"x"]}"#.into()),
                    extensions: [("color".into(), r#""red""#.into())].into(),
                    ..event(&known, &id)
                },
            );
            let again = change(first.event.clone());
            let key = again.partition_key.clone().unwrap_or_default();
            let mut again = Entry::clone(&entry(&group("acme", &key), again));
            again.recorded = at(30);
            let both = [Arc::clone(&first), Arc::new(again)];
            let became = if together {
                append(fixture, &both).await
            } else {
                let mut became = append(fixture, &both[..1]).await;
                became.extend(append(fixture, &both[1..]).await);
                became
            };
            assert_eq!(became, [New, expect], "{what}, in one call: {together}");
            assert_eq!(entries(fixture, &known).await, bare(&both[..1]), "{what}");
        }
    }
}

async fn the_same_event_is_a_duplicate(fixture: &mut impl Fixture<Ports: Journal>) {
    let changes: [(&str, Change); 6] = [
        ("same bytes", |event| event),
        ("white space", |event| Event {
            data: Payload::Json("{ \"a\" : 1,\n \"b\" : [ true, \"x\" ] }".into()),
            ..event
        }),
        ("order of keys", |event| Event {
            data: Payload::Json(r#"{"b":[true,"\u0078"],"a":1}"#.into()),
            ..event
        }),
        ("traceparent", |event| Event {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..event
        }),
        ("tracestate", |mut event| {
            event.extensions.insert("tracestate".into(), r#""v=1""#.into());
            event
        }),
        ("recordedtime", |mut event| {
            event.extensions.insert("recordedtime".into(), r#""2026-03-01T09:00:00Z""#.into());
            event
        }),
    ];
    check_again(fixture, &changes, Duplicate).await;
}

async fn other_content_is_a_conflict(fixture: &mut impl Fixture<Ports: Journal>) {
    let changes: [(&str, Change); 13] = [
        ("data", |event| Event { data: Payload::Json(r#"{"a":2,"b":[true,"x"]}"#.into()), ..event }),
        ("order of a list", |event| Event {
            data: Payload::Json(r#"{"a":1,"b":["x",true]}"#.into()),
            ..event
        }),
        ("no data", |event| Event { data: Payload::None, ..event }),
        ("bytes", |event| Event { data: Payload::Base64("AAAA".into()), ..event }),
        ("time", |event| Event { time: at(1), ..event }),
        ("time below the millisecond", |event| Event { below_ms: 1, ..event }),
        ("type", |event| Event { kind: "lead.closed".into(), ..event }),
        ("sequence", |event| Event { sequence: Some(Sequence("1".into())), ..event }),
        ("subject", |event| Event { subject: Some("x".into()), ..event }),
        ("content type", |event| Event { content_type: Some("text/json".into()), ..event }),
        ("tenant left out", |event| Event { tenant: None, ..event }),
        ("extension", |mut event| {
            event.extensions.insert("color".into(), r#""blue""#.into());
            event
        }),
        ("partition key", |event| Event { partition_key: Some("elsewhere".into()), ..event }),
    ];
    check_again(fixture, &changes, Conflict).await;
    assert_eq!(entries(fixture, &group("acme", "elsewhere")).await, []);
}

/// A refused content leaves no trace that a later append could match.
async fn the_first_content_stays(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let first = plain(&group, "1");
    let other = entry(&group, Event { time: at(5), ..event(&group, "1") });
    let turns = [(&first, New), (&other, Conflict), (&other, Conflict), (&first, Duplicate)];
    for (entry, expect) in turns {
        assert_eq!(append(fixture, &[Arc::clone(entry)]).await, [expect]);
    }
    assert_eq!(entries(fixture, &group).await, bare(&[first]));
}

async fn each_entry_is_answered_on_its_own(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let other = entry(&one, Event { time: at(5), ..event(&one, "1") });
    append(fixture, &[plain(&one, "1")]).await;
    let batch = [plain(&two, "2"), plain(&one, "1"), other, plain(&one, "3"), plain(&two, "2")];
    let became = append(fixture, &batch).await;
    assert_eq!(became, [New, Duplicate, Conflict, New, Duplicate]);
    assert_eq!(ids(&entries(fixture, &one).await), ["1", "3"]);
    assert_eq!(ids(&entries(fixture, &two).await), ["2"]);
}

async fn an_identity_belongs_to_its_tenant(fixture: &mut impl Fixture<Ports: Journal>) {
    let (ours, theirs) = (group("acme", "lead-1"), group("globex", "lead-1"));
    let altered = entry(&theirs, Event { time: at(5), ..event(&theirs, "1") });
    assert_eq!(append(fixture, &[plain(&ours, "1")]).await, [New]);
    assert_eq!(append(fixture, &[Arc::clone(&altered)]).await, [New]);
    assert_eq!(append(fixture, &[plain(&ours, "1"), Arc::clone(&altered)]).await, [Duplicate; 2]);
    assert_eq!(append(fixture, &[plain(&ours, "2"), plain(&theirs, "2")]).await, [New; 2]);
    assert_eq!(entries(fixture, &theirs).await[0], *altered);
}

async fn source_and_id_do_not_run_together(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let of = |source: &str, id: &str| {
        let source = source.into();
        entry(&group, Event { source, ..event(&group, id) })
    };
    let alike = [of("ab", "c"), of("a", "bc"), of("a", "b#c"), of("a", "BC"), of("a#b", "c")];
    assert_eq!(append(fixture, &alike).await, [New; 5]);
    assert_eq!(append(fixture, &alike).await, [Duplicate; 5]);
}

/// Thirty groups of three tenants.
async fn fill(fixture: &impl Fixture<Ports: Journal>) -> BTreeSet<Group> {
    let groups: Vec<Group> = (0..30)
        .map(|i| group(["acme", "globex", "initech"][i % 3], &format!("lead-{}", i / 3)))
        .collect();
    let first: Vec<_> = groups.iter().map(|group| plain(group, &group.to_string())).collect();
    append(fixture, &first).await;
    let more = groups.iter().take(7).map(|group| plain(group, &format!("{group} again")));
    append(fixture, &more.collect::<Vec<_>>()).await;
    groups.into_iter().collect()
}

async fn groups_are_paged_once_each(fixture: &mut impl Fixture<Ports: Journal>) {
    let groups = fill(fixture).await;
    let in_one_page = listed(fixture, Partition::WHOLE, 100).await;
    assert_eq!(in_one_page.iter().cloned().collect::<BTreeSet<_>>(), groups);
    // 30 groups: 1, 3 and 10 end with a full page.
    for limit in [1, 3, 7, 10, 29, 30, 31] {
        let paged = listed(fixture, Partition::WHOLE, limit).await;
        assert_eq!(paged, in_one_page, "pages of {limit}");
    }
    assert_eq!(in_one_page.len(), groups.len(), "each once");
}

async fn partitions_share_the_groups_out(fixture: &mut impl Fixture<Ports: Journal>) {
    let groups = fill(fixture).await;
    for count in [1, 2, 3, 8] {
        let mut seen = BTreeSet::new();
        for index in 0..count {
            let partition = Partition { index, count };
            for group in listed(fixture, partition, 4).await {
                assert!(partition.has(&group), "{group} is not of {partition:?}");
                assert!(seen.insert(group.clone()), "{group} came twice");
            }
        }
        assert_eq!(seen, groups, "{count} partitions");
    }
}

/// A replay that pages through must not meet a group twice because others came meanwhile.
async fn groups_keep_their_order(fixture: &mut impl Fixture<Ports: Journal>) {
    fill(fixture).await;
    let before = listed(fixture, Partition::WHOLE, 100).await;
    let late = [group("acme", "another"), group("zzz", "lead-0")];
    append(fixture, &[plain(&late[0], "late"), plain(&late[1], "late")]).await;
    let mut after = listed(fixture, Partition::WHOLE, 100).await;
    after.retain(|group| !late.contains(group));
    assert_eq!(after, before);
}

async fn a_group_that_accepted_nothing_is_not_listed(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, refused) = (group("acme", "lead-1"), group("acme", "lead-2"));
    append(fixture, &[plain(&one, "1")]).await;
    assert_eq!(append(fixture, &[plain(&refused, "1")]).await, [Conflict]);
    assert_eq!(entries(fixture, &refused).await, []);
    assert_eq!(listed(fixture, Partition::WHOLE, 10).await, [one]);
}

async fn entries_and_identities_survive_reopening(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let shapes = every_shape(&group);
    append(fixture, &shapes).await;
    fixture.reopen().await;
    assert_eq!(entries(fixture, &group).await, bare(&shapes));
    assert_eq!(append(fixture, &shapes).await, vec![Duplicate; shapes.len()]);
    assert_eq!(append(fixture, &[plain(&group, "later")]).await, [New]);
    fixture.reopen().await;
    assert_eq!(entries(fixture, &group).await.len(), shapes.len() + 1);
    assert_eq!(listed(fixture, Partition::WHOLE, 10).await, [group]);
}
