use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use serde_json::json;
use shared::model::Timestamp;

use super::world::{NEW, NOW, OLD, Sent, World, batch, event, post};

/// What a request of acme is answered, and what then stands in the journal and in the queue.
#[track_caller]
fn check(sent: &Sent, answer: &str, messages: &[&str]) {
    let world = World::new();
    assert_eq!(world.send(sent), answer);
    let mut found = world.messages(NOW);
    found.sort();
    assert_eq!(found, messages);
    for message in messages {
        let (group, ids) = message.rsplit_once(' ').expect("a group and ids");
        let (tenant, key) = group.split_once('#').expect("a tenant and a key");
        assert_eq!(world.journal(tenant, key).join(","), ids);
    }
}

const ONE: &str = r#"202 {"accepted":1,"duplicates":0}"#;

#[test]
fn events_of_every_mode_are_journaled_and_sent_by_group() {
    let structured = "application/cloudevents+json";
    check(
        &post("acme", structured, event("1", "7", "{}")),
        ONE,
        &["acme#7 1"],
    );
    let events = [
        event("1", "7", "{}"),
        event("2", "8", "{}"),
        event("3", "7", "{}"),
    ];
    check(
        &batch(&events),
        r#"202 {"accepted":3,"duplicates":0}"#,
        &["acme#7 1,3", "acme#8 2"],
    );
    check(&batch(&[]), r#"202 {"accepted":0,"duplicates":0}"#, &[]);
    let twice = [event("1", "7", "{}"), event("1", "7", "{ }")];
    check(
        &batch(&twice),
        r#"202 {"accepted":1,"duplicates":1}"#,
        &["acme#7 1"],
    );
    let binary = post("acme", "text/plain", "hello")
        .with("ce-specversion", "1.0")
        .with("ce-id", "1")
        .with("ce-source", "//crm")
        .with("ce-type", "note")
        .with("ce-time", "2026-03-01T09:29:00Z")
        .with("ce-partitionkey", "lead%207");
    check(&binary, ONE, &["acme#lead 7 1"]);
    let deal = r#"{"event":"deal.won","eventId":42,"occurredAt":1772357340,"deal":{"id":"D-7"}}"#;
    check(
        &post("acme", "application/json", deal),
        ONE,
        &["acme#D-7 42"],
    );
}

#[test]
fn a_body_may_come_as_base64() {
    let mut sent = batch(&[event("ä", "7", "{}")]);
    sent.base64 = true;
    check(&sent, ONE, &["acme#7 ä"]);
    let mut request = ApiGatewayV2httpRequest::from(&sent);
    request.body = Some("!".into());
    let now = Timestamp::parse(NOW).expect("a time");
    assert_eq!(
        World::new().handle(&request, now),
        "400 foldback:problem/unreadable-body\nthe body is marked as base64 and is not"
    );
}

#[test]
fn header_names_may_be_in_any_case() {
    let mut sent = batch(&[event("1", "7", "{}")]);
    sent.headers = sent
        .headers
        .iter()
        .map(|(name, value)| (name.to_uppercase(), value.clone()))
        .collect();
    check(&sent, ONE, &["acme#7 1"]);
}

#[test]
fn a_secret_that_is_being_replaced_still_counts() {
    check(
        &batch(&[event("1", "7", "{}")]).signed(OLD, 0),
        ONE,
        &["acme#7 1"],
    );
    let sent = batch(&[event("1", "7", "{}")]);
    let new = sent
        .headers
        .get("webhook-signature")
        .expect("signed")
        .clone();
    let both = format!("{new} v1,AAAA");
    check(
        &sent.clone().with("webhook-signature", &both),
        ONE,
        &["acme#7 1"],
    );
    check(&sent.clone().signed(NEW, -300), ONE, &["acme#7 1"]);
    check(&sent.signed(NEW, 300), ONE, &["acme#7 1"]);
}

#[test]
fn what_is_open_takes_anybodys_events() {
    let sent = post(
        "open",
        "application/cloudevents+json",
        event("1", "7", "{}"),
    );
    check(&sent.with("webhook-signature", ""), ONE, &["open#7 1"]);
}

/// An HTTP API with a stage of its own, as API Gateway hands its requests over.
#[test]
fn api_gateway_may_put_a_stage_before_the_path() {
    let request = |path: &str| {
        let request = json!({
            "version": "2.0", "routeKey": "POST /events/{tenant}", "rawPath": path,
            "rawQueryString": "", "pathParameters": {"tenant": "open"}, "isBase64Encoded": false,
            "headers": {"content-type": "application/cloudevents+json; charset=utf-8", "host": "x"},
            "body": event("1", "7", "{}"),
            "requestContext": {
                "accountId": "123456789012", "apiId": "x", "domainName": "x", "domainPrefix": "x",
                "requestId": "r", "routeKey": "POST /events/{tenant}", "stage": "v1",
                "time": "01/Mar/2026:09:30:00 +0000", "timeEpoch": 1_772_357_400_000_i64,
                "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1",
                         "sourceIp": "192.0.2.1", "userAgent": "crm"},
            },
        });
        serde_json::from_value::<ApiGatewayV2httpRequest>(request).expect("a request")
    };
    let now = Timestamp::parse(NOW).expect("a time");
    assert_eq!(World::new().handle(&request("/v1/events/open"), now), ONE);
    assert_eq!(World::new().handle(&request("/events/open"), now), ONE);
}
