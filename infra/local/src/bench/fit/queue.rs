//! Latency against load: L(r) = s + w·ρ/(1−ρ), with ρ = r/C.
//!
//! That is the mean of an M/G/1 queue (Pollaczek and Khinchine): s is the time of service, and w is s(1+v²)/2,
//! where v is the coefficient of variation of the service time. Percentiles of such queues grow with load in
//! the same form, so each is fitted by itself.

use serde::{Deserialize, Serialize};

use super::Pair;
use super::least_squares::{Equation, solve};

/// How finely capacities are tried.
const TRIALS: u32 = 400;
/// The greatest capacity that is tried, as a multiple of the greatest rate that was measured.
const CAPACITY_MAX: f64 = 30.0;

/// A queue in front of one server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// What an event takes when it comes alone.
    pub(crate) service: f64,
    /// How fast waiting grows.
    pub(crate) wait: f64,
    /// The rate that it cannot reach.
    pub(crate) capacity: f64,
}

impl Queue {
    /// The queue that lies nearest to these latencies by rate, each relative to its size. The capacity may be
    /// known from elsewhere.
    pub(crate) fn fit(points: &[Pair], capacity: Option<f64>) -> Option<Self> {
        if let Some(capacity) = capacity {
            return Self::with_capacity(points, capacity).map(|(queue, _)| queue);
        }
        let most = points.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
        let trials = (1..=TRIALS).filter_map(|trial| {
            let share = f64::from(trial) / f64::from(TRIALS);
            Self::with_capacity(points, most * 1.001 * CAPACITY_MAX.powf(share))
        });
        let best = trials.min_by(|(_, one), (_, other)| one.total_cmp(other));
        best.map(|(queue, _)| queue)
    }

    /// The best queue with this capacity, and how far off it is.
    fn with_capacity(points: &[Pair], capacity: f64) -> Option<(Self, f64)> {
        let below: Vec<&Pair> = points.iter().filter(|(rate, _)| *rate < capacity).collect();
        if below.len() < 2 {
            return None;
        }
        let equation = |(rate, latency): &&Pair| -> Equation {
            let load = rate / capacity;
            (
                [1.0, load / (1.0 - load), 0.0],
                *latency,
                1.0 / (latency * latency),
            )
        };
        let equations: Vec<Equation> = below.iter().map(equation).collect();
        let [service, wait, _] = solve(&equations)?;
        let queue = Self {
            service,
            wait,
            capacity,
        };
        let off = |(rate, latency): &&Pair| (queue.at(*rate) / latency - 1.0).powi(2);
        Some((queue, below.iter().map(off).sum()))
    }

    /// The latency at a rate; infinite from the capacity on.
    pub(crate) fn at(&self, rate: f64) -> f64 {
        let load = rate / self.capacity;
        if load >= 1.0 {
            return f64::INFINITY;
        }
        self.service + self.wait * load / (1.0 - load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expect: f64, share: f64) {
        assert!((got / expect - 1.0).abs() <= share, "{got}, not {expect}");
    }

    /// M/M/1 with a service time of 2 ms: the mean time in the system is 1/(500 − r).
    #[test]
    fn a_queue_of_one_server_is_found() {
        let points: Vec<Pair> = [50.0, 100.0, 200.0, 300.0, 400.0, 450.0]
            .into_iter()
            .map(|rate| (rate, 1_000.0 / (500.0 - rate)))
            .collect();
        let known = Queue::fit(&points, Some(500.0)).expect("a fit");
        near(known.service, 2.0, 1e-9);
        near(known.wait, 2.0, 1e-9);
        let found = Queue::fit(&points, None).expect("a fit");
        near(found.capacity, 500.0, 0.02);
        near(found.at(475.0), 40.0, 0.2);
        assert!(found.at(1_000.0).is_infinite());
    }

    /// M/D/1: half the waiting, since every service takes the same time.
    #[test]
    fn constant_service_waits_half_as_long() {
        let points: Vec<Pair> = [100.0, 300.0, 450.0]
            .into_iter()
            .map(|rate| {
                let load: f64 = rate / 500.0;
                (rate, 2.0 + load / (1.0 - load))
            })
            .collect();
        let queue = Queue::fit(&points, Some(500.0)).expect("a fit");
        near(queue.wait / queue.service, 0.5, 1e-9);
        assert_eq!(
            Queue::fit(&points, Some(150.0)),
            None,
            "one point is no line"
        );
    }
}
