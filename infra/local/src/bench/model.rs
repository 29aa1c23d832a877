//! What a scenario's points say about loads that were not measured.

use super::fit::{Bounds, Pair, Queue, Usl, Value, bounds, errors};
use super::number::{float, median, short};
use super::outcome::{Latency, Level, Mode, Outcome};

/// A fit of throughput against events in flight, and of latency against rate.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) usl: Usl,
    /// The greatest throughput, and how many in flight are at the knee.
    pub(crate) capacity: Bounds,
    pub(crate) knee: Bounds,
    closed: Vec<Pair>,
    /// Events a second of processor time, which other work on the machine disturbs least.
    of_processor: Vec<Pair>,
    pub(crate) processor: Option<Usl>,
    p50: Vec<Pair>,
    p99: Vec<Pair>,
    pub(crate) median: Option<Queue>,
    pub(crate) tail: Option<Queue>,
}

/// How well what was measured below half of the knee foretells the rest.
#[derive(Debug, Clone)]
pub(crate) struct HeldOut {
    pub(crate) what: &'static str,
    /// Up to which load the fit knew.
    pub(crate) known_to: f64,
    pub(crate) unit: &'static str,
    /// Load, measured, foretold; a median of the runs each.
    pub(crate) rest: Vec<(f64, f64, f64)>,
}

impl HeldOut {
    /// The shares by which it was off: the middle one and the greatest.
    pub(crate) fn off(&self) -> (f64, f64) {
        let off = |(_, measured, foretold): &(f64, f64, f64)| (foretold / measured - 1.0).abs();
        let off: Vec<f64> = self
            .rest
            .iter()
            .map(off)
            .filter(|off| off.is_finite())
            .collect();
        (median(&off), off.iter().copied().fold(0.0, f64::max))
    }
}

impl HeldOut {
    /// In words.
    pub(crate) fn in_words(&self) -> String {
        let (middle, most) = self.off();
        let beyond = self
            .rest
            .iter()
            .filter(|(.., foretold)| foretold.is_infinite())
            .count();
        let beyond = if beyond > 0 {
            format!(
                "; {beyond} of {} it took for more than it can do",
                self.rest.len()
            )
        } else {
            String::new()
        };
        format!(
            "{}: foretold from loads up to {} {}, it was off by {:.0} % in the median and {:.0} % at \
             most{beyond}",
            self.what,
            short(self.known_to),
            self.unit,
            middle * 100.0,
            most * 100.0
        )
    }
}

impl Model {
    /// The fit of a scenario that had a closed loop of at least three levels.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        let levels = outcome.levels();
        // Medians of runs: a machine that was busy for a moment is no property of the law.
        let closed: Vec<Pair> = levels
            .iter()
            .filter_map(|level| match level.mode()? {
                Mode::InFlight(count) => Some((float(count), level.throughput)),
                Mode::Rate(_) => None,
            })
            .collect();
        let values: [&dyn Fn(&Usl) -> f64; 2] = [&Usl::capacity, &Usl::knee];
        let found = bounds(&closed, 3, Usl::fit, |usl, n| usl.at(n), &values)?;
        let [capacity, knee] = <[Bounds; 2]>::try_from(found).ok()?;
        let of_processor: Vec<Pair> = levels
            .iter()
            .filter_map(|level| match level.mode()? {
                Mode::InFlight(count) => Some((float(count), level.of_processor()?)),
                Mode::Rate(_) => None,
            })
            .collect();
        let open = |of: fn(&Latency) -> f64| -> Vec<Pair> {
            let of = |level: &Level<'_>| match level.mode()? {
                Mode::InFlight(_) => None,
                Mode::Rate(rate) => Some((rate, of(&level.latency))),
            };
            levels.iter().filter_map(of).collect()
        };
        let (p50, p99) = (open(|latency| latency.p50), open(|latency| latency.p99));
        Some(Self {
            usl: Usl::fit(&closed)?,
            capacity,
            knee,
            processor: Usl::fit(&of_processor),
            of_processor,
            median: Queue::fit(&p50, None),
            tail: Queue::fit(&p99, None),
            closed,
            p50,
            p99,
        })
    }

    /// Throughput with so many in flight, and its bounds.
    pub(crate) fn throughput(&self, in_flight: &[f64]) -> Vec<Bounds> {
        let of = |n: f64| move |usl: &Usl| usl.at(n);
        let values: Vec<_> = in_flight.iter().map(|n| of(*n)).collect();
        let values: Vec<Value<'_, Usl>> = values.iter().map(|of| of as Value<'_, Usl>).collect();
        bounds(&self.closed, 3, Usl::fit, |usl, n| usl.at(n), &values).unwrap_or_default()
    }

    /// Median and 99th percentile of latency at a rate, in milliseconds, with bounds.
    pub(crate) fn latency(&self, rate: f64) -> (Option<Bounds>, Option<Bounds>) {
        let of = |points: &[Pair], queue: Option<Queue>| {
            let capacity = queue?.capacity;
            let fit = |points: &[Pair]| Queue::fit(points, Some(capacity));
            let value: [&dyn Fn(&Queue) -> f64; 1] = [&|queue| queue.at(rate)];
            let found = bounds(points, 2, fit, |queue, rate| queue.at(rate), &value)?;
            found.into_iter().next()
        };
        (of(&self.p50, self.median), of(&self.p99, self.tail))
    }

    /// The greatest loads that were measured: in flight, and a second.
    pub(crate) fn measured(&self) -> (f64, f64) {
        let most = |points: &[Pair]| points.iter().map(|(at, _)| *at).fold(0.0, f64::max);
        (most(&self.closed), most(&self.p50))
    }

    /// Fits on loads up to half of the knee, latencies up to half of the capacity, and foretells the rest.
    pub(crate) fn held_out(&self) -> Vec<HeldOut> {
        let half = self.usl.knee() / 2.0;
        let mut all = Vec::new();
        let (below, above) = split(&self.closed, half);
        if let Some(usl) = Usl::fit(&below) {
            all.push(held(("throughput", "in flight"), &below, &above, |n| {
                usl.at(n)
            }));
        }
        if let Some(processor) = self.processor {
            let (below, above) = split(&self.of_processor, processor.knee() / 2.0);
            if let Some(usl) = Usl::fit(&below) {
                let what = ("events a second of processor time", "in flight");
                all.push(held(what, &below, &above, |n| usl.at(n)));
            }
        }
        let half_rate = self.usl.capacity() / 2.0;
        for (what, points) in [("latency p50", &self.p50), ("latency p99", &self.p99)] {
            let (below, above) = split(points, half_rate);
            if let Some(queue) = Queue::fit(&below, Some(self.usl.capacity())) {
                all.push(held((what, "events/s"), &below, &above, |rate| {
                    queue.at(rate)
                }));
            }
        }
        all.retain(|held| !held.rest.is_empty());
        all
    }

    /// By which share the law is off at its own points: the middle one.
    pub(crate) fn off(&self) -> f64 {
        median(&errors(&self.closed, |n| self.usl.at(n)))
    }
}

fn split(points: &[Pair], at: f64) -> (Vec<Pair>, Vec<Pair>) {
    points.iter().copied().partition(|(load, _)| *load <= at)
}

fn held(
    (what, unit): (&'static str, &'static str),
    below: &[Pair],
    above: &[Pair],
    foretell: impl Fn(f64) -> f64,
) -> HeldOut {
    let mut loads: Vec<f64> = above.iter().map(|(load, _)| *load).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    let rest = loads.into_iter().map(|load| {
        let at: Vec<f64> = above
            .iter()
            .filter(|(one, _)| *one == load)
            .map(|(_, value)| *value)
            .collect();
        (load, median(&at), foretell(load))
    });
    HeldOut {
        what,
        known_to: below.iter().map(|(load, _)| *load).fold(0.0, f64::max),
        unit,
        rest: rest.collect(),
    }
}
