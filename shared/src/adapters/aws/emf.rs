use serde_json::{Map, Value, json};

use crate::model::Timestamp;

/// The namespace of all metrics.
const NAMESPACE: &str = "Foldback";

/// A metric: its name, its unit as `CloudWatch` calls it, its value.
pub type Metric = (&'static str, &'static str, f64);

/// A metric of how many there are of something.
#[must_use]
pub fn count_of(name: &'static str, number: u64) -> Metric {
    let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    (name, "Count", number)
}

/// A line of log that `CloudWatch` makes metrics of.
///
/// In its embedded metric format (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
/// Every metric stands by the dimension `Stack`, so that two stacks of one account do not ring each other's
/// alarms; with `by`, a name and a value, by that too.
#[must_use]
pub fn metrics_line(
    now: Timestamp,
    stack: &str,
    metrics: &[Metric],
    by: Option<(&str, &str)>,
) -> String {
    let mut line = Map::new();
    let mut set = Vec::new();
    for (name, value) in [("Stack", stack)].into_iter().chain(by) {
        line.insert(name.to_owned(), value.into());
        set.push(name);
    }
    let named: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit }))
        .collect();
    for (name, _, value) in metrics {
        line.insert((*name).to_owned(), json!(value));
    }
    let about = json!([{ "Namespace": NAMESPACE, "Dimensions": [set], "Metrics": named }]);
    let about = json!({ "Timestamp": now.ms(), "CloudWatchMetrics": about });
    line.insert("_aws".to_owned(), about);
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_format_asks_for() {
        let line = metrics_line(
            Timestamp::from_ms(1_772_357_400_000),
            "foldback",
            &[("Findings", "Count", 2.0)],
            Some(("Table", "RSLead")),
        );
        let expect = json!({
            "_aws": {
                "Timestamp": 1_772_357_400_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Foldback",
                    "Dimensions": [["Stack", "Table"]],
                    "Metrics": [{ "Name": "Findings", "Unit": "Count" }],
                }],
            },
            "Stack": "foldback",
            "Table": "RSLead",
            "Findings": 2.0,
        });
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line, expect);
    }
}
