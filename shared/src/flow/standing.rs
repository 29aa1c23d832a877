use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Entry, EventHash, Held, Order};

use super::amend::{Arrival, held_since};
use super::correct::Refold;
use super::image::ROWS_MAX;
use super::recorder::{Taken, Versions, images};
use super::{Batch, Image, Stored, Write};

/// The most rows of an image that is merged whatever they are.
const ROWS_MOST: usize = 8 * ROWS_MAX;

/// A group's rows as they will stand once a batch's writes are made.
pub(super) struct Standing<'a> {
    batch: &'a Batch<'a>,
    stored: BTreeMap<(Table, &'a SmolStr), &'a Stored>,
    writes: &'a [Write],
}

impl<'a> Standing<'a> {
    pub(super) fn new(batch: &'a Batch<'a>, stored: &'a [Stored], writes: &'a [Write]) -> Self {
        let by_row = |row: &'a Stored| ((row.key.table, &row.key.id), row);
        Self {
            batch,
            stored: stored.iter().map(by_row).collect(),
            writes,
        }
    }

    fn find(&self, table: Table, id: &SmolStr) -> Option<&'a Stored> {
        self.stored.get(&(table, id)).copied()
    }

    /// The version that a row has, 0 where there is none.
    pub(super) fn before(&self, table: Table, id: &SmolStr) -> u64 {
        self.find(table, id).map_or(0, |row| row.trail.version)
    }

    /// The version that a row will have, 0 where there will be none.
    pub(super) fn after(&self, table: Table, id: &SmolStr) -> u64 {
        let of_row = |write: &&Write| write.key.table == table && write.key.id == *id;
        match self.writes.iter().find(of_row) {
            Some(write) => write.put.as_ref().map_or(0, |put| put.trail.version),
            None => self.before(table, id),
        }
    }

    /// Images of events that came on top of all that the rows held.
    pub(super) fn images_on_top(&self, taken: Vec<Taken>) -> Vec<Image> {
        images(taken, self.batch.tenant.version(), |table, id| Versions {
            replaced: self.before(table, id),
            version: self.after(table, id),
        })
    }

    /// Images of a fold of the whole journal.
    pub(super) fn images_of_all(&self, refolded: Refold<'_>) -> Vec<Image> {
        if refolded.taken.is_empty() {
            return Vec::new();
        }
        let unsure = self.unsure_from(&refolded, |_, _| Held::default());
        let images = images(refolded.taken, self.batch.tenant.version(), |table, id| {
            Versions {
                replaced: self.after(table, id),
                version: self.after(table, id),
            }
        });
        until(images, unsure)
    }

    /// The first event that some row lacks that is not written now, because the event is still on its way;
    /// from there on the rows do not stand as the fold says, and nothing can begin there.
    ///
    /// `refolded` holds the rows that are not in the batch's reach, `base` says what they held before the
    /// events that were folded.
    pub(super) fn unsure_from(
        &self,
        refolded: &Refold<'_>,
        base: impl Fn(Table, &SmolStr) -> Held,
    ) -> Option<Order> {
        let differs = |(table, id): (Table, &SmolStr), held: &Held| {
            self.find(table, id).is_none_or(|row| {
                !row.is_made_under(self.batch.tenant) || !row.trail.held.same_events(held)
            })
        };
        let first = refolded.events.first()?;
        let mut lacking: BTreeMap<(Table, SmolStr), Vec<(usize, &Entry)>> = refolded
            .cells
            .iter()
            .filter(|((table, id), cell)| differs((*table, id), &cell.held))
            .map(|(row, _)| (row.clone(), Vec::new()))
            .collect();
        if lacking.is_empty() {
            return None;
        }
        for (arrival, entry, meaning) in &refolded.events {
            for table in Table::ALL {
                if let Some(id) = table.route(meaning, self.batch.group)
                    && let Some(acting) = lacking.get_mut(&(table, id))
                {
                    acting.push((*arrival, entry));
                }
            }
        }
        let from = lacking.into_iter().map(|((table, id), acting)| {
            let nothing = Held::default();
            let row = self.find(table, &id);
            let held = row.map_or(&nothing, |row| &row.trail.held);
            let arrivals = acting.iter();
            let arrivals = arrivals.map(|(place, entry)| Arrival::plain(*place, entry.hash));
            let held = held_since(&base(table, &id), held, arrivals.collect());
            let lacks = |held: &BTreeSet<EventHash>, entry: &Entry| !held.contains(&entry.hash);
            let first_lacking = held.and_then(|held| {
                let mut acting = acting.iter().map(|(_, entry)| *entry);
                acting.find(|entry| lacks(&held, entry))
            });
            first_lacking.unwrap_or(first.1).event.order()
        });
        from.min()
    }
}

/// Images up to a place, the last of them of all that follows.
pub(super) fn until(images: Vec<Image>, unsure: Option<Order>) -> Vec<Image> {
    let Some(unsure) = unsure else {
        return images;
    };
    let mut sure: Vec<Image> = Vec::with_capacity(images.len());
    for image in images {
        match sure.pop() {
            Some(last) if image.from > unsure => sure.push(last.merge(image)),
            last => {
                sure.extend(last);
                sure.push(image);
            }
        }
    }
    // Too much for one record: to keep none is as right.
    if sure.iter().any(|image| image.rows.len() > ROWS_MOST) {
        return Vec::new();
    }
    sure
}
