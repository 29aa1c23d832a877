//! Replay that mends, beside workers that write: no row regresses, nothing sound is accused, and in the end
//! all is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use foldback_tests::contract::together::AllPorts;
use foldback_tests::fixtures::{at, entry, group, happened, settings_text};
use foldback_tests::mortal::{Mortal, Written};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::Mongo;
use shared::adapters::{Joined, SystemClock};
use shared::flow::{Put, RowKey, Stored, Write};
use shared::handlers::{Row, Table};
use shared::model::{Class, Entry, Event, Finding, Group, Payload};
use shared::ports::{Clock, Committed, Partition, Queue};
use shared::service::{Duplicates, Mode, Parked, Replay, Replayed, Scope, ingest, process};
use shared::settings::{Format, Settings};
use tokio::runtime::Runtime;

use crate::mongo::{connect, fresh_uri};

/// What is journaled so long ago or less may not be queued yet.
const GRACE_MS: i64 = 300;
const EVENTS_OF_A_LEAD: i64 = 24;
/// More passes than any run needs.
const PASSES_MAX: u64 = 100_000;
/// The tenant whose appointments are under `detect`.
const DETECTS: &str = "globex";

/// How a store is waited for.
trait Waits: Sync {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T;
}

struct AtOnce;

impl Waits for AtOnce {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        block_on(work)
    }
}

impl Waits for Runtime {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.block_on(work)
    }
}

fn settings() -> Settings {
    let (first, rest) = settings_text()
        .split_once("ids = [\"acme\", \"globex\"]")
        .expect("two tenants");
    let detecting = "[tenant.tables.RSAppointment]\npolicy = \"detect\"\n";
    let adding = "[tenant.tables.RSTenantDailyConversions]\npolicy = \"atomic\"\n";
    let text = format!(
        "{first}ids = [\"acme\"]{rest}{adding}\n[[tenant]]\nids = [\"{DETECTS}\"]{rest}{detecting}"
    );
    Settings::compile(&text, Format::Toml, 3).expect("the settings compile")
}

/// A lead's events in order, recorded now.
fn life(group: &Group) -> Vec<Arc<Entry>> {
    let kinds = [
        "lead.updated",
        "appointment.scheduled",
        "appointment.started",
        "appointment.completed",
    ];
    let one = |minute: i64| {
        let kind = if minute == 0 {
            "lead.created"
        } else {
            fastrand::choice(kinds).expect("some kinds")
        };
        let happened = happened(group, minute, kind);
        // An event's identity is its tenant's, whatever its group.
        let id = format!("{} {minute}", group.key);
        entry(
            group,
            Event {
                id: id.into(),
                ..happened.event.clone()
            },
        )
    };
    (0..EVENTS_OF_A_LEAD).map(one).collect()
}

/// Amendments of one event in so many of a life: who is in charge is another.
fn amendments(life: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
    const ONE_IN: usize = 6;
    let amend = |told: &Arc<Entry>| {
        let event = told.event.clone();
        let data = event.data.json().unwrap_or_default().replace("Ann", "Bob");
        entry(
            &told.group,
            Event {
                extensions: BTreeMap::from([("revision".into(), "1".into())]),
                data: Payload::Json(data.into()),
                ..event
            },
        )
    };
    life.iter().skip(1).step_by(ONE_IN).map(amend).collect()
}

fn groups(leads: u32) -> Vec<Group> {
    let both = |lead| ["acme", DETECTS].map(|tenant| group(tenant, &format!("lead-{lead}")));
    (0..leads).flat_map(both).collect()
}

/// What goes on at once.
struct Stage<'a, P, W> {
    /// What is written through these is noted.
    ports: &'a Mortal<'a, P>,
    below: &'a P,
    waits: &'a W,
    settings: &'a Settings,
    fed: AtomicBool,
    over: AtomicBool,
    passes: AtomicU64,
    /// The rows that were taken away.
    deleted: Mutex<BTreeSet<RowKey>>,
    /// The groups that were meddled with.
    damaged: Mutex<BTreeSet<Group>>,
    found: Mutex<Vec<Finding>>,
}

impl<'a, P: AllPorts, W: Waits> Stage<'a, P, W> {
    /// All that a worker and a replay need: what is read and written of rows goes through the notes.
    fn joined(&self) -> Joined<'a, P, Mortal<'a, P>> {
        Joined {
            events: self.below,
            tables: self.ports,
        }
    }

    fn feed(&self, mut stream: Vec<Arc<Entry>>) {
        while !stream.is_empty() {
            let rest = stream.split_off(stream.len().min(1 + fastrand::usize(..6)));
            let now = SystemClock.now();
            let recorded = stream.iter().map(|entry| {
                Arc::new(Entry {
                    recorded: now,
                    ..Entry::clone(entry)
                })
            });
            let entries: Vec<Arc<Entry>> = recorded.collect();
            let told = ingest(self.below, &entries, Duplicates::SendAgain, now);
            self.waits.wait(told).expect("ingest");
            stream = rest;
            pause(4);
        }
        self.fed.store(true, Ordering::SeqCst);
    }

    fn work(&self) {
        let ports = self.joined();
        loop {
            let fed = self.fed.load(Ordering::SeqCst);
            let received = self.below.receive(8, SystemClock.now());
            let received = self.waits.wait(received).expect("receive");
            if received.is_empty() {
                let depth = self.waits.wait(self.below.depth(SystemClock.now()));
                let depth = depth.expect("depth");
                assert_eq!(depth.dead, 0, "nothing is parked");
                if fed && depth.visible + depth.in_flight == 0 {
                    return;
                }
                pause(3);
                continue;
            }
            let done = process(&ports, &SystemClock, self.settings, &received);
            self.waits.wait(done).expect("process");
        }
    }

    /// What others do to rows: they edit them, and take them away.
    fn meddle(&self, groups: &[Group]) {
        while !self.fed.load(Ordering::SeqCst) {
            pause(12);
            let group = fastrand::choice(groups).expect("some groups");
            let (table, id) = if fastrand::bool() {
                (Table::RSLead, group.subject())
            } else {
                (Table::RSAppointment, "meeting")
            };
            let key = RowKey {
                group: group.clone(),
                table,
                id: id.into(),
            };
            let read = self.ports.read_row(&key);
            let Some(row) = self.waits.wait(read) else {
                continue;
            };
            self.lock(&self.damaged).insert(group.clone());
            let takes_away = fastrand::u32(..3) == 0;
            if takes_away {
                self.lock(&self.deleted).insert(key.clone());
            }
            let put = (!takes_away).then(|| edited(&row));
            let write = Write {
                key,
                expected: Some(row.trail.version),
                put,
            };
            let done = self.ports.meddle(&write, SystemClock.now());
            let done = self.waits.wait(done).expect("commit");
            assert!(matches!(done, Committed::Done | Committed::Conflict));
        }
    }

    fn lock<'m, T>(&self, mutex: &'m Mutex<T>) -> std::sync::MutexGuard<'m, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, grace_ms: i64, mode: Mode) -> (Replayed, Vec<Finding>) {
        let ports = self.joined();
        let replay = Replay {
            ports: &ports,
            clock: &SystemClock,
            settings: self.settings,
            parked: &Parked::new(),
            grace_ms,
        };
        let mut found = Vec::new();
        let scope = Scope::Partition(Partition::WHOLE, None);
        let run = replay.run(&scope, mode, |one| found.push(one), |_| {});
        (self.waits.wait(run).expect("replay"), found)
    }

    fn replay(&self) {
        while !self.over.load(Ordering::SeqCst) {
            let (_, found) = self.pass(GRACE_MS, Mode::Update);
            let passes = self.passes.fetch_add(1, Ordering::SeqCst);
            assert!(passes < PASSES_MAX, "so many passes in one run");
            self.lock(&self.found).extend(found);
        }
    }
}

/// Somebody else's edit: the content is another, and the trail does not say so.
fn edited(row: &Stored) -> Put {
    let mut content = row.row.clone();
    match &mut content {
        Row::RSLead(lead) => lead.stage = Some("edited".into()),
        Row::RSAppointment(appointment) => appointment.assignee = Some("edited".into()),
        Row::RSAppointmentChanges(_)
        | Row::RSLeadGlobalConversions(_)
        | Row::RSTenantDailyConversions(_) => {}
    }
    let mut trail = row.trail.clone();
    trail.version += 1;
    Put {
        body: content.body(),
        row: content,
        trail,
        history: None,
        actions: Vec::new(),
        moved: true,
    }
}

#[expect(clippy::disallowed_methods, reason = "others get their turn")]
fn pause(ms_max: u64) {
    thread::sleep(Duration::from_millis(fastrand::u64(0..=ms_max)));
}

#[expect(clippy::print_stderr, reason = "figures for the reader")]
fn say(what: &str) {
    eprintln!("{what}");
}

/// The rows of groups and their histories, without trails: what an export would show.
fn tables<P: AllPorts>(ports: &P, waits: &impl Waits, groups: &[Group]) -> Vec<String> {
    let stored = waits.wait(ports.read_groups(groups)).expect("read");
    let rows = stored.into_iter().flatten().filter(|row| !row.is_gone());
    rows.map(|row| {
        let history = row.history.unwrap_or_default();
        format!("{:?} {} {history:?}", row.key, row.row.body())
    })
    .collect()
}

/// The same events in order, into a store of their own.
fn in_order(lives: &[Vec<Arc<Entry>>], settings: &Settings, groups: &[Group]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    for life in lives {
        let told = ingest(&store, life, Duplicates::Skip, SystemClock.now());
        block_on(told).expect("ingest");
    }
    loop {
        let received = block_on(store.receive(10, SystemClock.now())).expect("receive");
        if received.is_empty() {
            return tables(&store, &AtOnce, groups);
        }
        block_on(process(&store, &SystemClock, settings, &received)).expect("process");
    }
}

/// In the order in which a row's versions replace each other it never holds fewer events.
///
/// Only rows that events act on directly, and that nobody took away: of derived ones that may be right. Of days,
/// which may be added to, no version is noted.
fn assert_none_regressed(written: &[Written], deleted: &BTreeSet<RowKey>) -> usize {
    let mut rows: BTreeMap<&RowKey, BTreeMap<u64, &Written>> = BTreeMap::new();
    let is_noted = |one: &&Written| {
        one.key.table != Table::RSTenantDailyConversions && !deleted.contains(&one.key)
    };
    for one in written.iter().filter(is_noted) {
        let versions = rows.entry(&one.key).or_default();
        let twice = versions.insert(one.version, one);
        assert!(twice.is_none(), "{one:?} and {twice:?} are one version");
    }
    for (key, versions) in &rows {
        let direct = matches!(
            key.table,
            Table::RSLead | Table::RSAppointment | Table::RSAppointmentChanges
        );
        let mut last: Option<&Written> = None;
        for one in versions.values() {
            assert_eq!(one.expected, last.map(|last| last.version), "{one:?}");
            let before = last.map_or(0, |last| last.events);
            assert!(!direct || one.events >= before, "{last:?} then {one:?}");
            last = Some(one);
        }
    }
    rows.values().map(BTreeMap::len).sum()
}

fn beside<P: AllPorts, W: Waits>(below: &P, waits: &W, leads: u32) {
    let (settings, groups) = (&settings(), groups(leads));
    let mut lives: Vec<Vec<Arc<Entry>>> = groups.iter().map(life).collect();
    for life in &mut lives {
        if life.iter().all(|one| one.group.tenant != DETECTS) {
            life.extend(amendments(life));
        }
    }
    // What leads count for stands in days, which the first tenant's are added up to.
    let days = ["acme", DETECTS].map(|tenant| Group::of_day(&tenant.into(), at(0)));
    let mut stream: Vec<Arc<Entry>> = lives.iter().flatten().cloned().collect();
    stream.extend(lives.iter().flatten().step_by(5).cloned());
    fastrand::shuffle(&mut stream);
    let ports = &Mortal::immortal(below);
    let stage = &Stage {
        ports,
        below,
        waits,
        settings,
        fed: AtomicBool::new(false),
        over: AtomicBool::new(false),
        passes: AtomicU64::new(0),
        deleted: Mutex::default(),
        damaged: Mutex::default(),
        found: Mutex::default(),
    };
    let groups = &groups;
    thread::scope(|scope| {
        let replay = scope.spawn(move || stage.replay());
        let others: Vec<_> = [
            scope.spawn(move || stage.feed(stream)),
            scope.spawn(move || stage.meddle(groups)),
            scope.spawn(move || stage.work()),
            scope.spawn(move || stage.work()),
        ]
        .into_iter()
        .map(|thread| thread.join().is_ok())
        .collect();
        stage.over.store(true, Ordering::SeqCst);
        assert!(replay.join().is_ok() && others.iter().all(|ended| *ended));
    });
    let damaged = stage.lock(&stage.damaged).clone();
    let found = stage.lock(&stage.found).clone();
    for finding in &found {
        let late = finding.class == Class::Late && finding.group.tenant == DETECTS;
        let meddled = damaged.contains(&finding.group);
        assert!(late || meddled, "of a sound row: {finding:?}");
    }
    let (last, _) = stage.pass(0, Mode::Update);
    let (clean, left) = stage.pass(0, Mode::Report);
    assert_eq!((&left[..], clean.busy_groups), (&[][..], 0));
    let all = [&groups[..], &days].concat();
    let (here, right) = (tables(below, waits, &all), in_order(&lives, settings, &all));
    let differs = here.iter().zip(&right).find(|(one, other)| one != other);
    assert_eq!((differs, here.len()), (None, right.len()));
    let deleted = stage.lock(&stage.deleted).clone();
    let checked = assert_none_regressed(&ports.written(), &deleted);
    let passes = stage.passes.load(Ordering::SeqCst);
    assert!(passes > 1 && !damaged.is_empty() && checked > groups.len());
    say(&format!(
        "{passes} passes beside live load found {} differences, all in groups that were meddled with or \
         under detect; {checked} writes checked; the pass after found {}",
        found.len(),
        last.findings,
    ));
}

fn limits() -> QueueLimits {
    QueueLimits {
        visibility_ms: 1_000,
        receives_max: u32::MAX,
    }
}

#[test]
fn replay_mends_beside_live_load() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), limits()).expect("open");
    beside(&store, &AtOnce, 24);
}

#[test]
fn replay_mends_rows_in_mongodb_beside_live_load() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Embedded::open(directory.path(), limits()).expect("open");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let rows: Mongo = runtime.block_on(connect(&fresh_uri()));
    let ports = Joined {
        events: &events,
        tables: &rows,
    };
    beside(&ports, &runtime, 8);
}
