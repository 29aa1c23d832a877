use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Finding, Timestamp};

/// One run of replay, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayRun {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// What it did about differences: `report`, `changes` or `update`.
    pub mode: SmolStr,
    /// What it looked at, in words.
    pub scope: String,
    /// Groups looked at.
    pub groups: u64,
    /// Events folded.
    pub events: u64,
    /// Rows compared.
    pub rows: u64,
    /// Differences found. Of very many, not all are kept with the run.
    pub findings: u64,
    /// Differences mended.
    pub mended: u64,
    /// Journaled events that no row can take in, because a field is wrong under the settings.
    pub faults: u64,
    /// All differences, counted by the name of their [class](super::Class), then by table.
    pub by_class: BTreeMap<SmolStr, BTreeMap<SmolStr, u64>>,
}

impl ReplayRun {
    /// Counts one more difference.
    pub fn count(&mut self, finding: &Finding) {
        self.findings += 1;
        let by_table = self
            .by_class
            .entry(finding.class.name().into())
            .or_default();
        *by_table.entry(finding.table.name().into()).or_default() += 1;
    }
}

/// The summary of a scheduled report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was made.
    pub at: Timestamp,
    /// How many rows each table has; of a temporal table, how many versions are in force.
    pub rows: BTreeMap<SmolStr, u64>,
    /// How many messages the queue holds.
    pub queue: Depth,
    /// The run of replay kept last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<ReplayRun>,
    /// What the check of the indexes came to; `None` where none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexes: Option<serde_json::Value>,
    /// What else a person should know, a sentence each.
    pub notes: Vec<String>,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Waiting to be received.
    pub visible: u64,
    /// Received and neither deleted nor visible again.
    pub in_flight: u64,
    /// In the dead-letter queue.
    pub dead: u64,
}
