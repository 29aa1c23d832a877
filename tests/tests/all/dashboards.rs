//! Dashboards and alerts ask for what is measured, and for nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use foldback_tests::dashboards::{self, ROWS};
use foldback_tests::servers::promtool;
use serde_json::Value;
use shared::metrics::{ALL, Metric};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// To make them anew, run this with `UPDATE_EXPECT=1`.
#[test]
fn kept_dashboards_and_alerts_are_what_the_registry_makes() {
    expect_file!["../../../infra/grafana/foldback.json"].assert_eq(&dashboards::for_prometheus());
    expect_file!["../../../infra/grafana/foldback-aws.json"]
        .assert_eq(&dashboards::for_cloudwatch());
    expect_file!["../../../infra/grafana/alerts.yaml"].assert_eq(&dashboards::alerts());
}

#[test]
fn every_metric_is_shown_and_every_label_asked_for_is_there() {
    let queries = || {
        ROWS.iter()
            .flat_map(|row| row.panels)
            .flat_map(|panel| panel.queries)
    };
    let shown: BTreeSet<&str> = queries()
        .flat_map(|query| query.metrics())
        .map(|one| one.name)
        .collect();
    for metric in ALL {
        assert!(
            shown.contains(metric.name),
            "{} is measured and shown nowhere",
            metric.name
        );
    }
    for (metric, label) in queries().filter_map(|query| query.labels()) {
        assert!(
            metric.label_names().any(|name| name == label),
            "{} has no {label}",
            metric.name
        );
    }
}

/// Where the kept template says what `CloudWatch` is to show.
const BEGIN: &str = "      DashboardBody:\n        Fn::Sub: |\n";
const END: &str = "\n\nOutputs:\n";

#[test]
fn the_template_has_the_dashboard_that_the_registry_makes() {
    let file = root().join("infra/aws/template.yaml");
    let template = fs::read_to_string(&file).expect("the template");
    let (before, rest) = template.split_once(BEGIN).expect("a dashboard");
    let (kept, after) = rest.split_once(END).expect("the outputs after it");
    let body = dashboards::cloudwatch_body();
    let indented: Vec<String> = body
        .lines()
        .map(|line| format!("          {line}"))
        .collect();
    let made = indented.join("\n");
    if kept != made && update() {
        fs::write(&file, format!("{before}{BEGIN}{made}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(kept, made, "run this with UPDATE_EXPECT=1 to make it anew");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert!(
        body["widgets"]
            .as_array()
            .is_some_and(|widgets| widgets.len() > ROWS.len())
    );
}

#[expect(clippy::disallowed_methods, reason = "as expect-test does")]
fn update() -> bool {
    std::env::var("UPDATE_EXPECT").is_ok()
}

/// Whatever the template or a kept file names of ours is in the registry.
#[test]
fn alarms_and_dashboards_name_metrics_that_there_are() {
    let cloudwatch: BTreeSet<&str> = ALL.iter().map(|metric| metric.cloudwatch).collect();
    let template =
        fs::read_to_string(root().join("infra/aws/template.yaml")).expect("the template");
    let lines: Vec<&str> = template.lines().map(str::trim).collect();
    let mut named = 0;
    for (place, line) in lines.iter().enumerate() {
        let inline = line.split_once("Namespace: Foldback, MetricName: ");
        let inline = inline.and_then(|(_, rest)| rest.split(',').next());
        let next = lines
            .get(place + 1)
            .and_then(|next| next.strip_prefix("MetricName: "));
        let next = next.filter(|_| *line == "Namespace: Foldback");
        for name in inline.into_iter().chain(next) {
            assert!(
                cloudwatch.contains(name),
                "an alarm goes by {name}, which nobody measures"
            );
            named += 1;
        }
    }
    assert!(
        named > 0,
        "no alarm goes by a metric of ours: the template has changed its form"
    );
    let prometheus = |name: &str| {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let is = |metric: &&Metric| metric.name == name || Some(metric.name) == base;
        ALL.iter().any(is)
    };
    for file in ["foldback.json", "alerts.yaml"] {
        let text = fs::read_to_string(root().join("infra/grafana").join(file)).expect("a file");
        let letter = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let names = text
            .split(letter)
            .filter(|word| word.starts_with("foldback_"));
        let names: BTreeSet<&str> = names.collect();
        assert!(names.len() > 5, "{file}");
        for name in names {
            assert!(
                prometheus(name),
                "{file} asks for {name}, which nobody measures"
            );
        }
    }
}

#[test]
fn promtool_takes_the_alerts_and_they_ring_when_they_should() {
    let directory = root().join("infra/grafana");
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let (content, said) = promtool(&["check", "rules", &path("alerts.yaml")], "");
    assert!(content, "{said}");
    let (content, said) = promtool(&["test", "rules", &path("alerts.test.yaml")], "");
    assert!(content, "{said}");
}

/// The README's table, as the registry says it.
#[test]
fn the_readme_lists_every_metric() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let mut missing = Vec::new();
    for metric in ALL {
        let labels: Vec<&str> = metric.label_names().collect();
        let Metric {
            name,
            cloudwatch,
            help,
            kind,
            ..
        } = metric;
        let line = format!(
            "| `{name}` | `{cloudwatch}` | {} | {} | {help} |",
            kind.name(),
            labels.join(", ")
        );
        if !readme.contains(&line) {
            missing.push(line);
        }
    }
    assert!(
        missing.is_empty(),
        "the README lacks:\n{}",
        missing.join("\n")
    );
}
