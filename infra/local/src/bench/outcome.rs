//! What a benchmark came to, as it is kept in JSON.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::machine::{Machine, Usage};
use super::number::{float, median};
use super::scenario::Scenario;
use super::worker::Sums;

/// The results of one or more scenarios.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    /// Which program.
    pub(crate) version: String,
    /// When, in UTC.
    pub(crate) started: String,
    pub(crate) machine: Machine,
    pub(crate) outcomes: Vec<Outcome>,
}

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    /// What was measured.
    #[serde(default)]
    pub(crate) place: Place,
    /// Texts that there were to send, and their bytes.
    pub(crate) texts: u64,
    pub(crate) bytes: u64,
    /// In the order in which they were measured.
    pub(crate) points: Vec<Point>,
}

/// Where events and rows were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// In a data directory.
    #[default]
    Embedded,
    /// The rows in MongoDB, the rest in a data directory.
    Mongodb,
    /// In a stack on AWS.
    Stack,
}

/// How the load came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// So many events in flight at any time.
    InFlight(u64),
    /// So many events a second, whatever became of those before.
    Rate(f64),
}

/// One load level, measured once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Point {
    pub(crate) mode: Mode,
    /// Of an open loop at a share of the closed loop's best throughput, the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<f64>,
    /// Texts that were sent and are durable with all that follows from them.
    pub(crate) done: u64,
    /// Texts a second, without those of the beginning.
    pub(crate) throughput: f64,
    /// From the intended moment of sending to the durable rows.
    pub(crate) latency: Latency,
    /// Texts done in each tenth of a second.
    pub(crate) over_time: Vec<u64>,
    /// Of each step the time of one unit of work.
    pub(crate) steps: Vec<StepTime>,
    /// By how many milliseconds the sender itself was late at most.
    pub(crate) sender_late_ms: f64,
    pub(crate) reliability: Reliability,
    pub(crate) sums: Sums,
    pub(crate) usage: Usage,
    /// What the calibration loop came to right before, in events a second.
    pub(crate) calibration: f64,
}

/// Milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// A step of all units of work of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepTime {
    pub(crate) name: String,
    /// Its share of the time of all steps.
    pub(crate) share: f64,
    pub(crate) latency: Latency,
}

/// What went wrong, and whether it came right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reliability {
    /// Faults of stores, made on purpose.
    pub(crate) faults: u64,
    /// Units of work that were tried again.
    pub(crate) retries: u64,
    /// How often the process was killed or died, and was started again.
    pub(crate) restarts: u64,
    /// Events that must act on rows and do not stand in the journal.
    pub(crate) missing: u64,
    /// Rows that differ from the fold of their events: must be none.
    pub(crate) findings: u64,
}

impl Reliability {
    /// Whether nothing is lost and nothing wrong.
    pub(crate) fn is_sound(&self) -> bool {
        self.missing == 0 && self.findings == 0
    }
}

impl Latency {
    /// Of microseconds.
    pub(crate) fn of(us: &Histogram<u64>) -> Self {
        let at = |quantile: f64| float(us.value_at_quantile(quantile)) / 1_000.0;
        if us.is_empty() {
            return Self::default();
        }
        Self {
            mean: us.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }

    /// Of each figure the median of several.
    fn median(all: &[&Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            median(&all.iter().map(|one| figure(one)).collect::<Vec<_>>())
        };
        Self {
            mean: of(|one| one.mean),
            p50: of(|one| one.p50),
            p90: of(|one| one.p90),
            p99: of(|one| one.p99),
            p999: of(|one| one.p999),
            max: of(|one| one.max),
        }
    }
}

impl Mode {
    /// What it is called: `256 in flight`, `2,000 events/s`.
    pub(crate) fn name(self) -> String {
        match self {
            Self::InFlight(count) => {
                format!("{} in flight", super::number::thousands(float(count)))
            }
            Self::Rate(rate) => format!("{} events/s", super::number::short(rate)),
        }
    }
}

/// All runs of one load level.
#[derive(Debug, Clone)]
pub(crate) struct Level<'a> {
    pub(crate) points: Vec<&'a Point>,
    pub(crate) throughput: f64,
    pub(crate) latency: Latency,
}

impl<'a> Level<'a> {
    fn of(points: Vec<&'a Point>) -> Self {
        let throughputs: Vec<f64> = points.iter().map(|point| point.throughput).collect();
        let latencies: Vec<&Latency> = points.iter().map(|point| &point.latency).collect();
        Self {
            throughput: median(&throughputs),
            latency: Latency::median(&latencies),
            points,
        }
    }

    /// Events by second of processor time; `None` where the system does not tell.
    pub(crate) fn of_processor(&self) -> Option<f64> {
        let of = |point: &&Point| {
            let seconds = float(point.usage.cpu_ms) / 1_000.0;
            (seconds > 0.0).then(|| float(point.done) / seconds)
        };
        let all: Vec<f64> = self.points.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| median(&all))
    }

    /// How the load came.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.points.first().map(|point| point.mode)
    }
}

impl Place {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded store",
            Self::Mongodb => "rows in MongoDB",
            Self::Stack => "a stack on AWS",
        }
    }
}

impl Outcome {
    /// What runs of one scenario at one kind of place have in common.
    pub(crate) fn key(&self) -> String {
        let name = &self.scenario.name;
        match self.place {
            Place::Embedded => name.clone(),
            Place::Mongodb => format!("{name}-mongodb"),
            Place::Stack => format!("{name}-stack"),
        }
    }

    /// The load levels in the order of the first run.
    pub(crate) fn levels(&self) -> Vec<Level<'_>> {
        let mut order: Vec<String> = Vec::new();
        let mut by_key: BTreeMap<String, Vec<&Point>> = BTreeMap::new();
        for point in &self.points {
            let key = point.key();
            if !order.contains(&key) {
                order.push(key.clone());
            }
            by_key.entry(key).or_default().push(point);
        }
        let points = order.iter().filter_map(|key| by_key.remove(key));
        points.map(Level::of).collect()
    }

    /// Throughput against events in flight, of every run.
    pub(crate) fn closed(&self) -> Vec<(f64, f64)> {
        let of = |point: &Point| match point.mode {
            Mode::InFlight(count) => Some((float(count), point.throughput)),
            Mode::Rate(_) => None,
        };
        self.points.iter().filter_map(of).collect()
    }

    /// Latency against the rate, of every run of the open loop.
    pub(crate) fn open(&self) -> Vec<(f64, &Latency)> {
        let of = |point: &'_ Point| match point.mode {
            Mode::InFlight(_) => None,
            Mode::Rate(rate) => Some(rate),
        };
        let points = self.points.iter();
        points
            .filter_map(|point| Some((of(point)?, &point.latency)))
            .collect()
    }

    /// The greatest throughput of the closed loop.
    pub(crate) fn best(&self) -> f64 {
        let closed = self.closed();
        closed.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    /// Whether nothing was lost and nothing wrong at any point.
    pub(crate) fn is_sound(&self) -> bool {
        self.points.iter().all(|point| point.reliability.is_sound())
    }
}

impl Point {
    /// What runs of one level have in common.
    pub(crate) fn key(&self) -> String {
        match (self.share, self.mode) {
            (Some(share), _) => format!("{:.0} % of the best", share * 100.0),
            (None, mode) => mode.name(),
        }
    }
}
