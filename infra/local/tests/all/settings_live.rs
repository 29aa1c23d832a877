//! Settings that change while a run goes on, and tenants with settings of their own.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Ended, Foldback};

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
[tenant.set]
stage = { pointer = "/stage" }
assignee = { pointer = "/owner" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.conversion]]
name = "created"
on = "lead.created"
"#;

/// Another policy, and another meaning of the same field.
fn changed() -> String {
    let detect = "[tenant.tables.RSLead]\npolicy = \"detect\"\n[[tenant.map]]";
    let other = SETTINGS.replacen("[[tenant.map]]", detect, 1);
    other.replace("/stage", "/phase")
}

/// An event of a lead, so many minutes in.
fn event(tenant: &str, lead: &str, minute: u32, kind: &str) -> String {
    let (hour, rest) = (9 + minute / 60, minute % 60);
    format!(
        concat!(
            r#"{{"specversion":"1.0","source":"//crm","id":"{}-{}-{}","type":"{}","#,
            r#""time":"2026-03-01T{:02}:{:02}:00Z","partitionkey":"{}","tenant":"{}","#,
            r#""data":{{"stage":"stage {}","phase":"phase {}","owner":"Ann"}}}}"#
        ),
        tenant, lead, minute, kind, hour, rest, lead, tenant, minute, minute
    )
}

/// A run that reads what it is told until it is told no more.
struct Running {
    child: Child,
}

impl Running {
    fn start(foldback: &Foldback, args: &[&str]) -> Self {
        let child = foldback
            .command(&[&["run", "-"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self {
            child: child.expect("the binary starts"),
        }
    }

    fn tell(&mut self, events: &[String]) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        for event in events {
            writeln!(stdin, "{event}").expect("it reads");
        }
        stdin.flush().expect("it reads");
    }

    fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("it ends");
        Ended {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// Waits until an export has a line for each of these texts.
fn wait_for(foldback: &Foldback, table: &str, texts: &[&str]) {
    const LOOKS_MAX: u32 = 3_000;
    let shows = |_look| {
        let shown = foldback.ends(&["export", table]).stdout;
        texts.iter().all(|text| shown.contains(text))
    };
    assert!((0..LOOKS_MAX).any(shows), "{table} never showed {texts:?}");
}

fn classes(foldback: &Foldback) -> Vec<(String, String, String)> {
    let replay = foldback.ends(&["replay", "--json"]);
    let mut found: Vec<_> = replay
        .stdout
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let text = |name: &str| {
                line.get(name)
                    .and_then(Value::as_str)
                    .expect(name)
                    .to_owned()
            };
            (text("class"), text("table"), text("id"))
        })
        .collect();
    found.sort();
    found
}

fn named(of: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let owned = |(class, table, id): &(&str, &str, &str)| {
        ((*class).to_owned(), (*table).to_owned(), (*id).to_owned())
    };
    of.iter().map(owned).collect()
}

#[test]
fn policy_and_settings_change_in_the_middle_of_a_run() {
    let foldback = Foldback::new();
    let first = foldback.file("first.toml", SETTINGS);
    let second = foldback.file("second.toml", &changed());
    let wrong = foldback.file("wrong.toml", &SETTINGS.replace("lead.updated", "lead.upd"));
    let acme = |lead: &str, minute, kind| event("acme", lead, minute, kind);

    let mut running = Running::start(&foldback, &["--settings", &first, "--no-verify"]);
    let before = [
        acme("lead-1", 0, "lead.created"),
        acme("lead-2", 1, "lead.created"),
        acme("lead-3", 2, "lead.created"),
        acme("lead-2", 50, "lead.updated"),
    ];
    running.tell(&before);
    wait_for(&foldback, "RSLead", &["stage 0", "stage 50", "stage 2"]);

    let refused = foldback.ends(&["settings", "put", &wrong]);
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("line 12"), "{}", refused.stderr);
    assert!(refused.stderr.contains("lead.upd"), "{}", refused.stderr);
    let put = foldback.ends(&["settings", "put", &second]);
    assert_eq!(
        (put.status, put.stdout.as_str()),
        (0, "2\n"),
        "{}",
        put.stderr
    );

    // The first brings the lead to the new settings; the second is late for it, and only seen.
    let after = [acme("lead-3", 40, "lead.updated")];
    running.tell(&after);
    wait_for(&foldback, "RSLead", &["phase 40"]);
    let late = [
        acme("lead-3", 20, "lead.updated"),
        acme("lead-4", 60, "lead.created"),
    ];
    running.tell(&late);
    wait_for(&foldback, "RSLead", &["phase 60"]);
    let ended = running.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let told = "settings version 2 is in force from here on";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.stderr);

    let database = foldback.database();
    let edited = database.execute(
        "UPDATE rows SET body = json_set(body, '$.assignee', 'x') WHERE id = 'lead-4' AND tbl = 0",
        [],
    );
    assert_eq!(edited.expect("edited"), 1);
    drop(database);
    let expect = named(&[
        ("foreign", "RSLead", "lead-4"),
        ("late", "RSLead", "lead-3"),
        ("stale", "RSLead", "lead-1"),
        ("stale", "RSLead", "lead-2"),
    ]);
    assert_eq!(classes(&foldback), expect);
    assert_eq!(foldback.ends(&["replay", "--mode", "update"]).status, 1);
    assert_eq!(classes(&foldback), []);

    // As if there had never been other settings, and nothing late.
    let anew = Foldback::new();
    let all = [&before[..], &after, &late].concat().join("\n");
    let all = anew.file("all.jsonl", &all);
    let settings = anew.file("settings.toml", &changed().replace("detect", "correct"));
    anew.ok(&["run", &all, "--settings", &settings]);
    assert_eq!(foldback.tables(), anew.tables());
}

/// Say, one that a later build put, which knows more.
#[test]
fn stored_settings_that_do_not_compile_leave_the_last_good_ones_in_force() {
    let foldback = Foldback::new();
    let first = foldback.file("first.toml", SETTINGS);
    let mut running = Running::start(&foldback, &["--settings", &first]);
    running.tell(&[event("acme", "lead-1", 0, "lead.created")]);
    wait_for(&foldback, "RSLead", &["stage 0"]);
    let database = foldback.database();
    database
        .busy_timeout(std::time::Duration::from_secs(60))
        .expect("a timeout");
    let put = database.execute(
        "INSERT INTO settings (version, at, format, text) VALUES (2, 0, 'toml', 'version = 2')",
        [],
    );
    assert_eq!(put.expect("put"), 1);
    running.tell(&[event("acme", "lead-1", 9, "lead.updated")]);
    wait_for(&foldback, "RSLead", &["stage 9"]);
    let ended = running.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let told = "settings version 2 does not compile, so version 1 stays in force";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("settings format 2 is not known"));
    assert!(ended.stdout.contains("all equal"), "{}", ended.stdout);
}

/// One tenant's late event is corrected, another's only found; each by its own rules.
#[test]
fn two_tenants_have_settings_and_policies_of_their_own() {
    let foldback = Foldback::new();
    let globex = changed()
        .replace("version = 1\n", "")
        .replace("acme", "globex");
    let settings = foldback.file("settings.toml", &format!("{SETTINGS}{globex}"));
    let mut events = Vec::new();
    for (minute, kind) in [
        (0, "lead.created"),
        (30, "lead.updated"),
        (10, "lead.updated"),
    ] {
        for tenant in ["acme", "globex"] {
            events.push(event(tenant, "lead-1", minute, kind));
        }
    }
    let file = foldback.file("events.jsonl", &events.join("\n"));
    let args = ["run", &file, "--settings", &settings, "--batch", "2"];
    foldback.ok(&[&args[..], &["--no-verify"]].concat());
    let leads = foldback.ok(&["export", "RSLead"]);
    let lead = |tenant: &str| -> Value {
        let line = leads.lines().find(|line| line.contains(tenant));
        serde_json::from_str(line.expect("a lead")).expect("JSON")
    };
    assert_eq!(lead("acme")["stage"], "stage 30");
    assert_eq!(lead("globex")["stage"], "phase 10", "on arrival");
    let expect = named(&[("late", "RSLead", "lead-1")]);
    assert_eq!(classes(&foldback), expect);
    let tenants: BTreeSet<String> = foldback
        .ends(&["replay", "--json"])
        .stdout
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["group"]["tenant"]
                .as_str()
                .expect("a tenant")
                .to_owned()
        })
        .collect();
    assert_eq!(tenants, BTreeSet::from(["globex".to_owned()]));
    // Live handling kept the same finding, and the report tells it.
    let report = foldback.ok(&["report"]);
    assert!(report.contains("late rows"), "{report}");
    assert!(report.contains("globex RSLead lead-1"), "{report}");
    foldback.ends(&["replay", "--mode", "update"]);
    assert_eq!(foldback.tables()["RSLead"].matches("phase 30").count(), 1);
    let report = foldback.ok(&["report"]);
    assert!(!report.contains("globex RSLead lead-1"), "{report}");
}

/// The settings of one tenant are changed: its rows are made anew, another's are as they should be.
#[test]
fn a_tenants_change_makes_no_row_of_another_stale() {
    let foldback = Foldback::new();
    let globex = SETTINGS
        .replace("version = 1\n", "")
        .replace("acme", "globex");
    let settings = foldback.file("first.toml", &format!("{SETTINGS}{globex}"));
    let second = format!("{}{globex}", changed());
    let second = foldback.file("second.toml", &second);
    let before = [
        event("acme", "lead-1", 0, "lead.created"),
        event("globex", "lead-1", 0, "lead.created"),
        event("globex", "lead-2", 0, "lead.created"),
    ];
    let file = foldback.file("events.jsonl", &before.join("\n"));
    foldback.ok(&["run", &file, "--settings", &settings]);
    assert_eq!(foldback.ok(&["settings", "put", &second]), "2\n");
    let edited = foldback.database().execute(
        "UPDATE rows SET body = json_set(body, '$.assignee', 'x') WHERE id = 'lead-2' AND tbl = 0",
        [],
    );
    assert_eq!(edited.expect("edited"), 1);
    let expect = named(&[
        ("foreign", "RSLead", "lead-2"),
        ("stale", "RSLead", "lead-1"),
    ]);
    assert_eq!(classes(&foldback), expect);
    // The next event of its own brings a lead to the new settings.
    let next = foldback.file("next.jsonl", &event("acme", "lead-1", 9, "lead.updated"));
    foldback.ok(&["run", &next, "--no-verify"]);
    assert_eq!(
        classes(&foldback),
        named(&[("foreign", "RSLead", "lead-2")])
    );
}
