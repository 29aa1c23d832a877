//! `foldback check` finds damage of every kind, says in which part, and what can be done about it.

#![expect(
    clippy::indexing_slicing,
    reason = "tests say with a panic what is not as it must be"
)]

use serde_json::Value;

use crate::support::{Dataset, Foldback};

/// A store with a thousand events .
fn store() -> Foldback {
    let dataset = Dataset::small(1_000);
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
    foldback
}

/// What a check says is wrong, by part, and how it ends.
fn checked(foldback: &Foldback) -> (i32, Vec<String>, Value) {
    let ended = foldback.ends(&["check", "--json"]);
    let said: Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
    let parts = said["faulty"].as_object().expect("parts");
    (ended.status, parts.keys().cloned().collect(), said)
}

#[track_caller]
fn check(damage: &str, status: i32, part: &str, says: &str) {
    check_all(damage, status, &[part], says);
}

#[track_caller]
fn check_all(damage: &str, status: i32, expect: &[&str], says: &str) {
    let foldback = store();
    let changed = foldback.database().execute(damage, []).expect(damage);
    assert!(changed > 0, "{damage} damaged nothing");
    let (ended, parts, said) = checked(&foldback);
    assert_eq!(
        (ended, parts.iter().map(String::as_str).collect::<Vec<_>>()),
        (status, expect.to_vec()),
        "{damage}\n{said:#}"
    );
    let part = expect[expect.len() - 1];
    let fault = said["faults"][0]["what"].as_str().expect("what");
    assert!(fault.contains(says), "{damage}: {fault}");
    assert!(said["whatToDo"][part].is_string(), "{said:#}");
    let shown = foldback.ends(&["check"]);
    assert_eq!(shown.status, status);
    assert!(
        shown.stdout.contains(&format!("{part}: ")) && shown.stdout.contains("→"),
        "{}",
        shown.stdout
    );
}

#[test]
fn a_sound_store_is_counted_and_clean() {
    let foldback = store();
    let (status, parts, said) = checked(&foldback);
    assert_eq!((status, parts.len()), (0, 0), "{said:#}");
    assert!(said["counts"]["events"].as_u64() >= Some(1_000), "{said:#}");
    let shown = foldback.ends(&["check"]);
    assert!(
        shown.stderr.contains("all is as it should be"),
        "{}",
        shown.stderr
    );
}

/// The sample has dead letters, rejects, late events, and appointments that a late event moves.
#[test]
fn the_sample_is_clean_too() {
    let foldback = Foldback::new();
    foldback.ends(&["run"]);
    let (status, _, said) = checked(&foldback);
    assert_eq!(status, 0, "{said:#}");
    assert!(
        said["counts"]["superseded versions"].as_u64() > Some(0),
        "{said:#}"
    );
}

#[test]
fn events_that_are_gone_or_changed() {
    check_all(
        "DELETE FROM journal WHERE position = 2",
        3,
        &["identities", "journal"],
        "segments 2 to 2 are gone",
    );
    check(
        "UPDATE journal SET body = x'00' WHERE position = 2",
        3,
        "journal",
        "format 0 is not known",
    );
}

#[test]
fn a_byte_of_an_event_that_changed() {
    let foldback = store();
    let database = foldback.database();
    let read = "SELECT body FROM journal WHERE position = 3";
    let mut body: Vec<u8> = database
        .query_row(read, [], |row| row.get(0))
        .expect("a segment");
    let last = body.len() - 1;
    body[last] ^= 1;
    let write = "UPDATE journal SET body = ? WHERE position = 3";
    database.execute(write, [body]).expect("changed");
    let (status, parts, said) = checked(&foldback);
    assert_eq!((status, parts), (3, vec!["journal".to_owned()]));
    let what = said["faults"][0]["what"].as_str().expect("what");
    assert!(what.contains("checksum"), "{what}");
    let replay = foldback.ends(&["replay"]);
    assert_eq!(replay.status, 3, "{}", replay.stdout);
    assert!(
        replay.stderr.contains("foldback check"),
        "{}",
        replay.stderr
    );
}

#[test]
fn identities_that_are_gone() {
    check(
        "DELETE FROM identities WHERE hash = (SELECT min(hash) FROM identities)",
        3,
        "journal",
        "its identity is not that of this segment",
    );
}

#[test]
fn the_last_segment_that_is_gone() {
    let foldback = store();
    let sql = "DELETE FROM journal WHERE position = (SELECT max(position) FROM journal)";
    foldback.database().execute(sql, []).expect("deleted");
    let (status, parts, said) = checked(&foldback);
    assert_eq!(
        (status, parts),
        (3, vec!["identities".to_owned(), "journal".to_owned()]),
        "{said:#}"
    );
}

#[test]
fn messages_and_letters() {
    check(
        "INSERT INTO messages (gid, deduplication, sent, receives, hidden_until, body)
         VALUES (1, x'00', 0, 0, 0, x'07')",
        3,
        "queue",
        "format 7 is not known",
    );
    check(
        "INSERT INTO dead_letters (gid, deduplication, receives, at, reason, body)
         SELECT 999999, x'00', 1, 0, 'poison', body FROM journal LIMIT 1",
        3,
        "queue",
        "group number 999999",
    );
}

#[test]
fn settings_that_do_not_compile_or_are_gone() {
    check(
        "UPDATE settings SET text = 'version = 2'",
        1,
        "settings",
        "version",
    );
    let foldback = store();
    let sql = "UPDATE settings SET version = 2";
    foldback.database().execute(sql, []).expect("changed");
    let (status, parts, said) = checked(&foldback);
    assert_eq!(
        (status, parts),
        (1, vec!["settings".to_owned()]),
        "{said:#}"
    );
}

#[test]
fn rows() {
    let first = "(gid, tbl, id) = (SELECT gid, tbl, id FROM rows WHERE tbl = 0 LIMIT 1)";
    for (set, says) in [
        ("body = 'oops'", "its body cannot be read"),
        (
            "body = json_set(body, '$.events', 7777)",
            "not what its checksum is of",
        ),
        ("trail = x'00ff'", "its trail cannot be read"),
        (
            "version = version + 1",
            "its version is not that of its trail",
        ),
        ("tbl = 99", "knows no such table"),
    ] {
        let sql = format!("UPDATE rows SET {set} WHERE {first}");
        check(&sql, 1, "rows", says);
    }
}

#[test]
fn histories() {
    let many = "(SELECT gid, tbl, id FROM history WHERE n = 2 AND recorded_to IS NULL LIMIT 1)";
    for (sql, says) in [
        (
            "DELETE FROM history WHERE n = 1 AND (gid, tbl, id) = MANY",
            "version 1 should come before it",
        ),
        (
            "UPDATE history SET fields = '[' WHERE n = 1 AND (gid, tbl, id) = MANY",
            "cannot be read",
        ),
        (
            "UPDATE history SET valid_to = valid_to + 1 WHERE n = 1 AND (gid, tbl, id) = MANY",
            "does not end where it begins",
        ),
    ] {
        check(&sql.replace("MANY", many), 1, "histories", says);
    }
}

#[test]
fn what_is_derived() {
    check(
        "DELETE FROM conversions WHERE lead = (SELECT min(lead) FROM conversions)",
        1,
        "conversions",
        "are lacking that rows lead to",
    );
    check(
        "UPDATE hierarchies SET body = x'09' WHERE id = 1",
        1,
        "records",
        "format 9",
    );
    check(
        "INSERT INTO images (gid, until, events, touched, body) VALUES (1, 0, 0, 0, x'08')",
        1,
        "images",
        "format 8",
    );
    let foldback = store();
    foldback
        .database()
        .execute_batch("DROP INDEX rows_by_id")
        .expect("dropped");
    let (status, parts, _) = checked(&foldback);
    assert_eq!((status, parts), (1, vec!["indexes".to_owned()]));
    foldback.ok(&["indexes", "--create"]);
    foldback.ok(&["check"]);
}

/// What a check calls mendable is mended by what it says.
#[test]
fn what_it_says_mends() {
    let foldback = store();
    let tables = foldback.tables();
    foldback
        .database()
        .execute_batch(
            "UPDATE rows SET body = 'oops' WHERE tbl = 1; UPDATE rows SET trail = x'00' WHERE tbl = 0;
             DELETE FROM conversions; DELETE FROM history WHERE n = 1;",
        )
        .expect("damaged");
    assert_eq!(foldback.ends(&["check"]).status, 1);
    foldback.ends(&["replay", "--mode", "update"]);
    foldback.ok(&["indexes", "--create"]);
    foldback.ok(&["check"]);
    assert_eq!(foldback.tables(), tables);
}

#[test]
fn it_is_for_a_data_directory() {
    let foldback = Foldback::new();
    assert_eq!(foldback.ends(&["check"]).status, 2, "there is no store");
    let aws = foldback.ends(&["check", "--target", "aws", "--stack", "x"]);
    assert_eq!(aws.status, 2, "{}", aws.stderr);
}
