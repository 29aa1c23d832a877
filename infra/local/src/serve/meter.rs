//! What happened since the process began: for `/metrics`, and for the overview's charts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::service::Processed;

/// What one durable unit of work came to.
#[derive(Debug, Default)]
pub(crate) struct UnitDone {
    /// What was processed.
    pub(crate) processed: Processed,
    /// Requests that were taken in, each with how long it took from arrival to the durable journal.
    pub(crate) taken: Vec<Duration>,
    /// Messages whose rows are durable now, each with how long it waited and was worked on.
    pub(crate) handled: Vec<Duration>,
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    units: u64,
    events: u64,
    late: u64,
    parked: u64,
}

impl Meter {
    /// Counts a unit of work that is durable.
    pub(crate) fn unit(&self, done: &UnitDone) {
        let mut counted = self.lock();
        counted.units += 1;
        counted.events += done.processed.events;
        counted.late += done.processed.late.len() as u64;
        counted.parked += done.processed.parked.len() as u64;
    }

    /// All of it as Prometheus reads it, in its text format.
    pub(crate) fn text(&self) -> String {
        let counted = self.lock();
        let counters = [
            ("foldback_units_total", counted.units),
            ("foldback_events_processed_total", counted.events),
            ("foldback_events_late_total", counted.late),
            ("foldback_events_parked_total", counted.parked),
        ];
        let line = |(name, count): (&str, u64)| format!("# TYPE {name} counter\n{name} {count}\n");
        counters.into_iter().map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
