//! Times the steps of the main job, counts them and, for benchmarks, makes them slow or fail.

mod faults;
mod probed;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::ports::Error;

use crate::stopwatch::Stopwatch;

pub(crate) use faults::{FaultRates, Faults};
pub(crate) use probed::Probed;

/// A step of the main job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Waiting for input.
    Wait,
    /// Rows are read.
    ReadRows,
    /// Rows are written.
    WriteRows,
    /// Events are journaled.
    Append,
    /// The journal is read, for a refold.
    ReadJournal,
    /// Messages are sent, received and deleted.
    Queue,
    /// Leases are taken and given back.
    Locks,
    /// A unit of work is made durable.
    Sync,
    /// What is left of a unit of work: the rules, and putting batches together.
    Rules,
}

impl Step {
    /// How many there are.
    pub(crate) const COUNT: usize = 9;
    /// All of them.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Wait,
        Self::ReadRows,
        Self::WriteRows,
        Self::Append,
        Self::ReadJournal,
        Self::Queue,
        Self::Locks,
        Self::Sync,
        Self::Rules,
    ];

    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait for input",
            Self::ReadRows => "read rows",
            Self::WriteRows => "write rows",
            Self::Append => "journal",
            Self::ReadJournal => "read journal",
            Self::Queue => "queue",
            Self::Locks => "locks",
            Self::Sync => "sync",
            Self::Rules => "rules",
        }
    }
}

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    spent_ns: [AtomicU64; Step::COUNT],
    faults: Option<Faults>,
}

impl Probe {
    /// One that also makes faults.
    pub(crate) fn with(faults: Faults) -> Self {
        Self {
            faults: Some(faults),
            ..Self::default()
        }
    }

    /// Does a piece of work and adds its time to the step.
    pub(crate) fn time<T>(&self, step: Step, work: impl FnOnce() -> T) -> T {
        let started = Stopwatch::start();
        let done = work();
        self.add(step, started.elapsed());
        done
    }

    /// Does a unit of work, whose time is that of its steps and the rules'.
    pub(crate) fn unit<T>(&self, work: impl FnOnce() -> T) -> T {
        let steps = || -> u64 {
            let spent = self.spent_ns.iter();
            spent.map(|spent| spent.load(Ordering::Relaxed)).sum()
        };
        let (started, before) = (Stopwatch::start(), steps());
        let done = work();
        let of_steps = Duration::from_nanos(steps().saturating_sub(before));
        self.add(Step::Rules, started.elapsed().saturating_sub(of_steps));
        done
    }

    /// Does what a port does: as part of a step, and with the faults that are due.
    async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Stopwatch::start();
        let done = match &self.faults {
            None => work.await,
            Some(faults) => faults.around(work).await,
        };
        self.add(step, started.elapsed());
        done
    }

    fn add(&self, step: Step, spent: Duration) {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        if let Some(spent) = self.spent_ns.get(step as usize) {
            spent.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// Microseconds spent in each step since this was asked last, in the order of [`Step::ALL`].
    pub(crate) fn take_us(&self) -> Vec<u64> {
        let take = |spent: &AtomicU64| spent.swap(0, Ordering::Relaxed) / 1_000;
        self.spent_ns.iter().map(take).collect()
    }

    /// Faults that were made since this was asked last.
    pub(crate) fn take_faults(&self) -> u64 {
        self.faults.as_ref().map_or(0, Faults::take_made)
    }
}
