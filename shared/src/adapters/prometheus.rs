//! Metrics as Prometheus scrapes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use smol_str::SmolStr;

use crate::metrics::{ALL, Bounds, Kind, Metric, Reading, in_unit};
use crate::ports::{Error, ErrorKind, Meter};

const DOING: &str = "measure";

/// Every metric of the [registry](crate::metrics::ALL), from the beginning of the process.
///
/// Series whose labels are known beforehand are there from the first scrape on, with nothing counted: an
/// alert on what has never happened sees a zero, not a gap.
pub struct Scraped {
    registry: Registry,
    families: BTreeMap<&'static str, Family>,
    bounds: Mutex<Bounds>,
}

/// The series of a metric.
enum Family {
    Counter(IntCounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.families.len();
        f.debug_struct("Scraped")
            .field("families", &families)
            .finish_non_exhaustive()
    }
}

impl Scraped {
    /// The media type of [`text`](Self::text).
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;

    /// All metrics, nothing measured yet.
    ///
    /// # Errors
    /// A metric of the registry is none that Prometheus takes: a fault of ours.
    pub fn new() -> Result<Self, Error> {
        let scraped = Self {
            registry: Registry::new(),
            families: BTreeMap::new(),
            bounds: Mutex::default(),
        };
        scraped.filled().map_err(broken)
    }

    fn filled(mut self) -> Result<Self, prometheus::Error> {
        for metric in ALL {
            let family = Family::of(metric)?;
            match &family {
                Family::Counter(series) => self.registry.register(Box::new(series.clone()))?,
                Family::Gauge(series) => self.registry.register(Box::new(series.clone()))?,
                Family::Histogram(series) => self.registry.register(Box::new(series.clone()))?,
            }
            for labels in metric.known_labels() {
                family.begin(&labels)?;
            }
            self.families.insert(metric.name, family);
        }
        Ok(self)
    }

    /// What is scraped.
    ///
    /// # Errors
    /// A series cannot be written: a fault of ours.
    pub fn text(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.map_err(broken)?;
        String::from_utf8(text).map_err(|error| Error::new(ErrorKind::Corrupt, DOING, error))
    }
}

impl Meter for Scraped {
    fn record(&self, readings: &[Reading]) {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        for reading in readings {
            let labels = bounds.labels(reading);
            if let Some(family) = self.families.get(reading.metric.name) {
                family.take(reading, &labels);
            }
        }
    }
}

impl Family {
    fn of(metric: &Metric) -> Result<Self, prometheus::Error> {
        let labels: Vec<&str> = metric.label_names().collect();
        let help = format!("{}.", metric.help);
        Ok(match metric.kind {
            Kind::Counter => {
                Self::Counter(IntCounterVec::new(Opts::new(metric.name, help), &labels)?)
            }
            Kind::Gauge => Self::Gauge(GaugeVec::new(Opts::new(metric.name, help), &labels)?),
            Kind::Histogram(bounds) => {
                let bounds = bounds.iter().map(|bound| in_unit(metric.unit, *bound));
                let options = HistogramOpts::new(metric.name, help).buckets(bounds.collect());
                Self::Histogram(HistogramVec::new(options, &labels)?)
            }
        })
    }

    fn begin(&self, labels: &[&str]) -> Result<(), prometheus::Error> {
        match self {
            Self::Counter(series) => drop(series.get_metric_with_label_values(labels)?),
            Self::Gauge(series) => drop(series.get_metric_with_label_values(labels)?),
            Self::Histogram(series) => drop(series.get_metric_with_label_values(labels)?),
        }
        Ok(())
    }

    /// Labels are as many as the metric has, so that no series can be wrong.
    fn take(&self, reading: &Reading, labels: &[SmolStr]) {
        let value = in_unit(reading.metric.unit, reading.value);
        match self {
            Self::Counter(series) => {
                if let Ok(one) = series.get_metric_with_label_values(labels) {
                    one.inc_by(reading.value.saturating_mul(reading.times));
                }
            }
            Self::Gauge(series) => {
                if let Ok(one) = series.get_metric_with_label_values(labels) {
                    one.set(value);
                }
            }
            Self::Histogram(series) => {
                if let Ok(one) = series.get_metric_with_label_values(labels) {
                    for _ in 0..reading.times {
                        one.observe(value);
                    }
                }
            }
        }
    }
}

fn broken(error: prometheus::Error) -> Error {
    Error::new(ErrorKind::Corrupt, DOING, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::registry as m;

    /// The lines of one metric that count something.
    fn check(readings: &[Reading], name: &str, expect: &[&str]) {
        let scraped = Scraped::new().expect("metrics");
        scraped.record(readings);
        let text = scraped.text().expect("a text");
        let lines = text.lines().filter(|line| line.starts_with(name));
        let lines: Vec<&str> = lines.filter(|line| !line.ends_with(" 0")).collect();
        assert_eq!(lines, expect, "{text}");
    }

    #[test]
    fn readings_add_up_as_their_kind_says() {
        let late = |labels: &[&str]| m::EVENTS_LATE.is(2, labels);
        check(
            &[late(&["over_1d", "acme"]), late(&["over_1d", "acme"])],
            "foldback_events_late_total",
            &[r#"foldback_events_late_total{lateness="over_1d",tenant="acme"} 4"#],
        );
        check(
            &[m::FINDINGS.is(7, &["lost"]), m::FINDINGS.is(3, &["lost"])],
            "foldback_findings",
            &[r#"foldback_findings{class="lost"} 3"#],
        );
        check(
            &[m::END_TO_END_SECONDS.is_often(20 * 86_400_000_000, 3, &[])],
            "foldback_end_to_end_seconds",
            &[
                r#"foldback_end_to_end_seconds_bucket{le="2592000"} 3"#,
                r#"foldback_end_to_end_seconds_bucket{le="+Inf"} 3"#,
                "foldback_end_to_end_seconds_sum 5184000",
                "foldback_end_to_end_seconds_count 3",
            ],
        );
    }

    #[test]
    fn every_metric_is_there_from_the_beginning() {
        let text = Scraped::new().expect("metrics").text().expect("a text");
        for metric in ALL
            .iter()
            .filter(|metric| !metric.known_labels().is_empty())
        {
            let Metric { name, kind, .. } = metric;
            assert!(
                text.contains(&format!("# TYPE {name} {}\n", kind.name())),
                "{name}: {text}"
            );
            assert!(
                text.contains(&format!("# HELP {name} {}.\n", metric.help)),
                "{name}: {text}"
            );
        }
    }
}
