//! What each policy makes of one disordered input, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{DAYS, Dataset, Disorder, Foldback, TABLES};

const EVENTS: usize = 20_000;
/// Small, so that not all disorder vanishes within batches.
const BATCH: &str = "500";

#[expect(clippy::print_stderr, reason = "figures for the reader")]
fn say(what: &str) {
    eprintln!("{what}");
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .expect(pointer)
}

/// What stands in the tables, by row: of a history, all of its versions.
fn rows(tables: &BTreeMap<&'static str, String>) -> BTreeMap<(String, String), Vec<Value>> {
    let mut rows: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for (table, exported) in tables {
        let id = match *table {
            DAYS => "/day",
            table if table.starts_with("RSAppointment") => "/appointmentId",
            _of_leads => "/leadId",
        };
        for row in lines(exported) {
            let key = ((*table).to_owned(), text(&row, id).to_owned());
            rows.entry(key).or_default().push(row);
        }
    }
    rows
}

/// The rows that differ between two sets of tables.
fn differing(
    got: &BTreeMap<&'static str, String>,
    want: &BTreeMap<&'static str, String>,
) -> BTreeSet<(String, String)> {
    let (got, want) = (rows(got), rows(want));
    let all = got.keys().chain(want.keys());
    all.filter(|key| got.get(*key) != want.get(*key))
        .cloned()
        .collect()
}

/// The late events of a log, and the rows that they came late for.
fn logged(log: &str) -> (usize, BTreeSet<(String, String)>) {
    let mut rows = BTreeSet::new();
    let mut events = 0;
    for line in lines(log).filter(|line| line.pointer("/fields/lateMs").is_some()) {
        assert_eq!(text(&line, "/level"), "ERROR");
        events += 1;
        let named = text(&line, "/fields/rows").split(", ");
        let named = named.filter_map(|row| row.split_once(' '));
        rows.extend(named.map(|(table, id)| (table.to_owned(), id.to_owned())));
        let (own, other) = (
            text(&line, "/fields/time"),
            text(&line, "/fields/overtakenByTime"),
        );
        assert!(own <= other, "{line}");
        assert!(!text(&line, "/fields/overtakenBy").is_empty(), "{line}");
        assert!(
            !text(&line, "/fields/overtakenBySource").is_empty(),
            "{line}"
        );
    }
    (events, rows)
}

/// What a run under one policy came to.
struct Came {
    foldback: Foldback,
    tables: BTreeMap<&'static str, String>,
    late: usize,
    late_rows: BTreeSet<(String, String)>,
    log: String,
}

/// Runs with one policy for some tables.
fn run(dataset: &Dataset, arrivals: &str, policy: &str, tables: &[&str]) -> Came {
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", arrivals);
    let settings = foldback.file("settings.toml", &dataset.under(policy, tables));
    let log = foldback.scratch.path().join("log.jsonl");
    let log = log.to_str().expect("a UTF-8 path");
    let args = ["run", &file, "--settings", &settings, "--batch", BATCH];
    foldback.ok(&[&args[..], &["--log", log, "--no-verify"]].concat());
    let log = std::fs::read_to_string(log).expect("a log");
    let (late, late_rows) = logged(&log);
    Came {
        tables: foldback.tables(),
        foldback,
        late,
        late_rows,
        log,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn each_policy_makes_of_the_same_disorder_what_the_design_says() {
    let dataset = Dataset::small(EVENTS);
    let arrivals = Disorder::new(8).delay(&dataset.lines).join("\n");

    let corrected = run(&dataset, &arrivals, "correct", &TABLES);
    dataset.check(&corrected.foldback);
    assert!(corrected.late > 0, "the input is in disorder");
    assert!(!corrected.log.contains("\"class\""), "nothing is left open");

    // The days of a tenant take any order, and so need not be read.
    let added_up = run(&dataset, &arrivals, "atomic", &[DAYS]);
    dataset.check(&added_up.foldback);

    let detected = run(&dataset, &arrivals, "detect", &TABLES);
    assert!(detected.late > 0);
    let differing = differing(&detected.tables, &corrected.tables);
    // Found out of order, and right all the same: sums do not depend on the order.
    assert!(detected.log.contains(DAYS), "days are watched too");
    assert!(differing.iter().all(|(table, _)| table != DAYS));
    let replay = detected.foldback.ends(&["replay", "--json"]);
    let findings: Vec<Value> = lines(&replay.stdout).collect();
    // A derived row may be right and yet hold other events: those that its observers saw, out of order.
    let (changed, unchanged): (Vec<&Value>, Vec<&Value>) = findings
        .iter()
        .partition(|one| one["changes"] != Value::Array(Vec::new()));
    for one in &unchanged {
        assert_eq!(text(one, "/table"), "RSLeadGlobalConversions", "{one}");
    }
    let found: BTreeSet<(String, String)> = changed
        .iter()
        .map(|one| (text(one, "/table").to_owned(), text(one, "/id").to_owned()))
        .collect();
    assert!(
        !differing.is_empty(),
        "so much disorder cannot go unnoticed"
    );
    let apart: Vec<_> = found.symmetric_difference(&differing).take(5).collect();
    assert!(apart.is_empty(), "replay finds what differs: {apart:?}");
    assert_eq!(changed.len(), differing.len(), "each once");
    let classes: BTreeSet<&str> = findings.iter().map(|one| text(one, "/class")).collect();
    assert_eq!(classes, BTreeSet::from(["late"]));
    // What feeds a derived row is its lead's, which takes all of the lead's events.
    let of_lead = |(table, id): &(String, String), rows: &BTreeSet<(String, String)>| {
        table == "RSLeadGlobalConversions" && rows.contains(&("RSLead".to_owned(), id.clone()))
    };
    let unexplained = differing.difference(&detected.late_rows);
    let (fed, unexplained): (Vec<_>, Vec<_>) =
        unexplained.partition(|row| of_lead(row, &detected.late_rows));
    assert!(unexplained.is_empty(), "no late event for {unexplained:?}");
    let live: BTreeSet<(String, String)> = lines(&detected.log)
        .filter(|line| line.pointer("/fields/class").is_some())
        .map(|line| {
            let field = |name: &str| text(&line, &format!("/fields/{name}")).to_owned();
            (field("table"), field("id"))
        })
        .collect();
    let unfound = differing.difference(&live);
    let unfound: Vec<_> = unfound.filter(|row| !of_lead(row, &live)).collect();
    assert!(unfound.is_empty(), "live handling did not find {unfound:?}");

    say(&format!(
        "{} events in disorder: correct took {} late ones for {} rows, and none differs; detect took \
         {} late ones for {} rows, of which {} differ, each a finding of class \
         late; {} of them fed by late rows only; {} more are right, but for the events they hold",
        dataset.lines.len(),
        corrected.late,
        corrected.late_rows.len(),
        detected.late,
        detected.late_rows.len(),
        differing.len(),
        fed.len(),
        unchanged.len(),
    ));

    for table in TABLES {
        let of = |rows: &BTreeSet<(String, String)>| {
            rows.iter().filter(|(named, _)| named == table).count()
        };
        let all = rows(&corrected.tables).into_keys().collect();
        say(&format!(
            "{table}: {} rows; late for {} under correct, {} with days under atomic, {} under detect; \
             {} differ under detect",
            of(&all),
            of(&corrected.late_rows),
            of(&added_up.late_rows),
            of(&detected.late_rows),
            of(&differing),
        ));
    }

    detected.foldback.ends(&["replay", "--mode", "update"]);
    dataset.check(&detected.foldback);
}
