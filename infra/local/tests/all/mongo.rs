//! Rows in MongoDB: the same tables, byte for byte. Tested against SecantusDB.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use foldback_tests::servers::{Durability, Secantus};

use crate::support::{Dataset, Disorder, Foldback};

/// How many leads of the BPI 2012 log a test takes; all of them by `--ignored`.
const LEADS: usize = 150;
const ALL_LEADS: usize = usize::MAX;

/// A data directory whose rows are in a database of its own.
pub(crate) fn foldback() -> Foldback {
    static SERVER: OnceLock<Secantus> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(|| Secantus::start(Durability::Relaxed));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Foldback::over(server.uri(&format!("foldback{number}")))
}

fn check(leads: usize, arrange: impl FnOnce(&mut Disorder, &[String]) -> Vec<String>) {
    let dataset = if leads == ALL_LEADS {
        Dataset::whole()
    } else {
        Dataset::of_leads(leads)
    };
    let foldback = foldback();
    let lines = arrange(&mut Disorder::new(21), &dataset.lines);
    let file = foldback.file("events.jsonl", &lines.join("\n"));
    let settings = dataset.settings();
    foldback.ok(&["run", &file, "--settings", settings, "--no-verify"]);
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
    disorder.shuffle(&mut lines[..2_000]);
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
    let name: serde_json::Value = name
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
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
    let lead: serde_json::Value =
        serde_json::from_str(lead.lines().next().expect("a lead")).expect("JSON");
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
    let row: serde_json::Value =
        serde_json::from_str(row.lines().next().expect("a lead")).expect("JSON");
    row["tenant"].as_str().expect("a tenant").to_owned()
}
