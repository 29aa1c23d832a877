use serde_json::{Value, json};
use shared::metrics::Metric;

use super::grafana::{dimension, values};
use super::{Aws, Panel, Query, ROWS};

const WIDTH: usize = 8;
const HEIGHT: usize = 6;
const PERIOD_SECONDS: u32 = 300;
/// As the template says it.
const STACK: &str = "${AWS::StackName}";

/// The body of the template's dashboard, to be substituted there.
#[must_use]
pub fn body() -> String {
    let mut widgets = Vec::new();
    let mut y = 0;
    for row in ROWS {
        let markdown = json!({ "markdown": format!("## {}", row.title) });
        widgets.push(json!({ "type": "text", "x": 0, "y": y, "width": 24, "height": 1, "properties": markdown }));
        y += 1;
        for (number, panel) in row.panels.iter().enumerate() {
            let (x, down) = (number % 3 * WIDTH, number / 3 * HEIGHT);
            widgets.push(json!({
                "type": "metric",
                "x": x, "y": y + down, "width": WIDTH, "height": HEIGHT,
                "properties": {
                    "title": panel.title.replace("a second", "in five minutes"),
                    "region": "${AWS::Region}",
                    "view": "timeSeries",
                    "period": PERIOD_SECONDS,
                    "metrics": metrics(panel),
                },
            }));
        }
        y += row.panels.len().div_ceil(3) * HEIGHT;
    }
    let widgets: Vec<String> = widgets.iter().map(Value::to_string).collect();
    format!("{{\"widgets\":[\n{}\n]}}", widgets.join(",\n"))
}

fn metrics(panel: &Panel) -> Vec<Value> {
    if !panel.aws.is_empty() {
        return panel.aws.iter().map(of_aws).collect();
    }
    panel.queries.iter().flat_map(of_query).collect()
}

fn of_aws(aws: &Aws) -> Value {
    let name = format!("{STACK}{}", aws.part);
    json!([aws.namespace, aws.name, aws.dimension, name, { "stat": aws.statistic }])
}

fn of_query(query: &Query) -> Vec<Value> {
    match query {
        Query::Rate(metric, by) => each(metric, *by, "Sum"),
        Query::RateOf(metric, label, value) => vec![one(metric, Some((label, value)), "Sum")],
        Query::Value(metric, by) => each(metric, *by, "Maximum"),
        Query::Quantiles(metric) => {
            let quantiles = ["p50", "p95", "p99"].into_iter();
            quantiles
                .map(|quantile| one(metric, None, quantile))
                .collect()
        }
        Query::Most(metric, by) => each(metric, *by, "p95"),
        Query::Share(part, whole) => vec![one(part, None, "Sum"), one(whole, None, "Sum")],
    }
}

fn each(metric: &Metric, by: Option<&str>, statistic: &str) -> Vec<Value> {
    let Some(label) = by else {
        return vec![one(metric, None, statistic)];
    };
    let values = values(metric, label).iter();
    values
        .map(|value| one(metric, Some((label, value)), statistic))
        .collect()
}

fn one(metric: &Metric, by: Option<(&str, &str)>, statistic: &str) -> Value {
    let name = metric.cloudwatch;
    let by = by.and_then(|(label, value)| Some((dimension(metric, label)?, value)));
    match by {
        Some((dimension, value)) => json!([
            "Foldback", name, "Stack", STACK, dimension, value,
            { "stat": statistic, "label": value }
        ]),
        None => json!(["Foldback", name, "Stack", STACK, { "stat": statistic }]),
    }
}
