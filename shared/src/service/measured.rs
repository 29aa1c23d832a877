//! What services return, as readings of metrics. A host measures with these, so that services need not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;

use crate::metrics::registry as m;
use crate::metrics::{Reading, micros};
use crate::model::{Class, Depth, Entry, Group, Late, ReplayRun, Report, Timestamp};
use crate::ports::{Appended, Error, Receipt, Received};

use super::process::Processed;
use super::settings_cache::Lookups;
use super::webhook::TakenIn;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Of the answer to a webhook's request, whoever gave it.
#[must_use]
pub fn of_answer(status: StatusCode) -> Vec<Reading> {
    vec![m::REQUESTS.is(1, &[status.as_str()])]
}

/// Of a webhook's request that arrived at `begun` and was answered at `ended`.
#[must_use]
pub fn of_request(taken: &TakenIn, begun: Timestamp, ended: Timestamp) -> Vec<Reading> {
    let events = taken.events.iter();
    let mut readings = of_events(events.map(|(entry, became)| (entry, *became)));
    if taken.refused > 0 {
        let tenant = taken.tenant.as_deref().unwrap_or_default();
        readings.push(m::EVENTS_INGESTED.is(taken.refused, &["rejected", tenant]));
    }
    if taken.response.status.is_success() {
        readings.push(m::INGEST_SECONDS.took(begun, ended, &[]));
    }
    readings
}

/// Of events that were journaled, or found there.
pub fn of_events<'e>(events: impl Iterator<Item = (&'e Arc<Entry>, Appended)>) -> Vec<Reading> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (entry, became) in events {
        let result = match became {
            Appended::New => "new",
            Appended::Duplicate => "duplicate",
            Appended::Conflict | Appended::Elsewhere => "conflict",
        };
        let tenant = entry.group.tenant.as_str();
        *counts.entry((result, tenant)).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|((result, tenant), count)| m::EVENTS_INGESTED.is(count, &[result, tenant]))
        .collect()
}

/// Of a batch of messages that was received at `begun` and worked on until `ended`; `failed` of them are
/// left for another try or were parked after their last one.
#[must_use]
pub fn of_batch(
    received: &[Received],
    done: &Processed,
    failed: u64,
    (begun, ended): (Timestamp, Timestamp),
) -> Vec<Reading> {
    let retries = received.iter().filter(|one| one.receives > 1).count() as u64;
    let mut readings = vec![
        m::PROCESS_SECONDS.took(begun, ended, &[]),
        m::MESSAGES_RECEIVED.is(received.len() as u64, &[]),
        m::MESSAGES_FAILED.is(failed, &[]),
        m::RETRIES.is(retries, &[]),
    ];
    let waits = received.iter().map(|one| micros(one.sent, begun));
    readings.extend(often(waits, |us, times| {
        m::QUEUE_WAIT_SECONDS.is_often(us, times, &[])
    }));
    let groups: BTreeSet<_> = done.locked_out.iter().map(|(group, _)| group).collect();
    let locked_out = received.iter();
    let locked_out = locked_out.filter(|one| groups.contains(&one.message.group));
    readings.push(m::LOCKED_OUT.is(locked_out.count() as u64, &[]));
    readings.extend(of_journeys(received, done, ended));
    readings.extend(of_processed(done));
    readings.extend(of_late(&done.late));
    readings
}

/// Of messages parked because their last try failed.
#[must_use]
pub fn of_spent(received: &[Received], failures: &[(Group, Error)], spent: u64) -> Vec<Reading> {
    let mut left = usize::try_from(spent).unwrap_or(usize::MAX);
    let mut readings = Vec::new();
    let failed = |one: &&Received| {
        let mut groups = failures.iter().map(|(group, _)| group);
        groups.any(|group| *group == one.message.group)
    };
    let mut parked: Vec<&Received> = received.iter().filter(failed).collect();
    // Those received most often are those whose tries are spent.
    parked.sort_by_key(|one| std::cmp::Reverse(one.receives));
    for one in parked {
        if left == 0 {
            break;
        }
        left -= 1;
        let events = one.message.entries.len() as u64;
        readings.push(m::EVENTS_PARKED.is(events, &[&one.message.group.tenant]));
    }
    readings
}

/// How long it took the events of a batch to become rows.
fn of_journeys(received: &[Received], done: &Processed, ended: Timestamp) -> Vec<Reading> {
    let failed: BTreeSet<&Receipt> = done.failed.iter().collect();
    let parked: BTreeSet<_> = done.parked.iter().map(|(entry, _)| entry.hash).collect();
    let arrived = received
        .iter()
        .filter(|one| !failed.contains(&one.receipt))
        .flat_map(|one| &one.message.entries)
        .filter(|entry| !entry.event.is_copy() && !parked.contains(&entry.hash));
    let since_arrival = arrived.clone().map(|entry| micros(entry.recorded, ended));
    let since_event = arrived.map(|entry| micros(entry.event.time, ended));
    let mut readings = often(since_arrival, |us, times| {
        m::ARRIVAL_SECONDS.is_often(us, times, &[])
    });
    readings.extend(often(since_event, |us, times| {
        m::END_TO_END_SECONDS.is_often(us, times, &[])
    }));
    readings
}

fn of_processed(done: &Processed) -> Vec<Reading> {
    let in_order = done.rows.saturating_sub(done.refolded);
    let mut readings = vec![
        m::EVENTS_PROCESSED.is(done.events, &["applied"]),
        m::EVENTS_PROCESSED.is(done.held, &["held"]),
        m::EVENTS_PROCESSED.is(done.unmapped, &["unmapped"]),
        m::EVENTS_PROCESSED.is(done.copies, &["copy"]),
        m::ACTIONS.is(done.actions, &[]),
        m::ROWS_WRITTEN.is(in_order, &["in_order"]),
        m::ROWS_WRITTEN.is(done.refolded, &["refolded"]),
        m::EVENTS_FOLDED.is(done.folded, &[]),
        m::WRITE_CONFLICTS.is(done.conflicts, &[]),
        m::ROWS_LATE.is(done.found.len() as u64, &[]),
    ];
    let mut parked: BTreeMap<&str, u64> = BTreeMap::new();
    for (entry, _) in &done.parked {
        *parked.entry(&entry.group.tenant).or_default() += 1;
    }
    let parked = parked.into_iter();
    readings.extend(parked.map(|(tenant, count)| m::EVENTS_PARKED.is(count, &[tenant])));
    readings
}

fn of_late(late: &[(Arc<Entry>, Late)]) -> Vec<Reading> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (entry, late) in late {
        let place = (lateness(late.ms), entry.group.tenant.as_str());
        *counts.entry(place).or_default() += 1;
    }
    let counts = counts.into_iter();
    let mut readings: Vec<Reading> = counts
        .map(|((lateness, tenant), count)| m::EVENTS_LATE.is(count, &[lateness, tenant]))
        .collect();
    let us = late
        .iter()
        .map(|(_, late)| u64::try_from(late.ms).unwrap_or(0) * 1_000);
    readings.extend(often(us, |us, times| {
        m::LATENESS_SECONDS.is_often(us, times, &[])
    }));
    readings
}

/// The name of a stretch of lateness.
fn lateness(ms: i64) -> &'static str {
    match ms {
        ..MINUTE_MS => "under_1m",
        MINUTE_MS..HOUR_MS => "1m_to_1h",
        HOUR_MS..DAY_MS => "1h_to_1d",
        DAY_MS.. => "over_1d",
    }
}

/// Each value once, with how often it is there.
fn often(values: impl Iterator<Item = u64>, reading: impl Fn(u64, u64) -> Reading) -> Vec<Reading> {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for value in values {
        *times.entry(value).or_default() += 1;
    }
    let times = times.into_iter();
    times.map(|(value, times)| reading(value, times)).collect()
}

/// Of the queue.
#[must_use]
pub fn of_queue(depth: &Depth, oldest: Option<Timestamp>, now: Timestamp) -> Vec<Reading> {
    let mut readings = of_depth(depth);
    readings.push(m::QUEUE_OLDEST_SECONDS.took(oldest.unwrap_or(now), now, &[]));
    readings
}

/// Of a report.
#[must_use]
pub fn of_report(report: &Report, index_faults: u64) -> Vec<Reading> {
    let mut readings = vec![
        m::INDEX_FAULTS.is(index_faults, &[]),
        m::ROWS_LATE_OPEN.is(report.late_rows.len() as u64, &[]),
    ];
    readings.extend(of_depth(&report.queue));
    readings
}

fn of_depth(depth: &Depth) -> Vec<Reading> {
    vec![
        m::QUEUE_MESSAGES.is(depth.visible, &["visible"]),
        m::QUEUE_MESSAGES.is(depth.in_flight, &["in_flight"]),
        m::QUEUE_MESSAGES.is(depth.dead, &["dead"]),
    ]
}

/// Of a run of replay. Only one that looked at everything says how many rows differ.
#[must_use]
pub fn of_replay(run: &ReplayRun, whole: bool) -> Vec<Reading> {
    let mut readings = vec![
        m::REPLAYS.is(1, &[]),
        m::REPLAY_ROWS.is(run.rows, &[]),
        m::REPLAY_SECONDS.took(run.started, run.finished, &[]),
        m::FINDINGS_MENDED.is(run.mended, &[]),
    ];
    if whole {
        readings.extend(Class::ALL.iter().map(|class| {
            let by_table = run.by_class.get(class.name());
            let count = by_table.map_or(0, |tables| tables.values().sum());
            m::FINDINGS.is(count, &[class.name()])
        }));
    }
    readings
}

/// Of look-ups of settings since an earlier moment.
#[must_use]
pub fn of_lookups(before: Lookups, now: Lookups) -> Vec<Reading> {
    vec![
        m::SETTINGS_LOOKUPS.is(now.hits.saturating_sub(before.hits), &["hit"]),
        m::SETTINGS_LOOKUPS.is(now.misses.saturating_sub(before.misses), &["miss"]),
    ]
}

#[cfg(test)]
mod tests;
