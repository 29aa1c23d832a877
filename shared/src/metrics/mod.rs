//! What is measured: every metric's name, unit, labels and meaning, in one list.
//!
//! What services return is turned into [readings](Reading) by [`service`](crate::service); where they go
//! is the host's business: Prometheus's text locally, `CloudWatch`'s embedded format on Lambda.

mod bounds;
mod reading;
pub mod registry;

pub use bounds::{Bounds, OTHER, TENANTS_MAX};
pub use reading::{Reading, micros};
pub use registry::ALL;

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus, by the conventions there: base units, `_total` for counters.
    pub name: &'static str,
    /// Its name in `CloudWatch`.
    pub cloudwatch: &'static str,
    /// How its readings add up.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// By what it is told apart; each label has a bounded number of values.
    pub labels: &'static [Label],
    /// What it says, one sentence without a full stop.
    pub help: &'static str,
}

/// How the readings of a metric add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They are summed.
    Counter,
    /// The last one counts.
    Gauge,
    /// They are counted by size: the upper bounds, in the unit of a [`Reading`].
    Histogram(&'static [u64]),
}

/// What a metric is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds; a reading is in microseconds.
    Seconds,
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// Its name in `CloudWatch`; `None` where it is no dimension there, because each value costs.
    pub dimension: Option<&'static str>,
    /// What it may be.
    pub values: Values,
}

/// What a label may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these; everything else is [`OTHER`].
    Of(&'static [&'static str]),
    /// One of the first [`TENANTS_MAX`] tenants seen; every further one is [`OTHER`].
    Tenants,
}

impl Kind {
    /// In a word, as Prometheus says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Metric {
    /// The names of its labels.
    pub fn label_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.labels.iter().map(|label| label.name)
    }

    /// Every set of labels that it can have, where all are known beforehand; else none.
    #[must_use]
    pub fn known_labels(&self) -> Vec<Vec<&'static str>> {
        let mut sets: Vec<Vec<&'static str>> = vec![Vec::new()];
        for label in self.labels {
            let values = match label.values {
                Values::Of(values) => values,
                Values::Tenants => return Vec::new(),
            };
            let longer = |set: &Vec<&'static str>| {
                let set = set.clone();
                values
                    .iter()
                    .map(move |value| [set.as_slice(), &[*value]].concat())
            };
            sets = sets.iter().flat_map(longer).collect();
        }
        sets
    }
}

/// A value in the metric's own unit.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "every monitoring system counts in floating point"
)]
pub fn in_unit(unit: Unit, value: u64) -> f64 {
    match unit {
        Unit::Count => value as f64,
        Unit::Seconds => value as f64 / 1e6,
    }
}
