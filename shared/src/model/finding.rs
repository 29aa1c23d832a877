use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Event, Group, Order, Timestamp};
use crate::handlers::Table;

/// How a stored row differs from its refold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Holds the right events, applied in another order (policy `detect`).
    Late,
    /// Lacks events that the journal has.
    Lost,
    /// Holds events that the journal has not.
    Extra,
    /// Holds the right events, other content: someone else wrote it.
    Foreign,
    /// Was made by an older handler or settings version.
    Stale,
    /// Waits for an event that sits in the dead-letter queue.
    Parked,
    /// Should exist and does not.
    Missing,
    /// Exists and should not.
    Orphan,
}

impl Class {
    /// Every class, as reports list them.
    pub const ALL: [Self; 8] = [
        Self::Late,
        Self::Lost,
        Self::Extra,
        Self::Foreign,
        Self::Stale,
        Self::Parked,
        Self::Missing,
        Self::Orphan,
    ];

    /// The name as written in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Extra => "extra",
            Self::Foreign => "foreign",
            Self::Stale => "stale",
            Self::Parked => "parked",
            Self::Missing => "missing",
            Self::Orphan => "orphan",
        }
    }

    /// What the class means, in a sentence for someone who did not build this.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Late => "holds the right events, but one was applied after a later one",
            Self::Lost => "lacks events that the journal has",
            Self::Extra => "holds events that the journal does not have",
            Self::Foreign => "holds the right events, but someone else changed its content",
            Self::Stale => "was made under an older version of the settings or the handler",
            Self::Parked => "waits for an event that sits in the dead-letter queue",
            Self::Missing => "should exist and does not",
            Self::Orphan => "exists, but no event of the journal leads to it",
        }
    }

    /// How a row comes to be so, most often.
    #[must_use]
    pub fn comes_about(self) -> &'static str {
        match self {
            Self::Late => {
                "the table, or one that feeds it, is under the policy `detect`, which applies events as they come"
            }
            Self::Lost => {
                "the rows were restored from a backup, or who took the event in died before its message was sent"
            }
            Self::Extra => "the journal was restored from a backup that is older than the rows",
            Self::Foreign => "other code, or a person, wrote into the row past Foldback",
            Self::Stale => {
                "the settings or the code were changed, and no event has come for the row since"
            }
            Self::Parked => {
                "a field of the event is not as the settings say, or handling it failed again and again"
            }
            Self::Missing => "the row was deleted past Foldback, or it was never written",
            Self::Orphan => {
                "the row was copied or made by hand, or the journal of its group is gone"
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn to_do(self) -> &'static str {
        match self {
            Self::Late => {
                "mend with `--mode update`; if it should not come again, put the table under `correct`"
            }
            Self::Lost => "mend with `--mode update`: the journal has all that the row needs",
            Self::Extra => {
                "first have the named events sent in again if they happened; `--mode update` takes them off the row"
            }
            Self::Foreign => {
                "find out who writes there; `--mode update` takes it back; code that may write there needs `lock_by_id`"
            }
            Self::Stale => {
                "nothing is lost; `--mode update` brings the row to what is in force now"
            }
            Self::Parked => {
                "see why with `foldback dlq list`; mend the cause, then `foldback dlq redrive`"
            }
            Self::Missing => "mend with `--mode update`: it is made anew from the journal",
            Self::Orphan => {
                "make sure that nobody needs it: `--mode update` removes it, or its version of a history"
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One difference between a stored row and its refold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How it differs.
    pub class: Class,
    /// The row's table.
    pub table: Table,
    /// The row's group.
    pub group: Group,
    /// The row's id.
    pub id: SmolStr,
    /// What stands there and what should, field by field.
    pub changes: Vec<FieldChange>,
    /// The events behind it, where they can be told; at most 16. Of a row that is [`Class::Extra`] those
    /// that it has too many, of one that is [`Class::Late`] those that came late, else those that it
    /// lacks. What is only on its way is not named.
    pub events: Vec<EventRef>,
    /// The class in words, with this row's own figures.
    #[serde(rename = "why", alias = "explanation")]
    pub explanation: String,
}

impl Finding {
    /// The place of the row's own finding of live handling: by hash, so that each row has one.
    #[must_use]
    pub fn place_of_row(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.group.tenant, &self.group.key, &self.id] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(self.table.name().as_bytes());
        let hash = super::fingerprint::first_128_bits(&hasher);
        // From 1, as places are, and within what a store's numbers hold.
        let bits = u64::try_from(hash >> 66).unwrap_or_default();
        bits + 1
    }
}

/// One field of a finding: the stored value and the refolded one, as JSON; absent is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's name; a nested one as `conversions.sale.count`.
    pub field: String,
    /// What is stored.
    pub before: Option<serde_json::Value>,
    /// What the refold gives.
    pub after: Option<serde_json::Value>,
    /// The event that set the field last, or brought the version of a history about; `None` where no
    /// event ever did.
    #[serde(default, rename = "causedBy", skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<EventRef>,
}

/// An event, as a finding names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Named")]
pub struct EventRef {
    /// Its id.
    pub id: SmolStr,
    /// Its source; empty where it is not known.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub source: SmolStr,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

impl From<&Event> for EventRef {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id.clone(),
            source: event.source.clone(),
            time: Some(event.time),
        }
    }
}

impl From<&Order> for EventRef {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.clone(),
            source: order.source.clone(),
            time: Some(order.time),
        }
    }
}

/// In findings kept before, an event is its id alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Id(SmolStr),
    Whole {
        id: SmolStr,
        #[serde(default)]
        source: SmolStr,
        #[serde(default)]
        time: Option<Timestamp>,
    },
}

impl From<Named> for EventRef {
    fn from(named: Named) -> Self {
        match named {
            Named::Id(id) => Self {
                id,
                source: SmolStr::default(),
                time: None,
            },
            Named::Whole { id, source, time } => Self { id, source, time },
        }
    }
}
