//! What the embedded store says of indexes that are not as they should be, and how it mends them.

use std::path::Path;

use foldback_tests::fixtures::{at, converted, group, happened, message, write};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, FILE_NAME, QueueLimits};
use shared::flow::RowKey;
use shared::model::{DerivedIndex, Fault, IndexCheck, QueryPlan, UnusedIndex};
use shared::ports::{ConversionQuery, Indexes, Journal, Queue, Rejects, Tables};
use tempfile::TempDir;

const LEADS: i64 = 40;

/// A store with something in most tables, and its directory.
fn filled() -> (TempDir, Embedded) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    for lead in 0..LEADS {
        let group = group("acme", &format!("lead-{lead}"));
        let row = converted(&group, &[("sale", at(lead)), ("visit", at(7))]);
        let insert = write(&RowKey::conversions("acme", &group.key), None, row);
        block_on(Tables::commit(&store, &[insert], &[], at(0))).expect("commit");
        block_on(store.append(&[happened(&group, lead, "lead.created")])).expect("append");
        let id = u128::try_from(lead).expect("small");
        block_on(store.send(&[message(&group, id, &["1"])], at(0))).expect("send");
    }
    (directory, store)
}

/// Changes the file behind the store's back.
fn damage(directory: &Path, sql: &str) {
    let database = rusqlite::Connection::open(directory.join(FILE_NAME)).expect("the file");
    database.execute_batch(sql).expect(sql);
}

fn check(store: &Embedded) -> IndexCheck {
    block_on(store.check_indexes()).expect("a check")
}

fn plan<'c>(check: &'c IndexCheck, query: &str) -> &'c QueryPlan {
    let plan = check.plans.iter().find(|plan| plan.query == query);
    plan.expect(query)
}

/// Without the index the check says so, with every query that misses it; `create_indexes` mends it.
fn dropped(index: &str, table: &str, queries: &[&str]) -> (IndexCheck, IndexCheck) {
    let (directory, store) = filled();
    assert!(check(&store).is_clean());
    damage(directory.path(), &format!("DROP INDEX {index}"));
    let without = check(&store);
    assert!(!without.is_clean());
    let missing = without.missing.first().expect("one");
    assert_eq!(
        (missing.index.as_str(), missing.table.as_str()),
        (index, table)
    );
    assert_eq!(missing.queries, queries);
    assert_eq!(without.missing.len(), 1);
    assert_eq!(without.unused, []);
    let created = block_on(store.create_indexes()).expect("created");
    assert_eq!(created, [format!("{table}.{index}")]);
    let mended = check(&store);
    assert!(mended.is_clean(), "{mended:#?}");
    assert_eq!(block_on(store.create_indexes()).expect("none"), [""; 0]);
    (without, mended)
}

#[test]
fn a_dropped_index_is_missed_by_its_queries_and_made_again() {
    for (index, table, queries) in [
        (
            "groups_by_key",
            "groups",
            &["Tables::find, by the key of the group"][..],
        ),
        (
            "journal_by_group",
            "journal",
            &["Journal::groups", "Journal::entries"],
        ),
        (
            "messages_by_group",
            "messages",
            &["Queue::receive, in flight", "Queue::waiting"],
        ),
        ("rows_by_id", "rows", &["Tables::find, by the row's own id"]),
        (
            "conversions_by_group",
            "conversions",
            &["Tables::commit, a lead's conversions"],
        ),
        (
            "hierarchies_by_group",
            "hierarchies",
            &["Hierarchies::of_group"],
        ),
    ] {
        let (without, mended) = dropped(index, table, queries);
        for query in queries.iter().filter(|query| **query != "Journal::groups") {
            let lost = plan(&without, query);
            let fault = lost.fault();
            assert!(
                matches!(fault, Some(Fault::Scan | Fault::OtherIndex)),
                "{lost:?}"
            );
            assert_eq!(plan(&mended, query).fault(), None);
        }
    }
}

/// A page examines what it returns: that is counted, not believed.
#[test]
fn what_a_query_looks_at_is_counted() {
    let (directory, store) = filled();
    let looked_at = |check: &IndexCheck, query: &str| {
        let plan = plan(check, query);
        (plan.examined, plan.returned)
    };
    let leads = u64::try_from(LEADS).ok();
    let with = check(&store);
    assert_eq!(
        looked_at(&with, "Tables::conversions, page"),
        (leads, leads)
    );
    assert_eq!(looked_at(&with, "Tables::read"), (Some(1), Some(1)));
    assert_eq!(looked_at(&with, "Queue::waiting"), (Some(1), Some(1)));
    assert_eq!(
        looked_at(&with, "Rejects::list, page"),
        (None, None),
        "there is nothing to try it with"
    );
    damage(directory.path(), "DROP INDEX messages_by_group");
    let without = check(&store);
    assert_eq!(looked_at(&without, "Queue::waiting"), (leads, Some(1)));
}

#[test]
fn an_index_of_the_same_name_is_not_the_same_index() {
    let (directory, store) = filled();
    damage(
        directory.path(),
        "DROP INDEX messages_by_group; CREATE INDEX messages_by_group ON messages (body)",
    );
    let other = check(&store);
    assert_eq!(other.missing.len(), 1, "{:?}", other.missing);
    assert_eq!(plan(&other, "Queue::waiting").fault(), Some(Fault::Scan));
    let created = block_on(store.create_indexes()).expect("created");
    assert_eq!(created, ["messages.messages_by_group"]);
    damage(
        directory.path(),
        "DROP INDEX messages_by_group; create index messages_by_group\n on messages(gid)",
    );
    assert!(check(&store).is_clean(), "made by hand as it is declared");
}

#[test]
fn an_index_that_nobody_needs_is_named_and_no_fault() {
    let (directory, store) = filled();
    damage(
        directory.path(),
        "CREATE INDEX somebodys ON rows (version); CREATE TABLE theirs (x UNIQUE);
         CREATE INDEX not_ours ON theirs (x)",
    );
    let check = check(&store);
    let unused = UnusedIndex {
        table: "rows".into(),
        index: "somebodys".into(),
    };
    assert_eq!(check.unused, [unused]);
    assert!(check.is_clean());
    assert_eq!(block_on(store.create_indexes()).expect("none"), [""; 0]);
}

#[test]
fn conversions_that_went_astray_are_counted_and_mended() {
    let (directory, store) = filled();
    let sales = || {
        let query = ConversionQuery {
            tenant: "acme".into(),
            name: "sale".into(),
            from: at(0),
            to: at(LEADS),
            limit: 1_000,
            after: None,
        };
        block_on(store.conversions(&query)).expect("a page").rows
    };
    let before = sales();
    for (sql, lacking, stray) in [
        ("DELETE FROM conversions WHERE lead = 'lead-3'", 2, 0),
        (
            "INSERT INTO conversions VALUES ('acme', 'sale', 1, 'ghost', 1)",
            0,
            1,
        ),
        (
            "UPDATE conversions SET last_at = last_at + 1 WHERE name = 'sale' AND lead = 'lead-5'",
            1,
            1,
        ),
        (
            "UPDATE conversions SET gid = gid + 1000 WHERE lead = 'lead-7'",
            2,
            2,
        ),
        ("DELETE FROM conversions", 80, 0),
    ] {
        damage(directory.path(), sql);
        let astray = check(&store);
        let expect = DerivedIndex {
            index: "conversions".into(),
            lacking,
            stray,
        };
        assert_eq!(astray.derived, [expect], "{sql}");
        assert!(!astray.is_clean());
        let created = block_on(store.create_indexes()).expect("mended");
        assert_eq!(created, ["RSLeadGlobalConversions.conversions"], "{sql}");
        let mended = check(&store);
        assert!(mended.is_clean(), "{sql}: {:?}", mended.derived);
        assert_eq!(sales(), before, "{sql}");
    }
}

/// The check reads beside a writer, from a store that may not write, and waits for nobody.
#[test]
fn a_reader_checks_and_creates_nothing() {
    let (directory, store) = filled();
    let reader = Embedded::open_to_read(directory.path()).expect("open to read");
    store.begin().expect("begin");
    assert!(check(&reader).is_clean());
    store.commit().expect("commit");
    damage(directory.path(), "DROP INDEX rows_by_id");
    assert!(!check(&reader).is_clean());
    assert!(block_on(reader.create_indexes()).is_err());
    assert_eq!(check(&reader).missing.len(), 1);
}

/// Within a unit of work as without.
#[test]
fn a_unit_of_work_may_create_and_give_up() {
    let (directory, store) = filled();
    damage(directory.path(), "DROP INDEX rows_by_id");
    store.begin().expect("begin");
    let created = block_on(store.create_indexes()).expect("created");
    assert_eq!(created, ["rows.rows_by_id"]);
    assert_eq!(block_on(store.create_indexes()).expect("none"), [""; 0]);
    store.roll_back();
    assert_eq!(check(&store).missing.len(), 1);
    assert!(block_on(store.list(0, 1)).expect("rejects").is_empty());
}
