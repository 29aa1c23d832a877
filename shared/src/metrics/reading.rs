use smol_str::SmolStr;

use super::Metric;
use crate::model::Timestamp;

/// Something measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The metric.
    pub metric: &'static Metric,
    /// A value for each of its labels, in their order.
    pub labels: Vec<SmolStr>,
    /// How much: things, or microseconds.
    pub value: u64,
    /// How often it was this much; for histograms.
    pub times: u64,
}

impl Metric {
    /// So much of it.
    #[must_use]
    pub fn is(&'static self, value: u64, labels: &[&str]) -> Reading {
        self.is_often(value, 1, labels)
    }

    /// So much of it, several times.
    #[must_use]
    pub fn is_often(&'static self, value: u64, times: u64, labels: &[&str]) -> Reading {
        Reading {
            metric: self,
            labels: labels.iter().map(|label| SmolStr::from(*label)).collect(),
            value,
            times,
        }
    }

    /// How long it took.
    #[must_use]
    pub fn took(&'static self, from: Timestamp, to: Timestamp, labels: &[&str]) -> Reading {
        self.is(micros(from, to), labels)
    }
}

/// Microseconds from one moment to another; none where a clock was put back, or the sender's is ahead.
#[must_use]
pub fn micros(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.ms_since(from))
        .unwrap_or(0)
        .saturating_mul(1_000)
}
