use proptest::prelude::*;

use super::world::{NEW, NOW, OLD, Sent, World, batch, event, post};

/// A request is refused in these words (the first lines of the answer), and nothing of it is taken.
#[track_caller]
fn check(sent: &Sent, expect: &str) {
    let world = World::new();
    let got = world.send(sent);
    assert!(got.starts_with(expect), "{got}\n is not {expect}");
    for secret in [NEW, OLD] {
        let secret = secret.trim_start_matches("whsec_");
        assert!(!got.contains(secret), "{got}");
    }
    assert!(!got.contains("123456789012"), "{got}");
    assert!(world.journal("acme", "7").is_empty());
    assert!(world.messages(NOW).is_empty());
}

fn good() -> Sent {
    batch(&[event("1", "7", "{}")])
}

#[test]
fn method_and_path() {
    check(
        &Sent {
            method: "GET",
            ..good()
        },
        "405 allow: POST foldback:problem/method\nGET is not taken; send events by POST",
    );
    for path in ["/", "/events", "/events/", "/events/a/b", "/hooks/acme"] {
        check(
            &Sent {
                path: path.into(),
                ..good()
            },
            "404 foldback:problem/no-such-path\nevents are sent to POST /events/{tenant}",
        );
    }
    check(
        &Sent {
            path: "/events/initech".into(),
            ..good()
        },
        "404 foldback:problem/unknown-tenant\nthe settings know no tenant \"initech\"",
    );
    check(
        &Sent {
            path: "/events/files".into(),
            ..good()
        },
        "403 foldback:problem/not-over-http\nthe tenant's settings have no [tenant.webhook]; name \
         the secrets there",
    );
}

#[test]
fn limits() {
    let big = "x".repeat(1_048_577);
    check(
        &post("acme", "application/cloudevents+json", big),
        "413 foldback:problem/too-large\nthe body has 1048577 bytes; at most 1048576 are taken",
    );
    check(
        &batch(&vec!["{}".to_owned(); 501]),
        "413 foldback:problem/too-many-events\nthe request holds 501 events; at most 500 are taken",
    );
    let data = format!("\"{}\"", "x".repeat(262_144));
    check(
        &batch(&[event("1", "7", "{}"), event("2", "7", &data)]),
        "400 foldback:problem/refused-events\n1 of 2 events cannot be taken, so none was; mend or \
         leave out those, and send the request again\n1 oversized: the event has 2622",
    );
}

#[test]
fn signatures() {
    let signature = "401 www-authenticate: Standard-Webhooks foldback:problem/signature\n";
    let refused = |sent: &Sent, expect: &str| check(sent, &format!("{signature}{expect}"));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let missing = format!("header {name} is missing; sign requests as of Standard Webhooks");
        refused(&good().with(name, ""), &missing);
    }
    let wrong = "no v1 signature in webhook-signature is that of this request with the tenant's";
    refused(&good().with("webhook-id", "msg_2"), wrong);
    refused(&good().with("webhook-signature", "v1,AAAA v2,x y"), wrong);
    refused(
        &Sent {
            body: b"[]".to_vec(),
            ..good()
        },
        wrong,
    );
    refused(
        &good().signed("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0),
        wrong,
    );
    refused(
        &good().signed(NEW, -301),
        "webhook-timestamp is 301 seconds in the past, and at most 300 are taken; sign each",
    );
    refused(
        &good().signed(NEW, 301),
        "webhook-timestamp is 301 seconds in the future, and at most 300 are taken; check",
    );
    refused(
        &good().with("webhook-timestamp", "today"),
        "header webhook-timestamp is not a number of seconds since 1970",
    );
    // Nobody without the secret learns what the body should have been.
    refused(
        &post("acme", "text/html", "<").with("webhook-signature", "v1,AAAA"),
        wrong,
    );
}

/// Another tenant's secret opens nothing; one that cannot be had says nothing about the sender.
#[test]
fn secrets_out_of_reach() {
    let path = "/events/globex".to_owned();
    check(
        &Sent { path, ..good() },
        "503 retry-after: 5 foldback:problem/try-again\nthe events could not all be taken just now",
    );
    let mut world = World::new();
    for text in world.secrets.0.values_mut() {
        *text = Some("whsec_nonsense!");
    }
    assert!(world.send(&good()).starts_with(
        "500 foldback:problem/failed\nthe request was not taken, because of a fault that its sender \
         can do nothing about; it is logged"
    ));
    // The newest secret is not there yet: the one before it still opens.
    let mut world = World::new();
    world
        .secrets
        .0
        .retain(|reference, _| reference.name().starts_with("OLD"));
    assert_eq!(
        world.send(&good().signed(OLD, 0)),
        r#"202 {"accepted":1,"duplicates":0}"#
    );
    assert!(world.send(&good()).starts_with("500 "));
}

#[test]
fn bodies() {
    check(
        &post("acme", "text/html", "<html>"),
        "415 accept: application/cloudevents+json, application/cloudevents-batch+json, \
         application/json foldback:problem/content-type\ncontent-type \"text/html\" is not read; send",
    );
    check(
        &post("open", "application/json", "{}"),
        "415 accept: application/cloudevents+json, application/cloudevents-batch+json, \
         application/json foldback:problem/content-type\nthe tenant's settings do not say how plain",
    );
    check(
        &post("acme", "application/cloudevents-batch+json", "{}"),
        "400 foldback:problem/unreadable-body\na batch is a JSON array of events: invalid type: map",
    );
    check(
        &post("acme", "application/cloudevents+json", "{}"),
        "400 foldback:problem/refused-events\nspecversion is missing; CloudEvents 1.0 needs it\n0 \
         malformed: specversion is missing; CloudEvents 1.0 needs it",
    );
    check(
        &post("acme", "application/json", r#"{"event":"x"}"#),
        "400 foldback:problem/refused-events\nid: the JSON has no text or number at /eventId\n0 \
         malformed: id:",
    );
}

#[test]
fn one_bad_event_holds_back_its_whole_request() {
    let tenant = event("2", "7", "{}").replace("\"id\"", "\"tenant\":\"globex\",\"id\"");
    let future = event("3", "7", "{}").replace("2026-03-01", "2026-03-03");
    let own = event("4", "7", "{}").replace("\"t\"", "\"foldback.baseline\"");
    let keyless = event("5", "", "{}");
    check(
        &batch(&[
            event("1", "7", "{}"),
            tenant,
            future,
            own,
            keyless,
            "7".into(),
        ]),
        "400 foldback:problem/refused-events\n\
         5 of 6 events cannot be taken, so none was; mend or leave out those, and send the request \
         again\n\
         1 unknown_tenant: the event names tenant \"globex\", not \"acme\"\n\
         2 time: time 2026-03-03T09:29:00.000Z lies more than the tenant's future_seconds_max ahead \
         of 2026-03-01T09:30:00.000Z\n\
         3 reserved: type \"foldback.baseline\" begins with \"foldback.\", which is kept for \
         Foldback's own events\n\
         4 no_partition_key: the event has no partitionkey, and no field that the tenant's settings \
         name as partition_key holds one of at most 1024 bytes\n\
         5 malformed: not a CloudEvents JSON object: invalid type: integer",
    );
    // What a sender is told of its own words has an end.
    let long =
        event("1", "7", "{}").replace("\"id\"", &format!("\"{}\":1,\"id\"", "X".repeat(9_000)));
    let told = World::new().send(&batch(&[long, event("2", "7", "{}")]));
    assert!(told.len() < 1_000, "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes is answered, and what is not signed is not taken.
    #[test]
    fn anything_is_answered(
        tenant in prop::sample::select(vec!["acme", "open", "files", "%", "a/b"]),
        content_type in prop::sample::select(vec![
            "application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "x",
        ]),
        name in "(ce|webhook|content)-[a-z]{1,9}",
        value in "[ -~]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut sent = post(tenant, content_type, body).with(&name, &value);
        sent.base64 = true;
        let sent = sent.with("webhook-signature", "v1,AAAA");
        let world = World::new();
        let status: u16 = world.send(&sent)[..3].parse().expect("a status");
        prop_assert!((400..500).contains(&status) || tenant == "open", "{status}");
    }
}
