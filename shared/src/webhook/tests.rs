use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::model::{Secret, Timestamp, cloud_event};
use crate::settings::{Format, Settings, Wrap};

/// A CRM that sends several changes at once, each with its time as a number.
const WRAP: &str = r#"
type = { pointer = "/subscriptionType", lower = true }
id = { pointer = "/eventId" }
source = { const = "//crm.example/portal" }
time = { pointer = "/occurredAt" }
partition_key = { pointer = "/objectId" }
subject = { pointer = "/deal/name" }
sequence = { pointer = "/n" }
"#;
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn settings(wrap: &str) -> Settings {
    let text = format!(
        "version = 1\n[[tenant]]\nids = [\"acme\"]\nmap = [{{ type = \"*\", to = \"lead.updated\" }}]\n\
         [tenant.webhook]\nunsigned = true\n{wrap}"
    );
    Settings::compile(&text, Format::Toml, 1).expect("settings")
}

fn wrap_of(settings: &Settings) -> Option<&Wrap> {
    settings.tenant("acme")?.webhook()?.wrap()
}

/// What a request holds, each event on a line, or why it cannot be read. `headers` is a line each.
fn read(wrap: &str, headers: &str, body: &[u8]) -> String {
    let settings = settings(wrap);
    let mut map = HeaderMap::new();
    for line in headers.lines() {
        let (name, value) = line.trim().split_once(": ").expect("a header");
        let name: HeaderName = name.parse().expect("a name");
        map.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    let request = Request {
        method: &Method::POST,
        path: "/events/acme",
        headers: &map,
        body,
    };
    let events = Mode::of(&map).and_then(|mode| mode.events(&request, wrap_of(&settings)));
    let line = |text: EventText<'_>| {
        let event = match text.and_then(|text| cloud_event::parse(&text)) {
            Ok(event) => event,
            Err(refusal) => return format!("{}: {refusal}", refusal.reason.label()),
        };
        let optional = [&event.partition_key, &event.subject, &event.content_type];
        let optional = optional.map(|text| text.as_deref().unwrap_or("-"));
        let told = match (event.revision(), event.is_withdrawn()) {
            (0, _) => String::new(),
            (revision, false) => format!("revision {revision} of "),
            (revision, true) => format!("revision {revision} withdraws "),
        };
        format!(
            "{told}{} {} {} {} {} {:?}",
            event.id,
            event.kind,
            event.source,
            event.time,
            optional.join(" "),
            event.data
        )
    };
    match events {
        Ok(events) => events.into_iter().map(line).collect::<Vec<_>>().join("\n"),
        Err(problem) => {
            let status = problem.kind.status().as_u16();
            format!("{status} {}", problem.detail)
        }
    }
}

#[track_caller]
fn check(headers: &str, body: &str, expect: &str) {
    let got = read("", headers, body.as_bytes());
    assert!(
        got.starts_with(expect),
        "{headers}\n{body}\n gave {got}\n not {expect}"
    );
}

#[track_caller]
fn check_wrapped(wrap: &str, body: &str, expect: &str) {
    let wrap = format!("[tenant.webhook.wrap]\n{WRAP}{wrap}");
    let got = read(&wrap, "content-type: application/json", body.as_bytes());
    assert!(
        got.starts_with(expect),
        "{body}\n gave {got}\n not {expect}"
    );
}

fn event(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","time":"2026-03-01T09:30:00Z"}}"#
    )
}

fn typed(content_type: &str) -> String {
    format!("content-type: {content_type}")
}

#[test]
fn a_body_is_an_event_or_an_array_of_them() {
    let seven = "7 t //crm 2026-03-01T09:30:00.000Z - - - None";
    check(&typed(STRUCTURED), &event("7"), seven);
    check(
        &typed("Application/CloudEvents+JSON; charset=UTF-8"),
        &event("7"),
        seven,
    );
    let both = format!("[{},\n {}]", event("7"), event("8"));
    check(&typed(BATCH), &both, &format!("{seven}\n8 t"));
    check(&typed(BATCH), "[]", "");
    check(
        &typed(BATCH),
        &format!("[{},7,null]", event("7")),
        &format!("{seven}\nmalformed: not a CloudEvents JSON object: invalid type: integer"),
    );
    check(
        &typed(STRUCTURED),
        &both,
        "malformed: not a CloudEvents JSON object: invalid type: sequence",
    );
    check(
        &typed(BATCH),
        &event("7"),
        "400 a batch is a JSON array of events: invalid type: map",
    );
    check(
        &typed(BATCH),
        "[1,",
        "400 a batch is a JSON array of events: EOF",
    );
    check(
        &typed(BATCH),
        "[] x",
        "400 a batch is a JSON array of events: trailing",
    );
    check(&typed(BATCH), "", "400 the body is empty");
}

const CE: &str =
    "ce-specversion: 1.0\nce-id: 7\nce-source: //crm\nce-type: t\nce-time: 2026-03-01T09:30:00Z\n";

#[test]
fn headers_are_an_event_and_the_body_its_data() {
    let with = |more: &str| format!("{CE}{more}");
    let seven = "7 t //crm 2026-03-01T09:30:00.000Z - -";
    check(CE, "", &format!("{seven} - None"));
    check(
        CE,
        " {\"a\": 1}\n",
        &format!(r#"{seven} - Json("{{\"a\": 1}}")"#),
    );
    check(
        &with("content-type: application/vnd.crm+json; v=2"),
        "[1]",
        &format!(r#"{seven} application/vnd.crm+json; v=2 Json("[1]")"#),
    );
    check(
        &with("content-type: text/plain"),
        "say \"x\"",
        &format!(r#"{seven} text/plain Json("\"say \\\"x\\\"\"")"#),
    );
    check(
        &with("content-type: application/xml"),
        "<a/>",
        &format!(r#"{seven} application/xml Base64("PGEvPg==")"#),
    );
    let latin = read("", &with("content-type: text/plain"), b"\xe4");
    assert_eq!(latin, format!(r#"{seven} text/plain Base64("5A==")"#));
    let no_json =
        "malformed: the body is not JSON, as its content-type says or, without one, implies";
    check(CE, "{", no_json);
    check(CE, r#"1},"id":{"#, no_json);
    check(&with("content-type: application/json"), "x", no_json);
}

#[test]
fn attributes_in_headers_are_percent_decoded_once() {
    let subject = |value: &str, expect: &str| {
        let subject = format!("{CE}ce-subject: {value}");
        check(
            &subject,
            "",
            &format!("7 t //crm 2026-03-01T09:30:00.000Z - {expect} - None"),
        );
    };
    subject("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀");
    subject("%2525", "%25");
    subject("50% off%2", "50% off%2");
    subject("\"quoted \\\"x\\\" %41\"", "quoted \"x\" A");
    subject("plain €", "plain €");
    check(
        &format!("{CE}ce-subject: %ff"),
        "",
        "malformed: header ce-subject is not UTF-8",
    );
    check(
        &format!("{CE}ce-subject: a\nce-subject: b"),
        "",
        "malformed: header ce-subject is given twice",
    );
    check(
        &format!("{CE}ce-datacontenttype: text/plain"),
        "",
        "malformed: header ce-datacontenttype has no place in binary mode",
    );
    check(
        &format!("{CE}ce-data: 1"),
        "",
        "malformed: header ce-data has no place",
    );
    check(
        &format!("{CE}ce-bad_name: 1"),
        "",
        "malformed: not a CloudEvents JSON object: attribute name",
    );
    check("ce-id: 7", "", "malformed: specversion is missing");
    let without_time = CE.replace("ce-time: 2026-03-01T09:30:00Z\n", "");
    check(
        &without_time,
        "",
        "missing or impossible time: time is missing",
    );
}

#[test]
fn other_bodies_are_not_read() {
    check(
        &typed("application/cloudevents+avro"),
        "",
        "415 content-type \"application/cloudevents+avro\" is not read; CloudEvents are taken as",
    );
    check(
        &typed("application/x-www-form-urlencoded"),
        "a=1",
        "415 content-type \"application/x-www-form-urlencoded\" is not read; send",
    );
    check("accept: */*", "{}", "415 content-type is missing; send");
    check(
        "content-type: application/json\ncontent-encoding: gzip",
        "{}",
        "415 the body is compressed; send it without content-encoding",
    );
    check(
        &typed("application/json"),
        "{}",
        "415 the tenant's settings do not say how plain JSON becomes events",
    );
    let latin = read("", &typed(BATCH), b"[\"\xe4\"]");
    assert!(
        latin.starts_with("400 the body is not UTF-8: invalid utf-8"),
        "{latin}"
    );
}

#[test]
fn requests_have_limits() {
    let many = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    let taken = read("", &typed(BATCH), many(500).as_bytes());
    assert_eq!(taken.lines().count(), 500);
    check(
        &typed(BATCH),
        &many(501),
        "413 the request holds 501 events; at most 500 are taken at once",
    );
    check_wrapped(
        "each = \"\"",
        &many(1000),
        "413 the request holds 1000 events",
    );
    let big = " ".repeat(BODY_BYTES_MAX + 1);
    for mode in [STRUCTURED, BATCH, "application/json"] {
        check(
            &typed(mode),
            &big,
            "413 the body has 1048577 bytes; at most 1048576 are taken",
        );
    }
    check(CE, &big, "413 the body has 1048577 bytes");
    let big = "x".repeat(300_000);
    check(
        &typed(STRUCTURED),
        &big,
        "oversized: the event has 300000 bytes",
    );
}

/// As a CRM sends it, shortened.
const DEAL: &str = r#"{"eventId": 3181526809, "subscriptionType": "deal.propertyChange", "portalId": 62515,
    "occurredAt": 1772357400123, "objectId": 123, "deal": {"name": "Müller & Söhne", "stage": "won"}}"#;

#[test]
fn plain_json_becomes_events_by_the_settings() {
    let deal = "3181526809 deal.propertychange //crm.example/portal 2026-03-01T09:30:00.123Z 123 \
                Müller & Söhne application/json Json(";
    check_wrapped("", DEAL, &format!("{deal}\"{{\\\"eventId\\\": 3181526809"));
    check_wrapped(
        "data = \"/deal/stage\"",
        DEAL,
        &format!(r#"{deal}"\"won\"")"#),
    );
    check_wrapped("data = \"/none\"", DEAL, &deal.replace("Json(", "None"));
    check_wrapped(
        "each = \"\"\ndata = \"/portalId\"",
        &format!("[{DEAL}, {}]", DEAL.replace("09,", "10,")),
        &format!("{deal}\"62515\")\n3181526810 deal"),
    );
    let batch = format!(r#"{{"batch": {{"changes": [{DEAL}]}}}}"#);
    check_wrapped("each = \"/batch/changes\"", &batch, deal);
    check_wrapped(
        "each = \"/batch/changes\"",
        r#"{"batch": {"changes": []}}"#,
        "",
    );
    let text_time = DEAL.replace("1772357400123", "\"2026-03-01T10:30:00+01:00\"");
    check_wrapped("", &text_time, &deal.replace(".123Z", ".000Z"));
}

#[test]
fn plain_json_that_is_no_event_says_what_it_lacks() {
    check_wrapped("", "{", "400 the body is not JSON: EOF");
    check_wrapped(
        "",
        "[]",
        "malformed: it is not a JSON object; where one request holds several",
    );
    let without = |from: &str, to: &str| DEAL.replace(from, to);
    check_wrapped(
        "",
        &without("eventId", "x"),
        "malformed: id: the JSON has no text or number at /eventId",
    );
    check_wrapped(
        "",
        &without("3181526809", "{}"),
        "malformed: id: the JSON has no text",
    );
    check_wrapped(
        "",
        &without("3181526809", "\"\""),
        "malformed: id: the JSON has no text",
    );
    check_wrapped(
        "",
        &without("occurredAt", "x"),
        "missing or impossible time: time: the JSON has no text or number at /occurredAt",
    );
    check_wrapped(
        "",
        &without("1772357400123", "\"yesterday\""),
        "missing or impossible time: time: \"yesterday\" is not an RFC 3339 time",
    );
    check_wrapped(
        "each = \"/batch\"",
        DEAL,
        "400 the body has nothing at /batch, where the tenant's settings look for the events",
    );
    check_wrapped(
        "each = \"/deal\"",
        DEAL,
        "400 the tenant's settings look for an array of events in the body (wrap.each): invalid type",
    );
    check_wrapped(
        "each = \"\"",
        &format!("[1, {DEAL}]"),
        "malformed: it is not a JSON object; where one request holds several events, the tenant's \
         settings say where they stand with wrap.each (\"\" for the whole body)\n3181526809 deal",
    );
}

#[test]
fn the_path_names_the_tenant() {
    let tenant =
        |path: &str| tenant_of_path(path).map_err(|problem| problem.kind.status().as_u16());
    assert_eq!(tenant("/events/acme").as_deref(), Ok("acme"));
    assert_eq!(tenant("/events/a%20b%2Fc").as_deref(), Ok("a b/c"));
    for path in [
        "",
        "/",
        "/events",
        "/events/",
        "/events/a/b",
        "/event/a",
        "/events/%ff",
    ] {
        assert_eq!(tenant(path), Err(404), "{path}");
    }
}

proptest! {
    /// Whatever is sent, it is read or refused.
    #[test]
    fn no_request_breaks_anything(
        mode in prop::sample::select(vec![STRUCTURED, BATCH, "application/json", "text/plain", "é"]),
        binary in any::<bool>(),
        name in "[a-z0-9-]{1,12}",
        value in prop::collection::vec(any::<u8>(), 0..40),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            r#"[\[\]{}":,0-9a-z\\ ]{0,80}"#.prop_map(String::into_bytes),
        ],
        each in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, value: &[u8]| {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        };
        for header in ["webhook-id", "webhook-timestamp", "webhook-signature", "ce-subject"] {
            if binary || header != "ce-subject" {
                put(header, &value);
            }
        }
        put("content-type", mode.as_bytes());
        if binary {
            put(&format!("ce-{name}"), &value);
        }
        let request = Request { method: &Method::POST, path: "/events/acme", headers: &headers, body: &body };
        let each = if each { "each = \"\"" } else { "" };
        let settings = settings(&format!("[tenant.webhook.wrap]\n{WRAP}{each}"));
        if let Ok(events) = Mode::of(&headers).and_then(|mode| mode.events(&request, wrap_of(&settings))) {
            for text in events.into_iter().flatten() {
                // Whether it is an event is not the question.
                drop(cloud_event::parse(&text));
            }
        }
        let key = Key::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).expect("a key");
        if let Ok(signatures) = Signatures::read(&headers, Timestamp::MAX) {
            prop_assert!(!signatures.are_of(&key, &body));
        }
        let path = String::from_utf8_lossy(&value);
        drop(tenant_of_path(&format!("/events/{path}")));
    }
}

#[test]
fn wrapped_events_may_be_amended_and_withdrawn() {
    let wrap = "revision = { pointer = \"/version\" }\nwithdrawn = { pointer = \"/deleted\" }";
    let body = |more: &str| {
        format!(r#"{{"subscriptionType":"deal","eventId":7,"occurredAt":1772357400000{more}}}"#)
    };
    for (more, expect) in [
        ("", "7 deal"),
        (r#","version":0,"deleted":false"#, "7 deal"),
        (r#","version":2,"deleted":null"#, "revision 2 of 7 deal"),
        (
            r#","version":"3","deleted":true"#,
            "revision 3 withdraws 7 deal",
        ),
        (
            r#","deleted":true"#,
            "malformed: withdrawn needs a revision",
        ),
        (
            r#","version":1.5"#,
            "malformed: revision \"1.5\" is no whole number",
        ),
        (
            r#","version":1,"deleted":"x""#,
            "malformed: withdrawn \"x\" is neither",
        ),
    ] {
        check_wrapped(wrap, &body(more), expect);
    }
}
