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
    /// Groups that were written to each time they were read, so that nothing was said of them.
    #[serde(default)]
    pub busy_groups: u64,
    /// Groups with differences that were left because somebody else held the lock of a row.
    #[serde(default)]
    pub locked_groups: u64,
    /// The version of the settings that it went by; 0 in runs kept before that was noted.
    #[serde(default)]
    pub settings: u32,
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
    /// The runs of replay kept last, the newest first: whether findings come or go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trend: Vec<RunInShort>,
    /// Rows under policy `detect` that live handling found out of order and nothing has mended since; of
    /// very many, not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_rows: Vec<Finding>,
    /// What was processed, by the hour, the oldest first; where that is counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// What the check of the indexes came to; `None` where none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexes: Option<serde_json::Value>,
    /// What else a person should know, a sentence each.
    pub notes: Vec<String>,
}

/// A run of replay, as a trend shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunInShort {
    /// When it ended.
    pub finished: Timestamp,
    /// What it did about differences.
    pub mode: SmolStr,
    /// What it looked at.
    pub scope: String,
    /// Rows compared.
    pub rows: u64,
    /// Differences found.
    pub findings: u64,
    /// Differences mended.
    pub mended: u64,
}

impl From<&ReplayRun> for RunInShort {
    fn from(run: &ReplayRun) -> Self {
        Self {
            finished: run.finished,
            mode: run.mode.clone(),
            scope: run.scope.clone(),
            rows: run.rows,
            findings: run.findings,
            mended: run.mended,
        }
    }
}

/// What was processed in an hour. What came twice is counted twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The hour in UTC, such as `2026-03-01T09`.
    pub hour: SmolStr,
    /// Events taken in by their rows.
    pub events: u64,
    /// Events that their rows held already.
    pub held: u64,
    /// Events that no rule maps.
    pub unmapped: u64,
    /// Events that were parked.
    pub parked: u64,
    /// Events that came late.
    pub late: u64,
    /// Of these, later than a minute.
    pub late_minutes: u64,
    /// Later than an hour.
    pub late_hours: u64,
    /// Later than a day.
    pub late_days: u64,
    /// The longest that a message had waited when it was handled, in seconds, rounded up to a power of two.
    #[serde(default)]
    pub waited_seconds_max: u64,
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
