use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Timestamp;

/// Something that a person did, kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: SmolStr,
    /// The one tenant whose things could be touched; `None` where all could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<SmolStr>,
    /// What, in a word: `redrive`, `discard`, `retry`, `settings`, `replay`, `repair`.
    pub deed: SmolStr,
    /// To what.
    pub about: String,
    /// How many it came to; of settings, the version.
    pub count: u64,
}
