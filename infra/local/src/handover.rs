//! Where the reading thread leaves events and the working thread fetches them, all at once.
//!
//! Whatever has been read while one batch was worked on is the next batch, up to a bound.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use shared::model::{Entry, Reject};

use crate::stopwatch::Stopwatch;

/// The most bytes of text in one batch.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Texts read within so many microseconds count as read at one moment.
const MOMENT_US: u128 = 500;

/// Everything that is to become durable with one commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// How many texts were read.
    pub(crate) read: u64,
    /// Those that can be accepted.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Where each of them stands, in the same order.
    pub(crate) places: Vec<Place>,
    /// The others.
    pub(crate) rejects: Vec<Reject>,
    /// When how many of the entries were read.
    pub(crate) since: Vec<(Stopwatch, u64)>,
    bytes: usize,
}

/// Where an event stands in the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The place of the input among the run's.
    pub(crate) input: usize,
    /// The line, from 1.
    pub(crate) line: u64,
}

/// What became of a text that was read.
#[derive(Debug)]
pub(crate) enum Checked {
    /// An event that can be accepted.
    Entry(Entry, Place),
    /// A reject.
    Reject(Reject),
}

/// The place between the two threads.
#[derive(Debug)]
pub(crate) struct Handover {
    /// The most texts of one batch: what one commit makes durable.
    read_max: u64,
    waiting: Mutex<Waiting>,
    filled: Condvar,
    fetched: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// Nothing more will be left.
    ended: bool,
    /// Nobody will fetch anything.
    abandoned: bool,
}

/// The promise that somebody fetches.
#[derive(Debug)]
pub(crate) struct Fetching<'h>(&'h Handover);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.fetched.notify_one();
    }
}

impl Batch {
    fn is_full(&self, read_max: u64) -> bool {
        self.read >= read_max || self.bytes >= BATCH_BYTES_MAX
    }

    fn add(&mut self, checked: Checked, bytes: usize) {
        self.read += 1;
        self.bytes += bytes;
        match checked {
            Checked::Reject(reject) => self.rejects.push(reject),
            Checked::Entry(entry, place) => {
                self.entries.push(Arc::new(entry));
                self.places.push(place);
                match self.since.last_mut() {
                    Some((since, count)) if since.elapsed().as_micros() < MOMENT_US => *count += 1,
                    Some(_) | None => self.since.push((Stopwatch::start(), 1)),
                }
            }
        }
    }
}

impl Handover {
    /// An empty place for batches of at most `read_max` texts.
    pub(crate) fn new(read_max: u64) -> Self {
        Self {
            read_max,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            fetched: Condvar::new(),
        }
    }

    /// Leaves what became of one text, of so many bytes; waits while the batch is full. `false` where
    /// nobody will fetch it.
    pub(crate) fn leave(&self, checked: Checked, bytes: usize) -> bool {
        let mut waiting = self.lock();
        while waiting.batch.is_full(self.read_max) && !waiting.abandoned {
            waiting = self
                .fetched
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.batch.add(checked, bytes);
        if waiting.batch.read == 1 {
            self.filled.notify_one();
        }
        !waiting.abandoned
    }

    /// Says that everything has been left.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_one();
    }

    /// As long as what this returns lives, what is left will be fetched.
    pub(crate) fn fetching(&self) -> Fetching<'_> {
        Fetching(self)
    }

    /// Fetches all that has been left, perhaps nothing; `wait` waits for something. `None` once
    /// everything has been fetched.
    pub(crate) fn fetch(&self, wait: bool) -> Option<Batch> {
        let mut waiting = self.lock();
        while wait && waiting.batch.read == 0 && !waiting.ended {
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.batch.read == 0 && waiting.ended {
            return None;
        }
        let batch = std::mem::take(&mut waiting.batch);
        self.fetched.notify_one();
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
