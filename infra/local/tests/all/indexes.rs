//! `foldback indexes`: what it says of a store's indexes, and that it mends them.

use serde_json::Value;

use crate::support::Foldback;

/// The store of the shipped sample.
fn sample() -> Foldback {
    let foldback = Foldback::new();
    foldback.ok(&["run"]);
    foldback
}

fn damage(foldback: &Foldback, sql: &str) {
    foldback.database().execute_batch(sql).expect(sql);
}

#[test]
fn the_samples_indexes_are_clean() {
    let foldback = sample();
    let ended = foldback.ends(&["indexes"]);
    assert_eq!(ended.status, 0, "{}\n{}", ended.stdout, ended.stderr);
    for part in [
        "Tables::conversions, page",
        "rows_by_id",
        "primary key",
        "100 / 100",
        "whole pass",
        "as declared: all of the table",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    for word in ["missing", "unused", "astray", "scans", "looks at"] {
        assert!(!ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
    assert!(
        ended
            .stderr
            .contains("0 not as declared; 0 indexes missing"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_dropped_index_is_named_with_its_query_and_made_again() {
    let foldback = sample();
    damage(&foldback, "DROP INDEX rows_by_id");
    let ended = foldback.ends(&["indexes"]);
    assert_eq!(ended.status, 1);
    let missing = "missing  rows.rows_by_id, needed by: Tables::find, by the row's own id";
    assert!(ended.stdout.contains(missing), "{}", ended.stdout);
    assert!(ended.stdout.contains("scans the table"), "{}", ended.stdout);
    assert_eq!(
        foldback.ends(&["indexes"]).status,
        1,
        "looking mends nothing"
    );

    let created = foldback.ends(&["indexes", "--create"]);
    assert_eq!(created.status, 0, "{}", created.stdout);
    assert!(
        created.stderr.contains("created rows.rows_by_id"),
        "{}",
        created.stderr
    );
    let again = foldback.ends(&["indexes", "--create"]);
    assert_eq!(again.status, 0);
    assert!(!again.stderr.contains("created"), "{}", again.stderr);
    assert_eq!(foldback.ends(&["indexes"]).status, 0);
}

#[test]
fn conversions_that_are_gone_from_their_index_come_back() {
    let foldback = sample();
    let ask = ["query", "conversions", "--tenant", "acme", "--name", "won"];
    let before = foldback.ok(&ask);
    assert!(before.lines().count() > 1);
    damage(
        &foldback,
        "DELETE FROM conversions WHERE tenant = 'acme' AND name = 'won'",
    );
    assert_eq!(foldback.ok(&ask), "");
    assert_eq!(foldback.ends(&["replay"]).status, 0, "the rows are right");
    let ended = foldback.ends(&["indexes"]);
    assert_eq!(ended.status, 1);
    assert!(
        ended.stdout.contains("astray   conversions: lacks"),
        "{}",
        ended.stdout
    );
    foldback.ok(&["indexes", "--create"]);
    assert_eq!(foldback.ok(&ask), before);
}

#[test]
fn an_unused_index_is_named_and_no_failure() {
    let foldback = sample();
    damage(&foldback, "CREATE INDEX somebodys ON rows (version)");
    let said = foldback.ok(&["indexes"]);
    assert!(
        said.contains("unused   rows.somebodys: no query needs it"),
        "{said}"
    );
}

#[test]
fn machines_get_json() {
    let foldback = sample();
    damage(&foldback, "DROP INDEX journal_by_group");
    let ended = foldback.ends(&["indexes", "--json"]);
    assert_eq!(ended.status, 1);
    let check: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(check["missing"][0]["index"], "journal_by_group");
    let plans = check["plans"].as_array().expect("plans");
    let entries = plans
        .iter()
        .find(|plan| plan["query"] == "Journal::entries")
        .expect("a plan");
    assert_eq!(entries["needs"], "journal_by_group");
    assert_ne!(entries["uses"], "journal_by_group");
}

#[test]
fn indexes_need_a_store() {
    let nothing = Foldback::new().ends(&["indexes"]);
    assert_eq!(nothing.status, 2, "{}", nothing.stderr);
}
