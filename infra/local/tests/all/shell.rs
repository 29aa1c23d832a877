//! How the commands behave in a shell.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::support::{Dataset, Foldback, bpic_settings, lock};

#[test]
fn the_sample_runs_without_any_argument() {
    let foldback = Foldback::new();
    let ended = foldback.ends(&["run"]);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    for part in [
        "events",
        "late",
        "rejected",
        "verdict",
        "all equal",
        "RSLeadGlobalConversions",
    ] {
        assert!(
            ended.stdout.contains(part),
            "{part:?} is not in\n{}",
            ended.stdout
        );
    }
    let again = foldback.ok(&["run"]);
    assert!(
        again.contains(" 0 new,"),
        "a second run takes nothing in: {again}"
    );
}

/// The sample's disorder leads to the same tables as its truth in order.
#[test]
fn the_sample_equals_its_truth() {
    let disordered = Foldback::new();
    disordered.ok(&["run"]);
    let truth = Foldback::new();
    truth.ok(&[
        "generate",
        "--output",
        "arrivals.jsonl",
        "--truth",
        "truth.jsonl.gz",
    ]);
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/settings.toml");
    truth.ok(&["run", "truth.jsonl.gz", "--settings", settings]);
    assert_eq!(disordered.tables(), truth.tables());
}

#[test]
fn a_broken_pipe_is_no_error() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let mut export = foldback
        .command(&["export", "RSAppointmentChanges"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    let mut stdout = BufReader::with_capacity(64, export.stdout.take().expect("piped"));
    stdout.read_line(&mut first).expect("a line");
    drop(stdout);
    let mut said = String::new();
    export
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("UTF-8");
    assert!(export.wait().expect("it ends").success(), "{said}");
    assert_eq!(said, "");
    assert!(first.starts_with('{'));
}

#[test]
fn output_to_a_pipe_has_no_colour() {
    let foldback = Foldback::new();
    let run = foldback.ends(&["run"]);
    assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'));
}

#[test]
fn only_one_process_writes_and_others_read() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let _writer = lock(&foldback);
    let ended = foldback.ends(&["run"]);
    assert_eq!(ended.status, 3);
    assert!(
        ended.stderr.contains("another foldback process writes"),
        "{}",
        ended.stderr
    );
    foldback.ok(&["replay"]);
    foldback.ok(&["export", "RSLead"]);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let foldback = Foldback::new();
    std::fs::create_dir(foldback.data()).expect("a directory");
    std::fs::write(
        foldback.data().join("foldback.db"),
        "not a database, but long enough ".repeat(64),
    )
    .expect("written");
    let ended = foldback.ends(&["run"]);
    assert_eq!(ended.status, 3);
    assert!(
        ended.stderr.contains("file is not a database"),
        "{}",
        ended.stderr
    );
    let nothing = Foldback::new().ends(&["replay"]);
    assert_eq!(nothing.status, 2);
    assert!(
        nothing.stderr.contains("`foldback run` makes one"),
        "{}",
        nothing.stderr
    );
}

/// A store, one of its tenants and leads, and a conversion that the lead has.
fn with_conversions() -> (Foldback, String, String, String) {
    let dataset = Dataset::small(3_000);
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
    let exported = foldback.ok(&["export", "RSLeadGlobalConversions"]);
    let first = json(exported.lines().next().expect("a row"));
    let text = |name: &str| {
        first
            .get(name)
            .and_then(|one| one.as_str())
            .expect("a text")
            .to_owned()
    };
    let name = first
        .get("conversions")
        .expect("conversions")
        .as_object()
        .and_then(|all| all.keys().next().cloned());
    (
        foldback,
        text("tenant"),
        text("leadId"),
        name.expect("a conversion"),
    )
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn conversions_of_one_lead() {
    let (foldback, tenant, lead, _) = with_conversions();
    let one = foldback.ok(&["query", "conversions", "--tenant", &tenant, "--lead", &lead]);
    let exported = foldback.ok(&["export", "RSLeadGlobalConversions"]);
    assert_eq!(one.lines().next(), exported.lines().next());
    let other = foldback.ok(&["query", "conversions", "--tenant", "other", "--lead", &lead]);
    assert_eq!(other, "", "a lead is its tenant's alone");
}

#[test]
fn conversions_by_name_in_a_range_and_in_pages() {
    let (foldback, tenant, _, name) = with_conversions();
    let ask = |more: &[&str]| {
        let args = ["query", "conversions", "--tenant", &tenant, "--name", &name];
        foldback.ends(&[&args[..], more].concat())
    };
    let all = ask(&["--limit", "1000"]).stdout;
    let time = |line: &str| {
        json(line)["conversions"][&name]["lastAt"]
            .as_str()
            .expect("a time")
            .to_owned()
    };
    let times: Vec<String> = all.lines().map(time).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    let exported = foldback.ok(&["export", "RSLeadGlobalConversions", "--tenant", &tenant]);
    let with_it = exported
        .lines()
        .filter(|row| !json(row)["conversions"][&name].is_null());
    assert_eq!(times.len(), with_it.count());

    let mut paged = String::new();
    let mut after: Option<String> = None;
    loop {
        let page = match &after {
            Some(cursor) => ask(&["--limit", "7", "--after", cursor]),
            None => ask(&["--limit", "7"]),
        };
        paged.push_str(&page.stdout);
        let more = page
            .stderr
            .trim()
            .strip_prefix("there is more: --after ")
            .map(str::to_owned);
        let Some(cursor) = more else { break };
        after = Some(cursor);
    }
    assert_eq!(paged, all, "pages join to the whole");

    let (newest, oldest) = (&times[0], &times[times.len() - 1]);
    let ranged = ask(&["--limit", "1000", "--from", oldest, "--to", newest]).stdout;
    let expect = times.iter().filter(|time| *time < newest).count();
    assert_eq!(
        ranged.lines().count(),
        expect,
        "from is included, to is not"
    );
}

/// What was so, and what was known, at a moment.
#[test]
fn show_answers_as_of_and_known_at() {
    let foldback = Foldback::new();
    let event = |id: &str, time: &str, kind: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"W_Call.{kind}","time":"2026-01-01T{time}Z","tenant":"east","partitionkey":"7","data":{{"workItem":"call-1"}}}}"#
        )
    };
    let settings = bpic_settings();
    let settings = settings.to_str().expect("UTF-8");
    let first = [
        event("a", "09:00:00", "SCHEDULE"),
        event("c", "11:00:00", "COMPLETE"),
    ]
    .join("\n");
    foldback.ok(&[
        "run",
        &foldback.file("1.jsonl", &first),
        "--settings",
        settings,
    ]);
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&foldback.ok(&[&["show", "call-1", "--json"], args].concat()))
            .expect("JSON")
    };
    let known = json(&[])["events"][1]["recorded"]
        .as_str()
        .expect("a time")
        .to_owned();
    wait_for_the_next_millisecond();
    let late = event("b", "10:00:00", "START");
    foldback.ok(&["run", &foldback.file("2.jsonl", &late)]);

    let status = |view: &serde_json::Value| view["rows"][0]["row"]["status"].to_string();
    let starts = |view: &serde_json::Value| view["rows"][0]["row"]["starts"].to_string();
    assert_eq!(status(&json(&[])), "\"completed\"");
    assert_eq!(starts(&json(&[])), "1");
    assert_eq!(
        status(&json(&["--as-of", "2026-01-01T10:30:00Z"])),
        "\"started\""
    );
    let then = json(&["--as-of", "2026-01-01T10:30:00Z", "--known-at", &known]);
    assert_eq!(
        status(&then),
        "\"scheduled\"",
        "the start was not known yet"
    );
    assert_eq!(starts(&json(&["--known-at", &known])), "0");

    let view = json(&[]);
    assert_eq!(view["events"][1]["late"]["ms"], 3_600_000);
    assert_eq!(view["events"][1]["late"]["overtaken_by"], "c");
    let superseded = view["history"]
        .as_array()
        .expect("a history")
        .iter()
        .filter(|version| !version["recordedTo"].is_null())
        .count();
    assert_eq!(
        superseded, 1,
        "what was believed before the late event stays: {view:#}"
    );
    let text = foldback.ok(&["show", "7"]);
    assert!(text.contains("by 1 h 0 min, after c"), "{text}");
}

#[expect(clippy::disallowed_methods, reason = "recorded times must differ")]
fn wait_for_the_next_millisecond() {
    std::thread::sleep(std::time::Duration::from_millis(3));
}

#[test]
fn a_replay_of_a_part_looks_at_that_part() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    foldback
        .database()
        .execute("UPDATE rows SET body = 'x' WHERE tbl = 0", [])
        .expect("damaged");
    let count = |args: &[&str]| {
        foldback
            .ends(&[&["replay", "--json"], args].concat())
            .stdout
            .lines()
            .count()
    };
    let all = count(&[]);
    let parts: usize = (1..=3)
        .map(|k| count(&["--partition", &format!("{k}/3")]))
        .sum();
    assert_eq!(parts, all);
    let lead = foldback.ends(&["replay", "--json"]).stdout;
    let lead: serde_json::Value =
        serde_json::from_str(lead.lines().next().expect("a finding")).expect("JSON");
    let (tenant, id) = (
        lead["group"]["tenant"].as_str(),
        lead["id"].as_str().expect("an id"),
    );
    let of_tenant = count(&["--tenant", tenant.expect("a tenant")]);
    assert!(of_tenant < all && of_tenant > 0);
    assert_eq!(
        count(&["--tenant", tenant.expect("a tenant"), "--id", id]),
        1
    );
    let ended = foldback.ends(&[
        "replay",
        "--mode",
        "update",
        "--tenant",
        tenant.expect("t"),
        "--id",
        id,
    ]);
    assert!(ended.stderr.contains("1 rows mended"), "{}", ended.stderr);
    assert_eq!(count(&[]), all - 1);
}

const MINIMAL: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "X_PRICED"
to = "lead.updated"
set = { amount = { pointer = "/price" } }
"#;

#[test]
fn settings_are_checked_put_and_shown() {
    let foldback = Foldback::new();
    let file = foldback.file("settings.toml", MINIMAL);
    let check = |file: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_foldback"));
        let output = command.args(["settings", "check", file]).output();
        let output = output.expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (status, said, _) = check(&file);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "acme: 1 rule, 0 conversions\n")
    );
    let wrong = foldback.file("wrong.toml", &MINIMAL.replace("lead.updated", "lead.upd"));
    let (status, said, why) = check(&wrong);
    assert_eq!((status, said.as_str()), (Some(2), ""));
    assert!(
        why.contains("wrong.toml") && why.contains("lead.upd"),
        "{why}"
    );

    assert_eq!(foldback.ok(&["settings", "put", &file]), "1\n");
    assert_eq!(foldback.ends(&["settings", "put", &wrong]).status, 2);
    assert_eq!(foldback.ok(&["settings", "show"]), MINIMAL);
    let longer = foldback.file("longer.toml", &format!("{MINIMAL}\n"));
    assert_eq!(foldback.ok(&["settings", "put", &longer]), "2\n");
}

#[test]
fn dead_letters_are_thrown_away_by_number_or_all() {
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", MINIMAL);
    let lines: Vec<String> = (1..=3)
        .map(|n| {
            format!(
                r#"{{"specversion":"1.0","id":"p-{n}","source":"//crm","type":"X_PRICED",
                "time":"2026-03-01T09:30:00Z","partitionkey":"lead-{n}","data":{{"price":"x"}}}}"#
            )
            .replace('\n', " ")
        })
        .collect();
    let file = foldback.file("events.jsonl", &lines.join("\n"));
    let run = ["run", &file, "--settings", &settings, "--tenant", "acme"];
    assert_eq!(foldback.ends(&run).status, 1);
    assert_eq!(foldback.ends(&["dlq", "discard"]).status, 2, "which?");
    assert_eq!(foldback.ends(&["dlq", "discard", "1", "--all"]).status, 2);
    let one = foldback.ends(&["dlq", "discard", "2"]);
    assert_eq!(one.status, 0, "{}", one.stderr);
    assert_eq!(one.stdout, "2  acme#lead-2  p-2  X_PRICED\n");
    assert_eq!(foldback.ends(&["dlq", "discard", "2"]).status, 1, "gone");
    let rest = foldback.ok(&["dlq", "discard", "--all"]);
    assert_eq!(rest.lines().count(), 2, "{rest}");
    assert_eq!(foldback.ends(&["dlq", "list"]).status, 0);
}
