//! What the state table on DynamoDB promises beyond the ports: what a person finds there, and what goes.

use foldback_tests::contract::Fixture;
use foldback_tests::servers::aws_call;
use serde_json::{Value, json};
use shared::ports::{ErrorKind, Lease, LockKey, Locks, SettingsVersions};
use shared::settings::Format;

use crate::aws::OnAws;

/// Asks for an item of the state table.
fn asked(fixture: &OnAws, operation: &str, pk: &str, sk: &str) -> Value {
    let target = format!("DynamoDB_20120810.{operation}");
    let input = json!({ "TableName": "state", "Key": { "pk": { "S": pk }, "sk": { "S": sk } } });
    let answer = aws_call(&fixture.endpoint(), &target, &input);
    answer.get("Item").cloned().unwrap_or_default()
}

fn lead() -> LockKey {
    LockKey {
        tenant: "acme".into(),
        name: "RSLead lead-1".into(),
    }
}

async fn acquire(fixture: &OnAws, owner: &str) -> Option<Lease> {
    let (key, now) = (lead(), fixture.now());
    let acquired = fixture.ports().acquire(&key, owner, 30_000, now).await;
    acquired.expect("acquire")
}

/// DynamoDB may take a lock's item away when nobody can hold a lease of it, and fences grow all the same.
#[test]
fn a_lock_expires_when_it_can_be_forgotten() {
    OnAws::run(async {
        let mut fixture = OnAws::fresh().await;
        let first = acquire(&fixture, "one").await.expect("a lease");
        let (pk, sk) = ("lock#acme#RSLead lead-1", "-");
        let expires = |fixture: &OnAws| -> i64 {
            let item = asked(fixture, "GetItem", pk, sk);
            let expires = item["expires"]["N"].as_str().expect("a number");
            expires.parse().expect("a number")
        };
        let day_s = Lease::KEPT_MS / 1_000;
        let soonest_s = first.until.ms() / 1_000 + day_s;
        assert!((soonest_s..soonest_s + 2).contains(&expires(&fixture)));
        let renewed = fixture
            .ports()
            .renew(&first, 5_000_000, fixture.now())
            .await;
        let until = renewed.expect("renew").expect("held").until;
        let soonest_s = until.ms() / 1_000 + day_s;
        assert!((soonest_s..soonest_s + 2).contains(&expires(&fixture)));
        fixture.ports().release(&first).await.expect("release");
        assert!(
            expires(&fixture) >= soonest_s,
            "released, it keeps its fence"
        );
        fixture
            .pass((soonest_s + 2) * 1_000 - fixture.now().ms())
            .await;
        asked(&fixture, "DeleteItem", pk, sk);
        let again = fixture.ports().renew(&first, 1_000, fixture.now()).await;
        assert_eq!(again.expect("renew"), None);
        fixture.ports().release(&first).await.expect("release");
        assert!(
            asked(&fixture, "GetItem", pk, sk).is_null(),
            "nothing is made by that"
        );
        let second = acquire(&fixture, "two").await.expect("a lease");
        assert!(second.fence > first.fence);
    });
}

/// A fence from a clock that was years ahead must be known until that time has come.
#[test]
fn a_fence_from_the_future_is_kept_until_then() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let ahead_ms = 10 * 365 * 24 * 60 * 60 * 1_000;
        let (key, ahead) = (lead(), fixture.now().plus_ms(ahead_ms));
        let early = fixture.ports().acquire(&key, "one", 1_000, ahead).await;
        let early = early.expect("acquire").expect("a lease");
        fixture.ports().release(&early).await.expect("release");
        let late = acquire(&fixture, "two").await.expect("a lease");
        assert_eq!(late.fence, early.fence + 1);
        let item = asked(&fixture, "GetItem", "lock#acme#RSLead lead-1", "-");
        let expires = item["expires"]["N"].as_str().expect("a number");
        let expires: i64 = expires.parse().expect("a number");
        assert!(expires >= (ahead.ms() + Lease::KEPT_MS) / 1_000);
    });
}

#[test]
fn settings_can_be_read_in_the_table() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let now = fixture.now();
        for text in ["version = 1", "version = 1 # again"] {
            let put = fixture.ports().put(text, Format::Toml, now).await;
            put.expect("put");
        }
        let expect = json!({
            "pk": { "S": "settings" }, "sk": { "S": "0000000002" },
            "format": { "S": "toml" }, "text": { "S": "version = 1 # again" },
            "at": { "S": now.to_string() },
        });
        assert_eq!(asked(&fixture, "GetItem", "settings", "0000000002"), expect);
    });
}

/// Random text cannot be packed; it is refused before anything is sent.
#[test]
fn settings_that_do_not_fit_are_refused() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let mut random = fastrand::Rng::with_seed(7);
        let text: String = (0..450_000).map(|_| random.alphanumeric()).collect();
        let now = fixture.now();
        let put = fixture.ports().put(&text, Format::Toml, now).await;
        let error = put.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Reject);
        let why = std::error::Error::source(&error)
            .expect("a reason")
            .to_string();
        assert!(why.starts_with("the settings have 450000 bytes, "), "{why}");
        assert_eq!(fixture.ports().latest().await.expect("latest"), None);
        let put = fixture.ports().put(&text[..400_000], Format::Toml, now);
        assert_eq!(put.await.expect("it fits"), 1);
        let latest = fixture.ports().latest().await.expect("latest");
        assert_eq!(latest.expect("one").text, text[..400_000]);
    });
}

/// What nobody here wrote is told as damage, not guessed at.
#[test]
fn settings_that_cannot_be_read_are_corrupt() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let whole = json!({ "format": { "S": "toml" }, "text": { "S": "a = 1" } });
        for (name, value) in [
            ("sk", json!({ "S": "last" })),
            ("format", json!({ "S": "yaml" })),
            ("text", json!({ "N": "1" })),
            ("packed", json!({ "B": "/w==" })),
        ] {
            let mut item = whole.clone();
            item["pk"] = json!({ "S": "settings" });
            item["sk"] = json!({ "S": "0000000001" });
            item[name] = value;
            let key = item["sk"]["S"].as_str().expect("a text").to_owned();
            let input = json!({ "TableName": "state", "Item": item });
            let _put = aws_call(&fixture.endpoint(), "DynamoDB_20120810.PutItem", &input);
            let error = fixture.ports().latest().await.expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
            asked(&fixture, "DeleteItem", "settings", &key);
        }
    });
}
