//! Reads `CloudEvents` 1.0 JSON (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{Event, Payload, RejectReason, Sequence, Timestamp};

/// The largest event that is accepted, in bytes of its JSON text.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// The longest attribute that is accepted, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// The most attributes one event may have.
pub const ATTRIBUTES_MAX: usize = 64;

/// Why a text is no event that can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The kind of fault.
    pub reason: RejectReason,
    /// What exactly, and what to do.
    pub detail: String,
}

impl Refusal {
    /// A refusal of the kind `reason`.
    #[must_use]
    pub fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Reads one event in structured mode.
///
/// # Errors
/// The text is too large, is not JSON, or is no `CloudEvents` 1.0 event with a time.
///
/// ```
/// use shared::model::cloud_event;
///
/// let text = br#"{"specversion":"1.0","source":"//crm","id":"1","type":"lead.new",
///                 "time":"2026-03-01T09:30:00Z","partitionkey":"lead-7","data":{"stage":"Open"}}"#;
/// let event = cloud_event::parse(text)?;
/// assert_eq!(event.partition_key.as_deref(), Some("lead-7"));
/// assert_eq!(event.time.to_string(), "2026-03-01T09:30:00.000Z");
/// # Ok::<(), cloud_event::Refusal>(())
/// ```
pub fn parse(text: &[u8]) -> Result<Event, Refusal> {
    if text.len() > EVENT_BYTES_MAX {
        let size = text.len();
        return Err(Refusal::new(
            RejectReason::Oversized,
            format!("the event has {size} bytes; at most {EVENT_BYTES_MAX} are accepted"),
        ));
    }
    let malformed = |detail: String| Refusal::new(RejectReason::Malformed, detail);
    let text = std::str::from_utf8(text).map_err(|e| malformed(format!("not UTF-8: {e}")))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let attributes = json
        .deserialize_map(AttributesVisitor)
        .and_then(|attributes| json.end().map(|()| attributes))
        .map_err(|e| {
            malformed(format!(
                "not a CloudEvents JSON object: {}",
                place(&e, text)
            ))
        })?;
    attributes.check()
}

/// The error with its place; a text of one line, as in JSON Lines, has no line to name.
fn place(error: &serde_json::Error, text: &str) -> String {
    let words = error.to_string();
    if text.trim_end().contains('\n') {
        return words;
    }
    words.replace(
        &format!("at line 1 column {}", error.column()),
        &format!("at column {}", error.column()),
    )
}

/// The attributes as read, before anything is required of them.
#[derive(Default)]
struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    sequence: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    tenant: Option<Cow<'a, str>>,
    partition_key: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
    extensions: BTreeMap<SmolStr, Box<str>>,
}

impl Attributes<'_> {
    fn check(self) -> Result<Event, Refusal> {
        let malformed = |detail: String| Refusal::new(RejectReason::Malformed, detail);
        match self.specversion.as_deref() {
            Some("1.0") => {}
            Some(other) => {
                return Err(malformed(format!(
                    "specversion {other:?} is not supported; use 1.0"
                )));
            }
            None => {
                return Err(malformed(
                    "specversion is missing; CloudEvents 1.0 needs it".into(),
                ));
            }
        }
        let required = |name: &str, value: Option<Cow<'_, str>>| match value {
            Some(text) if !text.is_empty() => Ok(SmolStr::from(text)),
            Some(_) | None => Err(malformed(format!("{name} is missing or empty"))),
        };
        let optional = |value: Option<Cow<'_, str>>| value.map(SmolStr::from);
        let filled = |value: Option<Cow<'_, str>>| optional(value).filter(|text| !text.is_empty());
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(malformed(
                    "both data and data_base64 are given; send one".into(),
                ));
            }
            (Some(json), None) => Payload::Json(json.get().into()),
            (None, Some(bytes)) => Payload::Base64(bytes.into()),
            (None, None) => Payload::None,
        };
        let (id, source) = (required("id", self.id)?, required("source", self.source)?);
        let kind = required("type", self.kind)?;
        let refused_time = |detail: String| Refusal::new(RejectReason::Time, detail);
        let time = self.time.ok_or_else(|| {
            refused_time("time is missing; Foldback orders events by it".to_owned())
        })?;
        let (time, below_ms) = Timestamp::parse_precise(&time)
            .map_err(|error| refused_time(format!("time: {error}")))?;
        let event = Event {
            source,
            id,
            kind,
            time,
            below_ms,
            sequence: filled(self.sequence).map(Sequence),
            subject: optional(self.subject),
            tenant: filled(self.tenant),
            partition_key: filled(self.partition_key),
            traceparent: optional(self.traceparent),
            content_type: optional(self.content_type),
            data,
            extensions: self.extensions,
        };
        event.check_revision()?;
        Ok(event)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of CloudEvents attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes<'de>, A::Error> {
        let mut read = Attributes::default();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let slot = match name.as_ref() {
                "specversion" => &mut read.specversion,
                "id" => &mut read.id,
                "source" => &mut read.source,
                "type" => &mut read.kind,
                "time" => &mut read.time,
                "sequence" => &mut read.sequence,
                "subject" => &mut read.subject,
                "tenant" => &mut read.tenant,
                "partitionkey" => &mut read.partition_key,
                "traceparent" => &mut read.traceparent,
                "datacontenttype" => &mut read.content_type,
                "data_base64" => {
                    let text = map.next_value::<Option<Text<'de>>>()?;
                    fill(&mut read.data_base64, text.map(|Text(text)| text), &name)?;
                    continue;
                }
                "data" => {
                    let json = map.next_value::<&'de RawValue>()?;
                    fill(
                        &mut read.data,
                        (json.get() != "null").then_some(json),
                        &name,
                    )?;
                    continue;
                }
                _ => {
                    extension(
                        &mut read.extensions,
                        &name,
                        map.next_value::<&'de RawValue>()?,
                    )?;
                    continue;
                }
            };
            let value = map
                .next_value::<Option<Scalar<'de>>>()?
                .map(|Scalar(text)| text);
            if value
                .as_ref()
                .is_some_and(|text| text.len() > ATTRIBUTE_BYTES_MAX)
            {
                return Err(A::Error::custom(format_args!(
                    "attribute {name} has more than {ATTRIBUTE_BYTES_MAX} bytes"
                )));
            }
            fill(slot, value, &name)?;
        }
        Ok(read)
    }
}

/// Puts a value in its place, once: of two attributes of one name, neither can be trusted.
fn fill<T, E: serde::de::Error>(
    slot: &mut Option<T>,
    value: Option<T>,
    name: &str,
) -> Result<(), E> {
    if slot.is_some() {
        return Err(E::custom(format_args!("attribute {name} is given twice")));
    }
    *slot = value;
    Ok(())
}

fn extension<E: serde::de::Error>(
    extensions: &mut BTreeMap<SmolStr, Box<str>>,
    name: &str,
    value: &RawValue,
) -> Result<(), E> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(E::custom(format_args!(
            "attribute name {name:?} is not lower-case letters and digits"
        )));
    }
    let text = value.get();
    if text == "null" {
        return Ok(());
    }
    if text.starts_with(['{', '[']) {
        return Err(E::custom(format_args!(
            "attribute {name} is not a plain value"
        )));
    }
    if text.len() > ATTRIBUTE_BYTES_MAX || extensions.len() >= ATTRIBUTES_MAX {
        return Err(E::custom(format_args!(
            "attribute {name} is too long or one too many"
        )));
    }
    match extensions.insert(name.into(), text.into()) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("attribute {name} is given twice"))),
    }
}

/// A string, borrowed where its JSON has no escapes.
struct Text<'a>(Cow<'a, str>);

/// An attribute's value as text: the JSON format also writes booleans and integers plainly.
struct Scalar<'a>(Cow<'a, str>);

macro_rules! from_json {
    ($name:ident, $expecting:literal, $method:ident $(, $visit:ident: $from:ty)*) => {
        impl<'de> serde::Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<$name<'de>, E> {
                        Ok($name(Cow::Borrowed(text)))
                    }
                    fn visit_str<E>(self, text: &str) -> Result<$name<'de>, E> {
                        Ok($name(Cow::Owned(text.to_owned())))
                    }
                    $(fn $visit<E>(self, value: $from) -> Result<$name<'de>, E> {
                        Ok($name(Cow::Owned(value.to_string())))
                    })*
                }
                deserializer.$method(V)
            }
        }
    };
}

from_json!(Text, "a string", deserialize_str);
from_json!(
    Scalar, "a string, an integer or a boolean", deserialize_any,
    visit_i64: i64, visit_u64: u64, visit_bool: bool
);

/// Whether the text begins a JSON value that does not end in it: an event over several lines.
#[must_use]
pub fn is_cut_off(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"specversion":"1.0","id":"7","source":"//crm","type":"t","time":"2026-03-01T09:30:00Z"}"#;

    /// `WHOLE` with one attribute set to a JSON text, or taken away where the text is empty.
    fn with(name: &str, json: &str) -> String {
        let mut object: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(WHOLE).expect("an object");
        object.remove(name);
        if !json.is_empty() {
            object.insert(
                name.into(),
                RawValue::from_string(json.into()).expect("JSON"),
            );
        }
        serde_json::to_string(&object).expect("JSON")
    }

    fn check(text: &str, expect: &str) {
        let got = match parse(text.as_bytes()) {
            Ok(event) => format!("{} {} {:?}", event.id, event.time, event.data),
            Err(refusal) => format!("{}: {refusal}", refusal.reason.label()),
        };
        assert!(got.contains(expect), "{text}\n gave {got}\n not {expect}");
    }

    #[test]
    fn takes_what_the_format_allows() {
        check(WHOLE, "7 2026-03-01T09:30:00.000Z None");
        check(&with("data", r#"{"a": [1]}"#), r#"Json("{\"a\": [1]}")"#);
        check(&with("data_base64", r#""AAE=""#), "Base64");
        check(&with("data", "null"), "None");
        check(&with("sequence", "17"), "7 2026");
        check(&with("comexample", "true"), "7 2026");
    }

    #[test]
    fn says_what_is_wrong() {
        check("{", "malformed: not a CloudEvents JSON object: EOF");
        check(
            "[]",
            "malformed: not a CloudEvents JSON object: invalid type: sequence",
        );
        check(&format!("{WHOLE} x"), "trailing characters");
        check(
            &with("specversion", ""),
            "malformed: specversion is missing",
        );
        check(
            &with("specversion", r#""0.3""#),
            r#"specversion "0.3" is not supported"#,
        );
        check(&with("id", r#""""#), "malformed: id is missing or empty");
        check(
            &with("time", ""),
            "missing or impossible time: time is missing",
        );
        check(
            &with("time", r#""2026-02-30T00:00:00Z""#),
            "missing or impossible time: time: ",
        );
        check(&with("Bad-Name", "1"), "is not lower-case letters");
        check(
            &with("nested", "{}"),
            "attribute nested is not a plain value",
        );
        check(
            &with("subject", &format!("{:?}", "x".repeat(1025))),
            "more than 1024 bytes",
        );
        check(
            &WHOLE.replace("}", r#","id":"8"}"#),
            "attribute id is given twice",
        );
        let big = with("data", &format!("{:?}", "x".repeat(EVENT_BYTES_MAX)));
        check(&big, "oversized: the event has");
    }

    #[test]
    fn a_delivery_does_not_change_the_content() {
        let event = |text: &str| parse(text.as_bytes()).expect("an event");
        let sent = event(&with("data", r#"{"a":1,"b":[2]}"#));
        assert!(sent.same_content(&event(&with("data", r#"{ "b":[2], "a":1 }"#))));
        assert!(!sent.same_content(&event(&with("data", r#"{"a":1,"b":[3]}"#))));
        let traced = with("traceparent", r#""00-1-2-01""#);
        assert!(event(WHOLE).same_content(&event(&traced)));
        assert!(
            event(WHOLE).same_content(&event(&with("recordedtime", r#""2026-03-01T09:30:01Z""#)))
        );
        assert!(!event(WHOLE).same_content(&event(&with("subject", r#""s""#))));
    }

    #[test]
    fn tells_a_value_over_several_lines_from_a_broken_one() {
        assert!(is_cut_off(b"{"));
        assert!(is_cut_off(br#"{"a": 1,"#));
        assert!(!is_cut_off(br#"{"a": 1}"#));
        assert!(!is_cut_off(br#"{"a" 1}"#));
    }
}
