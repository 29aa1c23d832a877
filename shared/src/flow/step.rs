use std::collections::BTreeSet;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{ActionNode, Amended, Entry, EventHash, Group, GroupKind, Late, Stamps};
use crate::observers;
use crate::settings::{Mapping, Meaning, Policy, Tenant};

use super::correct::find;
use super::image::Gone;
use super::recorder::Recorder;
use super::row::Making;
use super::standing::Standing;
use super::{Fold, HistoryWrite, ImagesWrite, Imaging, Put, RowKey, Stored, Write, taken};

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
    /// Which groups keep images.
    pub imaging: Imaging,
}

impl Batch<'_> {
    /// The rows that its events can touch.
    pub(super) fn reach(&self) -> BTreeSet<(Table, SmolStr)> {
        let mut reached = BTreeSet::new();
        for mapping in self.mappings {
            if let Mapping::Mapped(meaning) = mapping {
                reached.extend(reach(meaning, self.group));
            }
        }
        reached
    }

    /// Whether the group of these rows is long enough to keep images.
    #[must_use]
    pub fn is_long(&self, stored: &[Stored]) -> bool {
        let long = |row: &Stored| row.trail.held.events >= self.imaging.long_from;
        stored.iter().any(long) && self.may_image()
    }

    /// Whether rows that say that nothing in them is out of order are folds of events in order. Those that
    /// observers feed under `detect` need not be, nor are those of an appointment that belongs to a lead.
    pub(super) fn may_image(&self) -> bool {
        let kind = self.group.kind();
        let is_untold = |table: Table| {
            self.tenant.policy(table) == Policy::Detect
                && table.lives_in(kind)
                && observers::feeders(table).next().is_some()
        };
        kind != GroupKind::Appointment && !Table::ALL.into_iter().any(is_untold)
    }

    /// Whether the group's images are to be merged after this batch, which adds so many.
    pub(super) fn thins(&self, images: usize) -> bool {
        let one_of = |hash: EventHash| hash.short() % self.imaging.thin_every.max(1);
        let last = self.entries.last();
        last.is_some_and(|entry| one_of(entry.hash) < images as u64)
    }
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
    /// How many events a refold folded.
    pub folded: usize,
    /// How many images it began with.
    pub images_used: usize,
    /// What becomes of the group's images; `None` where it keeps none.
    pub images: Option<ImagesWrite>,
    /// Whether the group's images are to be merged once this is written.
    pub thins: bool,
    /// The copies by which the batch's events are stated to other groups.
    pub stated: Vec<Entry>,
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
    let place = |a: &Entry, b: &Entry| {
        let revisions = || a.event.revision().cmp(&b.event.revision());
        a.event.cmp_order(&b.event).then_with(revisions)
    };
    entries.sort_by(|a, b| place(a, b));
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
    let written_into = row.trail.is_gone() && !row.is_gone();
    let spares = |amended: &Amended| {
        let mut entries = batch.entries.iter();
        entries.all(|entry| amended.spares(&entry.event))
    };
    let spared = row.trail.amended.as_ref().is_none_or(spares);
    row.readable && row.is_made_under(batch.tenant) && spared && !misleads && !written_into
}

impl Batch<'_> {
    /// Whether it takes back what some event said before.
    pub(super) fn amends(&self) -> bool {
        self.entries.iter().any(|entry| entry.event.is_told_again())
    }
}

/// Handles events that come in order: from the stored rows alone, without the journal.
///
/// `stored` must be all rows in the [`reach`] of the batch's events that exist. Returns `None` where
/// an event does not come after all that its rows hold, where a row cannot be read, or where it was made
/// under other settings, by another handler, or out of order, and where an event of the batch is amended or may
/// be one that was; [`correct`](super::correct()) then decides. So it does for an appointment's own group,
/// of which the rows do not tell whether it belongs to a lead.
#[must_use]
pub fn step(batch: &Batch<'_>, stored: &[Stored]) -> Option<Outcome> {
    if batch.amends()
        || batch.group.kind() == GroupKind::Appointment
        || !stored.iter().all(|row| can_go_on(batch, row))
    {
        return None;
    }
    let mut fold = Fold::from_stored(batch.group, stored);
    let mut events = Vec::with_capacity(batch.entries.len());
    let mapped = |mapping: &&Mapping| matches!(mapping, Mapping::Mapped(_));
    let mut recorder = batch.is_long(stored).then(|| {
        let events = batch.mappings.iter().filter(mapped).count();
        Recorder::new(batch.imaging, events)
    });
    for (entry, mapping) in batch.entries.iter().zip(batch.mappings) {
        let (disposition, nodes) = match mapping {
            Mapping::Mapped(meaning) => {
                if let Some(recorder) = &mut recorder {
                    recorder.next(&mut fold, entry);
                }
                (Disposition::Applied, fold.apply(entry, meaning))
            }
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
    let taken = recorder.map(|recorder| recorder.end(&mut fold));
    let writes = writes_of(batch, fold, stored);
    let images = taken.map(|taken| ImagesWrite {
        group: batch.group.clone(),
        gone: Gone::These(Vec::new()),
        add: Standing::new(batch, stored, &writes).images_on_top(taken),
    });
    Some(Outcome {
        writes,
        events,
        thins: batch.thins(images.as_ref().map_or(0, |images| images.add.len())),
        images,
        stated: batch.stated(),
        ..Outcome::default()
    })
}

/// The writes of the rows that a fold from stored ones touched.
fn writes_of(batch: &Batch<'_>, fold: Fold<'_>, stored: &[Stored]) -> Vec<Write> {
    let mut writes = Vec::new();
    for ((table, id), cell) in fold.into_cells() {
        if !cell.touched {
            continue;
        }
        let before = find(stored, table, &id);
        let expected = before.map(|row| row.trail.version);
        let making = Making {
            settings: batch.tenant.version(),
            out_of_order: before.map_or(0, |row| row.trail.out_of_order),
            stamps: batch.stamps,
            amended: None,
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
    writes
}
