//! Rows that other code wrote, adopted from the command line.

use serde_json::Value;
use shared::adapters::mongo::{Mongo, Retention};

use crate::mongo;
use crate::support::Foldback;

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "lead.stage"
to = "lead.updated"
set = { stage = { pointer = "/stage" } }
"#;

/// What other code does there.
fn command(foldback: &Foldback, command: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let uri = foldback.mongodb.as_ref().expect("rows in MongoDB");
        let store = Mongo::open(uri, Retention::default()).await.expect("open");
        let answer = store.run(command).await.expect(command);
        assert!(answer.get("writeErrors").is_none(), "{answer}");
        answer
    })
}

fn lead(foldback: &Foldback) -> Value {
    let find = r#"{"find": "RSLead", "filter": {"leadId": "lead-1"}}"#;
    let answer = command(foldback, find);
    let first = answer.pointer("/cursor/firstBatch/0");
    first.cloned().unwrap_or_default()
}

#[test]
fn legacy_rows_are_adopted_and_watched() {
    let foldback = mongo::foldback();
    let settings = foldback.file("settings.toml", SETTINGS);
    command(
        &foldback,
        r#"{"insert": "RSLead", "documents": [
            {"_id": "old-1", "tenant": "acme", "leadId": "lead-1", "stage": "old", "events": 3, "score": 5,
             "createdAt": {"$date": "2026-01-01T00:00:00Z"}, "assignee": null},
            {"_id": 7, "tenant": "acme", "leadId": "lead-2", "stage": "odd", "events": "many"},
            {"_id": 8, "leadId": "lead-3", "stage": "whose", "events": 1}]}"#,
    );
    let adopt = ["adopt", "RSLead", "--settings", &settings];
    let ended = foldback.ends(&adopt);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stderr.contains("1 adopted, 2 refused"), "{ended:?}");
    assert!(ended.stdout.contains("names no tenant"), "{ended:?}");
    assert_eq!(foldback.ends(&["replay"]).status, 0);
    let adopted = lead(&foldback);
    assert_eq!(
        (&adopted["_id"], &adopted["score"]),
        (&"old-1".into(), &5.into())
    );
    let expect = r#"{"createdAt":"2026-01-01T00:00:00.000Z","events":3,"leadId":"lead-1","stage":"old","tenant":"acme"}"#;
    assert_eq!(foldback.ok(&["export", "RSLead"]).trim_end(), expect);

    // What is wrong with the others is mended; they follow.
    let mend = r#"{"update": "RSLead", "updates": [
        {"q": {"_id": 7}, "u": {"$set": {"events": 2}}},
        {"q": {"_id": 8}, "u": {"$set": {"tenant": "acme"}}}]}"#;
    command(&foldback, mend);
    let ended = foldback.ends(&["adopt", "RSLead"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains("2 adopted, 0 refused"), "{ended:?}");

    // Folding goes on from there.
    let event = r#"{"specversion":"1.0","source":"//crm","id":"1","type":"lead.stage","time":"2026-03-01T09:00:00Z","tenant":"acme","partitionkey":"lead-1","data":{"stage":"new"}}"#;
    let time = "2026-03-01T09:00:00Z";
    let later = event.replace(time, &later());
    let file = foldback.file("events.jsonl", &later);
    foldback.ok(&["run", &file]);
    assert_eq!(lead(&foldback)["stage"], "new");

    let edit = r#"{"update": "RSLead", "updates": [{"q": {"leadId": "lead-1"}, "u": {"$set": {"stage": "edited"}}}]}"#;
    command(&foldback, edit);
    let found = foldback.ends(&["replay"]);
    assert_eq!(found.status, 1, "{found:?}");
    assert!(found.stdout.contains("foreign"), "{found:?}");
    foldback.ends(&["replay", "--mode", "update"]);
    assert_eq!(foldback.ends(&["replay"]).status, 0);
    let mended = lead(&foldback);
    assert_eq!(
        (&mended["stage"], &mended["score"]),
        (&"new".into(), &5.into())
    );
}

/// A moment after the adoption: what comes before it changes nothing in an adopted row.
fn later() -> String {
    use shared::ports::Clock;
    let now = shared::adapters::SystemClock.now();
    now.plus_ms(60_000).to_string()
}

#[test]
fn only_tables_in_mongodb_are_adopted() {
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", SETTINGS);
    let ended = foldback.ends(&["adopt", "RSLead", "--settings", &settings]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("--mongodb"), "{ended:?}");
}
