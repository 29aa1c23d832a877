//! What handling a batch group by group must do, over all ports of a deployment, when some of it fails.

use std::collections::BTreeSet;
use std::slice::from_ref;

use shared::adapters::Joined;
use shared::flow::RowKey;
use shared::model::{Entry, Group};
use shared::ports::{Error, ErrorKind, Lease, LockKey, Locks, Queue, Receipt, Received, Tables};
use shared::service::{Apart, Duplicates, ingest, process_apart};
use shared::settings::Settings;

use super::hooked::{Hook, Hooked};
use super::locked::locking;
use super::together::AllPorts;
use super::{Fixture, Still};
use crate::fixtures::{group, happened, lead_key, settings};

suite! { $ apart_suite, apart: AllPorts;
    what_fails_in_one_group_is_no_others_failure,
    a_store_that_is_down_fails_every_group,
    the_rest_of_a_failed_group_comes_again_in_order,
    spent_messages_are_parked_with_the_reason,
    what_is_locked_out_is_never_parked,
}

/// Tables that fail whenever they are asked for a row of one of these groups; of any, where there are none.
struct Sick(BTreeSet<Group>);

impl Hook for Sick {
    async fn after_read(&self, keys: &[RowKey]) -> Result<(), Error> {
        let sick = |key: &RowKey| self.0.is_empty() || self.0.contains(&key.group);
        if keys.iter().any(sick) {
            return Err(Error::new(ErrorKind::Retry, "read rows", "no primary"));
        }
        Ok(())
    }

    async fn before_commit(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn lead(number: u32) -> Group {
    group("acme", &format!("lead-{number}"))
}

/// A message with an event of a lead that nobody else has told; not one that a day hears of.
async fn told(fixture: &impl Fixture<Ports: AllPorts>, number: u32, minute: i64) {
    let event = happened(
        &lead(number),
        i64::from(number) * 100 + minute,
        "lead.updated",
    );
    let told = ingest(fixture.ports(), &[event], Duplicates::Skip, fixture.now()).await;
    told.expect("ingest");
}

async fn received(fixture: &impl Fixture<Ports: AllPorts>) -> Vec<Received> {
    let mut all = Vec::new();
    loop {
        let some = fixture.ports().receive(10, fixture.now()).await;
        let some = some.expect("receive");
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Handles what was received, over tables that are sick for these groups.
async fn handled(
    fixture: &impl Fixture<Ports: AllPorts>,
    sick: &[u32],
    received: &[Received],
    receives_max: u32,
) -> Apart {
    let sick = Sick(sick.iter().map(|number| lead(*number)).collect());
    let tables = Hooked {
        ports: fixture.ports(),
        hook: &sick,
    };
    let ports = Joined {
        events: fixture.ports(),
        tables: &tables,
    };
    let clock = Still(fixture.now());
    process_apart(&ports, &clock, &settings(), received, receives_max).await
}

fn failed(apart: &Apart) -> Vec<&Group> {
    let mut groups: Vec<&Group> = apart.failures.iter().map(|(group, _)| group).collect();
    groups.sort();
    groups
}

/// Lets messages come again now.
async fn released(fixture: &impl Fixture<Ports: AllPorts>, received: &[Received]) {
    let receipts: Vec<Receipt> = received.iter().map(|one| one.receipt.clone()).collect();
    let released = fixture.ports().hide_until(&receipts, fixture.now()).await;
    released.expect("hide until");
}

/// The groups and, of each, the minutes of its events, as they come.
fn came(received: &[Received]) -> Vec<(Group, i64)> {
    let event = |one: &Received, entry: &Entry| {
        let minutes = entry.event.time.ms_since(crate::fixtures::at(0)) / 60_000;
        (one.message.group.clone(), minutes)
    };
    let all = received.iter().flat_map(|one| {
        let entries = one.message.entries.iter();
        entries.map(move |entry| event(one, entry))
    });
    all.collect()
}

/// More failing groups than healthy ones, and the failing ones come first.
async fn what_fails_in_one_group_is_no_others_failure(fixture: &mut impl Fixture<Ports: AllPorts>) {
    for number in 1..=5 {
        told(fixture, number, 0).await;
        told(fixture, number, 1).await;
    }
    let batch = received(fixture).await;
    let apart = handled(fixture, &[1, 2, 3], &batch, 10).await;
    assert_eq!(failed(&apart), [&lead(1), &lead(2), &lead(3)]);
    for (group, error) in &apart.failures {
        assert_eq!(error.kind(), ErrorKind::Retry, "{group}");
        assert_eq!(error.chain(), "read rows: no primary");
    }
    assert_eq!((apart.processed.messages, apart.processed.events), (4, 4));
    assert_eq!(apart.failed_messages(&batch), 6);
    assert_eq!((apart.spent, apart.sent_anew), (0, 0));
    let depth = fixture.ports().depth(fixture.now()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight, depth.dead), (0, 6, 0));
}

async fn a_store_that_is_down_fails_every_group(fixture: &mut impl Fixture<Ports: AllPorts>) {
    for number in 1..=3 {
        told(fixture, number, 0).await;
    }
    let batch = received(fixture).await;
    let apart = handled(fixture, &[], &batch, 10).await;
    assert_eq!(failed(&apart), [&lead(1), &lead(2), &lead(3)]);
    assert_eq!(apart.processed.messages, 0);
    let depth = fixture.ports().depth(fixture.now()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight, depth.dead), (0, 3, 0));
}

async fn the_rest_of_a_failed_group_comes_again_in_order(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    for minute in [3, 1, 2] {
        told(fixture, 1, minute).await;
    }
    told(fixture, 2, 0).await;
    let batch = received(fixture).await;
    let of_one = |received: &[Received]| -> Vec<(Group, i64)> {
        let all = came(received).into_iter();
        all.filter(|(group, _)| *group == lead(1)).collect()
    };
    let before = of_one(&batch);
    let apart = handled(fixture, &[1], &batch, 10).await;
    assert_eq!(failed(&apart), [&lead(1)]);
    let left: Vec<Received> = batch
        .into_iter()
        .filter(|one| one.message.group == lead(1))
        .collect();
    released(fixture, &left).await;
    let again = received(fixture).await;
    assert_eq!(came(&again), before, "what was sent first, first");
    let apart = handled(fixture, &[9], &again, 10).await;
    assert_eq!(apart.processed.events, before.len() as u64);
    assert_eq!(failed(&apart), [] as [&Group; 0]);
}

/// Those whose last try it was, and no others of the group.
async fn spent_messages_are_parked_with_the_reason(fixture: &mut impl Fixture<Ports: AllPorts>) {
    told(fixture, 1, 0).await;
    told(fixture, 2, 0).await;
    let batch = received(fixture).await;
    let apart = handled(fixture, &[1], &batch, 2).await;
    assert_eq!(
        (failed(&apart).len(), apart.spent),
        (1, 0),
        "one try is left"
    );
    let left: Vec<Received> = batch
        .into_iter()
        .filter(|one| one.message.group == lead(1))
        .collect();
    released(fixture, &left).await;
    told(fixture, 1, 1).await;
    let again = received(fixture).await;
    let receives: Vec<u32> = again.iter().map(|one| one.receives).collect();
    assert_eq!(receives, [2, 1]);
    let apart = handled(fixture, &[1], &again, 2).await;
    assert_eq!((failed(&apart).len(), apart.spent), (1, 1));
    let letters = fixture.ports().dead_letters(0, 10).await.expect("letters");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.group, lead(1));
    let why = "failed 2 times, the last time: read rows: no primary";
    assert_eq!(letters[0].reason, why);
    let depth = fixture.ports().depth(fixture.now()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight, depth.dead), (0, 1, 1));
}

fn lock() -> LockKey {
    LockKey::of_row(&lead_key(&lead(1)))
}

async fn taken(fixture: &impl Fixture<Ports: AllPorts>) -> Lease {
    let (lock, now) = (lock(), fixture.now());
    let lease = fixture
        .ports()
        .acquire(&lock, "other code", 600_000, now)
        .await;
    lease.expect("acquire").expect("free")
}

async fn handled_under_locks(
    fixture: &impl Fixture<Ports: AllPorts>,
    settings: &Settings,
    receives_max: u32,
) -> (Vec<Received>, Apart) {
    let received = received(fixture).await;
    let clock = Still(fixture.now());
    let ports = fixture.ports();
    let apart = process_apart(ports, &clock, settings, &received, receives_max).await;
    (received, apart)
}

/// To wait for somebody else's lock is no failure, however often: a message is sent anew before the queue
/// gives it up.
async fn what_is_locked_out_is_never_parked(fixture: &mut impl Fixture<Ports: AllPorts>) {
    const RECEIVES_MAX: u32 = 2;
    let settings = locking();
    let lease = taken(fixture).await;
    told(fixture, 1, 0).await;
    told(fixture, 1, 1).await;
    for round in 0..3 {
        for receives in 1..=RECEIVES_MAX {
            let (batch, apart) = handled_under_locks(fixture, &settings, RECEIVES_MAX).await;
            assert_eq!(batch.len(), 2, "round {round}");
            assert!(
                batch.iter().all(|one| one.receives == receives),
                "{batch:?}"
            );
            assert_eq!(came(&batch), [(lead(1), 100), (lead(1), 101)]);
            assert_eq!(failed(&apart), [] as [&Group; 0]);
            assert_eq!(apart.processed.locked_out, [(lead(1), lock())]);
            assert_eq!((apart.failed_messages(&batch), apart.spent), (0, 0));
            let anew = if receives == RECEIVES_MAX { 2 } else { 0 };
            assert_eq!(apart.sent_anew, anew, "round {round}");
            if anew == 0 {
                released(fixture, &batch).await;
            }
        }
    }
    fixture.ports().release(&lease).await.expect("release");
    let (batch, apart) = handled_under_locks(fixture, &settings, RECEIVES_MAX).await;
    assert_eq!((batch.len(), apart.processed.events), (2, 2));
    let depth = fixture.ports().depth(fixture.now()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight, depth.dead), (0, 0, 0));
    let read = fixture.ports().read_groups(from_ref(&lead(1))).await;
    assert!(!read.expect("read").concat().is_empty());
}
