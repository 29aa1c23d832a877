//! What happened since the process began, for `/metrics`; and what is to be told to a collector of traces.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shared::adapters::prometheus::Scraped;
use shared::config::Otlp;
use shared::metrics::Reading;
use shared::model::Timestamp;
use shared::ports::{Error, Meter as _};
use shared::service::Processed;
use shared::trace::Span;

use super::spans::Spans;
use crate::error::Failure;

/// How often it is looked how long the queue is.
const QUEUE_EVERY_MS: i64 = 1_000;

/// What one durable unit of work came to.
#[derive(Debug, Default)]
pub(crate) struct UnitDone {
    /// What was processed.
    pub(crate) processed: Processed,
    /// Requests that were taken in, each with how long it took from arrival to the durable journal.
    pub(crate) taken: Vec<Duration>,
    /// Messages whose rows are durable now, each with how long it waited and was worked on.
    pub(crate) handled: Vec<Duration>,
    /// What was measured.
    pub(crate) readings: Vec<Reading>,
    /// What was done for which event.
    pub(crate) spans: Vec<Span>,
}

/// Metrics and traces.
#[derive(Debug)]
pub(crate) struct Meter {
    scraped: Scraped,
    spans: Option<Spans>,
    queue_seen_ms: AtomicI64,
}

impl Meter {
    /// Nothing yet; spans are exported where the environment says where to.
    pub(crate) fn new() -> Result<Self, Failure> {
        let spans = Otlp::from_env().map(|otlp| Spans::new(&otlp));
        Ok(Self {
            scraped: Scraped::new()?,
            spans: spans.transpose()?,
            queue_seen_ms: AtomicI64::new(0),
        })
    }

    /// Takes note of a unit of work that is durable.
    pub(crate) fn unit(&self, done: &mut UnitDone) {
        self.record(&done.readings);
        if let Some(spans) = &self.spans {
            self.record(&spans.send(std::mem::take(&mut done.spans)));
        }
    }

    /// Takes note of what was measured.
    pub(crate) fn record(&self, readings: &[Reading]) {
        self.scraped.record(readings);
    }

    /// Whether anybody wants spans.
    pub(crate) fn traces(&self) -> bool {
        self.spans.is_some()
    }

    /// Whether it is time to look how long the queue is.
    pub(crate) fn looks_at_queue(&self, now: Timestamp) -> bool {
        let seen_ms = self.queue_seen_ms.load(Ordering::Relaxed);
        let due = now.ms().saturating_sub(seen_ms) >= QUEUE_EVERY_MS;
        if due {
            self.queue_seen_ms.store(now.ms(), Ordering::Relaxed);
        }
        due
    }

    /// All of it as Prometheus reads it, in its text format.
    pub(crate) fn text(&self) -> Result<String, Error> {
        if let Some(spans) = &self.spans {
            self.record(&spans.told());
        }
        self.scraped.text()
    }

    /// Sends what is left of the spans.
    pub(crate) fn close(&self) {
        if let Some(spans) = &self.spans {
            spans.close();
        }
    }
}
