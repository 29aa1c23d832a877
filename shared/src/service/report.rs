use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::model::{Report, RunInShort, Timestamp};
use crate::ports::{Error, Queue, Reports, Tables};

use super::lateness;

/// The most dead letters that are looked at.
const LETTERS_MAX: usize = 1_000;
/// The most reasons of dead letters that are told.
const REASONS_MAX: usize = 8;
/// How many runs of replay a trend has.
const TREND_RUNS: usize = 14;

/// Makes a report of how things stand. It is not kept yet.
///
/// `rows` says how many rows each table has, and `indexes` what the check of the indexes came to;
/// `None` where none was made.
///
/// # Errors
/// A port failed.
pub async fn report<P: Queue + Reports + Tables>(
    ports: &P,
    rows: BTreeMap<SmolStr, u64>,
    indexes: Option<serde_json::Value>,
    now: Timestamp,
) -> Result<Report, Error> {
    let queue = ports.depth(now).await?;
    let mut runs = ports.runs(TREND_RUNS).await?.into_iter();
    let last_run = runs.next().map(|(_number, run)| run);
    let shown = last_run
        .iter()
        .chain(runs.as_slice().iter().map(|(_, run)| run));
    let trend = shown.map(RunInShort::from).collect();
    let late_rows = lateness::still_open(ports).await?;
    let mut notes = Vec::new();
    if queue.dead > 0 {
        notes.extend(dead_letters(ports, queue.dead).await?);
    }
    if last_run.is_none() {
        notes.push("no replay that mends was kept yet".to_owned());
    }
    Ok(Report {
        at: now,
        rows,
        queue,
        last_run,
        trend,
        late_rows,
        traffic: Vec::new(),
        indexes,
        notes,
    })
}

/// Why letters are dead, the most frequent reason first.
async fn dead_letters(queue: &impl Queue, dead: u64) -> Result<Vec<String>, Error> {
    let letters = queue.dead_letters(0, LETTERS_MAX).await?;
    let mut reasons: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
    for letter in &letters {
        let (count, since) = reasons.entry(&letter.reason).or_insert((0, letter.at));
        *count += 1;
        *since = letter.at.min(*since);
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut notes: Vec<String> = reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, (count, since))| match count {
            1 => format!("1 dead letter, since {since}: {reason}"),
            more => format!("{more} dead letters, since {since}: {reason}"),
        })
        .collect();
    let untold = reasons.len().saturating_sub(REASONS_MAX);
    if untold > 0 {
        notes.push(format!("dead letters for {untold} other reasons"));
    }
    if dead > LETTERS_MAX as u64 {
        notes.push(format!(
            "only the oldest {LETTERS_MAX} of {dead} dead letters were looked at"
        ));
    }
    Ok(notes)
}
