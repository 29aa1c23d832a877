use std::borrow::Cow;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::mode::elements;
use super::{EventText, Problem, ProblemKind, epoch};
use crate::model::RejectReason;
use crate::model::cloud_event::Refusal;
use crate::settings::{Wrap, WrapAttribute};

/// An event as the `CloudEvents` JSON format has it.
#[derive(Serialize)]
struct Wrapped<'a> {
    specversion: &'static str,
    r#type: SmolStr,
    id: SmolStr,
    source: SmolStr,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<SmolStr>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// The events that a plain JSON body becomes.
pub(super) fn events<'a>(wrap: &Wrap, body: &'a str) -> Result<Vec<EventText<'a>>, Problem> {
    let unreadable = |detail: String| Problem::new(ProblemKind::Unreadable, detail);
    serde_json::from_str::<IgnoredAny>(body)
        .map_err(|error| unreadable(format!("the body is not JSON: {error}")))?;
    let list = match wrap.list(body) {
        None => return Ok(vec![wrapped(wrap, body.trim())]),
        Some(list) => list,
    };
    let each = wrap.list_pointer();
    let Some(list) = list else {
        return Err(unreadable(format!(
            "the body has nothing at {each}, where the tenant's settings look for the events"
        )));
    };
    let found = elements(
        list,
        || "the tenant's settings look for an array of events in the body (wrap.each)",
    )?;
    Ok(found
        .into_iter()
        .map(|element| {
            let element = element?;
            let text = std::str::from_utf8(&element);
            let text = text.map_err(|error| malformed(error.to_string()))?;
            wrapped(wrap, text).map(|event| Cow::Owned(event.into_owned()))
        })
        .collect())
}

fn wrapped<'a>(wrap: &Wrap, json: &str) -> EventText<'a> {
    if !json.starts_with('{') {
        return Err(malformed(
            "it is not a JSON object; where one request holds several events, the tenant's settings \
             say where they stand with wrap.each (\"\" for the whole body)"
                .to_owned(),
        ));
    }
    let mut event = Wrapped {
        specversion: "1.0",
        r#type: SmolStr::default(),
        id: SmolStr::default(),
        source: SmolStr::default(),
        time: String::new(),
        partitionkey: None,
        subject: None,
        sequence: None,
        revision: None,
        withdrawn: None,
        datacontenttype: "application/json",
        data: None,
    };
    for (attribute, text) in wrap.attributes(json) {
        match attribute {
            WrapAttribute::Type => event.r#type = text,
            WrapAttribute::Id => event.id = text,
            WrapAttribute::Source => event.source = text,
            WrapAttribute::Time => event.time = epoch::rfc_3339(&text),
            WrapAttribute::PartitionKey => event.partitionkey = Some(text),
            WrapAttribute::Subject => event.subject = Some(text),
            WrapAttribute::Sequence => event.sequence = Some(text),
            WrapAttribute::Revision => event.revision = Some(text),
            WrapAttribute::Withdrawn => event.withdrawn = Some(text),
        }
    }
    let required = [
        (WrapAttribute::Type, event.r#type.is_empty()),
        (WrapAttribute::Id, event.id.is_empty()),
        (WrapAttribute::Source, event.source.is_empty()),
        (WrapAttribute::Time, event.time.is_empty()),
    ];
    if let Some((missing, _)) = required.iter().find(|(_, is_missing)| *is_missing) {
        return Err(missing_attribute(wrap, *missing));
    }
    let data = wrap.data(json).map(serde_json::from_str::<&RawValue>);
    event.data = data
        .transpose()
        .map_err(|error| malformed(error.to_string()))?;
    let text = serde_json::to_vec(&event).map_err(|error| malformed(error.to_string()))?;
    Ok(Cow::Owned(text))
}

fn missing_attribute(wrap: &Wrap, attribute: WrapAttribute) -> Refusal {
    let name = attribute.name();
    let reason = match attribute {
        WrapAttribute::Time => RejectReason::Time,
        WrapAttribute::Type
        | WrapAttribute::Id
        | WrapAttribute::Source
        | WrapAttribute::PartitionKey
        | WrapAttribute::Subject
        | WrapAttribute::Sequence
        | WrapAttribute::Revision
        | WrapAttribute::Withdrawn => RejectReason::Malformed,
    };
    let detail = match wrap.pointer(attribute) {
        Some(pointer) => format!("{name}: the JSON has no text or number at {pointer}"),
        None => format!("{name}: the tenant's settings give an empty one"),
    };
    Refusal::new(reason, detail)
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(RejectReason::Malformed, detail)
}
