//! What was so when, and since when we knew: asked of rows in the data directory and in MongoDB.

use serde_json::Value;

use crate::mongo;
use crate::support::Foldback;

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "meeting.made"
to = "appointment.scheduled"
set = { appointmentId = { pointer = "/id" }, assignee = { pointer = "/by" } }
[[tenant.map]]
type = "meeting.moved"
to = "appointment.started"
set = { appointmentId = { pointer = "/id" } }
[[tenant.map]]
type = "meeting.done"
to = "appointment.completed"
set = { appointmentId = { pointer = "/id" } }
"#;

fn event(kind: &str, day: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","source":"//crm","id":"{kind}-{day}","type":"meeting.{kind}","time":"2026-03-{day:02}T09:00:00Z","tenant":"acme","partitionkey":"lead-1","data":{{"id":"m-1","by":"Ann"}}}}"#
    )
}

fn run(foldback: &Foldback, events: &[String]) {
    let settings = foldback.file("settings.toml", SETTINGS);
    let file = foldback.file("events.jsonl", &events.join("\n"));
    foldback.ok(&["run", &file, "--settings", &settings]);
}

/// The versions that a question gives: number, status, event days from and to.
fn asked(foldback: &Foldback, more: &[&str]) -> Vec<(u64, String, String, String)> {
    let question = ["query", "changes", "--tenant", "acme"];
    let answer = foldback.ok(&[&question, more].concat());
    let version = |line: &str| {
        let version: Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| version.get(name).cloned().unwrap_or_default();
        let text = |name: &str| field(name).as_str().unwrap_or("").to_owned();
        let day = |name: &str| text(name).chars().skip(8).take(2).collect();
        let n = field("n").as_u64().expect("a number");
        (n, text("status"), day("validFrom"), day("validTo"))
    };
    answer.lines().map(version).collect()
}

fn version(n: u64, status: &str, from: &str, to: &str) -> (u64, String, String, String) {
    (n, status.to_owned(), from.to_owned(), to.to_owned())
}

fn check(foldback: &Foldback) {
    let meeting = ["--appointment", "m-1"];
    run(foldback, &[event("made", 1), event("done", 9)]);
    let before = [
        version(1, "scheduled", "01", "09"),
        version(2, "completed", "09", ""),
    ];
    assert_eq!(asked(foldback, &meeting), before);
    let all = foldback.ok(&[
        "query", "changes", "--tenant", "acme", "--lead", "lead-1", "--all",
    ]);
    let recorded = |line: &str| {
        let version: Value = serde_json::from_str(line).expect("JSON");
        let time = version.get("recordedFrom").and_then(Value::as_str);
        time.expect("a time").to_owned()
    };
    let known_at = all.lines().map(recorded).max().expect("versions");

    run(foldback, &[event("moved", 5)]);
    let after = [
        version(1, "scheduled", "01", "05"),
        version(2, "started", "05", "09"),
        version(3, "completed", "09", ""),
    ];
    assert_eq!(asked(foldback, &meeting), after);
    assert_eq!(asked(foldback, &["--lead", "lead-1"]), after);
    let with = |more: &[&str]| asked(foldback, &[&meeting, more].concat());
    assert_eq!(
        with(&["--known-at", &known_at]),
        before,
        "as we knew it then"
    );
    assert_eq!(with(&["--as-of", "2026-03-07"]), after[1..2]);
    let both = ["--as-of", "2026-03-07", "--known-at", &known_at];
    assert_eq!(with(&both), before[..1]);
    assert_eq!(with(&["--as-of", "2026-02-01"]), []);
    assert_eq!(with(&["--known-at", "2020-01-01"]), []);
    assert_eq!(with(&["--all"]).len(), 4, "nothing is deleted");
    let question = ["query", "changes", "--tenant", "globex", "--lead", "lead-1"];
    assert_eq!(foldback.ok(&question), "", "another tenant's");
}

#[test]
fn histories_in_the_data_directory() {
    check(&Foldback::new());
}

#[test]
fn histories_in_mongodb() {
    check(&mongo::foldback());
}
