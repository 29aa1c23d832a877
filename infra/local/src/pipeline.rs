//! The main job: events in, tables out, one durable commit a batch.
//!
//! One thread [reads](crate::intake); this one journals, queues and processes. While a batch is being
//! committed the next is read, and what has been read by then becomes the next batch: small batches
//! and short waits for a trickle, large ones for a flood ("group commit").

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;

use hdrhistogram::Histogram;
use shared::adapters::embedded::Embedded;
use shared::adapters::prometheus::Scraped;
use shared::adapters::{Joined, SystemClock};
use shared::metrics::OTHER;
use shared::metrics::registry::EVENTS_INGESTED;
use shared::model::{Entry, Reject, RejectReason, Timestamp};
use shared::ports::{Appended, Clock, Error, ErrorKind, Meter, Queue, Received, Rejects};
use shared::service::{self, Duplicates, Processed, measured};

use crate::error::Failure;
use crate::handover::{Batch, Handover, Place};
use crate::input::{Counter, Input};
use crate::intake::Intake;
use crate::log::Log;
use crate::probe::{Probe, Probed, Step};
use crate::settings::InForce;
use crate::stopwatch::{Stopwatch, us};
use crate::stores::Stores;

/// Messages processed at once, so that what they need stays in the processor's cache.
const PART_MESSAGES: usize = 512;
/// The most messages of one unit of work.
const RECEIVE_MAX: usize = 65_536;
/// How often a batch is tried again when the store asks for it.
const ATTEMPTS_MAX: u64 = 5;
/// The longest latency that is told apart, an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// How many rejects a summary shows.
const REJECTS_SHOWN: usize = 5;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Texts read.
    pub(crate) read: u64,
    /// Events accepted for the first time.
    pub(crate) accepted: u64,
    /// Events that were journaled before.
    pub(crate) duplicates: u64,
    /// Rejected texts by reason.
    pub(crate) rejects: BTreeMap<RejectReason, u64>,
    /// The first few rejects.
    pub(crate) first_rejects: Vec<Reject>,
    /// Sums of what processing came to; the lists in it are emptied as they are counted.
    pub(crate) processed: Processed,
    /// Late events.
    pub(crate) late: u64,
    /// Milliseconds of event time by which the latest one was late.
    pub(crate) late_ms_max: i64,
    /// How often a row under policy `detect` was found out of order.
    pub(crate) found: u64,
    /// Parked events.
    pub(crate) parked: u64,
    /// The first few reasons for parking, with the event's id.
    pub(crate) first_parked: Vec<(String, String)>,
    /// Durable commits.
    pub(crate) commits: u64,
    /// Microseconds from an event's reading to the durable commit of its rows.
    pub(crate) latency_us: Histogram<u64>,
}

/// What looks on while a run goes.
pub(crate) struct Watch<'a> {
    /// Times the steps, and may make them fail.
    pub(crate) probe: &'a Probe,
    /// Metrics, where they are wanted.
    pub(crate) scraped: Option<&'a Scraped>,
    /// Is told after each unit of work, which is durable then.
    pub(crate) told: &'a mut dyn FnMut(Told<'_>) -> Result<(), Failure>,
}

/// How far a run is.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// Bytes of input that were read.
    pub(crate) consumed: u64,
    /// Texts of which all that follows from them became durable with this unit of work, in the order of
    /// the input.
    pub(crate) durable: u64,
    /// How often the unit was tried again.
    pub(crate) retries: u64,
    /// What the run came to so far.
    pub(crate) totals: &'a Totals,
}

/// Ingests all inputs and processes until the queue is empty.
pub(crate) fn run(
    stores: &Stores,
    intake: Intake<'_>,
    log: Log,
    watch: Watch<'_>,
) -> Result<Totals, Failure> {
    let consumed = Counter::default();
    let Watch {
        probe,
        scraped,
        told,
    } = watch;
    let handover = Handover::new(intake.batch_max);
    let totals = Totals::new()?;
    let mut host = Host {
        stores,
        local: stores.local()?,
        settings: intake.settings,
        inputs: intake.inputs,
        totals,
        log,
        probe,
        scraped,
    };
    thread::scope(|scope| {
        // However this thread ends, the reading one must not wait for it.
        let fetching = handover.fetching();
        let reading = scope.spawn(|| {
            let read = intake.read_all(&consumed, &handover);
            handover.end();
            read
        });
        let done = host.run(&handover, &consumed, told);
        drop(fetching);
        let read = reading.join().map_err(|_panic| {
            Failure::Input("the reading thread died: a fault of foldback".to_owned())
        })?;
        done.and(read).map(|()| host.totals)
    })
}

/// What one unit of work did, to be counted when it is durable.
#[derive(Default)]
struct Unit {
    processed: Processed,
    appended: Vec<Appended>,
    received: Vec<Received>,
    conflicts: Vec<Reject>,
}

struct Host<'a> {
    stores: &'a Stores,
    local: &'a Embedded,
    settings: &'a InForce,
    inputs: &'a [Input],
    totals: Totals,
    log: Log,
    probe: &'a Probe,
    /// Metrics, where they are wanted.
    scraped: Option<&'a Scraped>,
}

/// Texts that were taken in and wait for what follows from them to be durable.
#[derive(Default)]
struct UnderWay {
    texts: u64,
    since: Vec<(Stopwatch, u64)>,
}

impl Host<'_> {
    /// Each unit of work finishes the last batch and takes in the next, so that a batch costs one
    /// commit; its receive is durable before its effects, so receives are counted even when a message
    /// kills the process.
    fn run(
        &mut self,
        handover: &Handover,
        consumed: &Counter,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reading = true;
        // What a dead process had left waiting goes first.
        let (unit, _) = self.unit(&[], &Batch::default())?;
        let mut received = unit.received;
        let mut under_way = UnderWay::default();
        while reading || !received.is_empty() {
            let batch = if reading {
                let wait = received.is_empty();
                self.probe.time(Step::Wait, || handover.fetch(wait))
            } else {
                None
            };
            reading = batch.is_some();
            let mut batch = batch.unwrap_or_default();
            let begun = SystemClock.now();
            let (unit, retries) = self.probe.unit(|| self.unit(&received, &batch))?;
            self.measure(&received, &batch, &unit, begun);
            let mut done = std::mem::take(&mut under_way);
            under_way.texts = batch.read;
            under_way.since = std::mem::take(&mut batch.since);
            if unit.received.is_empty() {
                // Nothing more follows from what was taken in.
                done.texts += under_way.texts;
                done.since.append(&mut under_way.since);
                under_way.texts = 0;
            }
            for (since, count) in done.since {
                let latency_us = us(since.elapsed());
                self.totals
                    .latency_us
                    .saturating_record_n(latency_us, count);
            }
            self.log.tell(&unit.processed, SystemClock.now())?;
            received = self.totals.count(batch, unit);
            told(Told {
                consumed: consumed.load(Ordering::Relaxed),
                durable: done.texts,
                retries,
                totals: &self.totals,
            })?;
        }
        Ok(())
    }

    fn measure(&self, received: &[Received], batch: &Batch, unit: &Unit, begun: Timestamp) {
        let Some(scraped) = self.scraped else {
            return;
        };
        let (done, now) = (&unit.processed, SystemClock.now());
        let failed = done.failed.len() as u64;
        scraped.record(&measured::of_batch(received, done, failed, (begun, now)));
        let events = batch.entries.iter().zip(unit.appended.iter().copied());
        scraped.record(&measured::of_events(events));
        let rejected = batch.rejects.len() as u64;
        scraped.record(&[EVENTS_INGESTED.is(rejected, &["rejected", OTHER])]);
    }

    /// One unit of work, tried again as often as the store asks for it, and how often it was.
    fn unit(&self, received: &[Received], batch: &Batch) -> Result<(Unit, u64), Failure> {
        let mut retries = 0;
        loop {
            let store = self.local;
            let done = store.begin().and_then(|()| {
                let work = self.work(received, batch);
                let done = self.stores.wait(work).and_then(|unit| {
                    self.probe.time(Step::Sync, || store.commit())?;
                    Ok(unit)
                });
                if done.is_err() {
                    store.roll_back();
                }
                done
            });
            match done {
                Err(error) if error.kind() == ErrorKind::Retry && retries + 1 < ATTEMPTS_MAX => {
                    retries += 1;
                }
                done => return Ok((done?, retries)),
            }
        }
    }

    async fn work(&self, received: &[Received], batch: &Batch) -> Result<Unit, Error> {
        let mut unit = Unit::default();
        let (local, tables) = (self.local, self.stores.tables());
        let store = &Probed::new(local, self.probe);
        let tables = &Probed::new(&tables, self.probe);
        let ports = Joined {
            events: store,
            tables,
        };
        let settings = self.settings.look(local, SystemClock.now()).await?;
        for part in received.chunks(PART_MESSAGES) {
            let mut done = service::process(&ports, &SystemClock, &settings, part).await?;
            // Kept for spans alone, and much.
            done.finished = Vec::new();
            done.copies_made = Vec::new();
            unit.processed.add(done);
        }
        let now = SystemClock.now();
        if !batch.entries.is_empty() {
            unit.appended = service::ingest(store, &batch.entries, Duplicates::Skip, now)
                .await?
                .appended;
        }
        for ((entry, place), became) in batch.entries.iter().zip(&batch.places).zip(&unit.appended)
        {
            if *became == Appended::Conflict {
                unit.conflicts.push(self.conflict(entry, *place));
            }
        }
        if !batch.rejects.is_empty() {
            local.keep(&batch.rejects).await?;
        }
        if !unit.conflicts.is_empty() {
            local.keep(&unit.conflicts).await?;
        }
        unit.received = store.receive(RECEIVE_MAX, now).await?;
        Ok(unit)
    }

    fn conflict(&self, entry: &Entry, place: Place) -> Reject {
        let event = &entry.event;
        Reject {
            at: entry.recorded,
            input: self
                .inputs
                .get(place.input)
                .map(ToString::to_string)
                .unwrap_or_default(),
            line: place.line,
            reason: RejectReason::Conflict,
            detail: format!(
                "event {:?} of {:?} is journaled with other content, which stays; give what is \
                 new an id of its own, and what amends it a higher revision",
                event.id, event.source
            ),
            text: format!("{} {} {:?}", event.kind, event.time, event.data),
        }
    }
}

impl Totals {
    fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
            .map_err(|error| Failure::Input(format!("latency histogram: {error}")))?;
        Ok(Self {
            read: 0,
            accepted: 0,
            duplicates: 0,
            rejects: BTreeMap::new(),
            first_rejects: Vec::new(),
            processed: Processed::default(),
            late: 0,
            late_ms_max: 0,
            found: 0,
            parked: 0,
            first_parked: Vec::new(),
            commits: 0,
            latency_us: histogram,
        })
    }

    /// Counts a unit that is durable now, and returns the messages it received.
    fn count(&mut self, batch: Batch, unit: Unit) -> Vec<Received> {
        self.commits += 1;
        self.read += batch.read;
        for became in unit.appended {
            match became {
                Appended::New => self.accepted += 1,
                Appended::Duplicate => self.duplicates += 1,
                Appended::Conflict | Appended::Elsewhere => {}
            }
        }
        for reject in batch.rejects.into_iter().chain(unit.conflicts) {
            *self.rejects.entry(reject.reason).or_insert(0) += 1;
            if self.first_rejects.len() < REJECTS_SHOWN {
                self.first_rejects.push(reject);
            }
        }
        let mut done = unit.processed;
        for (_, late) in done.late.drain(..) {
            self.late += 1;
            self.late_ms_max = self.late_ms_max.max(late.ms);
        }
        self.found += done.found.drain(..).count() as u64;
        for (entry, why) in done.parked.drain(..) {
            self.parked += 1;
            if self.first_parked.len() < REJECTS_SHOWN {
                self.first_parked.push((entry.event.id.to_string(), why));
            }
        }
        self.processed.add(done);
        unit.received
    }
}
