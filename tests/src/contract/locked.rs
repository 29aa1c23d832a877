//! What handling under `lock_by_id` must do, over all ports of a deployment.
//!
//! Other code that writes the same rows keeps to the protocol: it acquires the row's lock, reads, and
//! writes with the lease's fence, if the row has seen no greater one.

use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use shared::flow::{RowKey, Stored};
use shared::handlers::Table;
use shared::model::{Class, Entry, Finding, Group, Timestamp, Trail};
use shared::ports::{
    Clock, Committed, Error, Lease, LockKey, Locks, Partition, Queue, Reading, Received, Tables,
};
use shared::service::{
    Duplicates, Mode, Parked, Processed, Replay, Replayed, Scope, ingest, process,
};
use shared::settings::{Format, Settings};

use super::Fixture;
use super::hooked::{Hook, Hooked};
use super::together::AllPorts;
use crate::fixtures::{group, happened, lead, lead_key, settings_text, write};

suite! { $ locked_suite, locked: AllPorts;
    locked_rows_carry_the_fence_of_their_lease,
    who_is_locked_out_is_left_for_another_try,
    a_holder_that_died_keeps_nobody_out_for_good,
    a_holder_that_pauses_before_its_write_is_refused,
    a_holder_that_pauses_before_its_check_writes_nothing,
    without_the_setting_nothing_is_locked,
    a_replay_mends_under_the_locks_and_leaves_what_is_locked,
}

/// Longer than a lease lasts, and than clocks differ.
const PAST_A_LEASE_MS: i64 = 60_000;

/// Settings under which leads and appointments are locked.
///
/// # Panics
/// They do not compile.
#[must_use]
pub fn locking() -> Settings {
    let tables = "[tenant.tables.RSLead]\nlock_by_id = true\n\
                  [tenant.tables.RSAppointment]\nlock_by_id = true\n[[tenant.map]]";
    let text = settings_text().replacen("[[tenant.map]]", tables, 1);
    Settings::compile(&text, Format::Toml, 3).expect("the settings compile")
}

/// A clock that is put forward by hand.
struct Hand(AtomicI64);

impl Hand {
    fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.ms()))
    }

    fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::Relaxed))
    }
}

fn one() -> Group {
    group("acme", "lead-1")
}

async fn told(ports: &impl AllPorts, clock: &Hand, entries: &[Arc<Entry>]) {
    let ingested = ingest(ports, entries, Duplicates::Skip, clock.now()).await;
    ingested.expect("ingest");
}

async fn received(ports: &impl AllPorts, clock: &Hand) -> Vec<Received> {
    let received = ports.receive(10, clock.now()).await;
    received.expect("receive")
}

async fn handled(ports: &impl AllPorts, clock: &Hand, settings: &Settings) -> Processed {
    let received = received(ports, clock).await;
    assert!(!received.is_empty(), "something waits");
    let done = process(ports, clock, settings, &received).await;
    done.expect("process")
}

/// What acquires a row's lock for other code.
async fn taken(ports: &impl Locks, key: &RowKey, now: Timestamp) -> Option<Lease> {
    let lock = LockKey::of_row(key);
    let acquired = ports.acquire(&lock, "other code", 30_000, now).await;
    acquired.expect("acquire")
}

async fn rows(ports: &impl Tables, group: &Group) -> Vec<Stored> {
    let read = ports.read_groups(from_ref(group)).await;
    read.expect("read").concat()
}

async fn lead_of(ports: &impl Tables, group: &Group) -> Stored {
    let read = ports.read(&[lead_key(group)], Reading::Row).await;
    read.expect("read").pop().expect("a lead")
}

fn first_events(group: &Group) -> [Arc<Entry>; 2] {
    // An event's identity is its tenant's, whatever its group.
    let minutes = if *group == one() { 0 } else { 100 };
    [
        happened(group, minutes, "lead.created"),
        happened(group, minutes + 5, "appointment.scheduled"),
    ]
}

async fn locked_rows_carry_the_fence_of_their_lease(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    told(ports, &clock, &first_events(&one())).await;
    let done = handled(ports, &clock, &locking()).await;
    assert_eq!((done.events, done.failed.len()), (2, 0));
    let written = rows(ports, &one()).await;
    assert_eq!(written.len(), TABLES_OF_A_LEAD, "a row of each table");
    for row in &written {
        let is_locked = [Table::RSLead, Table::RSAppointment].contains(&row.key.table);
        assert_eq!(row.trail.fence > 0, is_locked, "{:?}", row.key);
    }
    // The leases were given back, and the next ones are greater.
    for row in written.iter().filter(|row| row.trail.fence > 0) {
        let lease = taken(ports, &row.key, clock.now()).await;
        assert!(lease.expect("free").fence > row.trail.fence);
    }
}

/// Replays all there is; what it found comes after the sums.
async fn mended(ports: &impl AllPorts, clock: &Hand) -> (Replayed, Vec<Finding>) {
    let replay = Replay {
        ports,
        clock,
        settings: &locking(),
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let mut found = Vec::new();
    let scope = Scope::Partition(Partition::WHOLE, None);
    let run = replay.run(&scope, Mode::Update, |one| found.push(one), |_| {});
    (run.await.expect("replay"), found)
}

async fn a_replay_mends_under_the_locks_and_leaves_what_is_locked(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    told(ports, &clock, &first_events(&one())).await;
    handled(ports, &clock, &locking()).await;
    // What the lead states to its day.
    handled(ports, &clock, &locking()).await;
    let sound = lead_of(ports, &one()).await;
    let lease = taken(ports, &sound.key, clock.now()).await.expect("free");
    let mut edit = write(
        &sound.key,
        Some(sound.trail.version),
        lead(&one(), "edited"),
    );
    edit.put.as_mut().expect("a row").trail = Trail {
        version: sound.trail.version + 1,
        fence: lease.fence,
        ..sound.trail.clone()
    };
    let committed = ports.commit(&[edit], &[], clock.now()).await;
    assert_eq!(committed.expect("commit"), [Committed::Done]);
    let edited = lead_of(ports, &one()).await;

    let (left, found) = mended(ports, &clock).await;
    assert_eq!((left.locked_groups, left.mended, left.findings), (1, 0, 1));
    assert_eq!(found[0].class, Class::Foreign);
    assert_eq!(lead_of(ports, &one()).await, edited, "its holder has it");

    ports.release(&lease).await.expect("release");
    let (done, _) = mended(ports, &clock).await;
    assert_eq!((done.locked_groups, done.mended, done.findings), (0, 1, 1));
    let lead = lead_of(ports, &one()).await;
    assert_eq!(lead.row, sound.row);
    assert!(lead.trail.fence > lease.fence, "under a lease of its own");
    let free = taken(ports, &sound.key, clock.now()).await;
    assert!(free.is_some(), "which it gave back");
    assert_eq!(mended(ports, &clock).await.0.findings, 0);
}

async fn who_is_locked_out_is_left_for_another_try(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    let two = group("acme", "lead-2");
    let other_tenant = group("globex", "lead-1");
    let lease = taken(ports, &lead_key(&one()), clock.now()).await;
    let lease = lease.expect("free");
    for group in [&one(), &two, &other_tenant] {
        told(ports, &clock, &first_events(group)).await;
    }
    let done = handled(ports, &clock, &locking()).await;
    assert_eq!((done.events, done.messages), (4, 2), "the others go on");
    assert_eq!(done.failed.len(), 1);
    assert_eq!(done.locked_out, [(one(), lease.key.clone())]);
    assert_eq!(rows(ports, &one()).await, []);
    ports.release(&lease).await.expect("release");
    let again: Vec<_> = done.failed.clone();
    let shown = ports.hide_until(&again, fixture.now()).await;
    shown.expect("shown");
    let done = handled(ports, &clock, &locking()).await;
    assert_eq!((done.events, done.failed.len()), (2, 0));
    assert_eq!(rows(ports, &one()).await.len(), TABLES_OF_A_LEAD);
}

async fn a_holder_that_died_keeps_nobody_out_for_good(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    let dead = taken(ports, &lead_key(&one()), clock.now()).await;
    told(ports, &clock, &first_events(&one())).await;
    let done = handled(ports, &clock, &locking()).await;
    assert_eq!((done.events, done.failed.len()), (0, 1));
    clock.pass(PAST_A_LEASE_MS);
    let again = done.failed.clone();
    let shown = ports.hide_until(&again, fixture.now()).await;
    shown.expect("shown");
    let done = handled(ports, &clock, &locking()).await;
    assert_eq!((done.events, done.failed.len()), (2, 0));
    let fence = lead_of(ports, &one()).await.trail.fence;
    assert!(fence > dead.expect("free").fence);
}

/// Another writer's turn: it finds the lock free, since the lease has run out, and writes over the row as
/// legacy code does, which knows no versions.
async fn other_code_writes(ports: &(impl Locks + Tables), clock: &Hand) -> u64 {
    clock.pass(PAST_A_LEASE_MS);
    let row = lead_of(ports, &one()).await;
    let lease = taken(ports, &row.key, clock.now()).await;
    let fence = lease.expect("it has run out").fence;
    assert!(fence > row.trail.fence);
    let mut by_other = write(&row.key, Some(row.trail.version), lead(&one(), "by others"));
    let put = by_other.put.as_mut().expect("a row");
    put.trail = row.trail;
    put.trail.fence = fence;
    let committed = Tables::commit(ports, &[by_other], &[], clock.now()).await;
    assert_eq!(committed.expect("commit"), [Committed::Done]);
    fence
}

async fn a_holder_that_pauses_before_its_write_is_refused(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    paused(fixture, Pause::BeforeTheWrite, 1).await;
}

async fn a_holder_that_pauses_before_its_check_writes_nothing(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    paused(fixture, Pause::AfterTheRead, 0).await;
}

async fn paused(fixture: &mut impl Fixture<Ports: AllPorts>, pause: Pause, refused: u64) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    told(ports, &clock, &first_events(&one())).await;
    handled(ports, &clock, &locking()).await;
    told(ports, &clock, &[happened(&one(), 9, "lead.updated")]).await;
    let received = received(ports, &clock).await;
    let meddled = Meddled {
        ports,
        clock: &clock,
        pause,
        meddled: AtomicI64::new(0),
    };
    let hooked = Hooked {
        ports,
        hook: &meddled,
    };
    let joined = shared::adapters::Joined {
        events: ports,
        tables: &hooked,
    };
    let done = process(&joined, &clock, &locking(), &received).await;
    let done = done.expect("process");
    assert_eq!((done.events, done.failed.len()), (0, 1), "nothing is done");
    assert_eq!(done.locked_out.len(), 1, "its lease is another's");
    assert!(done.conflicts >= refused, "the store refused the write");
    let row = lead_of(ports, &one()).await;
    assert!(row.row.body().contains("by others"), "{}", row.row.body());
    let fence = u64::try_from(meddled.meddled.load(Ordering::Relaxed)).expect("a fence");
    assert_eq!(row.trail.fence, fence);
}

/// How many tables have rows of a lead's group.
const TABLES_OF_A_LEAD: usize = Table::COUNT - 1;

/// Where a holder is paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    AfterTheRead,
    BeforeTheWrite,
}

/// Pauses the user of tables once, while another writes.
struct Meddled<'a, P> {
    ports: &'a P,
    clock: &'a Hand,
    pause: Pause,
    /// The other's fence, once it has written.
    meddled: AtomicI64,
}

impl<P: AllPorts> Meddled<'_, P> {
    async fn meddle(&self, at: Pause) {
        if at == self.pause && self.meddled.load(Ordering::Relaxed) == 0 {
            let fence = other_code_writes(self.ports, self.clock).await;
            let fence = i64::try_from(fence).expect("in our time");
            self.meddled.store(fence, Ordering::Relaxed);
        }
    }
}

impl<P: AllPorts> Hook for Meddled<'_, P> {
    async fn after_read(&self, _keys: &[RowKey]) -> Result<(), Error> {
        self.meddle(Pause::AfterTheRead).await;
        Ok(())
    }

    async fn before_commit(&self) -> Result<(), Error> {
        self.meddle(Pause::BeforeTheWrite).await;
        Ok(())
    }
}

async fn without_the_setting_nothing_is_locked(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let (ports, clock) = (fixture.ports(), Hand::at(fixture.now()));
    let lease = taken(ports, &lead_key(&one()), clock.now()).await;
    assert!(lease.is_some());
    told(ports, &clock, &first_events(&one())).await;
    let done = handled(ports, &clock, &crate::fixtures::settings()).await;
    assert_eq!((done.events, done.failed.len()), (2, 0));
    for row in rows(ports, &one()).await {
        assert_eq!(row.trail.fence, 0, "{:?}", row.key);
    }
}
