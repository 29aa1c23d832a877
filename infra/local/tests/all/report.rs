//! What `foldback report` tells and keeps.

use crate::support::{Foldback, lock};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// How many reports, and how many runs of replay, the store keeps.
fn kept(foldback: &Foldback) -> (i64, i64) {
    let sql = "SELECT (SELECT count(*) FROM reports), (SELECT count(*) FROM replay_runs)";
    let read = foldback
        .database()
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    read.expect("counts")
}

#[test]
fn a_report_tells_rows_queue_and_the_last_replay() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let first = json(&foldback.ok(&["report", "--json"]));
    assert_eq!(first["rows"]["RSLead"], 1_000);
    assert_eq!(first["queue"]["dead"], 0);
    assert!(first.get("lastRun").is_none(), "{first}");
    assert_eq!(first["notes"][0], "no replay that mends was kept yet");

    let spoil = "UPDATE rows SET body = replace(body, '\"events\":', '\"events\":1') WHERE tbl = 0";
    foldback.database().execute(spoil, []).expect("spoiled");
    for mode in ["report", "changes"] {
        assert_eq!(foldback.ends(&["replay", "--mode", mode]).status, 1);
    }
    assert_eq!(kept(&foldback), (1, 0), "these modes keep nothing");
    assert_eq!(foldback.ends(&["replay", "--mode", "update"]).status, 1);
    assert_eq!(foldback.ends(&["replay", "--mode", "update"]).status, 0);
    assert_eq!(kept(&foldback), (1, 2));
    let last = json(&foldback.ok(&["report", "--json"]))["lastRun"].clone();
    assert_eq!(
        (&last["findings"], &last["mode"]),
        (&0.into(), &"update".into())
    );
    assert_eq!(last["scope"], "all tenants");
    assert_eq!(last["byClass"], json("{}"));
    assert_eq!(kept(&foldback), (2, 2));
}

#[test]
fn a_kept_run_has_its_findings() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let spoil = "UPDATE rows SET body = 'x' WHERE tbl = 0 AND id < 'lead-1002'";
    let spoiled = foldback.database().execute(spoil, []).expect("spoiled") as u64;
    assert!(spoiled > 1);
    let found = foldback.ends(&["replay", "--mode", "update", "--json"]);
    let found: Vec<_> = found.stdout.lines().map(json).collect();
    let sql = "SELECT body FROM findings WHERE run = 1 ORDER BY place";
    let database = foldback.database();
    let mut select = database.prepare(sql).expect("a table");
    let kept = select.query_map([], |row| row.get::<_, String>(0));
    let kept: Result<Vec<String>, _> = kept.expect("rows").collect();
    let kept: Vec<_> = kept.expect("rows").iter().map(|body| json(body)).collect();
    assert_eq!(kept, found);
    let last = json(&foldback.ok(&["report", "--json"]))["lastRun"].clone();
    assert_eq!(
        (&last["findings"], &last["mended"]),
        (&spoiled.into(), &spoiled.into())
    );
    assert_eq!(last["byClass"]["foreign"]["RSLead"], spoiled);
    let text = foldback.ok(&["report"]);
    for part in [
        "RSLeadGlobalConversions",
        "0 waiting, 0 in flight, 0 dead",
        "rows mended",
        "foreign  RSLead",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn dead_letters_are_told_by_their_reason() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let event = |id: u32, value: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"bad-{id}","source":"//crm","type":"crm.lead.created.v1","time":"2026-01-01T09:00:00Z","tenant":"acme","partitionkey":"bad-{id}","data":{{"deal":{{"value":"{value}"}}}}}}"#
        )
    };
    let bad = [event(1, "much"), event(2, "little"), event(3, "much")].join("\n");
    foldback.ends(&["run", &foldback.file("bad.jsonl", &bad)]);
    let report = json(&foldback.ok(&["report", "--json"]));
    assert_eq!(report["queue"]["dead"], 3);
    let notes = report["notes"].as_array().expect("notes");
    let note = |place: usize| notes[place].as_str().expect("a text");
    assert!(note(0).starts_with("2 dead letters, since 2"), "{notes:?}");
    assert!(
        note(0).ends_with(r#"amount: "much" is not a decimal number"#),
        "{notes:?}"
    );
    assert!(note(1).starts_with("1 dead letter, since 2"), "{notes:?}");
    let text = foldback.ok(&["report"]);
    assert!(text.contains("3 dead") && text.contains(note(0)), "{text}");
}

#[test]
fn a_report_tells_of_the_indexes() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let line = |report: &str| {
        let indexes = |line: &&str| line.starts_with("indexes ");
        report.lines().find(indexes).map(str::to_owned)
    };
    let good = line(&foldback.ok(&["report"]));
    assert_eq!(good.as_deref(), Some("indexes       all as declared"));
    let drop = "DROP INDEX rows_by_id; DELETE FROM conversions WHERE name = 'won'";
    foldback.database().execute_batch(drop).expect("dropped");
    let text = foldback.ok(&["report"]);
    let bad = line(&text).expect("a line");
    let scan = "Tables::find, by the row's own id: scans the table";
    assert_eq!(bad, format!("indexes       {scan}"));
    for more in [
        "missing  rows.rows_by_id, needed by: ",
        "astray   conversions: ",
    ] {
        assert!(text.contains(&format!("\n              {more}")), "{text}");
    }
    let report = json(&foldback.ok(&["report", "--json"]));
    assert_eq!(report["indexes"]["missing"][0]["index"], "rows_by_id");
}

#[test]
fn a_report_beside_a_writer_is_told_and_not_kept() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    let locked = lock(&foldback);
    let ended = foldback.ends(&["report"]);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("RSAppointment"), "{}", ended.stdout);
    assert!(ended.stderr.contains("was not kept"), "{}", ended.stderr);
    assert_eq!(kept(&foldback), (0, 0));
    drop(locked);
    let ended = foldback.ends(&["report"]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert_eq!(kept(&foldback), (1, 0));
}

#[test]
fn a_report_needs_a_store() {
    let foldback = Foldback::new();
    let ended = foldback.ends(&["report"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("`foldback run` makes one"),
        "{}",
        ended.stderr
    );
    assert!(!foldback.data().exists(), "nor does it make one");
}

/// What a past replay found is still told when the rows are right again.
#[test]
fn past_replays_are_listed_with_what_they_found() {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    assert_eq!(foldback.ok(&["runs"]), "", "none yet");
    let spoil = "UPDATE rows SET body = json_set(body, '$.stage', 'x') WHERE tbl = 0 AND id = 'lead-1001' \
                 AND gid = (SELECT min(gid) FROM rows WHERE id = 'lead-1001')";
    let spoiled = foldback.database().execute(spoil, []).expect("spoiled");
    assert_eq!(spoiled, 1);
    let update = ["replay", "--mode", "update", "--json"];
    let found = foldback.ends(&update).stdout;
    assert_eq!(foldback.ends(&update).status, 0);

    let runs = foldback.ok(&["runs", "--json"]);
    let runs: Vec<_> = runs.lines().map(json).collect();
    let told = |place: usize| {
        let run = &runs[place];
        let one = |name: &str| run[name].as_u64().expect("a number");
        (
            one("number"),
            one("findings"),
            one("mended"),
            one("settings"),
        )
    };
    assert_eq!(
        (runs.len(), told(0), told(1)),
        (2, (2, 0, 0, 1), (1, 1, 1, 1))
    );
    assert_eq!(runs[1]["byClass"]["foreign"]["RSLead"], 1);
    assert!(runs[0]["rows"].as_u64() > Some(1_000), "{}", runs[0]);
    assert_eq!(
        foldback
            .ok(&["runs", "--json", "--limit", "1"])
            .lines()
            .count(),
        1
    );
    assert_eq!(foldback.ok(&["runs", "1", "--json"]), found);
    assert_eq!(foldback.ok(&["runs", "2", "--json"]), "");

    let table = foldback.ok(&["runs"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    for part in ["update", "all tenants", "foreign 1"] {
        assert!(lines[2].contains(part), "{part:?} is not in\n{table}");
    }
    let one = foldback.ok(&["runs", "1"]);
    for part in [
        "foreign  RSLead lead-1001, lead lead-1001 of tenant",
        "stage: \"x\" → ",
        "\nforeign: the row holds the right events, but someone else changed its content\n",
        "\n  to do: find out who writes there",
    ] {
        assert!(one.contains(part), "{part:?} is not in\n{one}");
    }
    let none = foldback.ends(&["runs", "7"]);
    assert_eq!(none.status, 2);
    assert!(none.stderr.contains("no run 7 is kept"), "{}", none.stderr);
}
