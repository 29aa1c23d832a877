use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::handlers::{Table, Version};
use crate::model::{Class, Entry, EventHash, FieldChange, Finding, Group, Stamps};
use crate::settings::Tenant;

use super::correct::{Refold, difference, find, held_events, refold};
use super::row::Making;
use super::{Cell, RowKey, Stored, Write, diff};

/// The most events that one finding names.
const EVENTS_MAX: usize = 16;

/// What a comparison of one group goes by.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The tenant's settings.
    pub tenant: &'a Tenant,
    /// The group.
    pub group: &'a Group,
    /// All its rows with their histories.
    pub stored: &'a [Stored],
    /// All its entries in the order of arrival.
    pub journal: &'a [Entry],
    /// The group's events that sit in the dead-letter queue.
    pub parked: &'a BTreeSet<EventHash>,
    /// The group's events that are on their way: younger than the grace period or still queued.
    pub in_flight: &'a BTreeSet<EventHash>,
}

/// What comparing one group's rows with their refold comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// The differences, by table and id.
    pub findings: Vec<Finding>,
    /// The writes that would mend them, in the same order.
    pub writes: Vec<Write>,
    /// How many rows were compared.
    pub rows: u64,
    /// How many events were folded.
    pub events: u64,
    /// How many events no row can take in: their fields are wrong under the present settings.
    pub faults: u64,
}

/// Compares a group's stored rows with the fold of its journal.
#[must_use]
pub fn compare(evidence: &Evidence<'_>, stamps: Stamps) -> Comparison {
    let Evidence {
        tenant,
        group,
        stored,
        journal,
        ..
    } = *evidence;
    let journal: Vec<&Entry> = journal.iter().collect();
    let mut refolded = refold(tenant, group, &journal, &BTreeSet::new());
    let mut comparison = Comparison {
        events: refolded.events.len() as u64,
        faults: refolded.faults,
        ..Comparison::default()
    };
    let mut keys: Vec<(Table, SmolStr)> = refolded.cells.keys().cloned().collect();
    for row in stored {
        let key = (row.key.table, row.key.id.clone());
        if !refolded.cells.contains_key(&key) {
            keys.push(key);
        }
    }
    comparison.rows = keys.len() as u64;
    let making = Making {
        settings: tenant.version(),
        out_of_order: 0,
        stamps,
    };
    for (table, id) in keys {
        let before = find(stored, table, &id);
        let cell = refolded.cells.remove(&(table, id.clone()));
        if let (Some(row), Some(cell)) = (before, &cell)
            && cell.equals(row)
        {
            continue;
        }
        let key = RowKey {
            group: group.clone(),
            table,
            id,
        };
        let suspect = Suspect {
            evidence,
            refolded: &refolded,
            key: &key,
            before,
        };
        let Some(finding) = suspect.finding(cell.as_ref()) else {
            continue;
        };
        comparison.findings.push(finding);
        comparison
            .writes
            .extend(difference(key, before, cell, making, true));
    }
    comparison
}

/// One row that differs from its refold.
struct Suspect<'a> {
    evidence: &'a Evidence<'a>,
    refolded: &'a Refold<'a>,
    key: &'a RowKey,
    before: Option<&'a Stored>,
}

impl Suspect<'_> {
    /// The finding, or `None` where what the row lacks is only on its way.
    fn finding(&self, wanted: Option<&Cell>) -> Option<Finding> {
        let (class, events, why) = match (self.before, wanted) {
            (None, None) => return None,
            (Some(_), None) => (Class::Orphan, Vec::new(), String::new()),
            (None, Some(cell)) => {
                let lacking = self.acting();
                let all = |set: &BTreeSet<EventHash>| {
                    !lacking.is_empty() && lacking.iter().all(|event| set.contains(&event.hash))
                };
                if all(self.evidence.in_flight) {
                    return None;
                }
                let class = if all(self.evidence.parked) {
                    Class::Parked
                } else {
                    Class::Missing
                };
                (
                    class,
                    ids(&lacking),
                    format!("{} events lead to it", cell.held.events),
                )
            }
            (Some(row), Some(cell)) if !cell.held.same_events(&row.trail.held) => {
                self.other_events(row, cell)?
            }
            (Some(row), Some(cell)) => self.other_content(row, cell),
        };
        let mut explanation = class.explanation().to_owned();
        if !why.is_empty() {
            explanation = format!("{explanation}: {why}");
        }
        Some(Finding {
            class,
            table: self.key.table,
            group: self.key.group.clone(),
            id: self.key.id.clone(),
            changes: self.changes(wanted),
            events,
            explanation,
        })
    }

    fn changes(&self, wanted: Option<&Cell>) -> Vec<FieldChange> {
        let mut changes = diff::rows(
            self.before.map(|row| &row.row),
            wanted.map(|cell| &cell.row),
        );
        let stored = self
            .before
            .and_then(|row| row.history.as_deref())
            .unwrap_or_default();
        let versions = wanted
            .and_then(|cell| cell.row.versions())
            .unwrap_or_default();
        changes.extend(diff::histories(stored, versions));
        changes
    }

    /// The journal's events that act on this row directly, by arrival; all of the group's where the
    /// table is fed by observers alone.
    fn acting(&self) -> Vec<&Entry> {
        let RowKey { group, table, id } = self.key;
        let events = &self.refolded.events;
        let derived = events
            .iter()
            .all(|(_, _, mapped)| table.route(mapped, group).is_none());
        let mut acting: Vec<(usize, &Entry)> = events
            .iter()
            .filter(|(_, _, mapped)| derived || table.route(mapped, group).as_ref() == Some(id))
            .map(|(arrival, entry, _)| (*arrival, *entry))
            .collect();
        acting.sort_by_key(|(arrival, _)| *arrival);
        acting.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The row holds another set of events.
    fn other_events(&self, row: &Stored, cell: &Cell) -> Option<(Class, Vec<SmolStr>, String)> {
        let (held, wanted) = (&row.trail.held, &cell.held);
        let lacking = self.lacking(row, cell);
        let all = |set: &BTreeSet<EventHash>| {
            !lacking.is_empty() && lacking.iter().all(|event| set.contains(&event.hash))
        };
        if all(self.evidence.in_flight) {
            return None;
        }
        let class = if all(self.evidence.parked) {
            Class::Parked
        } else if held.events < wanted.events {
            Class::Lost
        } else {
            Class::Extra
        };
        let why = format!("it holds {} of {} events", held.events, wanted.events);
        Some((class, ids(&lacking), why))
    }

    /// The events that the stored row lacks, where the fingerprints can tell: one event, or all
    /// that arrived after a point.
    fn lacking(&self, row: &Stored, cell: &Cell) -> Vec<&Entry> {
        let acting = self.acting();
        let lacks = cell.held.fingerprint.minus(row.trail.held.fingerprint);
        if let Some(one) = acting.iter().find(|event| event.hash.0 == lacks.0) {
            return vec![one];
        }
        let arrivals = acting
            .iter()
            .enumerate()
            .map(|(place, event)| (place, event.hash));
        match held_events(&row.trail.held, arrivals.collect()) {
            Some(held) => acting
                .into_iter()
                .filter(|event| !held.contains(&event.hash))
                .collect(),
            None => Vec::new(),
        }
    }

    /// The row holds the right events, but is not what they fold to.
    fn other_content(&self, row: &Stored, cell: &Cell) -> (Class, Vec<SmolStr>, String) {
        let trail = &row.trail;
        let ours = crc32fast::hash(row.row.body().as_bytes()) == trail.checksum;
        if !row.readable || !ours {
            let why = "its content is not what its last write left".to_owned();
            return (Class::Foreign, Vec::new(), why);
        }
        if trail.settings < self.evidence.tenant.version()
            || trail.handler < self.key.table.handler_version()
        {
            let why = format!(
                "settings {} and handler {}; now settings {} and handler {}",
                trail.settings,
                trail.handler,
                self.evidence.tenant.version(),
                self.key.table.handler_version()
            );
            return (Class::Stale, Vec::new(), why);
        }
        if trail.out_of_order > 0 {
            let why = format!("{} applied out of order", trail.out_of_order);
            return (Class::Late, Vec::new(), why);
        }
        self.other_history(row, cell.row.versions().unwrap_or_default())
    }

    /// The row itself is right; its history is not.
    fn other_history(&self, row: &Stored, wanted: &[Version]) -> (Class, Vec<SmolStr>, String) {
        let stored = row.history.as_deref().unwrap_or_default();
        let numbers = |versions: &[Version]| versions.iter().map(|v| v.n).collect::<BTreeSet<_>>();
        let (have, want) = (numbers(stored), numbers(wanted));
        if let Some(n) = want.difference(&have).next() {
            return (
                Class::Missing,
                Vec::new(),
                format!("version {n} of its history"),
            );
        }
        if let Some(n) = have.difference(&want).next() {
            return (
                Class::Orphan,
                Vec::new(),
                format!("version {n} of its history"),
            );
        }
        (
            Class::Foreign,
            Vec::new(),
            "its content is not what its last write left".to_owned(),
        )
    }
}

fn ids(events: &[&Entry]) -> Vec<SmolStr> {
    events
        .iter()
        .take(EVENTS_MAX)
        .map(|entry| entry.event.id.clone())
        .collect()
}
