use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Input that could not be accepted, kept so that nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// When it was refused.
    pub at: Timestamp,
    /// The file, `-` for standard input.
    pub input: String,
    /// The line within it, from 1.
    pub line: u64,
    /// What kind of fault.
    pub reason: RejectReason,
    /// What exactly, and what to do.
    pub detail: String,
    /// The text as it came, cut at 4,096 bytes.
    pub text: String,
}

/// The kinds of fault, as the summary counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Not a `CloudEvents` 1.0 JSON object.
    Malformed,
    /// Without a time, or with one that cannot be.
    Time,
    /// Larger than an event may be.
    Oversized,
    /// Of a tenant that the settings do not know, or of none.
    UnknownTenant,
    /// Names no partition key, and the settings name no field that holds it.
    NoPartitionKey,
    /// The identity of an event that is journaled with other content.
    Conflict,
    /// Of a type or from a source that is Foldback's own.
    Reserved,
}

impl RejectReason {
    /// The kind in words for the summary.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Time => "missing or impossible time",
            Self::Oversized => "oversized",
            Self::UnknownTenant => "unknown tenant",
            Self::NoPartitionKey => "no partition key",
            Self::Conflict => "same identity, other content",
            Self::Reserved => "reserved type or source",
        }
    }
}
