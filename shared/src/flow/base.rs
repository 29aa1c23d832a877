use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Entry, EventHash, GroupKind, Held, Order, Timestamp};
use crate::settings::{Mapping, Policy};

use super::correct::{
    Arrived, Holders, Refold, arrive, difference, find, refold_onto, taken_in, with_batch,
};
use super::image::Gone;
use super::recorder::{Versions, images};
use super::row::Making;
use super::standing::{Standing, until};
use super::{
    Batch, Cell, Fold, Image, ImagesWrite, KeptImage, Outcome, RowImage, RowKey, Stored, Write,
    reach, taken,
};

/// Where the correction of a long group begins: its rows as they were before a batch's first event.
#[derive(Debug, Clone)]
pub struct Base<'a> {
    batch: &'a Batch<'a>,
    /// All events from here on are folded.
    from: Order,
    recorded: Timestamp,
    /// The rows that events from there on touched.
    rows: BTreeMap<(Table, SmolStr), RowImage>,
    /// The images that these are from.
    images: Vec<SmolStr>,
}

/// A row of which nobody can tell what it was.
#[derive(Debug)]
struct Untold;

impl<'a> Base<'a> {
    /// The moment from which on a batch needs images: the time of the first event that acts on rows.
    #[must_use]
    pub fn since(batch: &Batch<'_>) -> Option<Timestamp> {
        first(batch).map(|entry| entry.event.time)
    }

    /// The base that a group's images give, of which those that end after [`Base::since`] are needed; `None`
    /// where one of them cannot be used.
    #[must_use]
    pub fn new(batch: &'a Batch<'a>, kept: &[KeptImage]) -> Option<Self> {
        let first = first(batch)?.event.order();
        if batch.group.kind() == GroupKind::Appointment
            || batch.entries.iter().any(|entry| amends(entry))
        {
            return None;
        }
        let mut images = Vec::with_capacity(kept.len());
        let mut used: Vec<&Image> = Vec::with_capacity(kept.len());
        for one in kept {
            let image = one.image.as_ref()?;
            if image.until >= first {
                images.push(one.handle.clone());
                used.push(image);
            }
        }
        used.sort_by(|a, b| a.from.cmp(&b.from));
        let of_settings = |image: &&Image| image.settings == batch.tenant.version();
        if !used.iter().all(of_settings) {
            return None;
        }
        let recorded = batch.entries.iter().map(|entry| entry.recorded).min()?;
        let all = used.into_iter().cloned().reduce(Image::merge);
        let base = Self {
            batch,
            from: first,
            recorded,
            rows: BTreeMap::new(),
            images,
        };
        Some(match all {
            None => base,
            Some(all) => Self {
                from: all.from.min(base.from),
                recorded: all.recorded.min(base.recorded),
                rows: all.rows,
                ..base
            },
        })
    }

    /// All events of this time and later ones are needed.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.from.time
    }

    /// Events that were recorded earlier are none of those.
    #[must_use]
    pub fn recorded(&self) -> Timestamp {
        self.recorded
    }

    /// Whether it holds for all of these rows.
    #[must_use]
    pub fn holds_for(&self, stored: &[Stored]) -> bool {
        let holds = |row: &Stored| self.cell(row.key.table, &row.key.id, Some(row)).is_ok();
        stored.iter().all(holds)
    }

    /// The rows that [`Base::correct`] needs: those that the batch and later entries can touch.
    #[must_use]
    pub fn needs(&self, journal: &[Entry]) -> Vec<RowKey> {
        let mut reached = self.batch.reach();
        reached.extend(self.rows.keys().cloned());
        for entry in journal.iter().filter(|entry| self.is_later(entry)) {
            if let Mapping::Mapped(meaning) = self.batch.tenant.map(&entry.event) {
                reached.extend(reach(&meaning, self.batch.group));
            }
        }
        let key = |(table, id)| RowKey {
            group: self.batch.group.clone(),
            table,
            id,
        };
        reached.into_iter().map(key).collect()
    }

    /// The histories that it needs too: rows in the batch's reach, each with the number after which its
    /// versions are needed.
    #[must_use]
    pub fn histories(&self, stored: &[Stored]) -> Vec<(RowKey, u32)> {
        let reached = self.batch.reach();
        let temporal = stored.iter().filter(|row| {
            let key = (row.key.table, row.key.id.clone());
            row.key.table.is_temporal() && reached.contains(&key)
        });
        let after = |row: &Stored| {
            let cell = self.cell(row.key.table, &row.key.id, Some(row));
            let cell = cell.ok().flatten();
            let n = cell.map_or(0, |cell| cell.row.last_version());
            (row.key.clone(), n)
        };
        temporal.map(after).collect()
    }

    fn writes(
        &self,
        reached: &BTreeSet<(Table, SmolStr)>,
        stored: &[Stored],
        cells: &mut BTreeMap<(Table, SmolStr), Cell>,
        mut arrived: Arrived,
    ) -> Vec<Write> {
        let write = |row: &(Table, SmolStr)| {
            let (table, id) = row;
            let cell = cells.remove(row);
            let before = find(stored, *table, id);
            let making = Making {
                settings: self.batch.tenant.version(),
                out_of_order: 0,
                stamps: self.batch.stamps,
                amended: None,
            };
            let key = RowKey {
                group: self.batch.group.clone(),
                table: *table,
                id: id.clone(),
            };
            let on_arrival = arrived.take(self.batch, row, before, cell.as_ref());
            match (on_arrival, before) {
                (Some(arrived), Some(row)) => taken_in(key, row, arrived, making),
                (Some(_), None) | (None, _) => difference(key, before, cell, making, true),
            }
        };
        reached.iter().filter_map(write).collect()
    }

    /// Does what [`correct`](super::correct()) does, from here on; `None` where the images do not fit the
    /// rows, and the whole journal has to be folded.
    ///
    /// `stored` must be all rows that it [needs](Base::needs) and that exist, with the histories that it
    /// asks for; `journal` all entries of the group from [`Base::time`] on, in the order of arrival.
    #[must_use]
    pub fn correct(&self, stored: &[Stored], journal: &[Entry]) -> Option<Outcome> {
        let batch = self.batch;
        let mut later = with_batch(batch, journal);
        later.retain(|entry| self.is_later(entry));
        if later.iter().any(|entry| amends(entry)) || !self.is_spared(stored, &later) {
            return None;
        }
        let cells = self.cells(&later, stored).ok()?;
        let base: BTreeMap<_, Held> = cells
            .iter()
            .map(|(row, cell)| (row.clone(), cell.held.clone()))
            .collect();
        let held = |table: Table, id: &SmolStr| {
            let held = base.get(&(table, id.clone()));
            held.cloned().unwrap_or_default()
        };
        let traced: BTreeSet<EventHash> = batch.entries.iter().map(|entry| entry.hash).collect();
        let fold = Fold::from_cells(batch.group, cells);
        let imaging = Some(batch.imaging);
        let mut refolded = refold_onto(fold, batch.tenant, &later, &traced, imaging);
        let reached = batch.reach();
        let in_reach = |row: &&Stored| {
            let key = (row.key.table, row.key.id.clone());
            reached.contains(&key)
        };
        let own: Vec<Stored> = stored.iter().filter(in_reach).cloned().collect();
        let holders = Holders::new(batch, &own, &refolded, held);
        if !holders.all_known {
            return None;
        }
        let arrived = arrive(batch, &own, &holders);
        let mut outcome = Outcome {
            writes: self.writes(&reached, &own, &mut refolded.cells, arrived),
            folded: refolded.events.len(),
            images_used: self.images.len(),
            stated: batch.stated(),
            ..Outcome::default()
        };
        outcome.refolded = outcome.writes.len();
        let events = refolded.events.iter();
        let events = events.map(|(_, entry, meaning)| (*entry, meaning));
        taken::note(
            &mut outcome.writes,
            batch.group,
            &events,
            |table, id, event| !holders.holds(table, id, event),
        );
        let events = batch.entries.iter().zip(batch.mappings);
        outcome.events = events
            .map(|(entry, mapping)| holders.outcome(entry, mapping, &mut refolded.nodes))
            .collect();
        let standing = Standing::new(batch, stored, &outcome.writes);
        let add = self.images_anew(&standing, refolded, held);
        outcome.thins = batch.thins(add.len());
        outcome.images = Some(ImagesWrite {
            group: batch.group.clone(),
            gone: Gone::These(self.images.clone()),
            add,
        });
        Some(outcome)
    }

    /// The images of the events from here on, as they are now.
    fn images_anew(
        &self,
        standing: &Standing<'_>,
        mut refolded: Refold<'_>,
        held: impl Fn(Table, &SmolStr) -> Held,
    ) -> Vec<Image> {
        let unsure = standing.unsure_from(&refolded, held);
        let Some(first) = refolded.taken.first_mut() else {
            return Vec::new();
        };
        // Rows that were touched before and are not any more: their chains must go on.
        for ((table, id), row) in &self.rows {
            let known = first.before.contains_key(&(*table, id.clone()));
            if !known {
                first.before.insert((*table, id.clone()), row.was.clone());
            }
        }
        let settings = self.batch.tenant.version();
        let taken = std::mem::take(&mut refolded.taken);
        let images = images(taken, settings, |table, id| {
            let row = self.rows.get(&(table, id.clone()));
            Versions {
                replaced: row.map_or_else(|| standing.before(table, id), |row| row.replaced),
                version: standing.after(table, id),
            }
        });
        until(images, unsure)
    }

    /// The rows that entries from here on can touch, as they were.
    fn cells(
        &self,
        later: &[&Entry],
        stored: &[Stored],
    ) -> Result<BTreeMap<(Table, SmolStr), Cell>, Untold> {
        let by_row: BTreeMap<(Table, &SmolStr), &Stored> = stored
            .iter()
            .map(|row| ((row.key.table, &row.key.id), row))
            .collect();
        let mut rows: BTreeSet<(Table, SmolStr)> = self.rows.keys().cloned().collect();
        for entry in later {
            if let Mapping::Mapped(meaning) = self.batch.tenant.map(&entry.event) {
                rows.extend(reach(&meaning, self.batch.group));
            }
        }
        let mut cells = BTreeMap::new();
        for (table, id) in rows {
            let row = by_row.get(&(table, &id)).copied();
            if let Some(cell) = self.cell(table, &id, row)? {
                cells.insert((table, id), cell);
            }
        }
        Ok(cells)
    }

    /// A row as it was; `None` where there was none.
    ///
    /// It is told only if no write since then left no image, and if it held no event from here on.
    fn cell(
        &self,
        table: Table,
        id: &SmolStr,
        stored: Option<&Stored>,
    ) -> Result<Option<Cell>, Untold> {
        let is_before = |row: &Stored| {
            let amended = row.trail.amended.as_ref();
            amended.is_none_or(|amended| amended.is_before(self.from.time))
        };
        let as_folded = |row: &Stored| {
            row.readable
                && row.is_made_under(self.batch.tenant)
                && row.trail.out_of_order == 0
                && is_before(row)
        };
        if !stored.is_none_or(as_folded) {
            return Err(Untold);
        }
        let cell = match (self.rows.get(&(table, id.clone())), stored) {
            (None, None) => None,
            (None, Some(row)) if row.is_gone() => None,
            (None, Some(row)) => Some(Cell {
                row: row.row.clone(),
                held: row.trail.held.clone(),
                touched: false,
            }),
            (Some(image), stored) => {
                let version = stored.map_or(0, |row| row.trail.version);
                if image.version != version || image.handler != table.handler_version() {
                    return Err(Untold);
                }
                match (&image.was, stored) {
                    (None, _) => None,
                    (Some(was), Some(_)) => Some(was.cell(table).ok_or(Untold)?),
                    // Its history would have to be told from the beginning.
                    (Some(_), None) => return Err(Untold),
                }
            }
        };
        let last = cell.as_ref().and_then(|cell| cell.held.last.as_ref());
        if last.is_some_and(|last| *last >= self.from) {
            return Err(Untold);
        }
        Ok(cell)
    }

    /// Whether no event from here on can be one that was amended before, for all that the rows know.
    ///
    /// Then the later events are folded as they stand. What is applied as it comes, though, an amendment never
    /// left in force: the whole journal decides on that.
    fn is_spared(&self, stored: &[Stored], later: &[&Entry]) -> bool {
        let tenant = self.batch.tenant;
        let detects = |(table, _): &(Table, SmolStr)| tenant.policy(*table) == Policy::Detect;
        let mut amended = stored.iter().filter_map(|row| row.trail.amended.as_ref());
        amended.all(|amended| later.iter().all(|entry| amended.spares(&entry.event)))
            && (!self.batch.reach().iter().any(detects)
                || stored.iter().all(|row| row.trail.amended.is_none()))
    }

    fn is_later(&self, entry: &Entry) -> bool {
        entry.event.order() >= self.from
    }
}

/// Whether an entry may change what came before the base.
pub(super) fn amends(entry: &Entry) -> bool {
    entry.event.is_told_again()
}

/// The first event that acts on rows.
fn first<'a>(batch: &Batch<'a>) -> Option<&'a Entry> {
    let mut events = batch.entries.iter().zip(batch.mappings);
    let mapped = events.find(|(_, mapping)| matches!(mapping, Mapping::Mapped(_)));
    mapped.map(|(entry, _)| entry.as_ref())
}
