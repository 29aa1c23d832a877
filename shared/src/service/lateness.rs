use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::flow::{RowKey, Stored};
use crate::model::{Class, Entry, EventRef, Finding, Late, ReplayRun};
use crate::ports::{Error, LIVE_RUN, Reading, Reports, Tables};
use crate::trace::Journey;

use super::replay::Mode;

/// The most rows that a report lists.
const OPEN_MAX: usize = 100;
/// How many kept findings are looked at, and how many at once: most may be mended by now.
const PAGES_MAX: usize = 100;
const PAGE: usize = 1_000;
/// The most events that one finding names.
const EVENTS_MAX: usize = 16;

/// A late event as a log tells it: which event, how late, and which later one was there before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LateLine<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The key of its group.
    pub group: &'a str,
    /// The event's id.
    pub event: &'a str,
    /// Its source.
    pub source: &'a str,
    /// Its event time.
    pub time: String,
    /// Milliseconds of event time between it and the one that overtook it.
    pub late_ms: i64,
    /// The id of the later-ordered event that the row held already.
    pub overtaken_by: &'a str,
    /// That event's source.
    pub overtaken_by_source: &'a str,
    /// That event's time.
    pub overtaken_by_time: String,
    /// The trace of its journey.
    pub trace: String,
    /// The rows that it came late for, as `RSLead lead-1, RSAppointment meeting-1`.
    pub rows: String,
}

impl<'a> LateLine<'a> {
    /// What is logged of an event, with these fields.
    pub const MESSAGE: &'static str = "an event came out of order";
    /// What is logged of a row under policy `detect`.
    pub const MESSAGE_OF_ROW: &'static str = "a row under policy detect is out of order";

    /// What is to be told of a late event.
    #[must_use]
    pub fn new(entry: &'a Entry, late: &'a Late) -> Self {
        let rows = late.rows.iter();
        let rows: Vec<String> = rows
            .map(|(table, id)| format!("{} {id}", table.name()))
            .collect();
        let event = &entry.event;
        Self {
            tenant: &entry.group.tenant,
            group: &entry.group.key,
            event: &event.id,
            source: &event.source,
            time: event.time.to_string(),
            late_ms: late.ms,
            overtaken_by: &late.overtaken_by,
            overtaken_by_source: late.source.as_deref().unwrap_or_default(),
            overtaken_by_time: late.at.map(|at| at.to_string()).unwrap_or_default(),
            trace: Journey::of(entry).trace().to_string(),
            rows: rows.join(", "),
        }
    }
}

/// A row under policy `detect` that may be out of order.
#[derive(Debug)]
pub(super) struct Suspect {
    /// The row.
    pub(super) key: RowKey,
    /// The version that this batch wrote; `None` where it wrote none.
    pub(super) written: Option<u64>,
    /// The events of this batch that came late for it.
    pub(super) late: Vec<(Arc<Entry>, Late)>,
}

/// Reads the trails of rows after they were written, and keeps a finding for each that is out of order.
///
/// Only rows under policy `detect` that took a late event, whose messages came again, or that others
/// wrote meanwhile are suspects, so a batch in order reads nothing.
pub(super) async fn detect(
    ports: &(impl Tables + Reports),
    suspects: &[Suspect],
) -> Result<Vec<Finding>, Error> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<RowKey> = suspects.iter().map(|one| one.key.clone()).collect();
    let stored = ports.read(&keys, Reading::Row).await?;
    let stored: BTreeMap<&RowKey, &Stored> = stored.iter().map(|row| (&row.key, row)).collect();
    let found: Vec<Finding> = suspects
        .iter()
        .filter_map(|suspect| suspect.finding(stored.get(&suspect.key)?))
        .collect();
    if !found.is_empty() {
        ports.keep_live(&found).await?;
    }
    Ok(found)
}

/// The rows that live handling found out of order and that still are.
pub(super) async fn still_open(ports: &(impl Tables + Reports)) -> Result<Vec<Finding>, Error> {
    let mut open = Vec::new();
    let mut after = 0;
    for _page in 0..PAGES_MAX {
        let page = ports.findings(LIVE_RUN, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = *last;
        let keys: Vec<RowKey> = page.iter().map(|(_, finding)| row_of(finding)).collect();
        let stored = ports.read(&keys, Reading::Row).await?;
        let late = stored.iter().filter(|row| row.trail.out_of_order > 0);
        let late: BTreeSet<&RowKey> = late.map(|row| &row.key).collect();
        let findings = page.into_iter().map(|(_place, finding)| finding);
        open.extend(findings.filter(|finding| late.contains(&row_of(finding))));
        if open.len() >= OPEN_MAX {
            break;
        }
    }
    open.truncate(OPEN_MAX);
    Ok(open)
}

/// Forgets the findings of live handling whose rows are out of order no more.
async fn forget_mended(ports: &(impl Tables + Reports)) -> Result<(), Error> {
    let mut after = 0;
    for _page in 0..PAGES_MAX {
        let page = ports.findings(LIVE_RUN, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = *last;
        let keys: Vec<RowKey> = page.iter().map(|(_, finding)| row_of(finding)).collect();
        let stored = ports.read(&keys, Reading::Row).await?;
        let late = stored.iter().filter(|row| row.trail.out_of_order > 0);
        let late: BTreeSet<&RowKey> = late.map(|row| &row.key).collect();
        let mended = page.into_iter().map(|(_place, finding)| finding);
        let mended: Vec<Finding> = mended
            .filter(|finding| !late.contains(&row_of(finding)))
            .collect();
        ports.forget_live(&mended).await?;
    }
    Ok(())
}

/// Keeps a run of replay with its findings and returns its number. After one that mends, the findings of
/// live handling are forgotten whose rows are in order again.
///
/// # Errors
/// A port failed.
pub async fn keep_run(
    ports: &(impl Tables + Reports),
    run: &ReplayRun,
    findings: &[Finding],
) -> Result<u64, Error> {
    let number = ports.keep_run(run, findings).await?;
    if run.mode == Mode::Update.name() {
        forget_mended(ports).await?;
    }
    Ok(number)
}

fn row_of(finding: &Finding) -> RowKey {
    RowKey {
        group: finding.group.clone(),
        table: finding.table,
        id: finding.id.clone(),
    }
}

impl Suspect {
    fn finding(&self, stored: &Stored) -> Option<Finding> {
        let trail = &stored.trail;
        if trail.out_of_order == 0 {
            return None;
        }
        let mut why = format!(
            "{}: {} applied out of order as of version {}, written at {}",
            Class::Late.explanation(),
            trail.out_of_order,
            trail.version,
            trail.stamps.write_start,
        );
        if let Some((entry, late)) = self.late.iter().max_by_key(|(_, late)| late.ms) {
            let event = &entry.event;
            let at = late.at.map(|at| format!(" of {at}")).unwrap_or_default();
            why.push_str(&format!(
                "; event {} of {} came after {}{at}, {} ms too late",
                event.id, event.time, late.overtaken_by, late.ms
            ));
        }
        if self.written.is_some_and(|written| written < trail.version) {
            why.push_str("; it was written again meanwhile");
        }
        let RowKey { group, table, id } = self.key.clone();
        let events = self.late.iter().take(EVENTS_MAX);
        Some(Finding {
            class: Class::Late,
            table,
            group,
            id,
            changes: Vec::new(),
            events: events
                .map(|(entry, _)| EventRef::from(&entry.event))
                .collect(),
            explanation: why,
        })
    }
}
