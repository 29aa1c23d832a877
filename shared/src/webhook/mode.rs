use std::borrow::Cow;
use std::fmt;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    BODY_BYTES_MAX, EventText, Problem, ProblemKind, REQUEST_EVENTS_MAX, Request, binary, wrap,
};
use crate::settings::Wrap;

/// How a request holds its events: a content mode of the `CloudEvents` HTTP binding
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>),
/// or plain JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event, whole in the body.
    Structured,
    /// An array of events in the body.
    Batch,
    /// One event, attributes in headers, data in the body.
    Binary,
    /// JSON that is no event; the tenant's settings make it one, or several.
    Plain,
}

impl Mode {
    /// The mode that the headers name.
    ///
    /// # Errors
    /// The body is of a type, or coded in a way, that is not read.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refuse = |detail: String| Err(Problem::new(ProblemKind::ContentType, detail));
        let coding = headers.get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return refuse("the body is compressed; send it without content-encoding".into());
        }
        let content_type = headers.get(CONTENT_TYPE);
        let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let media_type = content_type.as_deref().map(media_type);
        match media_type.as_deref() {
            Some("application/cloudevents+json") => return Ok(Self::Structured),
            Some("application/cloudevents-batch+json") => return Ok(Self::Batch),
            Some(other) if other.starts_with("application/cloudevents") => {
                return refuse(format!(
                    "content-type {other:?} is not read; CloudEvents are taken as \
                     application/cloudevents+json or application/cloudevents-batch+json"
                ));
            }
            Some(_) | None => {}
        }
        if headers.keys().any(is_attribute) {
            return Ok(Self::Binary);
        }
        match media_type.as_deref() {
            Some(json) if is_json(json) => Ok(Self::Plain),
            Some(other) => refuse(format!(
                "content-type {other:?} is not read; send application/cloudevents+json, \
                 application/cloudevents-batch+json, ce-* headers, or application/json"
            )),
            None => refuse(
                "content-type is missing; send application/cloudevents+json, \
                 application/cloudevents-batch+json, ce-* headers, or application/json"
                    .into(),
            ),
        }
    }

    /// The events' JSON texts, in the order of the request, each still to be accepted.
    ///
    /// # Errors
    /// The body as a whole is not what the mode says, is too large, or holds too many events.
    pub fn events<'a>(
        self,
        request: &Request<'a>,
        wrap: Option<&Wrap>,
    ) -> Result<Vec<EventText<'a>>, Problem> {
        check_size(request.body)?;
        match self {
            Self::Structured => Ok(vec![Ok(Cow::Borrowed(request.body))]),
            Self::Batch => elements(text(request.body)?, || "a batch is a JSON array of events"),
            Self::Binary => Ok(vec![
                binary::event(request).map(|text| Cow::Owned(text.into())),
            ]),
            Self::Plain => {
                let Some(wrap) = wrap else {
                    return Err(Problem::new(
                        ProblemKind::ContentType,
                        "the tenant's settings do not say how plain JSON becomes events; send \
                         CloudEvents, or say so under [tenant.webhook.wrap]",
                    ));
                };
                wrap::events(wrap, text(request.body)?)
            }
        }
    }
}

/// Refuses a body that is too large.
///
/// # Errors
/// It is.
pub(crate) fn check_size(body: &[u8]) -> Result<(), Problem> {
    if body.len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    let size = body.len();
    Err(Problem::new(
        ProblemKind::TooLarge,
        format!("the body has {size} bytes; at most {BODY_BYTES_MAX} are taken at once"),
    ))
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// Whether the media type says JSON.
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

/// Whether the header is an attribute of an event in binary mode.
pub(super) fn is_attribute(name: &HeaderName) -> bool {
    name.as_str().starts_with("ce-")
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    let unreadable = |detail: String| Problem::new(ProblemKind::Unreadable, detail);
    if body.is_empty() {
        return Err(unreadable("the body is empty".into()));
    }
    std::str::from_utf8(body).map_err(|error| unreadable(format!("the body is not UTF-8: {error}")))
}

/// The elements of a JSON array as event texts.
pub(super) fn elements<'a>(
    json: &'a str,
    what: impl FnOnce() -> &'a str,
) -> Result<Vec<EventText<'a>>, Problem> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = reader.deserialize_seq(Elements);
    let (elements, count) = read
        .and_then(|elements| reader.end().map(|()| elements))
        .map_err(|error| Problem::new(ProblemKind::Unreadable, format!("{}: {error}", what())))?;
    if count > REQUEST_EVENTS_MAX {
        return Err(Problem::new(
            ProblemKind::TooMany,
            format!(
                "the request holds {count} events; at most {REQUEST_EVENTS_MAX} are taken at once"
            ),
        ));
    }
    Ok(elements
        .into_iter()
        .map(|element| Ok(Cow::Borrowed(element.get().as_bytes())))
        .collect())
}

/// The first elements of an array, and how many there are.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < REQUEST_EVENTS_MAX {
            let Some(element) = seq.next_element()? else {
                let count = elements.len();
                return Ok((elements, count));
            };
            elements.push(element);
        }
        let mut count = elements.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((elements, count))
    }
}
