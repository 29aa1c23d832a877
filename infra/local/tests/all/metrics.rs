//! `/metrics` under a live load, seen by a real Prometheus.

use std::path::Path;
use std::time::Duration;

use foldback_tests::dashboards::{ROWS, promql};
use foldback_tests::servers::{Collector, Prometheus, promtool};
use serde_json::{Value, json};

use crate::serve::Serving;
use crate::support::Foldback;

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
[tenant.webhook]
unsigned = true
[tenant.set]
stage = { pointer = "/stage" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.map]]
type = "call.done"
to = "appointment.completed"
set = { appointmentId = { pointer = "/call" } }
[[tenant.conversion]]
name = "created"
on = "lead.created"
"#;
/// As long as Prometheus, which scrapes every second, may take to see something of everything.
const ROUNDS: u32 = 120;

fn event(round: u32, minute: u32, kind: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "source": "//crm", "id": format!("{round}-{minute}-{kind}"), "type": kind,
        "time": format!("2026-03-01T09:{minute:02}:00Z"), "partitionkey": format!("lead-{round}"), "data": data,
    })
}

/// In order, late, twice, mapped by no rule, without what a rule needs, with other content, and no event.
fn load(serving: &Serving, round: u32) {
    let stage = |text: &str| json!({ "stage": text });
    let sent = |event: &Value, expect: u16| {
        let answer = serving.event("acme", event);
        assert_eq!(answer.status, expect, "{event}: {}", answer.body);
    };
    sent(&event(round, 0, "lead.created", &stage("new")), 202);
    sent(&event(round, 30, "lead.updated", &stage("won")), 202);
    sent(&event(round, 10, "lead.updated", &stage("open")), 202);
    sent(&event(round, 10, "lead.updated", &stage("open")), 202);
    sent(&event(round, 10, "lead.updated", &stage("lost")), 409);
    sent(&event(round, 40, "page.seen", &json!({})), 202);
    sent(&event(round, 45, "call.done", &json!({})), 202);
    sent(&json!({ "specversion": "1.0" }), 400);
}

/// The values that a query finds, those that are numbers.
fn values(prometheus: &Prometheus, query: &str) -> Vec<f64> {
    let query = query
        .replace("$__rate_interval", "30s")
        .replace("$job", ".*");
    let found = prometheus.query(&query);
    let numbers = found
        .iter()
        .filter_map(|series| series.pointer("/value/1")?.as_str()?.parse().ok());
    numbers.filter(|number: &f64| !number.is_nan()).collect()
}

#[test]
fn prometheus_sees_something_in_every_panel() {
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", SETTINGS);
    let collector = Collector::start();
    let args = [
        "--settings",
        &settings,
        "--replay-every",
        "2",
        "--report-every",
        "2",
    ];
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())];
    let serving = Serving::start_with(&foldback, &args, &environment);
    let (_, port) = serving.address().rsplit_once(':').expect("a port");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/alerts.yaml");
    let rules = rules.canonicalize().expect("the rules");
    let prometheus = Prometheus::start(port.parse().expect("a number"), &rules);
    let panels = ROWS.iter().flat_map(|row| row.panels);
    let queries = panels.flat_map(|panel| {
        let queries = panel.queries.iter().flat_map(promql);
        queries.map(|(query, _)| (panel.title, query))
    });
    let mut empty: Vec<(&str, String)> = queries.collect();
    let asked = empty.len();
    for round in 0..ROUNDS {
        load(&serving, round);
        empty.retain(|(_, query)| values(&prometheus, query).is_empty());
        if empty.is_empty() {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "Prometheus scrapes every second")]
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(
        empty.is_empty(),
        "of {asked} queries these find nothing: {empty:#?}"
    );

    let rules = prometheus.rules();
    assert!(rules.len() >= 10, "{rules:?}");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let page = serving.get("/metrics");
    assert_eq!(page.status, 200);
    assert!(
        page.headers
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        page.headers
    );
    let (content, said) = promtool(&["check", "metrics"], &page.body);
    assert!(content, "{said}\n{}", page.body);
    check_counts(&page.body);
    assert_eq!(serving.end("-TERM"), 0);
}

/// What was sent in each round is what is counted, whatever the number of rounds.
fn check_counts(page: &str) {
    let count = |series: &str| -> u64 {
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        let count = line.and_then(|rest| rest.trim().parse().ok());
        count.expect("a series")
    };
    let ingested = |result: &str| {
        let labels = format!("{{result=\"{result}\",tenant=\"acme\"}}");
        count(&format!("foldback_events_ingested_total{labels}"))
    };
    let answered = |status: u16| {
        count(&format!(
            "foldback_webhook_requests_total{{status=\"{status}\"}}"
        ))
    };
    let rounds = ingested("rejected");
    assert!(rounds >= 1);
    for (times, counted) in [
        (5, ingested("new")),
        (1, ingested("duplicate")),
        (1, ingested("conflict")),
        (6, answered(202)),
        (1, answered(409)),
        (1, answered(400)),
    ] {
        assert_eq!(counted, rounds * times, "{rounds} rounds");
    }
}

#[test]
fn a_run_writes_its_metrics() {
    let foldback = Foldback::new();
    let file = foldback.scratch.path().join("metrics.prom");
    let path = file.to_str().expect("UTF-8");
    foldback.ok(&["run", "--metrics", path]);
    let text = std::fs::read_to_string(&file).expect("the metrics");
    let (content, said) = promtool(&["check", "metrics"], &text);
    assert!(content, "{said}");
    for line in [
        "foldback_events_processed_total{result=\"applied\"} 9178",
        "foldback_events_processed_total{result=\"unmapped\"} 774",
        "foldback_events_parked_total",
        "foldback_findings{class=\"lost\"} 0",
        "foldback_replay_rows 5166",
    ] {
        let expected =
            line.starts_with("foldback_events_parked") || text.contains(&format!("{line}\n"));
        assert!(expected, "{line} is not in {text}");
    }
}
