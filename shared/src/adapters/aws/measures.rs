use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use crate::metrics::{Bounds, Kind, Metric, Reading, Unit, in_unit};
use crate::model::Timestamp;

/// The namespace of all metrics.
const NAMESPACE: &str = "Foldback";
/// The most values of one metric in one line.
const VALUES_MAX: usize = 100;
/// The dimension that all metrics have.
const STACK: &str = "Stack";

/// Dimensions, each with its value.
type Dimensions = Vec<(&'static str, SmolStr)>;
/// The values of each metric of a line.
type Values = BTreeMap<&'static str, (&'static Metric, Vec<u64>)>;

/// Lines of log that `CloudWatch` makes metrics of.
///
/// In its embedded metric format (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
/// Every metric stands by the dimension `Stack`, and by that and those of its labels that are dimensions. What
/// was counted zero times by a label is left out: a metric costs by existing.
#[must_use]
pub fn metric_lines(now: Timestamp, stack: &str, readings: &[Reading]) -> Vec<String> {
    let mut sets: BTreeMap<Dimensions, Values> = BTreeMap::new();
    let mut bounds = Bounds::default();
    for reading in readings {
        let Reading {
            metric,
            value,
            times,
            ..
        } = reading;
        let labelled = !metric.labels.is_empty();
        if metric.kind == Kind::Counter && *value == 0 && labelled {
            continue;
        }
        let labels = bounds.labels(reading).into_iter().zip(metric.labels);
        let dimensions = labels.filter_map(|(value, label)| Some((label.dimension?, value)));
        let values = sets.entry(dimensions.collect()).or_default();
        let (_, values) = values
            .entry(metric.cloudwatch)
            .or_insert((metric, Vec::new()));
        match (metric.kind, values.first_mut()) {
            (Kind::Counter, Some(sum)) => *sum += value * times,
            (Kind::Gauge, Some(last)) => *last = *value,
            (Kind::Counter | Kind::Gauge, None) => values.push(value * times),
            (Kind::Histogram(_), _) => {
                let times = usize::try_from(*times).unwrap_or(usize::MAX);
                values.extend(std::iter::repeat_n(*value, times));
            }
        }
    }
    let lines = sets.into_iter();
    lines
        .flat_map(|(dimensions, values)| lines_of(now, stack, &dimensions, values))
        .collect()
}

/// One line, and another as long as some metric has more values than a line may hold.
fn lines_of(
    now: Timestamp,
    stack: &str,
    dimensions: &Dimensions,
    mut values: Values,
) -> Vec<String> {
    let mut lines = Vec::new();
    while !values.is_empty() {
        lines.push(line(now, stack, dimensions, &values));
        values.retain(|_, (_, values)| {
            values.drain(..VALUES_MAX.min(values.len()));
            !values.is_empty()
        });
    }
    lines
}

fn line(now: Timestamp, stack: &str, dimensions: &Dimensions, values: &Values) -> String {
    let mut line = Map::new();
    line.insert(STACK.to_owned(), stack.into());
    for (name, value) in dimensions {
        line.insert((*name).to_owned(), value.as_str().into());
    }
    let mut sets = vec![vec![STACK]];
    if !dimensions.is_empty() {
        let names = dimensions.iter().map(|(name, _)| *name);
        sets.push([STACK].into_iter().chain(names).collect());
    }
    let mut named = Vec::with_capacity(values.len());
    for (name, (metric, values)) in values {
        let unit = match metric.unit {
            Unit::Count => "Count",
            Unit::Seconds => "Seconds",
        };
        named.push(json!({ "Name": name, "Unit": unit }));
        let values: Vec<Value> = values
            .iter()
            .take(VALUES_MAX)
            .map(|value| json!(in_unit(metric.unit, *value)))
            .collect();
        let value = match values.as_slice() {
            [one] => one.clone(),
            several => json!(several),
        };
        line.insert((*name).to_owned(), value);
    }
    let about = json!([{ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": named }]);
    let about = json!({ "Timestamp": now.ms(), "CloudWatchMetrics": about });
    line.insert("_aws".to_owned(), about);
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::registry as m;

    fn lines(readings: &[Reading]) -> Vec<Value> {
        let now = Timestamp::from_ms(1_772_357_400_000);
        let lines = metric_lines(now, "crm", readings);
        let read = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        read.collect()
    }

    #[test]
    fn a_line_is_what_the_format_asks_for() {
        let lines = lines(&[
            m::EVENTS_LATE.is(2, &["over_1d", "acme"]),
            m::EVENTS_LATE.is(1, &["over_1d", "globex"]),
            m::EVENTS_PARKED.is(0, &["acme"]),
        ]);
        let expect = json!({
            "_aws": {
                "Timestamp": 1_772_357_400_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Foldback",
                    "Dimensions": [["Stack"], ["Stack", "Lateness"]],
                    "Metrics": [{ "Name": "LateEvents", "Unit": "Count" }],
                }],
            },
            "Stack": "crm",
            "Lateness": "over_1d",
            "LateEvents": 3.0,
        });
        assert_eq!(lines, [expect]);
    }

    #[test]
    fn times_are_told_one_by_one_and_a_hundred_a_line() {
        let lines = lines(&[
            m::PROCESS_SECONDS.is(1_500_000, &[]),
            m::QUEUE_WAIT_SECONDS.is_often(20_000, 150, &[]),
        ]);
        let [first, second] = lines.as_slice() else {
            panic!("two lines: {lines:?}");
        };
        assert_eq!(first["ProcessTime"], json!(1.5));
        assert_eq!(first["QueueAge"], json!(vec![0.02; 100]));
        assert_eq!(second["QueueAge"], json!(vec![0.02; 50]));
        assert_eq!(second.get("ProcessTime"), None);
        let about = &second["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            about["Metrics"],
            json!([{ "Name": "QueueAge", "Unit": "Seconds" }])
        );
        assert_eq!(about["Dimensions"], json!([["Stack"]]));
    }
}
