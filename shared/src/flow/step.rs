use std::collections::BTreeSet;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{ActionNode, Entry, Group, Late, Stamps};
use crate::observers;
use crate::settings::{Mapping, Meaning, Policy, Tenant};

use super::row::Making;
use super::{Fold, HistoryWrite, Put, RowKey, Stored, Write, taken};

/// Events of one group that are to be handled together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The tenant's settings.
    pub tenant: &'a Tenant,
    /// The group.
    pub group: &'a Group,
    /// The events in order, each once, as [`sort_events`] leaves them.
    pub entries: &'a [&'a Arc<Entry>],
    /// What each event means, in the same order.
    pub mappings: &'a [Mapping],
    /// The moments to be written on the rows.
    pub stamps: Stamps,
}

impl<'a> Batch<'a> {
    /// The events that have a meaning.
    fn mapped(&self) -> impl Iterator<Item = (&'a Entry, &'a Meaning)> + Clone + use<'a> {
        let events = self.entries.iter().zip(self.mappings);
        events.filter_map(|(entry, mapping)| match mapping {
            Mapping::Mapped(meaning) => Some((entry.as_ref(), meaning)),
            Mapping::Unmapped | Mapping::Fault(_) => None,
        })
    }
}

/// What handling a batch of one group comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The rows to be written.
    pub writes: Vec<Write>,
    /// What became of each event, in the batch's order.
    pub events: Vec<EventOutcome>,
    /// How many of the writes came from a refold.
    pub refolded: usize,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventOutcome {
    /// In a word.
    pub disposition: Disposition,
    /// Its actions.
    pub nodes: Vec<ActionNode>,
    /// Set where the event came after a later-ordered one of its row.
    pub late: Option<Late>,
}

/// What became of one event, in a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Its rows hold it now.
    Applied,
    /// Its rows held it before: a redelivery.
    Held,
    /// No rule of the tenant's settings takes its type.
    Unmapped,
    /// A rule takes it, but a field is missing or wrong: to be parked with this reason.
    Fault(String),
}

/// Puts events in order and leaves each once.
pub fn sort_events(entries: &mut Vec<&Arc<Entry>>) {
    entries.sort_by(|a, b| a.event.cmp_order(&b.event));
    entries.dedup_by(|a, b| a.hash == b.hash);
}

/// The rows that an event can touch, directly or through observers.
#[must_use]
pub fn reach(meaning: &Meaning, group: &Group) -> BTreeSet<(Table, SmolStr)> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<(Table, SmolStr)> = Table::ALL
        .into_iter()
        .filter_map(|table| table.route(meaning, group).map(|id| (table, id)))
        .collect();
    while let Some((table, id)) = open.pop() {
        if reached.insert((table, id)) {
            open.extend(observers::feeds(table, group));
        }
    }
    reached
}

/// Whether events can be added to a row as it stands.
fn can_go_on(batch: &Batch<'_>, row: &Stored) -> bool {
    // What observers see of a row that is out of order misleads the rows that they feed.
    let misleads = row.trail.out_of_order > 0
        && observers::feeds(row.key.table, batch.group)
            .any(|(fed, _)| batch.tenant.policy(fed) != Policy::Detect);
    row.readable && row.is_made_under(batch.tenant) && !misleads
}

/// Handles events that come in order: from the stored rows alone, without the journal.
///
/// `stored` must be all rows in the [`reach`] of the batch's events that exist. Returns `None` where
/// an event does not come after all that its rows hold, where a row cannot be read, or where it was made
/// under other settings, by another handler, or out of order; [`correct`](super::correct()) then decides.
#[must_use]
pub fn step(batch: &Batch<'_>, stored: &[Stored]) -> Option<Outcome> {
    if !stored.iter().all(|row| can_go_on(batch, row)) {
        return None;
    }
    let mut fold = Fold::from_stored(batch.group, stored);
    let mut events = Vec::with_capacity(batch.entries.len());
    for (entry, mapping) in batch.entries.iter().zip(batch.mappings) {
        let (disposition, nodes) = match mapping {
            Mapping::Mapped(meaning) => (Disposition::Applied, fold.apply(entry, meaning)),
            Mapping::Unmapped => (Disposition::Unmapped, Vec::new()),
            Mapping::Fault(why) => (Disposition::Fault(why.clone()), Vec::new()),
        };
        if fold.is_behind() {
            return None;
        }
        events.push(EventOutcome {
            disposition,
            nodes,
            late: None,
        });
    }
    let find = |table: Table, id: &SmolStr| {
        stored
            .iter()
            .find(|row| row.key.table == table && row.key.id == *id)
    };
    let mut writes = Vec::new();
    for ((table, id), cell) in fold.into_cells() {
        if !cell.touched {
            continue;
        }
        let before = find(table, &id);
        let expected = before.map(|row| row.trail.version);
        let making = Making {
            settings: batch.tenant.version(),
            out_of_order: before.map_or(0, |row| row.trail.out_of_order),
            stamps: batch.stamps,
        };
        let history = cell.row.versions().and_then(HistoryWrite::appended);
        let key = RowKey {
            group: batch.group.clone(),
            table,
            id,
        };
        writes.push(Write {
            key,
            expected,
            put: Some(Put::new(cell, before, making, history)),
        });
    }
    taken::note(&mut writes, batch.group, &batch.mapped(), |_, _, _| true);
    Some(Outcome {
        writes,
        events,
        refolded: 0,
    })
}
