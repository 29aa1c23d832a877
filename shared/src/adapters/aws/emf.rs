use serde_json::{Map, Value, json};

use crate::model::Timestamp;

/// The namespace of all metrics.
const NAMESPACE: &str = "Foldback";

/// A metric: its name, its unit as `CloudWatch` calls it, its value.
pub type Metric = (&'static str, &'static str, f64);

/// A line of log that `CloudWatch` makes metrics of.
///
/// In its embedded metric format (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
/// Every metric stands without dimensions; with `dimension`, a name and a value, by that too.
#[must_use]
pub fn metrics_line(now: Timestamp, metrics: &[Metric], dimension: Option<(&str, &str)>) -> String {
    let mut line = Map::new();
    let sets = match dimension {
        Some((name, value)) => {
            line.insert(name.to_owned(), value.into());
            json!([[name]])
        }
        None => json!([[]]),
    };
    let named: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit }))
        .collect();
    for (name, _, value) in metrics {
        line.insert((*name).to_owned(), json!(value));
    }
    let about = json!([{ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": named }]);
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
            &[("Findings", "Count", 2.0)],
            Some(("Table", "RSLead")),
        );
        let expect = json!({
            "_aws": {
                "Timestamp": 1_772_357_400_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Foldback",
                    "Dimensions": [["Table"]],
                    "Metrics": [{ "Name": "Findings", "Unit": "Count" }],
                }],
            },
            "Table": "RSLead",
            "Findings": 2.0,
        });
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line, expect);
    }
}
