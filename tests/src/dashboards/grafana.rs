use serde_json::{Value, json};
use shared::metrics::{Metric, Values};

use super::{Aws, Panel, Query, ROWS, promql};

/// How wide and how high a panel is, of 24 columns.
const WIDTH: usize = 8;
const HEIGHT: usize = 8;
/// Of which Grafana the format is (version 11).
const SCHEMA: u32 = 39;

/// The dashboard over a Prometheus that scrapes `foldback serve`.
#[must_use]
pub fn for_prometheus() -> String {
    let targets = |panel: &Panel| -> Vec<Value> {
        let queries = panel.queries.iter().flat_map(promql).enumerate();
        queries
            .map(|(place, (expression, legend))| {
                json!({
                    "refId": ref_id(place),
                    "datasource": { "type": "prometheus", "uid": "${datasource}" },
                    "expr": expression,
                    "legendFormat": legend,
                })
            })
            .collect()
    };
    let jobs = json!({
        "name": "job",
        "label": "Installation",
        "type": "query",
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "query": { "query": "label_values(foldback_queue_messages, job)", "refId": "jobs" },
        "refresh": 2,
        "includeAll": true,
        "multi": true,
        "current": { "text": "All", "value": "$__all" },
        "allValue": ".*",
    });
    dashboard("foldback", "Foldback", "prometheus", vec![jobs], &targets)
}

/// The dashboard over the metrics of a stack in `CloudWatch`.
#[must_use]
pub fn for_cloudwatch() -> String {
    let targets = |panel: &Panel| -> Vec<Value> {
        let asked = if panel.aws.is_empty() {
            panel.queries.iter().flat_map(asked).collect()
        } else {
            panel.aws.iter().map(of_aws).collect::<Vec<_>>()
        };
        let asked = asked.into_iter().enumerate();
        asked.map(|(place, asked)| asked.target(place)).collect()
    };
    let variable = |name: &str, label: &str, default: &str| {
        json!({
            "name": name,
            "label": label,
            "type": "textbox",
            "query": default,
            "current": { "text": default, "value": default },
        })
    };
    let variables = vec![
        variable("stack", "Stack", "foldback"),
        variable("region", "Region", "default"),
    ];
    dashboard(
        "foldback-aws",
        "Foldback on AWS",
        "cloudwatch",
        variables,
        &targets,
    )
}

fn dashboard(
    uid: &str,
    title: &str,
    source: &str,
    mut variables: Vec<Value>,
    targets: &dyn Fn(&Panel) -> Vec<Value>,
) -> String {
    let mut panels = Vec::new();
    let mut y = 0;
    for row in ROWS {
        let place = json!({ "x": 0, "y": y, "w": 24, "h": 1 });
        panels.push(
            json!({ "id": panels.len() + 1, "type": "row", "title": row.title, "gridPos": place }),
        );
        y += 1;
        for (number, panel) in row.panels.iter().enumerate() {
            let (x, down) = (number % 3 * WIDTH, number / 3 * HEIGHT);
            panels.push(json!({
                "id": panels.len() + 1,
                "type": "timeseries",
                "title": panel.title,
                "description": description(panel),
                "datasource": { "type": source, "uid": "${datasource}" },
                "gridPos": { "x": x, "y": y + down, "w": WIDTH, "h": HEIGHT },
                "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
                "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
                "targets": targets(panel),
            }));
        }
        y += row.panels.len().div_ceil(3) * HEIGHT;
    }
    variables.insert(0, json!({ "name": "datasource", "label": "Data source", "type": "datasource", "query": source }));
    let dashboard = json!({
        "uid": uid,
        "title": title,
        "tags": ["foldback"],
        "schemaVersion": SCHEMA,
        "editable": true,
        "time": { "from": "now-6h", "to": "now" },
        "refresh": "30s",
        "templating": { "list": variables },
        "panels": panels,
    });
    let mut text = serde_json::to_string_pretty(&dashboard).expect("JSON");
    text.push('\n');
    text
}

fn description(panel: &Panel) -> String {
    let metrics = panel.queries.iter().flat_map(Query::metrics);
    let help: Vec<String> = metrics.map(|metric| format!("{}.", metric.help)).collect();
    help.join(" ")
}

/// A, B, C…
fn ref_id(place: usize) -> String {
    let letter = u8::try_from(place).map_or(b'A', |place| b'A' + place);
    char::from(letter).to_string()
}

/// What is asked of `CloudWatch`.
struct Asked {
    namespace: &'static str,
    name: &'static str,
    dimensions: Value,
    statistic: &'static str,
    legend: String,
}

impl Asked {
    fn target(self, place: usize) -> Value {
        json!({
            "refId": ref_id(place),
            "datasource": { "type": "cloudwatch", "uid": "${datasource}" },
            "queryMode": "Metrics",
            "metricQueryType": 0,
            "metricEditorMode": 0,
            "region": "$region",
            "namespace": self.namespace,
            "metricName": self.name,
            "dimensions": self.dimensions,
            "matchExact": true,
            "statistic": self.statistic,
            "period": "",
            "label": self.legend,
        })
    }
}

fn of_aws(aws: &Aws) -> Asked {
    Asked {
        namespace: aws.namespace,
        name: aws.name,
        dimensions: json!({ aws.dimension: [format!("${{stack}}{}", aws.part)] }),
        statistic: aws.statistic,
        legend: aws.name.to_owned(),
    }
}

fn asked(query: &Query) -> Vec<Asked> {
    let ours = |metric: &'static Metric, by: Option<(&str, &str)>, statistic: &'static str| {
        let mut dimensions = json!({ "Stack": ["$stack"] });
        let dimension = by.and_then(|(label, value)| Some((dimension(metric, label)?, value)));
        let mut legend = format!("{} {statistic}", metric.cloudwatch);
        if let Some((name, value)) = dimension {
            legend = if value == "*" {
                format!("${{PROP('Dim.{name}')}}")
            } else {
                value.to_owned()
            };
            if let Some(all) = dimensions.as_object_mut() {
                all.insert(name.to_owned(), json!([value]));
            }
        }
        Asked {
            namespace: "Foldback",
            name: metric.cloudwatch,
            dimensions,
            statistic,
            legend,
        }
    };
    let each = |by: &Option<&'static str>| by.map(|by| (by, "*"));
    match query {
        Query::Rate(metric, by) => vec![ours(metric, each(by), "Sum")],
        Query::RateOf(metric, label, value) => vec![ours(metric, Some((label, value)), "Sum")],
        Query::Value(metric, by) => vec![ours(metric, each(by), "Maximum")],
        Query::Quantiles(metric) => {
            let quantiles = ["p50", "p95", "p99"].into_iter();
            quantiles
                .map(|quantile| ours(metric, None, quantile))
                .collect()
        }
        Query::Most(metric, by) => vec![ours(metric, each(by), "p95")],
        Query::Share(part, whole) => vec![ours(part, None, "Sum"), ours(whole, None, "Sum")],
    }
}

/// The dimension of a label of a metric; `None` where it is none.
pub(super) fn dimension(metric: &Metric, label: &str) -> Option<&'static str> {
    let label = metric.labels.iter().find(|one| one.name == label)?;
    label.dimension
}

/// The values of a label that are known beforehand.
pub(super) fn values(metric: &Metric, label: &str) -> &'static [&'static str] {
    let label = metric.labels.iter().find(|one| one.name == label);
    match label.map(|label| label.values) {
        Some(Values::Of(values)) => values,
        Some(Values::Tenants) | None => &[],
    }
}
