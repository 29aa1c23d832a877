//! What is done again and again: replay in `report` mode, and reports.

use std::sync::Arc;
use std::time::Duration;

use shared::service::measured;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::meter::Meter;
use super::writer::{Desk, Order};
use crate::error::Failure;
use crate::indexes::Checks;
use crate::settings::InForce;
use crate::stores::Stores;
use crate::{replay, report};

/// The schedules and what they work with. They read over a connection of their own.
pub(crate) struct Schedule {
    pub(crate) stores: Stores,
    pub(crate) desk: Desk,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) replay_every: u32,
    pub(crate) report_every: u32,
}

/// How long after the start the first replay begins.
const FIRST: Duration = Duration::from_secs(2);

impl Schedule {
    /// Keeps to the schedules until it is told to stop. What fails is told, and tried again the next time.
    pub(crate) fn run(self, mut stopping: watch::Receiver<bool>) -> Result<(), Failure> {
        let clock = Builder::new_current_thread().enable_time().build();
        let clock = clock.map_err(|source| Failure::File {
            what: "start the schedules".to_owned(),
            source,
        })?;
        let every = |seconds: u32| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        let (replay, report) = (every(self.replay_every), every(self.report_every));
        let mut due = clock.block_on(async {
            let first = Instant::now() + FIRST;
            (replay.map(|_| first), report.map(|_| first))
        });
        loop {
            let next = [due.0, due.1].into_iter().flatten().min();
            let stopped = clock.block_on(async {
                let stopped = stopping.wait_for(|stop| *stop);
                match next {
                    None => {
                        drop(stopped.await);
                        true
                    }
                    Some(next) => tokio::select! {
                        _ = stopped => true,
                        () = sleep_until(next) => false,
                    },
                }
            });
            if stopped {
                return Ok(());
            }
            let now = clock.block_on(async { Instant::now() });
            if let (Some(at), Some(every)) = (due.0, replay)
                && at <= now
            {
                due.0 = Some(now + every);
                tell("replay", self.replay());
            }
            if let (Some(at), Some(every)) = (due.1, report)
                && at <= now
            {
                due.1 = Some(now + every);
                tell("report", self.report());
            }
        }
    }

    fn replay(&self) -> Result<(), Failure> {
        let verdict = replay::verify(&self.stores, &self.in_force.get())?;
        let (run, findings) = (Box::new(verdict.run), verdict.findings);
        self.desk.leave(Order::KeepRun(run, findings, None));
        Ok(())
    }

    fn report(&self) -> Result<(), Failure> {
        let checks = Checks::make(&self.stores)?;
        let report = report::make(&self.stores, &checks)?;
        let faults = checks.faults().len() as u64;
        self.meter.record(&measured::of_report(&report, faults));
        self.desk.leave(Order::KeepReport(Box::new(report)));
        Ok(())
    }
}

fn tell(what: &str, done: Result<(), Failure>) {
    if let Err(failure) = done {
        anstream::eprintln!("the scheduled {what} failed: {failure}");
    }
}
