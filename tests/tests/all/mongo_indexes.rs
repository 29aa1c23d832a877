//! What the MongoDB store says of indexes that are not as they should be, and how it mends them.

use foldback_tests::fixtures::{at, converted, group, lead, lead_key, write};
use shared::adapters::mongo::{Mongo, Retention};
use shared::flow::RowKey;
use shared::model::{DerivedIndex, Fault, IndexCheck, QueryPlan, UnusedIndex};
use shared::ports::{ConversionQuery, Indexes, Tables};

use crate::mongo::{connect, fresh_uri, run};

const LEADS: i64 = 40;
const PLACES: &str = "RSLeadGlobalConversions.places";

/// A store of some leads and their conversions, and its connection string.
async fn filled() -> (String, Mongo) {
    let uri = fresh_uri();
    let store = connect(&uri).await;
    let mut writes = Vec::new();
    for n in 0..LEADS {
        let group = group("acme", &format!("lead-{n}"));
        let row = converted(&group, &[("sale", at(n)), ("visit", at(7))]);
        let key = RowKey::conversions("acme", &group.key);
        writes.push(write(&key, None, row));
        writes.push(write(&lead_key(&group), None, lead(&group, "open")));
    }
    store.commit(&writes, &[], at(0)).await.expect("commit");
    (uri, store)
}

/// Does what another program would. A command's name must come first, so it is given as a text.
async fn command(store: &Mongo, command: &str) {
    let answer = store.run(command).await.expect(command);
    assert!(answer.get("writeErrors").is_none(), "{answer}");
}

async fn drop_index(store: &Mongo, collection: &str, index: &str) {
    let drop = format!(r#"{{"dropIndexes": "{collection}", "index": "{index}"}}"#);
    command(store, &drop).await;
}

async fn create_index(store: &Mongo, collection: &str, index: &str, field: &str) {
    let index = format!(r#"{{"key": {{"{field}": 1}}, "name": "{index}"}}"#);
    let create = format!(r#"{{"createIndexes": "{collection}", "indexes": [{index}]}}"#);
    command(store, &create).await;
}

async fn check(store: &Mongo) -> IndexCheck {
    store.check_indexes().await.expect("a check")
}

fn plan<'c>(check: &'c IndexCheck, query: &str) -> &'c QueryPlan {
    let plan = check.plans.iter().find(|plan| plan.query == query);
    plan.expect(query)
}

/// Without the index the check says so, with every query that misses it; `create_indexes` mends it.
async fn dropped(collection: &str, index: &str, queries: &[&str]) {
    let (uri, store) = filled().await;
    assert!(check(&store).await.is_clean());
    drop_index(&store, collection, index).await;
    // To look at it does not mend it.
    let store = Mongo::open(&uri, Retention::default()).await.expect("open");
    let without = check(&store).await;
    assert!(!without.is_clean());
    assert_eq!(without.missing.len(), 1, "{:?}", without.missing);
    let missing = without.missing.first().expect("one");
    assert_eq!(
        (missing.table.as_str(), missing.index.as_str()),
        (collection, index)
    );
    assert_eq!(missing.queries, queries);
    assert_eq!(without.unused, []);
    for query in queries {
        let lost = plan(&without, query);
        assert_eq!(lost.fault(), Some(Fault::Scan), "{lost:?}");
    }
    let created = store.create_indexes().await.expect("created");
    assert_eq!(created, [format!("{collection}.{index}")]);
    let mended = check(&store).await;
    assert!(mended.is_clean(), "{mended:#?}");
    assert_eq!(store.create_indexes().await.expect("none"), [""; 0]);
}

#[test]
fn a_dropped_index_of_rows_is_missed_by_its_queries_and_made_again() {
    run(async {
        dropped(
            "RSLead",
            "by_key",
            &["Tables::read, RSLead", "Tables::commit, RSLead"],
        )
        .await;
        dropped(
            "RSLead",
            "by_group",
            &[
                "Tables::read_groups, RSLead",
                "Tables::groups_with_rows, RSLead",
            ],
        )
        .await;
        dropped(
            "RSAppointment",
            "by_id",
            &[
                "Tables::find, RSAppointment",
                "Tables::find, any tenant, RSAppointment",
            ],
        )
        .await;
    });
}

#[test]
fn a_dropped_index_of_other_documents_is_missed_by_its_queries_and_made_again() {
    run(async {
        dropped(PLACES, "by_name", &["Tables::conversions, page"]).await;
        dropped(PLACES, "by_row", &["Tables::commit, places"]).await;
        dropped("ActionHierarchy", "by_group", &["Hierarchies::of_group"]).await;
        dropped("ReplayRun", "by_number", &["Reports::runs"]).await;
        dropped("Finding", "by_run", &["Reports::findings"]).await;
    });
}

/// A page examines what it returns: that is counted by the server, not believed.
#[test]
fn what_a_query_looks_at_is_counted() {
    run(async {
        let (_, store) = filled().await;
        let looked_at = |check: &IndexCheck| {
            let plan = plan(check, "Tables::commit, places");
            (plan.examined, plan.returned)
        };
        // Two keys and two documents.
        assert_eq!(looked_at(&check(&store).await), (Some(4), Some(2)));
        drop_index(&store, PLACES, "by_row").await;
        let all = u64::try_from(2 * LEADS).ok();
        assert_eq!(looked_at(&check(&store).await), (all, Some(2)));
    });
}

#[test]
fn an_index_of_the_same_name_is_not_the_same_index() {
    run(async {
        let (uri, store) = filled().await;
        drop_index(&store, "RSLead", "by_group").await;
        create_index(&store, "RSLead", "by_group", "stage").await;
        // Nor does connecting make more of it than it is.
        let store = connect(&uri).await;
        let wrong = check(&store).await;
        assert_eq!(wrong.missing.len(), 1, "{:?}", wrong.missing);
        let lost = plan(&wrong, "Tables::read_groups, RSLead");
        assert_eq!(lost.fault(), Some(Fault::Scan), "{lost:?}");
        let created = store.create_indexes().await.expect("created");
        assert_eq!(created, ["RSLead.by_group"]);
        assert!(check(&store).await.is_clean());
    });
}

#[test]
fn an_index_that_nobody_needs_is_named_and_no_fault() {
    run(async {
        let (_, store) = filled().await;
        for collection in ["RSLead", "theirs"] {
            create_index(&store, collection, "somebodys", "trail.settings").await;
        }
        let check = check(&store).await;
        let unused = UnusedIndex {
            table: "RSLead".into(),
            index: "somebodys".into(),
        };
        assert_eq!(check.unused, [unused], "what is not ours is not looked at");
        assert!(check.is_clean());
        assert_eq!(store.create_indexes().await.expect("none"), [""; 0]);
    });
}

/// Rows that were there before, written by other code, stand beside ours and are nobody's fault.
#[test]
fn documents_of_other_code_are_let_be() {
    run(async {
        let (_, store) = filled().await;
        let theirs = r#"[{"leadId": "lead-1"}, {"conversions": 7}]"#;
        for collection in ["RSLead", "RSLeadGlobalConversions"] {
            let insert = format!(r#"{{"insert": "{collection}", "documents": {theirs}}}"#);
            command(&store, &insert).await;
        }
        let check = check(&store).await;
        assert!(check.is_clean(), "{check:#?}");
        assert_eq!(store.create_indexes().await.expect("none"), [""; 0]);
    });
}

async fn sales(store: &Mongo) -> Vec<shared::flow::Stored> {
    let query = ConversionQuery {
        tenant: "acme".into(),
        name: "sale".into(),
        from: at(0),
        to: at(LEADS),
        limit: 1_000,
        after: None,
    };
    store.conversions(&query).await.expect("a page").rows
}

#[test]
fn conversions_that_went_astray_are_counted_and_mended() {
    run(async {
        let (_, store) = filled().await;
        let before = sales(&store).await;
        assert_eq!(before.len(), 40);
        let delete = |of: &str| {
            format!(r#"{{"delete": "{PLACES}", "deletes": [{{"q": {of}, "limit": 0}}]}}"#)
        };
        let update = |of: &str, set: &str| {
            let update = format!(r#"{{"q": {of}, "u": {{"$set": {set}}}, "multi": true}}"#);
            format!(r#"{{"update": "{PLACES}", "updates": [{update}]}}"#)
        };
        let insert =
            |documents: &str| format!(r#"{{"insert": "{PLACES}", "documents": [{documents}]}}"#);
        let ghost = r##"{"key": "0#acme#ghost#ghost", "tenant": "acme", "name": "sale",
                         "place": "8000000000000001#ghost", "leadId": "ghost"}"##;
        let ghost = insert(ghost);
        let twice = insert(r#"{"name": "sale"}, {"key": 7}"#);
        for (what, lacking, stray) in [
            (delete(r#"{"leadId": "lead-3"}"#), 2, 0),
            (ghost, 0, 1),
            (
                update(
                    r#"{"leadId": "lead-5", "name": "sale"}"#,
                    r#"{"place": "8000000000000001#lead-5"}"#,
                ),
                1,
                1,
            ),
            (
                update(
                    r#"{"leadId": "lead-7"}"#,
                    r##"{"key": "0#acme#other#other"}"##,
                ),
                2,
                2,
            ),
            // A lead is found by the lead's id that its entry names.
            (
                update(
                    r#"{"leadId": "lead-9", "name": "visit"}"#,
                    r#"{"leadId": "lead-8"}"#,
                ),
                1,
                1,
            ),
            (twice, 0, 2),
            (delete("{}"), 80, 0),
        ] {
            command(&store, &what).await;
            let astray = check(&store).await;
            let expect = DerivedIndex {
                index: PLACES.into(),
                lacking,
                stray,
            };
            assert_eq!(astray.derived, [expect], "{what}");
            assert!(!astray.is_clean());
            let created = store.create_indexes().await.expect("mended");
            assert_eq!(created, [PLACES], "{what}");
            let mended = check(&store).await;
            assert!(mended.is_clean(), "{what}: {:?}", mended.derived);
            assert_eq!(sales(&store).await, before, "{what}");
        }
    });
}
