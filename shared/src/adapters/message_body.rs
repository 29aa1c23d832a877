//! What a message says: JSON, for a person to read in the console. Versions only grow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{Entry, Event, EventHash, Group, Payload, Sequence, Timestamp};
use crate::ports::Message;

const VERSION: u32 = 1;
/// The longest message group id of SQS
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
const GROUP_ID_MAX: usize = 128;

/// Why a message's text cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not JSON of this shape.
    #[error("not a message of Foldback")]
    Shape(#[from] serde_json::Error),
    /// It was written by a later version.
    #[error("the message's version {0} is not known; this is version {VERSION}")]
    Version(u32),
    /// Its id is no number.
    #[error("the message's id {0:?} is not 32 hexadecimal digits")]
    Id(String),
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u32,
    tenant: SmolStr,
    key: SmolStr,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    events: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    source: SmolStr,
    id: SmolStr,
    r#type: SmolStr,
    time: Timestamp,
    #[serde(default, skip_serializing_if = "is_zero")]
    nanos: u32,
    recorded: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<SmolStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<SmolStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<SmolStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<SmolStr>,
    #[serde(default, skip_serializing_if = "is_false")]
    names_tenant: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    names_key: bool,
    #[serde(default, skip_serializing_if = "is_none")]
    data: Payload,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: std::collections::BTreeMap<SmolStr, Box<str>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes by reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes by reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_none(data: &Payload) -> bool {
    *data == Payload::None
}

/// The message's text.
pub(super) fn encode(message: &Message) -> Result<String, serde_json::Error> {
    let body = Body {
        v: VERSION,
        tenant: message.group.tenant.clone(),
        key: message.group.key.clone(),
        id: format!("{:032x}", message.deduplication_id).into(),
        events: message.entries.iter().map(|entry| record(entry)).collect(),
    };
    let text = serde_json::to_string(&body)?;
    // XML knows no such characters, so SQS takes none; JSON can say them otherwise.
    Ok(text
        .replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff"))
}

/// The message that a text says.
///
/// # Errors
/// It is none.
pub(super) fn decode(text: &str) -> Result<Message, Unreadable> {
    let body: Body<'_> = serde_json::from_str(text)?;
    if body.v != VERSION {
        return Err(Unreadable::Version(body.v));
    }
    let deduplication_id =
        u128::from_str_radix(&body.id, 16).map_err(|_no_number| Unreadable::Id(body.id.into()))?;
    let group = Group {
        tenant: body.tenant,
        key: body.key,
    };
    let entries = body.events.into_iter();
    Ok(Message {
        deduplication_id,
        entries: entries.map(|one| Arc::new(entry(&group, one))).collect(),
        group,
    })
}

fn record(entry: &Entry) -> Record {
    let event = entry.event.clone();
    Record {
        source: event.source,
        id: event.id,
        r#type: event.kind,
        time: event.time,
        nanos: event.below_ms,
        recorded: entry.recorded,
        sequence: event.sequence.map(|Sequence(text)| text),
        subject: event.subject,
        traceparent: event.traceparent,
        content_type: event.content_type,
        names_tenant: event.tenant.is_some(),
        names_key: event.partition_key.is_some(),
        data: event.data,
        extensions: event.extensions,
    }
}

fn entry(group: &Group, record: Record) -> Entry {
    let mut event = Event {
        source: record.source,
        id: record.id,
        kind: record.r#type,
        time: record.time,
        below_ms: record.nanos,
        sequence: record.sequence.map(Sequence),
        subject: record.subject,
        tenant: record.names_tenant.then(|| group.tenant.clone()),
        partition_key: None,
        traceparent: record.traceparent,
        content_type: record.content_type,
        data: record.data,
        extensions: record.extensions,
    };
    if record.names_key {
        event.name_group(group);
    }
    Entry {
        group: group.clone(),
        hash: event.hash(),
        recorded: record.recorded,
        event,
    }
}

/// The message group id: the group as it is where SQS takes that, else a hash of it. No tenant's name is
/// empty, so none begins with `#`.
pub(super) fn group_id(group: &Group) -> String {
    let plain = group.to_string();
    if plain.len() <= GROUP_ID_MAX && plain.bytes().all(|byte| byte.is_ascii_graphic()) {
        return plain;
    }
    format!("#{}", EventHash::of(&group.tenant, &group.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_foreign_groups_are_hashed() {
        let check = |tenant: &str, key: &str, expect: Option<&str>| {
            let group = Group {
                tenant: tenant.into(),
                key: key.into(),
            };
            let id = group_id(&group);
            assert!(id.len() <= GROUP_ID_MAX, "{id}");
            match expect {
                Some(plain) => assert_eq!(id, plain),
                None => assert_eq!(id, format!("#{}", EventHash::of(tenant, key))),
            }
        };
        check("acme", "lead-7", Some("acme#lead-7"));
        let longest = "k".repeat(GROUP_ID_MAX - "acme#".len());
        check("acme", &longest, Some(&format!("acme#{longest}")));
        check("acme", &format!("{longest}k"), None);
        check("acme", "two words", None);
        check("acme", "Zürich", None);
        check("acme", "a\nb", None);
    }

    #[test]
    fn what_is_no_message_says_why() {
        let check = |text: &str, expect: &str| {
            let why = decode(text).expect_err("unreadable").to_string();
            assert!(why.contains(expect), "{text}: {why}");
        };
        check("", "not a message of Foldback");
        check("[]", "not a message of Foldback");
        check(
            r#"{"v":9,"tenant":"acme","key":"k","id":"0","events":[]}"#,
            "version 9 is not known",
        );
        check(
            r#"{"v":1,"tenant":"acme","key":"k","id":"x","events":[]}"#,
            "is not 32 hexadecimal digits",
        );
    }
}
