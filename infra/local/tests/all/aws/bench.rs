//! `foldback bench` on a stack: events go in at its front door, and what it measures adds up.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::stack::Deployed;
use crate::bench::number;

const SCENARIO: &str = r#"
name = "small"
about = "Disorder, duplicates, and lines that nobody can read."

[tenants]
count = 2

[events]
leads = 40
late = 20.0
duplicates = 10.0
malformed = 3.0

[load]
in_flight = [4, 16]
rates = [20.0]
seconds_max = 6.0
"#;
/// Others than those of a benchmark.
const OWN: &str = "version = 1\n[[tenant]]\nids = [\"acme\"]\n";

fn float(point: &Value, pointer: &str) -> f64 {
    let found = point.pointer(pointer).and_then(Value::as_f64);
    found.expect(pointer)
}

#[test]
fn a_stack_is_measured_through_its_front_door() {
    let parameters = [("SettingsSeconds", "1"), ("ReplaySchedule", "rate(1 day)")];
    let deployed = Deployed::without_settings(&BTreeSet::new(), &parameters);
    let scratch = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = scratch.path().join(name);
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    fs::write(path("small.toml"), SCENARIO).expect("a scenario");
    let (scenario, output, url) = (path("small.toml"), path("out"), deployed.ingest_url());
    let options = ["--output", &output, "--ingest-url", &url, "--per-request"];
    let args = [&["bench", &scenario][..], &options, &["4"]].concat();
    let ended = deployed.command(&args);
    assert_eq!(ended.status, 0, "{ended:?}\n{}", deployed.logs());

    let kept = fs::read_to_string(path("out/small-stack.json")).expect("results");
    let results: Value = serde_json::from_str(&kept).expect("JSON");
    let points = results.pointer("/outcomes/0/points");
    let points = points.and_then(Value::as_array).expect("points");
    assert_eq!(points.len(), 3);
    let of = |pointer: &str| {
        points
            .iter()
            .map(|point| number(point, pointer))
            .sum::<u64>()
    };
    let done = of("/done");
    let [accepted, duplicates, refused] =
        ["accepted", "duplicates", "rejected"].map(|sum| of(&format!("/sums/{sum}")));
    assert_eq!(accepted + duplicates + refused, done, "{results:#}");
    assert!(
        accepted > 60 && duplicates > 0 && refused > 0,
        "{results:#}"
    );
    assert!(
        of("/sums/late") > 0,
        "events of a request are of one moment, others come late"
    );
    assert_eq!(of("/reliability/findings") + of("/reliability/missing"), 0);
    let [p50, max] = ["p50", "max"].map(|figure| {
        let last = points.last().expect("a point");
        float(last, &format!("/latency/{figure}"))
    });
    // Two functions are called for it, and each writes.
    assert!(p50 > 1.0 && max >= p50, "{results:#}");
    for point in points {
        let steps = point.pointer("/steps").and_then(Value::as_array);
        let shares = steps
            .expect("steps")
            .iter()
            .map(|step| float(step, "/share"));
        let shares: Vec<f64> = shares.collect();
        assert_eq!(shares.len(), 4, "{point}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{point}");
        assert!(shares.iter().all(|share| *share > 0.0), "{point}");
    }
    check_tenants(&deployed);
    let (status, answer) = deployed.webhook("acme", &["{}"]);
    assert!(
        status == 403 || status == 404,
        "its door is closed: {status} {answer}"
    );

    deployed.put_settings(OWN);
    let refused = deployed.command(&args);
    assert_eq!(refused.status, 2, "{refused:?}");
    let says = "has settings of its own: a benchmark would replace them";
    assert!(refused.stderr.contains(says), "{}", refused.stderr);
    let shown = deployed.command(&["settings", "show"]);
    assert_eq!(shown.stdout, OWN, "they are still in force");
}

/// The rows are those of tenants that nobody else has.
fn check_tenants(deployed: &Deployed) {
    let leads = deployed.command(&["export", "RSLead"]).stdout;
    assert!(!leads.is_empty());
    for lead in leads.lines() {
        let lead: Value = serde_json::from_str(lead).expect("JSON");
        let tenant = lead
            .get("tenant")
            .and_then(Value::as_str)
            .expect("a tenant");
        let is_own = ["acme-", "globex-"]
            .iter()
            .any(|own| tenant.starts_with(own));
        assert!(is_own, "{tenant}");
    }
}
