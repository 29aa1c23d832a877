//! `foldback bench`: what it measures adds up, whatever goes wrong meanwhile.

use std::fs;

use serde_json::Value;
use shared::adapters::mongo::{Mongo, Retention};
use tokio::runtime::Runtime;

use crate::support::Foldback;

const FAULTY: &str = r#"
name = "faulty"
about = "Everything goes wrong."

[tenants]
count = 2
rules = 20

[events]
leads = 60
late = 20.0
duplicates = 10.0
resent = 2.0
malformed = 2.0

[load]
in_flight = [8, 32, 128]
rates = [400.0]
seconds_max = 30.0

[faults]
store = { errors = 0.01, slow = 0.01, slow_ms = 1 }
crashes = 2
"#;

const SMALL: &str = r#"
name = "small"
about = "A few leads."

[events]
leads = 60

[load]
in_flight = [64]
seconds_max = 30.0
runs = 1
"#;

fn results(foldback: &Foldback, name: &str) -> Value {
    let path = foldback.scratch.path().join("foldback-bench").join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("results")).expect("JSON")
}

fn databases(uri: &str) -> String {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let rows = Mongo::open(uri, Retention::default()).await;
        let answer = rows.expect("a server").run(r#"{"listDatabases":1}"#).await;
        answer.expect("databases").to_string()
    })
}

pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.expect(pointer)
}

/// Store errors, slow calls, disorder and `kill -9`: all events are done, each once, and no row is wrong.
#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    let foldback = Foldback::new();
    foldback.file("faulty.toml", FAULTY);
    foldback.ok(&["bench", "faulty.toml"]);
    let results = results(&foldback, "faulty.json");
    let texts = number(&results, "/outcomes/0/texts");
    let points = results.pointer("/outcomes/0/points");
    let points = points.and_then(Value::as_array).expect("points");
    assert_eq!(points.len(), 4);
    for point in points {
        assert_eq!(number(point, "/done"), texts, "{point}");
        assert!(number(point, "/reliability/restarts") >= 2, "{point}");
        assert!(number(point, "/sums/late") > 0, "{point}");
        assert_eq!(number(point, "/reliability/findings"), 0);
        assert_eq!(number(point, "/reliability/missing"), 0);
    }
    let faults: u64 = points
        .iter()
        .map(|point| number(point, "/reliability/faults"))
        .sum();
    assert!(faults > 0, "no store failed");
    let page = foldback.scratch.path().join("foldback-bench/report.html");
    let page = fs::read_to_string(page).expect("a report");
    assert!(
        page.contains("<svg") && !page.contains("http"),
        "it needs nothing else"
    );

    let results = "foldback-bench/faulty.json";
    let told = foldback.ok(&["bench", "predict", results, "--rate", "1e9"]);
    for expect in [
        "never: more than it can do",
        "extrapolates",
        "DynamoDB writes",
    ] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
}

/// Scenarios joined are one that has what each says.
#[test]
fn scenarios_are_joined() {
    let foldback = Foldback::new();
    foldback.file("small.toml", SMALL);
    foldback.ok(&["bench", "disorder+duplicates+locks+small.toml"]);
    let results = results(&foldback, "disorder+duplicates+locks+small.json");
    let scenario = results.pointer("/outcomes/0/scenario").expect("a scenario");
    let figure = |pointer: &str| scenario.pointer(pointer).and_then(Value::as_f64);
    assert_eq!(
        figure("/events/late"),
        Some(20.0),
        "of the first: {scenario}"
    );
    assert_eq!(figure("/events/duplicates"), Some(50.0), "of the second");
    let lock = scenario.pointer("/tenants/lock_by_id");
    assert_eq!(lock, Some(&Value::Bool(true)), "of the third");
    assert_eq!(figure("/events/leads"), Some(60.0), "of the last");
    let sum = |name: &str| number(&results, &format!("/outcomes/0/points/0/sums/{name}"));
    assert!(sum("late") > 0 && sum("duplicates") > 0, "{results:#}");
}

/// Rows in MongoDB: the same events, nothing lost, and the databases of the levels gone afterwards.
#[test]
fn rows_in_mongodb_are_measured() {
    let server = super::mongo::server();
    let foldback = Foldback::new();
    foldback.file("small.toml", SMALL);
    let uri = server.uri("measured");
    foldback.ok(&["bench", "small.toml", "--mongodb", &uri]);
    let results = results(&foldback, "small-mongodb.json");
    let point = |pointer: &str| number(&results, &format!("/outcomes/0/points/0{pointer}"));
    assert_eq!(point("/done"), number(&results, "/outcomes/0/texts"));
    assert!(point("/sums/accepted") > 500, "{results:#}");
    let wrong = point("/reliability/findings") + point("/reliability/missing");
    assert_eq!(wrong, 0);
    let databases = databases(&server.uri("admin"));
    assert!(!databases.contains("measured"), "{databases}");
    let page = foldback.scratch.path().join("foldback-bench/report.html");
    let page = fs::read_to_string(page).expect("a report");
    assert!(page.contains("small, rows in MongoDB"));
}

/// The results behind the README's figures: the page and the predictions are still made of them.
#[test]
fn the_kept_results_can_be_read() {
    let foldback = Foldback::new();
    let kept = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/bench-scenarios/measured/base-bpi2012.json"
    );
    let told = foldback.ok(&[
        "bench",
        "predict",
        kept,
        "--rate",
        "2000",
        "--tenants",
        "50",
    ]);
    for expect in [
        "the knee",
        "DynamoDB, journal table",
        "foretold from loads up to",
    ] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
    foldback.ok(&["bench", "report", kept, "--output", "page.html"]);
    let page = fs::read_to_string(foldback.scratch.path().join("page.html")).expect("a page");
    assert!(page.contains("With the events of bpic2012.cloudevents.jsonl.gz instead."));
    foldback.ok(&["bench", "compare", kept, kept]);
}

/// A result is no worse than itself; one that is half as fast is, and that ends with 1.
#[test]
fn a_regression_ends_with_one() {
    let foldback = Foldback::new();
    let levels = |speed: f64| {
        let runs = |level: f64| {
            [1.0, 1.01, 0.99, 1.02]
                .map(|run| level * run * speed)
                .to_vec()
        };
        serde_json::json!({ "scenarios": { "base": { "throughput": {
            "16 in flight": runs(0.1), "256 in flight": runs(0.5) } } } })
    };
    for (name, speed) in [("before.json", 1.0), ("after.json", 0.5)] {
        foldback.file(name, &levels(speed).to_string());
    }
    let check = |before: &str, after: &str, expect: i32| {
        let ended = foldback.ends(&["bench", "compare", before, after]);
        assert_eq!(ended.status, expect, "{ended:?}");
    };
    check("before.json", "before.json", 0);
    check("after.json", "before.json", 0);
    check("before.json", "after.json", 1);
}

/// What is wrong with a scenario is said, before anything runs.
#[test]
fn a_wrong_scenario_is_refused() {
    let foldback = Foldback::new();
    let check = |from: &str, to: &str, expect: &str| {
        assert!(FAULTY.contains(from), "{from}");
        foldback.file("wrong.toml", &FAULTY.replace(from, to));
        let ended = foldback.ends(&["bench", "wrong.toml"]);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(expect), "{}", ended.stderr);
    };
    check("rules = 20", "rulez = 20", "rulez");
    check("count = 2", "count = 0", "count is 1 to 10,000");
    check("late = 20.0", "late = 120.0", "percentage");
    check(
        "in_flight = [8, 32, 128]",
        "in_flight = [0]",
        "greater than 0",
    );
    check("rules = 20", "policy = \"never\"", "never");
    let refused = |args: &[&str], expect: &str| {
        let ended = foldback.ends(args);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(expect), "{}", ended.stderr);
    };
    let on_aws = "goes with --target aws";
    refused(&["bench", "base", "--stack", "one"], on_aws);
    refused(&["bench", "base", "--per-request", "5"], on_aws);
    let stack = ["bench", "errors", "--target", "aws", "--stack", "one"];
    refused(&stack, "faults are made in a process of this machine");
    refused(&["bench", "disorder+nowhere"], "read scenario nowhere");
    let ended = foldback.ends(&["bench"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("name a scenario"), "{}", ended.stderr);
}
