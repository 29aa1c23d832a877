//! What fuzzers feed: everything that reads what comes from outside, or from a disk that cannot be trusted.
//!
//! A target takes any bytes and must come back: no panic, and no more time and memory than the bytes are worth.
//! The coverage-guided fuzzers of `tests/fuzz` call these functions, and so does a test, with the kept corpus and
//! mutations of it.

mod console;
mod events;
mod settings;
mod shop;
mod stored;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A function that reads bytes, by a name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads the bytes, whatever they are.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 19] = [
    target("event", events::event),
    target("texts", events::texts),
    target("webhook", events::webhook),
    target("signature", events::signature),
    target("path", events::path),
    target("trace", events::trace),
    target("settings_toml", settings::toml),
    target("settings_json", settings::json),
    target("mapping", settings::mapping),
    target("wrap", settings::wrap),
    target("message", stored::message),
    target("entries", stored::entries),
    target("trail", stored::trail),
    target("records", stored::records),
    target("documents", stored::documents),
    target("query", stored::query),
    target("console_page", console::page),
    target("console_form", console::form),
    target("console_entry", console::entry),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The target of a name.
#[must_use]
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// A head of lines, then an empty line, then the rest.
fn head_and_body(bytes: &[u8]) -> (Vec<&str>, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (
            bytes.get(..end).unwrap_or_default(),
            bytes.get(end + 2..).unwrap_or_default(),
        ),
        None => (bytes, &b""[..]),
    };
    let head = std::str::from_utf8(head).unwrap_or_default();
    (head.lines().collect(), body)
}

/// Headers from lines `name: value`; what cannot be one is left out.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.iter().take(100) {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) else {
            continue;
        };
        headers.append(name, value);
    }
    headers
}
