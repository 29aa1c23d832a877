use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::Request;
use super::mode::{is_attribute, is_json, media_type};
use crate::model::RejectReason;
use crate::model::cloud_event::Refusal;

/// The JSON text of the event in a request of binary mode.
pub(super) fn event(request: &Request<'_>) -> Result<String, Refusal> {
    let mut event: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for name in request.headers.keys().filter(|name| is_attribute(name)) {
        let attribute = name.as_str().strip_prefix("ce-").unwrap_or_default();
        // The data is the body, its type the content type: two of either would contradict.
        if matches!(attribute, "data" | "data_base64" | "datacontenttype") {
            return Err(malformed(format!(
                "header {name} has no place in binary mode; send the data as the body, and its \
                 type as content-type"
            )));
        }
        let mut values = request.headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(malformed(format!("header {name} is given twice")));
        };
        let text = attribute_text(value.as_bytes());
        let text = text.ok_or_else(|| malformed(format!("header {name} is not UTF-8")))?;
        event.insert(attribute, raw(&text)?);
    }
    let content_type = request.headers.get(CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(content_type) = &content_type {
        event.insert("datacontenttype", raw(content_type)?);
    }
    if let Some((name, data)) = data(request.body, content_type.as_deref())? {
        event.insert(name, data);
    }
    serde_json::to_string(&event).map_err(|error| malformed(error.to_string()))
}

/// The body as `data` or `data_base64`. Without a content type it is JSON, as the format implies.
fn data(
    body: &[u8],
    content_type: Option<&str>,
) -> Result<Option<(&'static str, Box<RawValue>)>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type.map(media_type);
    let text = std::str::from_utf8(body);
    if media_type.as_deref().is_none_or(is_json) {
        let no_json = |why: String| {
            malformed(format!(
                "the body is not JSON, as its content-type says or, without one, implies: {why}"
            ))
        };
        let text = text.map_err(|error| no_json(error.to_string()))?;
        // Read first: what is made of the text must not end the object around it.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| no_json(error.to_string()))?;
        let json = RawValue::from_string(text.trim().to_owned());
        return Ok(Some((
            "data",
            json.map_err(|error| no_json(error.to_string()))?,
        )));
    }
    let is_text = media_type.is_some_and(|kind| kind.starts_with("text/"));
    Ok(Some(match text {
        Ok(text) if is_text => ("data", raw(text)?),
        Ok(_) | Err(_) => ("data_base64", raw(&STANDARD.encode(body))?),
    }))
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(RejectReason::Malformed, detail)
}

fn raw(text: &str) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(text).map_err(|error| malformed(error.to_string()))
}

/// An attribute's text: a header value, unquoted where it is quoted (older senders do), then
/// percent-decoded once (HTTP binding, section 3.1.3.2). What is no percent-encoding stays as it is.
fn attribute_text(value: &[u8]) -> Option<String> {
    let value = match value {
        [b'"', quoted @ .., b'"'] => unescaped(quoted),
        plain => plain.to_vec(),
    };
    let text = percent_decode(&value).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// A quoted string (RFC 9110, section 5.6.4) without its backslashes.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        text.push(escaped.copied().unwrap_or(byte));
    }
    text
}
