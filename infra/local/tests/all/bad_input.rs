//! Bad input is counted, kept with line and reason, and the rest goes on.

use crate::support::{Foldback, bpic_settings, fed};

fn event(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"A_SUBMITTED.COMPLETE","time":"2026-01-01T10:00:00Z","tenant":"east","partitionkey":"{id}","data":{{"amountRequested":5}}}}"#
    )
}

fn run(foldback: &Foldback, lines: &[String]) -> String {
    let file = foldback.file("events.jsonl", &lines.join("\n"));
    foldback.ok(&[
        "run",
        &file,
        "--settings",
        bpic_settings().to_str().expect("UTF-8"),
    ])
}

#[test]
fn each_fault_is_kept_with_its_line_and_reason() {
    let foldback = Foldback::new();
    let huge = event("6").replace(
        "\"amountRequested\":5",
        &format!("\"x\":\"{}\"", "y".repeat(300_000)),
    );
    let lines = [
        event("1"),
        event("2").replace("}}", "}"),
        event("3").replace(r#""time":"2026-01-01T10:00:00Z","#, ""),
        event("4").replace("2026-01-01T10", "2026-02-30T10"),
        event("5").replace("2026-01-01", "2926-01-01"),
        huge,
        event("7").replace("east", "atlantis"),
        event("1").replace("\"amountRequested\":5", "\"amountRequested\":6"),
        event("8").replace(r#","partitionkey":"8""#, ""),
        event("9"),
        event("1"),
    ];
    let summary = run(&foldback, &lines);
    for part in [
        "11 read: 2 new, 1 duplicates, 8 rejected",
        "    1 malformed",
        "    3 missing or impossible time",
        "    1 oversized",
        "    1 unknown tenant",
        "    1 same identity, other content",
        "    1 no partition key",
        "events.jsonl:2: not a CloudEvents JSON object",
        "events.jsonl:3: time is missing",
        "`foldback rejects` lists all of them",
    ] {
        assert!(summary.contains(part), "{part:?} is not in\n{summary}");
    }

    let rejects = foldback.ends(&["rejects", "--json"]);
    assert_eq!(rejects.status, 1);
    let found: Vec<(u64, String)> = rejects
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .map(|one: serde_json::Value| {
            (
                one["line"].as_u64().expect("a line"),
                one["reason"].to_string(),
            )
        })
        .collect();
    let expect = [
        (2, "\"malformed\""),
        (3, "\"time\""),
        (4, "\"time\""),
        (5, "\"time\""),
        (6, "\"oversized\""),
        (7, "\"unknown_tenant\""),
        (9, "\"no_partition_key\""),
        (8, "\"conflict\""),
    ];
    let found: Vec<(u64, &str)> = found
        .iter()
        .map(|(line, why)| (*line, why.as_str()))
        .collect();
    assert_eq!(found, expect);
    let leads = foldback.ok(&["export", "RSLead"]);
    assert_eq!(leads.lines().count(), 2, "the rest went on");
    assert!(leads.contains(r#""amount":5"#), "the first content stays");

    run(&foldback, &lines);
    let again = foldback.ends(&["rejects", "--json"]).stdout.lines().count();
    assert_eq!(again, 8, "running a file again does not double its rejects");
}

/// The same identity under another partition key is another content too.
#[test]
fn an_identity_belongs_to_one_group() {
    let foldback = Foldback::new();
    let moved = event("1").replace("\"partitionkey\":\"1\"", "\"partitionkey\":\"2\"");
    let summary = run(&foldback, &[event("1"), moved]);
    assert!(
        summary.contains("1 new, 0 duplicates, 1 rejected"),
        "{summary}"
    );
}

#[test]
fn unmapped_events_are_counted_and_shown() {
    let foldback = Foldback::new();
    let summary = run(
        &foldback,
        &[event("1"), event("2").replace("A_SUBMITTED", "X_NEW")],
    );
    assert!(summary.contains("1 unmapped"), "{summary}");
    let shown = foldback.ok(&["show", "2"]);
    assert!(
        shown.contains("X_NEW.COMPLETE") && shown.contains("(unmapped)"),
        "{shown}"
    );
}

#[test]
fn a_broken_settings_file_is_refused_before_anything_runs() {
    let foldback = Foldback::new();
    let text = std::fs::read_to_string(bpic_settings()).expect("settings");
    let settings = foldback.file("broken.toml", &text.replace("lead.closed", "lead.shut"));
    let file = foldback.file("events.jsonl", &event("1"));
    let ended = foldback.ends(&["run", &file, "--settings", &settings]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("broken.toml"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 21"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("unknown variant `lead.shut`"),
        "{}",
        ended.stderr
    );
    assert!(!foldback.data().exists(), "nothing was made");
}

#[test]
fn files_without_settings_say_what_to_do() {
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &event("1"));
    let ended = foldback.ends(&["run", &file]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("give --settings FILE"),
        "{}",
        ended.stderr
    );
    let ended = foldback.ends(&["run", "gone.jsonl"]);
    assert_eq!(ended.status, 2);
}

#[test]
fn damaged_compression_is_an_error_and_what_came_before_is_kept() {
    let foldback = Foldback::new();
    let text: String = (0..20_000)
        .map(|id| event(&id.to_string()) + "\n")
        .collect();
    let mut packed = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    packed.truncate(packed.len() / 2);
    let path = foldback.scratch.path().join("events.zst");
    std::fs::write(&path, packed).expect("written");
    let settings = bpic_settings();
    let args = [
        "run",
        "events.zst",
        "--settings",
        settings.to_str().expect("UTF-8"),
    ];
    let ended = foldback.ends(&args);
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    assert!(ended.stderr.contains("read events.zst"), "{}", ended.stderr);
    assert!(foldback.ok(&["export", "RSLead"]).lines().count() > 1_000);
    assert_eq!(foldback.ends(&["replay"]).status, 0);
}

#[test]
fn documents_and_batches_are_read_too() {
    let foldback = Foldback::new();
    let pretty = |id: &str| {
        let value: serde_json::Value = serde_json::from_str(&event(id)).expect("JSON");
        serde_json::to_string_pretty(&value).expect("JSON")
    };
    let batch = format!("[{},\n{}]\n", event("1"), pretty("2"));
    let settings = bpic_settings();
    let settings = settings.to_str().expect("UTF-8");
    let ended = fed(
        foldback.command(&["run", "-", "--settings", settings]),
        batch.as_bytes(),
    );
    assert!(ended.stdout.contains("2 read: 2 new"), "{}", ended.stdout);
    let file = foldback.file("one.json", &pretty("3"));
    assert!(foldback.ok(&["run", &file]).contains("1 read: 1 new"));
    let file = foldback.file("broken.json", &format!("[{}, nonsense]", event("4")));
    let summary = foldback.ok(&["run", &file]);
    assert!(
        summary.contains("2 read: 1 new, 0 duplicates, 1 rejected"),
        "{summary}"
    );
}

#[test]
fn events_without_a_tenant_need_one_named() {
    let foldback = Foldback::new();
    let bare = event("1").replace(r#""tenant":"east","#, "");
    let summary = run(&foldback, std::slice::from_ref(&bare));
    assert!(summary.contains("add the attribute tenant"), "{summary}");
    let file = foldback.file("events.jsonl", &format!("{bare}\n{}", event("2")));
    let summary = foldback.ok(&["run", &file, "--tenant", "west"]);
    assert!(
        summary.contains("1 new, 0 duplicates, 1 rejected"),
        "{summary}"
    );
    assert!(
        foldback
            .ok(&["export", "RSLead"])
            .contains(r#""tenant":"west""#)
    );
}
