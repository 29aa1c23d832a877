use super::world::{NEW, NOW, Sent, World, batch, event, post};

/// Whoever signs for acme writes for acme alone, whatever the path, the event or its ids say.
#[test]
fn a_path_leads_to_one_tenant() {
    let world = World::new();
    for path in [
        "/events/acme/../globex",
        "/events/globex/../acme",
        "/events/acme%2F..%2Fglobex",
        "/events/%2e%2e/acme",
        "/events/acme%00",
        "/events/acme%20",
        "/events/ACME",
        "/events/acme%2523",
        "/events/acme;globex",
        "/events/acme%0d%0aglobex",
        "/events//acme",
        "/events/acme%23globex",
        "/events/{tenant}",
        "/events/%7Btenant%7D",
        "/events/%ff",
    ] {
        let sent = Sent {
            path: path.into(),
            ..batch(&[event("1", "7", "{}")])
        };
        let answer = world.send(&sent);
        assert!(answer.starts_with("404 "), "{path}: {answer}");
    }
    assert!(world.messages(NOW).is_empty());
}

#[test]
fn an_event_leads_to_the_tenant_of_its_path() {
    let world = World::new();
    for claim in [
        r#""tenant":"globex""#,
        r#""tenant":"open""#,
        r#""tenant":"acme ""#,
        r#""tenant":["acme"]"#,
        r#""tenant":{"$ne":""}"#,
        r#""tenant":"acme","tenant":"globex""#,
    ] {
        let one = event("1", "7", "{}").replace("\"id\"", &format!("{claim},\"id\""));
        let answer = world.send(&batch(&[one]));
        assert!(answer.starts_with("400 "), "{claim}: {answer}");
    }
    assert!(world.messages(NOW).is_empty());
    // In binary mode too, and by a header of any other name.
    let binary = |name: &str| {
        post("acme", "application/json", "{}")
            .with("ce-specversion", "1.0")
            .with("ce-id", "1")
            .with("ce-source", "//crm")
            .with("ce-type", "t")
            .with("ce-time", "2026-03-01T09:29:00Z")
            .with("ce-partitionkey", "7")
            .with(name, "globex")
    };
    let answer = world.send(&binary("ce-tenant"));
    assert!(answer.starts_with("400 "), "{answer}");
    assert!(world.send(&binary("x-tenant")).starts_with("202 "));
    assert_eq!(world.journal("acme", "7").len(), 1);
    assert!(world.journal("globex", "7").is_empty());
}

/// Keys that look like another tenant's group, or like a group of Foldback's own.
#[test]
fn a_key_leads_to_no_other_group() {
    let world = World::new();
    for (number, key) in ["globex#7", "#7", "../7", "7\\u0000", "$ne", "acme#7"]
        .iter()
        .enumerate()
    {
        let one = event(&number.to_string(), key, "{}");
        assert!(world.send(&batch(&[one])).starts_with("202 "), "{key}");
    }
    for own in ["foldback:day:2026-03-01", "foldback:appointment:7"] {
        let answer = world.send(&batch(&[event("9", own, "{}")]));
        assert!(
            answer.starts_with("400 ") || world.journal("acme", "7").is_empty(),
            "{own}: {answer}"
        );
    }
    for (tenant, key) in [("globex", "7"), ("acme", "7"), ("globex#7", ""), ("", "7")] {
        assert!(world.journal(tenant, key).is_empty(), "{tenant}#{key}");
    }
}

/// A request that was taken is taken once, however often it is sent again within its five minutes, by whoever
/// overheard it; after them it is refused.
#[test]
fn a_request_that_was_overheard() {
    let world = World::new();
    let sent = batch(&[event("1", "7", "{}")]);
    assert_eq!(world.send(&sent), r#"202 {"accepted":1,"duplicates":0}"#);
    for _ in 0..3 {
        assert_eq!(world.send(&sent), r#"202 {"accepted":0,"duplicates":1}"#);
    }
    assert_eq!(world.journal("acme", "7").len(), 1);
    let elsewhere = Sent {
        path: "/events/globex".into(),
        ..sent.clone()
    };
    assert!(!world.send(&elsewhere).starts_with("202"));
    assert!(world.send(&sent.signed(NEW, -301)).starts_with("401 "));
    assert!(world.journal("globex", "7").is_empty());
}
