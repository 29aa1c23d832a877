//! What every [`Journal`] must do with entries and groups. What is the same event, and what is not, is
//! in [`identities`](super::identities).

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::model::{Entry, Event, Group, Payload};
use shared::ports::Appended::{Conflict, Duplicate, New};
use shared::ports::{Appended, Journal, Partition, Since};

use super::Fixture;
use crate::fixtures::{at, entry, event, every_shape, group, plain};

suite! { $ journal_suite, journal: Journal;
    entries_come_back_as_they_were,
    entries_stay_in_the_order_of_arrival,
    many_entries_of_many_groups_go_in_one_append,
    a_large_payload_comes_back,
    a_group_of_megabytes_comes_back_whole,
    a_long_key_makes_a_group_like_any_other,
    an_append_of_nothing_is_nothing,
    groups_without_entries_give_none,
    answers_follow_the_groups_asked_for,
    groups_do_not_run_together,
    groups_are_paged_once_each,
    partitions_share_the_groups_out,
    groups_keep_their_order,
    a_group_that_accepted_nothing_is_not_listed,
    entries_and_identities_survive_reopening,
    entries_since_a_moment_come_in_the_order_of_arrival,
    entries_since_a_moment_are_found_in_a_large_append,
    entries_since_follow_the_groups_asked_for,
}

pub(super) async fn append(
    fixture: &impl Fixture<Ports: Journal>,
    entries: &[Arc<Entry>],
) -> Vec<Appended> {
    fixture.ports().append(entries).await.expect("append")
}

pub(super) async fn entries(fixture: &impl Fixture<Ports: Journal>, group: &Group) -> Vec<Entry> {
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

pub(super) fn bare(entries: &[Arc<Entry>]) -> Vec<Entry> {
    entries.iter().map(|entry| Entry::clone(entry)).collect()
}

pub(super) fn ids(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| entry.event.id.as_str())
        .collect()
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
        entry(
            group,
            Event {
                time,
                ..event(group, id)
            },
        )
    };
    append(
        fixture,
        &[
            timed(&one, "z", 9),
            timed(&two, "b", 1),
            timed(&one, "m", 5),
        ],
    )
    .await;
    append(fixture, &[timed(&two, "0", 0), timed(&one, "y", 2)]).await;
    append(fixture, &[timed(&one, "a", 7)]).await;
    assert_eq!(ids(&entries(fixture, &one).await), ["z", "m", "y", "a"]);
    assert_eq!(ids(&entries(fixture, &two).await), ["b", "0"]);
}

async fn many_entries_of_many_groups_go_in_one_append(fixture: &mut impl Fixture<Ports: Journal>) {
    let groups: Vec<Group> = (0..30)
        .map(|i| group("acme", &format!("lead-{i}")))
        .collect();
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
    let words: String = (0..30_000)
        .map(|i| format!("{:07x} ", i * 2_654_435_761_u64 % 0xfff_ffff))
        .collect();
    let data = Payload::Json(format!("\"{words}\"").into());
    let large = entry(
        &group,
        Event {
            data,
            ..event(&group, "large")
        },
    );
    append(fixture, &[plain(&group, "before"), Arc::clone(&large)]).await;
    assert_eq!(entries(fixture, &group).await[1], *large);
    assert_eq!(append(fixture, &[large]).await, [Duplicate]);
}

/// DynamoDB gives at most one megabyte a page. The payloads are noise, which cannot be packed.
async fn a_group_of_megabytes_comes_back_whole(fixture: &mut impl Fixture<Ports: Journal>) {
    const EVENTS: u64 = 12;
    const EVENT_WORDS: u64 = 14_000;
    let group = group("acme", "lead-1");
    let mut rng = fastrand::Rng::with_seed(7);
    let mut all = Vec::new();
    for number in 0..EVENTS {
        let noise: String = (0..EVENT_WORDS)
            .map(|_| format!("{:016x}", rng.u64(..)))
            .collect();
        let data = Payload::Json(format!("\"{noise}\"").into());
        let id = format!("{number:02}");
        let large = Event {
            data,
            ..event(&group, &id)
        };
        all.push(entry(&group, large));
    }
    let (some, rest) = all.split_at(5);
    append(fixture, some).await;
    append(fixture, rest).await;
    let read = entries(fixture, &group).await;
    assert_eq!(read.len(), all.len());
    assert!(read.iter().zip(&all).all(|(read, sent)| *read == **sent));
    let since = Since {
        group: group.clone(),
        time: at(0),
        recorded: all[0].recorded,
    };
    let since = fixture.ports().entries_since(&[since]).await;
    assert_eq!(since.expect("entries since")[0].len(), all.len());
}

async fn a_long_key_makes_a_group_like_any_other(fixture: &mut impl Fixture<Ports: Journal>) {
    let long = "k".repeat(199);
    let (one, two) = (format!("{long}1"), format!("{long}2"));
    let (one, two) = (group("acme", &one), group("acme", &two));
    append(fixture, &[plain(&one, "1"), plain(&two, "2")]).await;
    assert_eq!(ids(&entries(fixture, &one).await), ["1"]);
    assert_eq!(ids(&entries(fixture, &two).await), ["2"]);
    let mut groups = listed(fixture, Partition::WHOLE, 10).await;
    groups.sort();
    assert_eq!(groups, [one, two]);
}

async fn an_append_of_nothing_is_nothing(fixture: &mut impl Fixture<Ports: Journal>) {
    assert_eq!(append(fixture, &[]).await, []);
    assert_eq!(listed(fixture, Partition::WHOLE, 10).await, []);
}

async fn groups_without_entries_give_none(fixture: &mut impl Fixture<Ports: Journal>) {
    append(fixture, &[plain(&group("acme", "lead-1"), "1")]).await;
    for unknown in [
        group("acme", "lead-2"),
        group("globex", "lead-1"),
        group("acme", ""),
    ] {
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
    let alike = [
        group("ab", "c"),
        group("a", "bc"),
        group("a", "b#c"),
        group("A", "bc"),
    ];
    for (group, id) in alike.iter().zip(["1", "2", "3", "4"]) {
        assert_eq!(append(fixture, &[plain(group, id)]).await, [New]);
    }
    for (group, id) in alike.iter().zip(["1", "2", "3", "4"]) {
        assert_eq!(ids(&entries(fixture, group).await), [id], "{group}");
    }
}

/// Thirty groups of three tenants.
async fn fill(fixture: &impl Fixture<Ports: Journal>) -> BTreeSet<Group> {
    let groups: Vec<Group> = (0..30)
        .map(|i| {
            group(
                ["acme", "globex", "initech"][i % 3],
                &format!("lead-{}", i / 3),
            )
        })
        .collect();
    let first: Vec<_> = groups
        .iter()
        .map(|group| plain(group, &group.to_string()))
        .collect();
    append(fixture, &first).await;
    let more = groups
        .iter()
        .take(7)
        .map(|group| plain(group, &format!("{group} again")));
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
    assert_eq!(
        append(fixture, &shapes).await,
        vec![Duplicate; shapes.len()]
    );
    assert_eq!(append(fixture, &[plain(&group, "later")]).await, [New]);
    fixture.reopen().await;
    assert_eq!(entries(fixture, &group).await.len(), shapes.len() + 1);
    assert_eq!(listed(fixture, Partition::WHOLE, 10).await, [group]);
}

fn timed(group: &Group, id: &str, minutes: i64) -> Arc<Entry> {
    let time = at(minutes);
    entry(
        group,
        Event {
            time,
            ..event(group, id)
        },
    )
}

/// The ids of a group's entries from so many minutes on.
async fn since(fixture: &impl Fixture<Ports: Journal>, group: &Group, minutes: i64) -> Vec<String> {
    let since = Since {
        group: group.clone(),
        time: at(minutes),
        recorded: at(1),
    };
    let read = fixture.ports().entries_since(&[since]).await;
    let read = read.expect("entries");
    assert_eq!(read.len(), 1, "one answer for one group");
    read.concat()
        .into_iter()
        .map(|one| one.event.id.to_string())
        .collect()
}

async fn entries_since_a_moment_come_in_the_order_of_arrival(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let first = [
        timed(&one, "z", 9),
        timed(&two, "b", 1),
        timed(&one, "m", 5),
    ];
    append(fixture, &first).await;
    append(fixture, &[timed(&two, "0", 0), timed(&one, "y", 2)]).await;
    // One that lies far in the future, and one that comes after it.
    append(fixture, &[timed(&one, "far", 90_000_000)]).await;
    append(fixture, &[timed(&one, "a", 7)]).await;
    assert_eq!(since(fixture, &one, -1).await, ["z", "m", "y", "far", "a"]);
    assert_eq!(since(fixture, &one, 5).await, ["z", "m", "far", "a"]);
    assert_eq!(since(fixture, &one, 6).await, ["z", "far", "a"]);
    assert_eq!(since(fixture, &one, 10).await, ["far"]);
    assert_eq!(since(fixture, &one, 90_000_001).await, [""; 0]);
    assert_eq!(since(fixture, &two, 1).await, ["b"]);
    assert_eq!(since(fixture, &group("acme", "lead-3"), 0).await, [""; 0]);
    fixture.reopen().await;
    assert_eq!(since(fixture, &one, 6).await, ["z", "far", "a"]);
}

async fn entries_since_a_moment_are_found_in_a_large_append(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    let lead = group("acme", "lead-1");
    let all: Vec<Arc<Entry>> = (0..300)
        .map(|n| timed(&lead, &format!("event-{n}"), n * 7 % 300))
        .collect();
    assert_eq!(append(fixture, &all).await, vec![New; all.len()]);
    assert_eq!(entries(fixture, &lead).await, bare(&all), "as they arrived");
    let later = (0..300).filter(|n| n * 7 % 300 >= 280);
    let later: Vec<String> = later.map(|n| format!("event-{n}")).collect();
    assert_eq!(since(fixture, &lead, 280).await, later);
    let again = append(fixture, &all).await;
    assert_eq!(again, vec![Duplicate; all.len()]);
}

async fn entries_since_follow_the_groups_asked_for(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("globex", "lead-1"));
    append(fixture, &[timed(&one, "a", 1), timed(&two, "b", 2)]).await;
    let since = |group: &Group, minutes: i64| Since {
        group: group.clone(),
        time: at(minutes),
        recorded: at(1),
    };
    let none = group("acme", "lead-9");
    let asked = [
        since(&two, 2),
        since(&none, 0),
        since(&one, 2),
        since(&one, 1),
    ];
    let read = fixture
        .ports()
        .entries_since(&asked)
        .await
        .expect("entries");
    let read: Vec<Vec<&str>> = read.iter().map(|entries| ids(entries)).collect();
    assert_eq!(read, [vec!["b"], vec![], vec![], vec!["a"]]);
    let nothing = fixture.ports().entries_since(&[]).await.expect("entries");
    assert!(nothing.is_empty());
}
