use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::fingerprint::first_128_bits;
use super::home::is_of_home;
use super::{EventHash, Group, Order, Sequence, Timestamp};

/// How the types of Foldback's own events begin. Nobody else may send one.
pub const OWN_TYPES: &str = "foldback.";
/// How the sources of Foldback's own events begin. Nobody else may send from one.
pub const OWN_SOURCES: &str = "foldback:";
/// How the names of Foldback's own attributes begin. Nobody else may set one.
pub const OWN_ATTRIBUTES: &str = "foldback";
/// The type of an event that states what a row was when Foldback took it over from other code.
pub const BASELINE: &str = "foldback.baseline";

/// What an external system says happened: a `CloudEvents` 1.0 message. Immutable.
///
/// Its identity is (`source`, `id`); an amendment has that of the event it amends, and a higher
/// [`revision`](Event::revision). Attribute texts are at most
/// [`ATTRIBUTE_BYTES_MAX`](super::cloud_event::ATTRIBUTE_BYTES_MAX) bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who says it, a URI reference.
    pub source: SmolStr,
    /// Unique within the source.
    pub id: SmolStr,
    /// The sender's own type; the tenant's settings give it a meaning.
    pub kind: SmolStr,
    /// Event time: when it happened out there.
    pub time: Timestamp,
    /// Nanoseconds of the event time below the millisecond.
    pub below_ms: u32,
    /// Orders events of equal time.
    pub sequence: Option<Sequence>,
    /// The entity within the source.
    pub subject: Option<SmolStr>,
    /// The tenant that the event says it belongs to.
    pub tenant: Option<SmolStr>,
    /// The unit of ordering that the event names.
    pub partition_key: Option<SmolStr>,
    /// W3C trace context.
    pub traceparent: Option<SmolStr>,
    /// Media type of the payload.
    pub content_type: Option<SmolStr>,
    /// The payload as sent.
    pub data: Payload,
    /// All other attributes, each as its JSON text.
    pub extensions: BTreeMap<SmolStr, Box<str>>,
}

/// An event's payload, kept as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Payload {
    /// The event has no `data`.
    #[default]
    None,
    /// JSON text.
    Json(Box<str>),
    /// Base64 text of bytes (`data_base64`).
    Base64(Box<str>),
}

impl Event {
    /// The event's place in the total order of its group.
    #[must_use]
    pub fn order(&self) -> Order {
        Order {
            time: self.time,
            below_ms: self.below_ms,
            sequence: self.sequence.clone(),
            source: self.source.clone(),
            id: self.id.clone(),
        }
    }

    /// Compares two events' places, as comparing their [`Event::order`] would.
    #[must_use]
    pub fn cmp_order(&self, other: &Self) -> std::cmp::Ordering {
        self.time
            .cmp(&other.time)
            .then_with(|| self.below_ms.cmp(&other.below_ms))
            .then_with(|| self.sequence.cmp(&other.sequence))
            .then_with(|| self.source.cmp(&other.source))
            .then_with(|| self.id.cmp(&other.id))
    }

    /// Whether two events of one identity say the same thing.
    ///
    /// Trace context belongs to a delivery, not to the event. Payloads are equal as JSON values:
    /// a proxy may have changed white space or the order of keys.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let bare = |event: &Self| Self {
            traceparent: None,
            data: Payload::None,
            extensions: event
                .extensions
                .iter()
                .filter(|(name, _)| is_said(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            ..event.clone()
        };
        self.data.same(&other.data) && bare(self) == bare(other)
    }
}

impl Event {
    /// A hash of what the event says: equal where [`Event::same_content`] says so, for a store that does
    /// not keep the event beside its identity.
    #[must_use]
    pub fn content_hash(&self) -> u128 {
        let mut hasher = blake3::Hasher::new();
        let mut say = |tag: u8, text: Option<&str>| {
            let length = text.map_or(0, |text| text.len() as u64);
            hasher.update(&[tag, u8::from(text.is_some())]);
            hasher.update(&length.to_le_bytes());
            hasher.update(text.unwrap_or_default().as_bytes());
        };
        say(0, Some(&self.source));
        say(1, Some(&self.id));
        say(2, Some(&self.kind));
        say(
            3,
            self.sequence.as_ref().map(|sequence| sequence.0.as_str()),
        );
        say(4, self.subject.as_deref());
        say(5, self.tenant.as_deref());
        say(6, self.partition_key.as_deref());
        say(7, self.content_type.as_deref());
        for (name, value) in &self.extensions {
            if is_said(name) {
                say(8, Some(name));
                say(9, Some(value));
            }
        }
        match &self.data {
            Payload::None => say(10, None),
            Payload::Base64(text) => say(11, Some(text)),
            // Written anew, members in the order of their names.
            Payload::Json(text) => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(value) => say(12, Some(&value.to_string())),
                Err(_no_json) => say(13, Some(text)),
            },
        }
        hasher.update(&self.time.ms().to_le_bytes());
        hasher.update(&self.below_ms.to_le_bytes());
        first_128_bits(&hasher)
    }

    /// About how many bytes of memory, and of a record that is not compressed, its texts take.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.source, &self.id, &self.kind];
        let optional = [
            &self.subject,
            &self.tenant,
            &self.partition_key,
            &self.traceparent,
            &self.content_type,
        ];
        let data = match &self.data {
            Payload::None => 0,
            Payload::Json(text) | Payload::Base64(text) => text.len(),
        };
        let extensions = self.extensions.iter();
        FIXED_BYTES
            + texts.into_iter().map(|text| text.len()).sum::<usize>()
            + optional
                .into_iter()
                .flatten()
                .map(|text| text.len())
                .sum::<usize>()
            + extensions
                .map(|(name, text)| name.len() + text.len())
                .sum::<usize>()
            + data
    }
}

/// What numbers, lengths and flags of an event take in a record.
const FIXED_BYTES: usize = 64;

/// Attributes that describe one delivery of an event, not the event.
const DELIVERY_ATTRIBUTES: [&str; 2] = ["recordedtime", "tracestate"];

/// Whether an attribute is part of what the event says.
fn is_said(attribute: &str) -> bool {
    !DELIVERY_ATTRIBUTES.contains(&attribute) && !is_of_home(attribute)
}

impl Payload {
    /// The JSON text, where the payload is one.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text),
            Self::None | Self::Base64(_) => None,
        }
    }

    fn same(&self, other: &Self) -> bool {
        let (Self::Json(a), Self::Json(b)) = (self, other) else {
            return self == other;
        };
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        a == b || value(a).is_some_and(|value_a| Some(value_a) == value(b))
    }
}

/// An accepted event, as the journal keeps it and as messages carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The group it was accepted into.
    pub group: Group,
    /// The event as sent.
    pub event: Event,
    /// Recorded time: when it was first stored.
    pub recorded: Timestamp,
    /// The hash of the event's identity and revision.
    pub hash: EventHash,
}
