//! Many workers on one id, under its lock: all of them get through, and the row is exact.

use std::slice::from_ref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use foldback_tests::contract::Fixture;
use foldback_tests::contract::locked::locking;
use foldback_tests::fixtures::{at, group, happened, lead, lead_key, write};
use futures_util::future::join_all;
use pollster::block_on;
use shared::adapters::SystemClock;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::handlers::Row;
use shared::model::{Finding, Group};
use shared::ports::{
    Clock, Committed, LockKey, Locks, Partition, Queue, Reading, Received, Tables,
};
use shared::service::{Duplicates, Mode, Parked, Replay, Scope, ingest, process};

use crate::aws::OnAws;

const WORKERS: u32 = 100;
const LEASE_MS: i64 = 30_000;
/// A worker that has not got through after so many tries starves.
const TRIES_MAX: u32 = 5_000;

#[expect(
    clippy::disallowed_methods,
    reason = "who is locked out tries again a little later"
)]
fn pause(ms_max: u64) {
    thread::sleep(Duration::from_millis(fastrand::u64(0..=ms_max)));
}

#[expect(clippy::print_stderr, reason = "figures for the reader")]
fn say(what: &str) {
    eprintln!("{what}");
}

fn events(store: &Embedded, group: &Group) -> u64 {
    let read = block_on(store.read(&[lead_key(group)], Reading::Row)).expect("read");
    let lead = read.first().and_then(|row| match &row.row {
        Row::RSLead(lead) => Some(lead.events),
        Row::RSAppointment(_) | Row::RSAppointmentChanges(_) => None,
        Row::RSLeadGlobalConversions(_) | Row::RSTenantDailyConversions(_) => None,
    });
    lead.expect("a lead")
}

/// A message each, all received: as if as many invocations had got them at once.
fn messages(store: &Embedded, group: &Group) -> Vec<Received> {
    for minute in 0..WORKERS {
        let kind = if minute == 0 {
            "lead.created"
        } else {
            "lead.updated"
        };
        let events = [happened(group, i64::from(minute), kind)];
        let now = SystemClock.now();
        let told = ingest(store, &events, Duplicates::Skip, now);
        block_on(told).expect("ingest");
    }
    let limit = WORKERS as usize;
    let received = block_on(store.receive(limit, SystemClock.now())).expect("receive");
    assert_eq!(received.len(), limit, "a message each");
    received
}

fn findings(store: &Embedded) -> Vec<Finding> {
    let mut found = Vec::new();
    let replay = Replay {
        ports: store,
        clock: &SystemClock,
        settings: &locking(),
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let scope = Scope::Partition(Partition::WHOLE, None);
    let run = replay.run(&scope, Mode::Report, |one| found.push(one), |_| {});
    block_on(run).expect("replay");
    found
}

/// The lock alone keeps them apart: not one write loses a race, and no lease runs out.
#[test]
fn a_hundred_workers_handle_events_of_one_lead() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = QueueLimits {
        visibility_ms: 3_600_000,
        receives_max: u32::MAX,
    };
    let store = Embedded::open(directory.path(), limits).expect("open");
    let group = group("acme", "lead-1");
    let received = messages(&store, &group);
    let (settings, store) = (&locking(), &store);
    let (conflicts, most_tries) = (&AtomicU64::new(0), &AtomicU32::new(0));
    thread::scope(|scope| {
        for one in &received {
            scope.spawn(move || {
                for tries in 1..=TRIES_MAX {
                    let done = process(store, &SystemClock, settings, from_ref(one));
                    let done = block_on(done).expect("process");
                    conflicts.fetch_add(done.conflicts, Ordering::Relaxed);
                    if done.messages == 1 {
                        most_tries.fetch_max(tries, Ordering::Relaxed);
                        return;
                    }
                    assert_eq!(done.locked_out.len(), 1, "left for no other reason");
                    pause(40);
                }
                panic!("a worker starved");
            });
        }
    });
    assert_eq!(events(store, &group), u64::from(WORKERS));
    assert_eq!(
        conflicts.load(Ordering::Relaxed),
        0,
        "the lock kept them apart"
    );
    // What was stated to the day.
    let copies = block_on(store.receive(WORKERS as usize, SystemClock.now())).expect("receive");
    let done = process(store, &SystemClock, settings, &copies);
    assert_eq!(block_on(done).expect("process").copies, 1);
    assert_eq!(findings(store), []);
    let depth = block_on(store.depth(SystemClock.now())).expect("depth");
    assert_eq!(depth.visible + depth.in_flight + depth.dead, 0);
    let most = most_tries.load(Ordering::Relaxed);
    say(&format!(
        "{WORKERS} workers got through; the last one at its try {most}"
    ));
}

/// The protocol as other code keeps to it, over locks in DynamoDB: acquire, read, add one, write with
/// the fence, release.
#[test]
fn a_hundred_workers_count_under_a_lock_in_dynamodb() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let directory = tempfile::tempdir().expect("a directory");
        let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
        let group = group("acme", "lead-1");
        let key = lead_key(&group);
        let first = write(&key, None, lead(&group, "open"));
        let committed = Tables::commit(&store, &[first], &[], at(0)).await;
        assert_eq!(committed.expect("commit"), [Committed::Done]);
        let lock = &LockKey::of_row(&key);
        let work = |worker: u32| {
            let (fixture, store, key) = (&fixture, &store, &key);
            async move {
                let owner = format!("worker {worker}");
                for tries in 1..=TRIES_MAX {
                    let ports = fixture.ports();
                    let acquired = ports.acquire(lock, &owner, LEASE_MS, fixture.now()).await;
                    let Some(lease) = acquired.expect("acquire") else {
                        wait(1_500).await;
                        continue;
                    };
                    let read = store.read(from_ref(key), Reading::Row).await.expect("read");
                    // Others get their turn here, and must not get in.
                    tokio::task::yield_now().await;
                    let Some(Row::RSLead(mut lead)) = read.first().map(|row| row.row.clone())
                    else {
                        panic!("no lead");
                    };
                    lead.events += 1;
                    let version = read[0].trail.version;
                    let mut add = write(key, Some(version), Row::RSLead(lead));
                    add.put.as_mut().expect("a row").trail.fence = lease.fence;
                    let committed = Tables::commit(store, &[add], &[], at(0)).await;
                    assert_eq!(committed.expect("commit"), [Committed::Done], "alone");
                    ports.release(&lease).await.expect("release");
                    return tries;
                }
                panic!("{owner} starved");
            }
        };
        let tries = join_all((0..WORKERS).map(work)).await;
        assert_eq!(events(&store, &group), u64::from(WORKERS) + 1);
        let most = tries.into_iter().max().unwrap_or_default();
        say(&format!(
            "{WORKERS} workers got through; the last one at its try {most}"
        ));
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "who is locked out tries again a little later"
)]
async fn wait(ms_max: u64) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=ms_max))).await;
}
