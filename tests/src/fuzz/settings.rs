//! Settings, and what they make of events.

use http::{HeaderMap, HeaderValue, Method};
use shared::model::cloud_event;
use shared::settings::{Format, Settings};
use shared::webhook::{Mode, Request};

use super::head_and_body;

pub(super) fn toml(bytes: &[u8]) {
    compile(bytes, Format::Toml);
}

pub(super) fn json(bytes: &[u8]) {
    compile(bytes, Format::Json);
}

fn compile(bytes: &[u8], format: Format) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Settings::compile(text, format, 1) {
        Ok(settings) => assert!(settings.summary().count() > 0),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

const EVENT: &[u8] =
    br#"{"specversion":"1.0","id":"1","source":"//crm","time":"2026-03-01T09:30:00Z""#;

/// The first line is a type with wildcards, the second a JSON Pointer, the third an event's type; then comes its
/// data.
pub(super) fn mapping(bytes: &[u8]) {
    let (head, data) = head_and_body(bytes);
    let [pattern, pointer, kind, ..] = head.as_slice() else {
        return;
    };
    let settings = serde_json::json!({ "version": 1, "tenant": [{
        "ids": ["acme"],
        "partition_key": pointer,
        "appointments": "by_id",
        "map": [{
            "type": pattern,
            "to": "appointment.scheduled",
            "set": {
                "appointmentId": { "pointer": pointer },
                "amount": { "pointer": pointer },
                "stage": { "capture": 1, "lower": true },
            },
        }],
        "conversion": [{ "name": "all", "type": pattern, "value": pointer }],
    }]});
    let Ok(settings) = Settings::compile(&settings.to_string(), Format::Json, 1) else {
        return;
    };
    let mut text = EVENT.to_vec();
    text.extend(format!(",\"type\":{},\"data\":", serde_json::json!(kind)).into_bytes());
    text.extend(data);
    text.push(b'}');
    let Ok(event) = cloud_event::parse(&text) else {
        return;
    };
    let tenant = settings.tenant("acme").expect("a tenant");
    let _meaning = tenant.map(&event);
    if let Ok(group) = tenant.group(&"acme".into(), &event) {
        assert_eq!(group.tenant, "acme");
    }
}

/// The first line says where events stand in a body, the second where all of their attributes are; then comes the
/// body.
pub(super) fn wrap(bytes: &[u8]) {
    let (head, body) = head_and_body(bytes);
    let [each, pointer, ..] = head.as_slice() else {
        return;
    };
    let at = serde_json::json!({ "pointer": pointer });
    let settings = serde_json::json!({ "version": 1, "tenant": [{
        "ids": ["acme"],
        "map": [{ "type": "*", "to": "lead.updated" }],
        "webhook": { "unsigned": true, "wrap": {
            "type": at, "id": at, "source": at, "time": at, "partition_key": at, "subject": at,
            "sequence": at, "data": pointer, "each": each,
        }},
    }]});
    let Ok(settings) = Settings::compile(&settings.to_string(), Format::Json, 1) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let request = Request {
        method: &Method::POST,
        path: "/events/acme",
        headers: &headers,
        body,
    };
    let webhook = settings.tenant("acme").and_then(|tenant| tenant.webhook());
    let wrap = webhook.and_then(|webhook| webhook.wrap());
    for text in Mode::Plain
        .events(&request, wrap)
        .into_iter()
        .flatten()
        .flatten()
    {
        let _event = cloud_event::parse(&text);
    }
}
