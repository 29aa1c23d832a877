//! Rows in MongoDB: the same tables, byte for byte. Tested against SecantusDB.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use foldback_tests::servers::{Durability, Secantus};
use serde_json::Value;
use shared::adapters::mongo::{Mongo, Retention};
use shared::model::ReplayRun;
use shared::ports::{Error, Reports};

use crate::support::{DAYS, Dataset, Disorder, Foldback, lock};

/// How many leads of the BPI 2012 log a test takes; all of them by `--ignored`.
const LEADS: usize = 150;
const ALL_LEADS: usize = usize::MAX;

/// The server that the tests share.
pub(crate) fn server() -> &'static Secantus {
    static SERVER: OnceLock<Secantus> = OnceLock::new();
    SERVER.get_or_init(|| Secantus::start(Durability::Relaxed))
}

/// A data directory whose rows are in a database of its own.
pub(crate) fn foldback() -> Foldback {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Foldback::over(server().uri(&format!("foldback{number}")))
}

fn check(leads: usize, arrange: impl FnOnce(&mut Disorder, &[String]) -> Vec<String>) {
    check_days("correct", leads, arrange);
}

/// With one policy or the other for what is fed across groups.
fn check_days(
    policy: &str,
    leads: usize,
    arrange: impl FnOnce(&mut Disorder, &[String]) -> Vec<String>,
) {
    let dataset = if leads == ALL_LEADS {
        Dataset::whole()
    } else {
        Dataset::of_leads(leads)
    };
    let foldback = foldback();
    let lines = arrange(&mut Disorder::new(21), &dataset.lines);
    let file = foldback.file("events.jsonl", &lines.join("\n"));
    let settings = foldback.file("settings.toml", &dataset.under(policy, &[DAYS]));
    foldback.ok(&["run", &file, "--settings", &settings, "--no-verify"]);
    dataset.check(&foldback);
}

fn permuted(disorder: &mut Disorder, lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    disorder.shuffle(&mut lines);
    lines
}

/// One event in ten comes twice.
fn doubled(disorder: &mut Disorder, lines: &[String]) -> Vec<String> {
    let again: Vec<String> = lines
        .iter()
        .filter(|_| disorder.below(10) == 0)
        .cloned()
        .collect();
    let mut lines = [disorder.delay(lines), again].concat();
    disorder.shuffle(lines.get_mut(..2_000).expect("as many"));
    lines
}

#[test]
fn in_order() {
    check(LEADS, |_, lines| lines.to_vec());
}

#[test]
fn delayed_by_seconds_to_days() {
    check(LEADS, Disorder::delay);
}

#[test]
fn in_a_complete_random_permutation() {
    check(LEADS, permuted);
}

#[test]
fn with_a_tenth_of_duplicates() {
    check(LEADS, doubled);
}

#[test]
fn in_a_complete_random_permutation_with_days_added_up() {
    check_days("atomic", LEADS, permuted);
}

#[test]
fn with_a_tenth_of_duplicates_with_days_added_up() {
    check_days("atomic", LEADS, doubled);
}

#[test]
#[ignore = "the whole log takes minutes over a slow server; run it with --ignored"]
fn the_whole_log_in_order() {
    check(ALL_LEADS, |_, lines| lines.to_vec());
}

#[test]
#[ignore = "the whole log takes minutes over a slow server; run it with --ignored"]
fn the_whole_log_delayed() {
    check(ALL_LEADS, Disorder::delay);
}

/// A data directory knows where its rows are; nobody writes them to another place by mistake.
#[test]
fn rows_stay_where_they_are() {
    let dataset = Dataset::of_leads(3);
    let remote = foldback();
    let file = remote.file("events.jsonl", &dataset.lines.join("\n"));
    let run = [
        "run",
        &file,
        "--settings",
        dataset.settings(),
        "--no-verify",
    ];
    remote.ok(&run);
    let mut without = remote.command(&["replay"]);
    let ended = without
        .env_remove("FOLDBACK_MONGODB")
        .output()
        .expect("it runs");
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(
        said.contains("database \"foldback") && said.contains("--mongodb"),
        "{said}"
    );

    let local = Foldback::new();
    let file = local.file("events.jsonl", &dataset.lines.join("\n"));
    local.ok(&[
        "run",
        &file,
        "--settings",
        dataset.settings(),
        "--no-verify",
    ]);
    let ended = local.ends(&["replay", "--mongodb", "mongodb://u:hunter2@127.0.0.1:1/x"]);
    assert_eq!(ended.status, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("its own file"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn an_unreachable_server_is_named_and_the_password_is_not() {
    let foldback = Foldback::new();
    let uri = "mongodb://u:hunter2@127.0.0.1:1/x?serverSelectionTimeoutMS=300";
    let ended = foldback.ends(&["run", "--mongodb", uri]);
    assert_eq!(ended.status, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("127.0.0.1:1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    let ended = foldback.ends(&["run", "--mongodb", "http://u:hunter2@example.com"]);
    assert_eq!(ended.status, 2, "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

/// Late events, what was believed when, pages of conversions: asked of rows in MongoDB.
#[test]
fn questions_are_answered() {
    let dataset = Dataset::of_leads(40);
    let (remote, local) = (foldback(), Foldback::new());
    for foldback in [&remote, &local] {
        let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
        foldback.ok(&[
            "run",
            &file,
            "--settings",
            dataset.settings(),
            "--no-verify",
        ]);
    }
    let tenant = tenant(&local);
    let name = local.ok(&["export", "RSLeadGlobalConversions"]);
    let name: Value = name
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|row| {
            row["conversions"]
                .as_object()
                .is_some_and(|c| !c.is_empty())
        })
        .expect("a conversion");
    let name = name["conversions"]
        .as_object()
        .expect("an object")
        .keys()
        .next()
        .expect("one");
    let lead = local.ok(&["export", "RSLead"]);
    let lead: Value = serde_json::from_str(lead.lines().next().expect("a lead")).expect("JSON");
    let lead = lead["leadId"].as_str().expect("an id");
    for question in [
        vec![
            "query",
            "conversions",
            "--tenant",
            &tenant,
            "--name",
            name,
            "--limit",
            "7",
        ],
        vec!["query", "conversions", "--tenant", &tenant, "--lead", lead],
    ] {
        assert_eq!(remote.ok(&question), local.ok(&question), "{question:?}");
    }
    let shown = remote.ok(&["show", lead]);
    assert!(shown.contains("RSLeadGlobalConversions"), "{shown}");
}

fn tenant(foldback: &Foldback) -> String {
    let row = foldback.ok(&["export", "RSLead"]);
    let row: Value = serde_json::from_str(row.lines().next().expect("a lead")).expect("JSON");
    let tenant = row.get("tenant").and_then(Value::as_str);
    tenant.expect("a tenant").to_owned()
}

/// A few leads in MongoDB.
fn few() -> Foldback {
    let dataset = Dataset::of_leads(3);
    let foldback = foldback();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    let settings = dataset.settings();
    foldback.ok(&["run", &file, "--settings", settings, "--no-verify"]);
    foldback
}

/// Asks the store itself.
fn asked<T>(foldback: &Foldback, ask: impl AsyncFnOnce(Mongo) -> Result<T, Error>) -> T {
    let uri = foldback.mongodb.as_deref().expect("rows in MongoDB");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = runtime.expect("a runtime").block_on(async {
        let store = Mongo::open(uri, Retention::default()).await?;
        ask(store).await
    });
    answer.expect("an answer")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_indexes_of_both_stores_are_checked_and_made() {
    let foldback = few();
    let clean = foldback.ok(&["indexes"]);
    let headings = ["Rows, in MongoDB, database ", "Events and messages, in "];
    let heading = |line: &&str| headings.iter().any(|heading| line.starts_with(heading));
    assert_eq!(clean.lines().filter(heading).count(), 2, "{clean}");
    assert!(clean.contains("Tables::read_groups, RSAppointment"));
    assert!(clean.contains("Queue::waiting"));

    let drop_local = "DROP INDEX messages_by_group";
    let drop_remote = r#"{"dropIndexes": "RSLead", "index": "by_key"}"#;
    for both in [true, false] {
        asked(&foldback, async |store| store.run(drop_remote).await);
        if both {
            foldback
                .database()
                .execute_batch(drop_local)
                .expect("dropped");
        }
        let ended = foldback.ends(&["indexes", "--json"]);
        assert_eq!(ended.status, 1, "{}", ended.stderr);
        let check = json(&ended.stdout);
        assert_eq!(check["rows"]["missing"][0]["index"], "by_key");
        let missing = check["events"]["missing"].as_array().expect("a list");
        assert_eq!(missing.len(), usize::from(both), "{missing:?}");
        let told = foldback.ends(&["indexes"]);
        assert_eq!(told.status, 1, "looking mends nothing");
        assert!(told.stdout.contains("missing  RSLead.by_key, needed by: "));
        let created = foldback.ends(&["indexes", "--create"]);
        assert_eq!(created.status, 0, "{}", created.stdout);
        assert!(created.stderr.contains("created RSLead.by_key"));
        let local = "created messages.messages_by_group";
        assert_eq!(created.stderr.contains(local), both, "{}", created.stderr);
    }
}

#[test]
fn a_report_is_kept_with_the_rows_beside_a_writer() {
    let foldback = few();
    let locked = lock(&foldback);
    let ended = foldback.ends(&["report", "--json"]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let report = json(&ended.stdout);
    assert_eq!(report["rows"]["RSLead"], 3);
    assert!(report["indexes"]["rows"]["plans"].is_array());
    assert!(report["indexes"]["events"]["plans"].is_array());
    let kept = asked(&foldback, async |store| store.reports(10).await);
    let kept: Vec<Value> = kept
        .iter()
        .map(|report| serde_json::to_value(report).expect("JSON"))
        .collect();
    assert_eq!(kept, [report]);

    let dropped = foldback.database().execute_batch("DROP INDEX rows_by_id");
    dropped.expect("dropped");
    let text = foldback.ok(&["report"]);
    let fault = "Tables::find, by the row's own id: scans the table";
    let line = format!(
        "indexes       Events and messages, in {}: {fault}",
        foldback.data().display()
    );
    assert!(text.contains(&line), "{text}");
    drop(locked);
}

#[test]
fn every_replay_is_kept_with_the_rows() {
    let foldback = few();
    let spoil = r#"{"update": "RSLead", "updates": [
        {"q": {}, "u": {"$set": {"stage": "spoiled"}}, "multi": true}]}"#;
    asked(&foldback, async |store| store.run(spoil).await);
    let locked = lock(&foldback);
    for mode in ["report", "changes"] {
        assert_eq!(foldback.ends(&["replay", "--mode", mode]).status, 1);
    }
    let lead = foldback.ok(&["export", "RSLead"]);
    let lead = json(lead.lines().next().expect("a lead"))["leadId"].clone();
    let lead = lead.as_str().expect("an id");
    assert_eq!(foldback.ends(&["replay", "--id", lead]).status, 1);
    drop(locked);
    assert_eq!(foldback.ends(&["replay", "--mode", "update"]).status, 1);
    assert_eq!(foldback.ends(&["replay"]).status, 0);
    let runs = asked(&foldback, async |store| store.runs(10).await);
    let told = |run: &ReplayRun| (run.mode.to_string(), run.findings, run.mended);
    let told: Vec<_> = runs.iter().map(|(_, run)| told(run)).collect();
    let expect = [
        ("report", 0, 0),
        ("update", 3, 3),
        ("report", 1, 0),
        ("changes", 3, 0),
        ("report", 3, 0),
    ];
    let expect = expect.map(|(mode, findings, mended)| (mode.to_owned(), findings, mended));
    assert_eq!(told, expect);
    let first = runs[4].0;
    let found = asked(&foldback, async |store| store.findings(first, 0, 10).await);
    assert_eq!(found.len(), 3);
    let last = json(&foldback.ok(&["report", "--json"]))["lastRun"].clone();
    assert_eq!(last["scope"], "all tenants");
}
