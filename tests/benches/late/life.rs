//! Leads that live long, in a store of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldback_tests::fixtures::{
    Standing, amended, at, before, group, long_life, settings, settings_text,
};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::flow::Imaging;
use shared::handlers::Table;
use shared::model::{Entry, Fingerprint, Group, GroupKind};
use shared::ports::{Clock, Journal, Message, Queue};
use shared::service::{Processed, process_imaging};
use shared::settings::{Format, Settings};
use tempfile::TempDir;

/// Events of a batch while a history is made.
const BATCH: i64 = 500;
/// How often a pass over ordered events is made with images and without, in turn.
const PASSES: usize = 5;
const CLOCK_MINUTES: i64 = 60_000_000;

/// A lead with many events, and its rows.
pub(crate) struct Life {
    store: Store,
    events: i64,
}

/// What a late event cost: the median, and the counts that go with it.
pub(crate) struct Cost {
    pub(crate) ms: f64,
    pub(crate) folded: u64,
    pub(crate) images: u64,
}

struct Store {
    directory: TempDir,
    inner: Embedded,
    settings: Settings,
}

fn lead(n: i64) -> Group {
    group("acme", &format!("lead-{n}"))
}

impl Life {
    /// So many events in order.
    pub(crate) fn new(events: i64) -> Self {
        let store = Store::new();
        for first in (0..events).step_by(usize::try_from(BATCH).expect("small")) {
            let batch = (first..events.min(first + BATCH)).map(|n| long_life(&lead(0), n));
            store.handle(&batch.collect::<Vec<_>>(), Imaging::LIVE);
        }
        Self { store, events }
    }

    /// Amends an event of long ago; says what that, and the event in order that comes next, cost.
    pub(crate) fn amend(&mut self) -> [Cost; 2] {
        let amend = self
            .store
            .handle(&[amended(&lead(0), self.events / 10)], Imaging::LIVE);
        let next = long_life(&lead(0), self.events);
        self.events += 1;
        [amend, self.store.handle(&[next], Imaging::LIVE)].map(Cost::of)
    }

    pub(crate) fn copy(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["foldback.db", "foldback.db-wal"] {
            let from = self.store.directory.path().join(name);
            std::fs::copy(from, directory.path().join(name)).expect("copied");
        }
        Self {
            store: Store::open(directory),
            events: self.events,
        }
    }

    /// Takes events in that are late by as many others.
    pub(crate) fn late(&self, by: i64, runs: i64, imaging: Imaging) -> Cost {
        let mut costs: Vec<(Duration, Processed)> = (0..runs)
            .map(|run| {
                let late = before(&lead(0), self.events - by, 1 + run);
                self.store.handle(&[late], imaging)
            })
            .collect();
        costs.sort_by_key(|(time, _)| *time);
        let median = costs.swap_remove(costs.len() / 2);
        assert_eq!(median.1.late.len(), 1, "it is late");
        Cost::of(median)
    }
}

impl Cost {
    fn of((time, processed): (Duration, Processed)) -> Self {
        Self {
            ms: time.as_secs_f64() * 1_000.0,
            folded: processed.folded,
            images: processed.images,
        }
    }
}

impl Store {
    fn new() -> Self {
        Self::under("correct")
    }

    /// With all tables of leads under one policy.
    fn under(policy: &str) -> Self {
        let mut text = settings_text().to_owned();
        for table in Table::ALL
            .into_iter()
            .filter(|table| table.lives_in(GroupKind::Lead))
        {
            text += &format!("[tenant.tables.{}]\npolicy = \"{policy}\"\n", table.name());
        }
        Self {
            settings: Settings::compile(&text, Format::Toml, 3).expect("the settings compile"),
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self::open(tempfile::tempdir().expect("a directory"))
    }

    fn open(directory: TempDir) -> Self {
        let path: &Path = directory.path();
        let inner = Embedded::open(path, QueueLimits::default()).expect("open");
        Self {
            inner,
            directory,
            settings: settings(),
        }
    }

    /// Handles events of a few groups and says how long that took, its one sync included; journal and queue
    /// have them before.
    fn handle(&self, entries: &[Arc<Entry>], imaging: Imaging) -> (Duration, Processed) {
        let clock = Standing(at(CLOCK_MINUTES));
        let store = &self.inner;
        store.begin().expect("begin");
        block_on(store.append(entries)).expect("append");
        let groups = entries.chunk_by(|a, b| a.group == b.group);
        let messages: Vec<Message> = groups.map(message).collect();
        block_on(store.send(&messages, clock.now())).expect("send");
        store.commit().expect("commit");
        let started = now();
        store.begin().expect("begin");
        let received = block_on(store.receive(messages.len(), clock.now())).expect("receive");
        let work = process_imaging(store, &clock, &self.settings, &received, imaging);
        let processed = block_on(work).expect("processed");
        store.commit().expect("commit");
        let elapsed = started.elapsed();
        assert_eq!(processed.events, entries.len() as u64);
        self.drain(&clock);
        (elapsed, processed)
    }

    /// Handles what was stated to days: rows of other groups, which are not what is measured.
    fn drain(&self, clock: &Standing) {
        let store = &self.inner;
        store.begin().expect("begin");
        loop {
            let received = block_on(store.receive(usize::MAX, clock.now())).expect("receive");
            if received.is_empty() {
                break;
            }
            let work = process_imaging(store, clock, &self.settings, &received, Imaging::NEVER);
            block_on(work).expect("processed");
        }
        store.commit().expect("commit");
    }
}

fn message(entries: &[Arc<Entry>]) -> Message {
    let hashes = entries.iter().map(|entry| entry.hash);
    Message {
        group: entries
            .first()
            .map_or_else(|| lead(0), |one| one.group.clone()),
        deduplication_id: hashes.fold(Fingerprint::default(), Fingerprint::with).0,
        entries: entries.to_vec(),
    }
}

/// Events a second in order: under `detect`, under `correct` without images, and as it is.
pub(crate) struct Rates {
    pub(crate) detect: f64,
    pub(crate) without: f64,
    pub(crate) with: f64,
}

/// Leads one after the other, each a few events at a time where it is the only one.
pub(crate) fn ordered(leads: i64, events: i64, batch: usize) -> Rates {
    let entries: Vec<Arc<Entry>> = (0..leads)
        .flat_map(|n| (0..events).map(move |event| long_life(&lead(n), event)))
        .map(|entry| {
            // An identity is of one lead alone.
            let mut entry = Entry::clone(&entry);
            entry.event.id = format!("{} {}", entry.group.key, entry.event.id).into();
            entry.hash = entry.event.hash();
            Arc::new(entry)
        })
        .collect();
    let pass = |policy: &str, imaging: Imaging| {
        let store = Store::under(policy);
        let times = entries
            .chunks(batch)
            .map(|batch| store.handle(batch, imaging).0);
        let time: Duration = times.sum();
        f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX)) / time.as_secs_f64()
    };
    let mut rates = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PASSES {
        rates.0.push(pass("detect", Imaging::LIVE));
        rates.1.push(pass("correct", Imaging::NEVER));
        rates.2.push(pass("correct", Imaging::LIVE));
    }
    Rates {
        detect: median(rates.0),
        without: median(rates.1),
        with: median(rates.2),
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.swap_remove(rates.len() / 2)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
