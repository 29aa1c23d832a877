//! Everything has a limit, and who meets it is told so.

use serde_json::json;
use shared::model::cloud_event;
use shared::settings::{Format, Settings};

use crate::support::Foldback;

fn event(more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-03-01T09:30:00Z"{more}}}"#
    )
}

#[test]
fn attributes() {
    let check = |more: &str, expect: Option<&str>| {
        let read = cloud_event::parse(event(more).as_bytes());
        let refused = read.err().map(|refusal| refusal.to_string());
        assert_eq!(refused.is_some(), expect.is_some(), "{more}: {refused:?}");
        let (told, word) = (refused.unwrap_or_default(), expect.unwrap_or_default());
        assert!(told.contains(word), "{told}");
    };
    let many = |count: usize| -> String { (0..count).map(|n| format!(",\"x{n}\":1")).collect() };
    check(&many(64), None);
    check(&many(65), Some("one too many"));
    let long = |length: usize| format!(",\"subject\":\"{}\"", "x".repeat(length));
    check(&long(1_024), None);
    check(&long(1_025), Some("more than 1024 bytes"));
    let own = |length: usize| format!(",\"comexample\":\"{}\"", "x".repeat(length - 2));
    check(&own(1_024), None);
    check(&own(1_025), Some("too long"));
}

#[test]
fn tenants_and_keys() {
    let check = |id: &str, taken: bool| {
        let settings = json!({ "version": 1, "tenant": [{
            "ids": [id], "map": [{ "type": "*", "to": "lead.updated" }] }]});
        let compiled = Settings::compile(&settings.to_string(), Format::Json, 1);
        assert_eq!(compiled.is_ok(), taken, "{id}");
        compiled.ok()
    };
    check("", false);
    check("a#b", false);
    check(&"x".repeat(129), false);
    let settings = check(&"x".repeat(128), true).expect("settings");
    let tenant = settings.tenant(&"x".repeat(128)).expect("a tenant");
    for (length, taken) in [(1_024, true), (1_025, false), (0, false)] {
        let mut keyed = cloud_event::parse(event("").as_bytes()).expect("an event");
        keyed.partition_key = Some("k".repeat(length).into());
        assert_eq!(tenant.group(&"x".into(), &keyed).is_ok(), taken, "{length}");
    }
}

#[test]
fn settings() {
    let check = |change: serde_json::Value, expect: &str| {
        let mut tenant = json!({ "ids": ["acme"], "map": [{ "type": "*", "to": "lead.updated" }] });
        for (name, value) in change.as_object().expect("an object") {
            tenant[name] = value.clone();
        }
        let text = json!({ "version": 1, "tenant": [tenant] }).to_string();
        let told = Settings::compile(&text, Format::Json, 1)
            .err()
            .map(|why| why.to_string());
        assert_eq!(told.is_none(), expect.is_empty(), "{told:?}");
        assert!(told.unwrap_or_default().contains(expect), "{expect}");
    };
    let rules = |count: usize| {
        let rule = |n: usize| json!({ "type": format!("t{n}"), "to": "lead.updated" });
        json!({ "map": (0..count).map(rule).collect::<Vec<_>>() })
    };
    check(rules(1_000), "");
    check(rules(1_001), "1 to 1000");
    let wild =
        |count: usize| json!({ "map": [{ "type": "*".repeat(count), "to": "lead.updated" }] });
    check(wild(8), "");
    check(wild(9), "at most 8 wildcards");
    check(json!({ "partition_key": "/a".repeat(16) }), "");
    check(
        json!({ "partition_key": "/a".repeat(17) }),
        "deeper than 16 steps",
    );
    let secrets = |count: usize| {
        let secret = |n: usize| json!({ "env": format!("SECRET_{n}") });
        json!({ "webhook": { "secrets": (0..count).map(secret).collect::<Vec<_>>() } })
    };
    check(secrets(4), "");
    check(secrets(5), "4");
}

#[test]
fn pages() {
    let foldback = Foldback::new();
    foldback.ends(&["run"]);
    let page = |limit: &str| {
        let query = [
            "query",
            "conversions",
            "--tenant",
            "acme",
            "--name",
            "won",
            "--limit",
            limit,
        ];
        foldback.ends(&query).status
    };
    assert_eq!(page("1000"), 0);
    assert_eq!((page("1001"), page("0"), page("-1")), (2, 2, 2));
    let batch = |size: &str| foldback.ends(&["run", "--batch", size]).status;
    assert_eq!((batch("65537"), batch("0")), (2, 2));
}
