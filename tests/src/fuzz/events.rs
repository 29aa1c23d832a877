//! Events as they are sent.

use std::io::Cursor;

use http::Method;
use shared::adapters::texts::{Reader, Text};
use shared::model::cloud_event::{self, EVENT_BYTES_MAX};
use shared::model::{Secret, Timestamp};
use shared::settings::{Format, Settings};
use shared::trace::TraceContext;
use shared::webhook::{Key, Mode, REQUEST_EVENTS_MAX, Request, Signatures, tenant_of_path};

use super::{head_and_body, headers};

/// One event as text.
pub(super) fn event(bytes: &[u8]) {
    let Ok(event) = cloud_event::parse(bytes) else {
        return;
    };
    assert!(bytes.len() <= EVENT_BYTES_MAX);
    assert!(event.same_content(&event));
    assert_eq!(event.content_hash(), event.content_hash());
    assert!(event.order() == event.order() && event.cmp_order(&event).is_eq());
    assert!(event.size() < 16 * bytes.len() + 1_024, "{event:?}");
    let time = event.time.to_string();
    assert_eq!(Timestamp::parse(&time), Ok(event.time));
    let _hash = event.hash();
}

/// A file of events.
pub(super) fn texts(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let mut read = 0;
    let reader = Reader::new(Box::new(Cursor::new(bytes.to_vec())));
    let all = reader.each(|item| {
        assert!((1..=lines + 1).contains(&item.line), "line {}", item.line);
        match item.text {
            Text::Whole(text) => {
                assert!(text.len() <= EVENT_BYTES_MAX);
                read += text.len();
                event(text);
            }
            Text::TooLong(text) => read += text.len(),
            Text::Broken(why) => assert!(!why.is_empty()),
        }
        true
    });
    assert!(read <= bytes.len(), "no text stands there twice");
    // What is in memory can be read; only a value without an end is refused.
    assert!(all.is_ok() || bytes.len() > EVENT_BYTES_MAX);
}

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
partition_key = "/lead/id"
[[tenant.map]]
type = "*"
to = "lead.updated"
set = { stage = { pointer = "/stage" }, amount = { pointer = "/deal/amount" } }
[tenant.webhook]
unsigned = true
[tenant.webhook.wrap]
type = { pointer = "/type" }
id = { pointer = "/id" }
source = { const = "//crm.example" }
time = { pointer = "/at" }
partition_key = { pointer = "/lead" }
data = "/data"
each = "/events"
"#;

fn settings() -> Settings {
    Settings::compile(SETTINGS, Format::Toml, 1).expect("settings")
}

/// A request: lines `name: value`, an empty line, the body. With events in any mode.
pub(super) fn webhook(bytes: &[u8]) {
    let (head, body) = head_and_body(bytes);
    let headers = headers(&head);
    let request = Request {
        method: &Method::POST,
        path: "/events/acme",
        headers: &headers,
        body,
    };
    let settings = settings();
    let tenant = settings.tenant("acme").expect("a tenant");
    let wrap = tenant.webhook().and_then(|webhook| webhook.wrap());
    let Ok(mode) = Mode::of(&headers) else { return };
    for wrap in [wrap, None] {
        let Ok(events) = mode.events(&request, wrap) else {
            continue;
        };
        assert!(events.len() <= REQUEST_EVENTS_MAX);
        for text in events.into_iter().flatten() {
            // What binary mode and wrapping write is JSON, whatever they were given.
            if matches!(mode, Mode::Binary | Mode::Plain) {
                let json = serde_json::from_slice::<serde::de::IgnoredAny>(&text);
                assert!(json.is_ok(), "{}", String::from_utf8_lossy(&text));
            }
            if let Ok(event) = cloud_event::parse(&text) {
                let _meaning = tenant.map(&event);
                let _group = tenant.group(&"acme".into(), &event);
            }
        }
    }
}

/// A request that nobody signed: whatever it says, it counts as unsigned.
pub(super) fn signature(bytes: &[u8]) {
    let (head, body) = head_and_body(bytes);
    let headers = headers(&head);
    let key = Key::new(&Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")).expect("a key");
    let now = Timestamp::from_ms(1_614_265_330_000);
    if let Ok(signatures) = Signatures::read(&headers, now) {
        assert!(!signatures.are_of(&key, body), "signed by nobody");
    }
    // A secret is text that somebody typed.
    if let Ok(text) = std::str::from_utf8(body) {
        let _key = Key::new(&Secret::new(text));
    }
}

/// The path of a request.
pub(super) fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tenant) = tenant_of_path(path) {
        assert!(!tenant.is_empty() && path.starts_with("/events/"));
        assert!(tenant.len() <= path.len());
    }
}

/// The headers of a request that say which trace it belongs to, of the W3C and of X-Ray; and each by itself.
pub(super) fn trace(bytes: &[u8]) {
    let check = |context: TraceContext| {
        assert!(context.trace.0 != 0 && context.span.0 != 0);
        let again = TraceContext::parse(&context.to_string());
        assert_eq!(again, Some(context));
        assert_eq!(TraceContext::parse_xray(&context.xray()), Some(context));
    };
    let (head, _) = head_and_body(bytes);
    if let Some(context) = TraceContext::of_headers(&headers(&head)) {
        check(context);
    }
    for line in head {
        let value = line.split_once(": ").map_or(line, |(_, value)| value);
        if let Some(context) = TraceContext::parse(value) {
            // Lower-case, as it stands there: the trace is the sender's own.
            assert!(value.contains(&context.trace.to_string()), "{value}");
            check(context);
        }
        if let Some(context) = TraceContext::parse_xray(value) {
            check(context);
        }
    }
}
