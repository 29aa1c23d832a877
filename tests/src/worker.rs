//! A process as a deployment runs it: it receives messages and handles them until none is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::Mongo;
use shared::adapters::{Joined, SystemClock};
use shared::flow::Imaging;
use shared::model::{Entry, EventHash, Fingerprint, Group};
use shared::ports::{Clock, Error, ErrorKind, Message, Queue, Receipt};
use shared::service::{Processed, process_imaging};
use shared::settings::Settings;

/// However often messages come again, none goes to the dead-letter queue.
pub const LIMITS: QueueLimits = QueueLimits {
    visibility_ms: 600_000,
    receives_max: u32::MAX,
};
/// So fine that short lives have images, which races and deaths then meet too.
pub const IMAGING: Imaging = Imaging {
    long_from: 4,
    least: 2,
    thin_every: 3,
};
/// The most events of a small message.
pub const MESSAGE_EVENTS_MAX: usize = 3;
/// How often the store may ask to try again, before that is a failure.
const RETRIES_MAX: u32 = 500;

/// Events in a store of this process, rows in MongoDB.
#[derive(Debug)]
pub struct Worker<'a> {
    /// Its journal and its queue.
    pub events: &'a Embedded,
    /// The rows, which others may write too.
    pub rows: &'a Mongo,
    /// What the events mean.
    pub settings: &'a Settings,
    /// How many messages are handled at once.
    pub batch: usize,
}

/// What a worker did.
#[derive(Debug, Default)]
pub struct Worked {
    /// What processing came to.
    pub processed: Processed,
    /// Batches that came again because the store failed.
    pub retries: u32,
    /// How often each event was handed to processing.
    pub deliveries: BTreeMap<EventHash, usize>,
}

/// Messages of a few events of one group each, in an order that the generator draws.
#[must_use]
pub fn messages_of(entries: &[Arc<Entry>], rng: &mut Rng) -> Vec<Message> {
    let mut groups: BTreeMap<&Group, Vec<Arc<Entry>>> = BTreeMap::new();
    for entry in entries {
        let group = groups.entry(&entry.group).or_default();
        group.push(Arc::clone(entry));
    }
    let mut messages = Vec::new();
    for (group, mut rest) in groups {
        while !rest.is_empty() {
            let count = rng.usize(1..=MESSAGE_EVENTS_MAX).min(rest.len());
            let entries: Vec<Arc<Entry>> = rest.drain(..count).collect();
            let hashes = entries.iter().map(|entry| entry.hash);
            messages.push(Message {
                group: group.clone(),
                deduplication_id: hashes.fold(Fingerprint::default(), Fingerprint::with).0,
                entries,
            });
        }
    }
    rng.shuffle(&mut messages);
    messages
}

impl Worker<'_> {
    /// Handles messages until the queue is empty. What fails comes again at once. `progress` is told
    /// how many messages each batch finished, or why it comes again.
    ///
    /// # Errors
    /// A port failed for good.
    pub async fn drain(
        &self,
        mut progress: impl FnMut(Result<u64, &Error>),
    ) -> Result<Worked, Error> {
        let ports = Joined {
            events: self.events,
            tables: self.rows,
        };
        let mut worked = Worked::default();
        loop {
            let received = self.events.receive(self.batch, SystemClock.now()).await?;
            if received.is_empty() {
                return Ok(worked);
            }
            for entry in received.iter().flat_map(|one| &one.message.entries) {
                *worked.deliveries.entry(entry.hash).or_default() += 1;
            }
            let (clock, settings) = (&SystemClock, self.settings);
            let processed = process_imaging(&ports, clock, settings, &received, IMAGING).await;
            let again: Vec<Receipt> = match processed {
                Ok(processed) => {
                    progress(Ok(processed.messages));
                    let failed = processed.failed.clone();
                    worked.processed.add(processed);
                    failed
                }
                Err(error) if error.kind() == ErrorKind::Retry => {
                    progress(Err(&error));
                    worked.retries += 1;
                    if worked.retries > RETRIES_MAX {
                        return Err(error);
                    }
                    received.iter().map(|one| one.receipt.clone()).collect()
                }
                Err(error) => return Err(error),
            };
            self.events.hide_until(&again, SystemClock.now()).await?;
        }
    }
}
