use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Group;
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
    /// Ids of the events that the row lacks, where they can be told; at most 16. Those that are only
    /// on their way are not named.
    pub events: Vec<SmolStr>,
    /// The class in words, with this row's own figures.
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
}
