//! What is done, when, and how long it took.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::load::Plan;
use super::number::float;
use super::outcome::{Latency, Mode, StepTime};
use crate::error::Failure;
use crate::stopwatch::us;

/// The longest latency that is told apart, ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// What is done in the first of so many parts of the time is not counted: what is measured warms up.
const WARM_UP: f64 = 0.1;
const WARM_UP_SECONDS_MAX: f64 = 0.3;
const TENTH: Duration = Duration::from_millis(100);

/// Counts texts as they are done; the first of them are not measured.
#[derive(Debug)]
pub(crate) struct Counts {
    latency_us: Histogram<u64>,
    /// How many in each tenth of a second.
    pub(crate) over_time: Vec<u64>,
    /// How many in all.
    pub(crate) done: usize,
    /// So many that come first are not measured.
    first: usize,
    warm_up: f64,
    /// When the first after the warm-up were done, and how many were by then.
    warm: Option<(Duration, usize)>,
    last: Duration,
}

impl Counts {
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self, Failure> {
        let first = match plan.mode {
            // The first that were let in together come through together.
            Mode::InFlight(most) => usize::try_from(most).unwrap_or(usize::MAX),
            Mode::Rate(_) => 0,
        };
        Ok(Self {
            latency_us: histogram()?,
            over_time: Vec::new(),
            done: 0,
            first: first.min(plan.lines.len() / 2),
            warm_up: (plan.seconds_max * WARM_UP).min(WARM_UP_SECONDS_MAX),
            warm: None,
            last: Duration::ZERO,
        })
    }

    /// Counts a text that was to be sent then and is done now.
    pub(crate) fn take(&mut self, due: Duration, now: Duration) {
        let tenth = usize::try_from(now.as_millis() / TENTH.as_millis()).unwrap_or(0);
        if self.over_time.len() <= tenth {
            self.over_time.resize(tenth + 1, 0);
        }
        if let Some(count) = self.over_time.get_mut(tenth) {
            *count += 1;
        }
        self.last = self.last.max(now);
        self.done += 1;
        if self.done <= self.first || now.as_secs_f64() < self.warm_up {
            return;
        }
        // Those that are done at the same moment were done before the time began.
        match &mut self.warm {
            None => self.warm = Some((now, self.done)),
            Some((warm, done)) if *warm == now => *done = self.done,
            Some(_) => {}
        }
        self.latency_us
            .saturating_record(us(now.saturating_sub(due)));
    }

    /// Texts a second, from the warm-up to the last.
    pub(crate) fn throughput(&self) -> f64 {
        let (warm, at) = self.warm.unwrap_or_default();
        let seconds = self.last.saturating_sub(warm).as_secs_f64();
        if seconds > 0.0 {
            float(self.done.saturating_sub(at) as u64) / seconds
        } else {
            float(self.done as u64) / self.last.as_secs_f64().max(1e-6)
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        Latency::of(&self.latency_us)
    }
}

/// What a step took, over and over.
#[derive(Debug)]
pub(crate) struct StepSum {
    name: &'static str,
    sum_us: u64,
    histogram: Histogram<u64>,
}

impl StepSum {
    /// One for each name.
    pub(crate) fn each<const N: usize>(names: [&'static str; N]) -> Result<Vec<Self>, Failure> {
        let one = |name| {
            Ok(Self {
                name,
                sum_us: 0,
                histogram: histogram()?,
            })
        };
        names.into_iter().map(one).collect()
    }

    pub(crate) fn add(&mut self, us: u64) {
        self.sum_us += us;
        self.histogram.saturating_record(us);
    }

    /// Each beside all.
    pub(crate) fn shares(all: &[Self]) -> Vec<StepTime> {
        let sum: u64 = all.iter().map(|step| step.sum_us).sum();
        let of = |step: &Self| StepTime {
            name: step.name.to_owned(),
            share: float(step.sum_us) / float(sum.max(1)),
            latency: Latency::of(&step.histogram),
        };
        all.iter().map(of).collect()
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .map_err(|error| Failure::Input(format!("latency histogram: {error}")))
}
