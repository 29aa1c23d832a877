use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{
    ActionNode, Amended, Entry, Event, EventHash, Group, GroupKind, Held, Late, Order,
};
use crate::settings::{Mapping, Meaning, Policy, Tenant};

use super::amend::{self, Arrival, Tellings, held_since};
use super::image::{Gone, Imaging};
use super::recorder::{Recorder, Taken};
use super::row::Making;
use super::standing::Standing;
use super::{
    Batch, Cell, Disposition, EventOutcome, Fold, HistoryWrite, ImagesWrite, Outcome, Put, RowKey,
    Stored, Write, linked, statements, taken,
};

/// A group's journal with what each event means, in order, and the fold of it.
pub(super) struct Refold<'j> {
    /// The mapped events that count, in order, each with its place in the order of arrival.
    pub(super) events: Vec<(usize, &'j Entry, Meaning)>,
    /// What was told of the events that were amended.
    pub(super) tellings: Tellings<'j>,
    /// The same in short.
    pub(super) amended: Option<Amended>,
    pub(super) cells: BTreeMap<(Table, SmolStr), Cell>,
    /// The actions of the events that were asked for.
    pub(super) nodes: BTreeMap<EventHash, Vec<ActionNode>>,
    /// Of an appointment's group, the lead whose rows follow from its events instead.
    pub(super) lead: Option<SmolStr>,
    /// How many events a rule takes but cannot read.
    pub(super) faults: u64,
    /// Images of the rows on the way, where they were asked for.
    pub(super) taken: Vec<Taken>,
}

impl Refold<'_> {
    /// Whether an event of the group was amended.
    pub(super) fn is_amended(&self) -> bool {
        !self.tellings.is_empty()
    }
}

/// Folds a group's journal, which comes in the order of arrival. Events that no rule maps, or that
/// a rule cannot read, act on no row, nor do those that an amendment took the place of.
pub(super) fn refold<'j>(
    tenant: &Tenant,
    group: &Group,
    journal: &[&'j Entry],
    traced: &BTreeSet<EventHash>,
) -> Refold<'j> {
    refold_onto(Fold::new(group), tenant, journal, traced, None)
}

/// Folds entries, which come in the order of arrival, onto the rows as they were before them.
pub(super) fn refold_onto<'j>(
    mut fold: Fold<'_>,
    tenant: &Tenant,
    journal: &[&'j Entry],
    traced: &BTreeSet<EventHash>,
    imaging: Option<Imaging>,
) -> Refold<'j> {
    let mut ordered: Vec<(usize, &'j Entry)> = journal.iter().copied().enumerate().collect();
    let tellings = amend::sort_out(tenant, &mut ordered);
    let amended = (!tellings.is_empty()).then(|| amend::known(journal.iter().copied()));
    ordered.sort_by(|(_, a), (_, b)| a.event.cmp_order(&b.event));
    ordered.dedup_by(|(_, a), (_, b)| a.hash == b.hash);
    let lead = match fold.group().kind() {
        GroupKind::Appointment => linked::lead_of(ordered.iter().map(|(_, entry)| *entry)),
        GroupKind::Lead | GroupKind::Day | GroupKind::Event => None,
    };
    let mut faults = 0;
    let mut events = Vec::with_capacity(ordered.len());
    for (arrival, entry) in ordered {
        match tenant.map(&entry.event) {
            Mapping::Mapped(meaning) => events.push((arrival, entry, meaning)),
            Mapping::Unmapped => {}
            Mapping::Fault(_) => faults += 1,
        }
    }
    let mut recorder = imaging.map(|imaging| Recorder::new(imaging, events.len()));
    let mut nodes = BTreeMap::new();
    for (_, entry, meaning) in &events {
        if let Some(recorder) = &mut recorder {
            recorder.next(&mut fold, entry);
        }
        let actions = match &lead {
            Some(_) => Vec::new(),
            None => fold.apply(entry, meaning),
        };
        if traced.contains(&entry.hash) {
            nodes.insert(entry.hash, actions);
        }
    }
    let taken = recorder.map_or_else(Vec::new, |recorder| recorder.end(&mut fold));
    Refold {
        events,
        tellings,
        amended: amended.flatten(),
        cells: fold.into_cells(),
        nodes,
        lead,
        faults,
        taken,
    }
}

/// The rows that some of a group's events fold to, whatever order they are given in: what stands
/// after all of them, or what stood or was believed after a part of them.
#[must_use]
pub fn fold_all(
    tenant: &Tenant,
    group: &Group,
    events: &[&Entry],
) -> BTreeMap<(Table, SmolStr), Cell> {
    refold(tenant, group, events, &BTreeSet::new()).cells
}

/// Handles events of which some come late or again: refolds the rows in their reach from the whole
/// journal and writes the difference. Rows of tables under `detect` take them in on arrival.
///
/// `stored` must be all rows in reach that exist, with their histories, and where the batch amends events
/// those in their [`amended_reach`](super::amended_reach()) too. `journal` must be all entries of the group in
/// the order of arrival.
#[must_use]
pub fn correct(batch: &Batch<'_>, stored: &[Stored], journal: &[Entry]) -> Outcome {
    let (outcome, _) = correct_imaged(batch, stored, journal, None);
    outcome
}

/// Does the same for a long group, and leaves images of its rows behind, so that the next late event costs
/// no more than it is late. `stored` must be all rows of the group.
#[must_use]
pub fn correct_whole(batch: &Batch<'_>, stored: &[Stored], journal: &[Entry]) -> Outcome {
    let imaging = batch.may_image().then_some(batch.imaging);
    let (mut outcome, refolded) = correct_imaged(batch, stored, journal, imaging);
    let standing = Standing::new(batch, stored, &outcome.writes);
    outcome.images = Some(ImagesWrite {
        group: batch.group.clone(),
        gone: Gone::All,
        add: standing.images_of_all(refolded),
    });
    outcome
}

fn correct_imaged<'j>(
    batch: &Batch<'j>,
    stored: &[Stored],
    journal: &'j [Entry],
    imaging: Option<Imaging>,
) -> (Outcome, Refold<'j>) {
    let journal = with_batch(batch, journal);
    let traced: BTreeSet<EventHash> = batch.entries.iter().map(|entry| entry.hash).collect();
    let fold = Fold::new(batch.group);
    let mut refolded = refold_onto(fold, batch.tenant, &journal, &traced, imaging);
    let holders = Holders::new(batch, stored, &refolded, |_, _| Held::default());
    let mut arrived = arrive(batch, stored, &holders);

    let mut outcome = Outcome {
        folded: refolded.events.len(),
        stated: statements::news(batch, &journal, &refolded),
        ..Outcome::default()
    };
    for (table, id) in reached_by(batch, &refolded) {
        let before = find(stored, table, &id);
        let row = (table, id.clone());
        let on_arrival = arrived.take(batch, &row, before, refolded.cells.get(&row));
        // What an amendment takes back, no later event makes good.
        let on_arrival = on_arrival
            .filter(|_| holders.all_known && !refolded.is_amended() && refolded.lead.is_none());
        let key = RowKey {
            group: batch.group.clone(),
            table,
            id,
        };
        if let (Some(arrived), Some(row)) = (on_arrival, before) {
            let making = making(batch, &refolded);
            outcome.writes.extend(taken_in(key, row, arrived, making));
            continue;
        }
        let cell = refolded.cells.remove(&(table, key.id.clone()));
        let write = as_folded(batch, &refolded, key, before, cell);
        outcome.writes.extend(write);
    }
    outcome.refolded = outcome.writes.len();
    let events = refolded.events.iter();
    let events = events.map(|(_, entry, meaning)| (*entry, meaning));
    taken::note(
        &mut outcome.writes,
        batch.group,
        &events,
        |table, id, event| !holders.holds(table, id, event),
    );
    let amending = batch.entries.iter().map(|entry| &entry.event);
    let amending = amending.filter(|event| event.revision() > 0);
    taken::note_first_tellings(&mut outcome.writes, &amending.map(Event::identity));
    outcome.events = batch
        .entries
        .iter()
        .zip(batch.mappings)
        .map(|(entry, mapping)| holders.outcome(entry, mapping, &mut refolded.nodes))
        .collect();
    (outcome, refolded)
}

fn making<'a>(batch: &Batch<'_>, refolded: &'a Refold<'_>) -> Making<'a> {
    Making {
        settings: batch.tenant.version(),
        out_of_order: 0,
        stamps: batch.stamps,
        amended: refolded.amended.as_ref(),
    }
}

/// The write that makes a row what its events fold to.
fn as_folded(
    batch: &Batch<'_>,
    refolded: &Refold<'_>,
    key: RowKey,
    before: Option<&Stored>,
    cell: Option<Cell>,
) -> Option<Write> {
    let making = making(batch, refolded);
    if before.is_none() && cell.is_none() && (batch.amends() || refolded.lead.is_some()) {
        // What is withdrawn may come yet: the trail tells that it must not be taken as it comes. And whoever
        // knows less must not make a row of an appointment that belongs to a lead.
        return Some(gone(key, None, making));
    }
    // A row that stays the same is written all the same if that brings it up to date.
    let current = before.is_none_or(|row| {
        (row.is_gone() || row.is_made_under(batch.tenant))
            && (making.amended.is_none() || row.trail.amended.as_ref() == making.amended)
    });
    // What additions must not take in any more is noted with a write.
    let current = current && !(batch.amends() && key.table.is_commutative());
    difference(key, before, cell, making, current)
}

/// Journaled entries and, last, those of the batch that are not among them.
pub(super) fn with_batch<'j>(batch: &Batch<'j>, journal: &'j [Entry]) -> Vec<&'j Entry> {
    let known: BTreeSet<EventHash> = journal.iter().map(|entry| entry.hash).collect();
    let unjournaled = batch
        .entries
        .iter()
        .map(|entry| entry.as_ref())
        .filter(|entry| !known.contains(&entry.hash));
    journal.iter().chain(unjournaled).collect()
}

/// The rows that a batch can change. An amendment changes those that earlier tellings changed, and those
/// that no event of the group passes by learn of it.
fn reached_by(batch: &Batch<'_>, refolded: &Refold<'_>) -> BTreeSet<(Table, SmolStr)> {
    let mut reached = batch.reach();
    for entry in batch.entries.iter().filter(|one| one.event.revision() > 0) {
        reached.extend(amend::common(batch.group));
        let told = refolded.tellings.get(&entry.event.identity());
        for telling in told.into_iter().flatten() {
            reached.extend(telling.reach(batch.group));
        }
    }
    reached
}

pub(super) fn find<'s>(stored: &'s [Stored], table: Table, id: &SmolStr) -> Option<&'s Stored> {
    stored
        .iter()
        .find(|row| row.key.table == table && row.key.id == *id)
}

/// The write that leads from the stored row to the wanted one; `None` where they are the same, unless
/// the row is not `current` otherwise.
pub(super) fn difference(
    key: RowKey,
    before: Option<&Stored>,
    wanted: Option<Cell>,
    making: Making<'_>,
    current: bool,
) -> Option<Write> {
    let expected = before.map(|row| row.trail.version);
    let Some(cell) = wanted else {
        let there = before.filter(|row| !row.is_gone() || !current);
        return there.map(|row| gone(key, Some(row), making));
    };
    if current && before.is_some_and(|row| cell.equals(row)) {
        return None;
    }
    let history = cell.row.versions().and_then(|wanted| match before {
        Some(row) => HistoryWrite::between(row.history.as_deref().unwrap_or_default(), wanted),
        None => Some(HistoryWrite::anew(wanted)),
    });
    Some(Write {
        key,
        expected,
        put: Some(Put::anew(cell, before, making, history)),
    })
}

/// The write that leaves of a row nothing but its trail.
fn gone(key: RowKey, before: Option<&Stored>, making: Making<'_>) -> Write {
    let put = Put::gone(&key, before, making);
    Write {
        key,
        expected: before.map(|row| row.trail.version),
        put: Some(put),
    }
}

/// The write of a row that took events in as they came; `None` where it took none.
pub(super) fn taken_in(
    key: RowKey,
    before: &Stored,
    (cell, late): (Cell, u32),
    making: Making<'_>,
) -> Option<Write> {
    let making = Making {
        out_of_order: before.trail.out_of_order + late,
        ..making
    };
    if !cell.touched {
        return None;
    }
    let expected = Some(before.trail.version);
    let history = cell.row.versions().and_then(HistoryWrite::appended);
    Some(Write {
        key,
        expected,
        put: Some(Put::new(cell, Some(before), making, history)),
    })
}

/// Which rows hold which of the batch's events already.
pub(super) struct Holders<'a> {
    group: &'a Group,
    stored: &'a [Stored],
    /// By row that events act on directly: what it knows of, `None` where that cannot be told.
    held: BTreeMap<(Table, SmolStr), Option<BTreeSet<EventHash>>>,
    pub(super) all_known: bool,
    /// The tellings of events that were amended.
    told: BTreeMap<EventHash, Told>,
}

/// One of several tellings of an event.
struct Told {
    /// The rows that any of them would act on.
    rows: BTreeSet<(Table, SmolStr)>,
    /// Whether it came before the others.
    first: bool,
    /// Whether it is the one that counts.
    counts: bool,
}

/// The tellings of each event, with what became of them.
fn told(group: &Group, refolded: &Refold<'_>) -> BTreeMap<EventHash, Told> {
    let mut all = BTreeMap::new();
    for tellings in refolded.tellings.values() {
        let rows = tellings.iter().flat_map(|one| one.routes(group)).collect();
        let rows: BTreeSet<(Table, SmolStr)> = rows;
        let first = tellings.iter().map(|one| one.arrival).min();
        let highest = tellings.iter().map(|one| one.entry.event.revision()).max();
        for one in tellings {
            let event = &one.entry.event;
            let told = Told {
                rows: rows.clone(),
                first: Some(one.arrival) == first,
                counts: Some(event.revision()) == highest && event.acts_here(),
            };
            all.insert(one.entry.hash, told);
        }
    }
    all
}

impl<'a> Holders<'a> {
    /// `base` is what a row held before the events that were folded.
    pub(super) fn new(
        batch: &Batch<'a>,
        stored: &'a [Stored],
        refolded: &Refold<'_>,
        base: impl Fn(Table, &SmolStr) -> Held,
    ) -> Self {
        let mut arrivals: BTreeMap<(Table, SmolStr), Vec<Arrival>> = BTreeMap::new();
        for (place, entry, meaning) in &refolded.events {
            let amended = || refolded.tellings.contains_key(&entry.event.identity());
            if refolded.is_amended() && amended() {
                continue;
            }
            for table in Table::ALL {
                if let Some(id) = table.route(meaning, batch.group) {
                    let arrivals = arrivals.entry((table, id)).or_default();
                    arrivals.push(Arrival::plain(*place, entry.hash));
                }
            }
        }
        for (identity, tellings) in &refolded.tellings {
            let routes: Vec<_> = tellings.iter().map(|one| one.routes(batch.group)).collect();
            for row in routes.iter().flatten().collect::<BTreeSet<_>>() {
                let acts = |one: &amend::Telling<'_>| one.routes(batch.group).contains(row);
                let all = Arrival::tellings(*identity, tellings, acts);
                arrivals.entry(row.clone()).or_default().extend(all);
            }
        }
        let held: BTreeMap<_, _> = stored
            .iter()
            .filter_map(|row| {
                let key = (row.key.table, row.key.id.clone());
                let arrivals = arrivals.remove(&key)?;
                let base = base(key.0, &key.1);
                Some((key, held_since(&base, &row.trail.held, arrivals)))
            })
            .collect();
        let all_known = held.values().all(Option::is_some);
        Self {
            group: batch.group,
            stored,
            held,
            all_known,
            told: told(batch.group, refolded),
        }
    }

    /// Whether the row holds the event; where that cannot be told, it counts as new.
    pub(super) fn holds(&self, table: Table, id: &SmolStr, event: EventHash) -> bool {
        let held = self.held.get(&(table, id.clone())).and_then(Option::as_ref);
        held.is_some_and(|events| events.contains(&event))
    }

    pub(super) fn outcome(
        &self,
        entry: &Entry,
        mapping: &Mapping,
        nodes: &mut BTreeMap<EventHash, Vec<ActionNode>>,
    ) -> EventOutcome {
        let told = self.told.get(&entry.hash);
        let routes: BTreeSet<(Table, SmolStr)> = match (mapping, told) {
            // One that another has taken the place of need not be readable.
            (_, Some(told)) if !told.counts => told.rows.clone(),
            (Mapping::Fault(why), _) => {
                return EventOutcome::without(Disposition::Fault(why.clone()));
            }
            (Mapping::Unmapped, None) => return EventOutcome::without(Disposition::Unmapped),
            (Mapping::Unmapped, Some(told)) if told.rows.is_empty() => {
                return EventOutcome::without(Disposition::Unmapped);
            }
            (Mapping::Mapped(_) | Mapping::Unmapped, Some(told)) => told.rows.clone(),
            (Mapping::Mapped(meaning), None) => {
                let route = |table: Table| Some((table, table.route(meaning, self.group)?));
                Table::ALL.into_iter().filter_map(route).collect()
            }
        };
        // What takes the place of another telling, or leaves it to one, is no late event.
        let in_its_time = told.is_some_and(|told| !told.first || !told.counts);
        let new = |(table, id): &&(Table, SmolStr)| !self.holds(*table, id, entry.hash);
        let held_by_all = routes.iter().filter(new).count() == 0;
        let actions = nodes.remove(&entry.hash).unwrap_or_default();
        let late = if in_its_time {
            None
        } else {
            self.lateness(entry, &routes, &actions)
        };
        let disposition = if held_by_all {
            Disposition::Held
        } else {
            Disposition::Applied
        };
        EventOutcome {
            disposition,
            nodes: actions,
            late,
        }
    }

    /// How late an event is for the rows that it acts on and for those that observers feed because of it.
    fn lateness(
        &self,
        entry: &Entry,
        routes: &BTreeSet<(Table, SmolStr)>,
        actions: &[ActionNode],
    ) -> Option<Late> {
        let mut late: Option<Late> = None;
        for (table, id) in routes {
            if !self.holds(*table, id, entry.hash)
                && let Some(last) = self.behind(*table, id, entry)
            {
                let known = late.get_or_insert_with(|| Late::behind(&entry.event, last));
                known.also(&entry.event, last);
                known.rows.push((*table, id.clone()));
            }
        }
        if let Some(late) = &mut late {
            let mut fed = BTreeSet::new();
            acted_on(actions, &mut fed);
            fed.retain(|(table, id)| {
                let direct = routes.iter().any(|(routed, _)| routed == table);
                !direct && self.behind(*table, id, entry).is_some()
            });
            late.rows.extend(fed);
        }
        late
    }

    /// The last event of a row that held a later one already.
    fn behind(&self, table: Table, id: &SmolStr, entry: &Entry) -> Option<&Order> {
        let last = find(self.stored, table, id)?.trail.held.last.as_ref();
        last.filter(|last| **last > entry.event.order())
    }
}

impl EventOutcome {
    fn without(disposition: Disposition) -> Self {
        Self {
            disposition,
            nodes: Vec::new(),
            late: None,
        }
    }
}

/// Rows as they are when the batch's new events are applied to them as they came.
pub(super) struct Arrived {
    cells: BTreeMap<(Table, SmolStr), Cell>,
    late: BTreeMap<(Table, SmolStr), u32>,
}

impl Arrived {
    /// The row as it is then, and how many events it took in late; `None` where the table is not under
    /// `detect`, or where the journal knows better: `whole` is what that says.
    pub(super) fn take(
        &mut self,
        batch: &Batch<'_>,
        row: &(Table, SmolStr),
        before: Option<&Stored>,
        whole: Option<&Cell>,
    ) -> Option<(Cell, u32)> {
        let cell = self.cells.remove(row)?;
        // A derived row is fed by others only: where those held the event before and it does not, the
        // journal knows what it lacks.
        let complete =
            cell.touched || whole.is_some_and(|whole| whole.held.same_events(&cell.held));
        let as_it_came = complete
            && batch.tenant.policy(row.0) == Policy::Detect
            && before.is_some_and(|row| row.is_made_under(batch.tenant));
        as_it_came.then(|| (cell, self.late.get(row).copied().unwrap_or(0)))
    }
}

pub(super) fn arrive(batch: &Batch<'_>, stored: &[Stored], holders: &Holders<'_>) -> Arrived {
    let mut late = BTreeMap::new();
    let detects = |table: &Table| batch.tenant.policy(*table) == Policy::Detect;
    if !Table::ALL.iter().any(detects) {
        return Arrived {
            cells: BTreeMap::new(),
            late,
        };
    }
    let mut fold = Fold::from_stored(batch.group, stored);
    for (entry, mapping) in batch.entries.iter().zip(batch.mappings) {
        let Mapping::Mapped(meaning) = mapping else {
            continue;
        };
        let order = entry.event.order();
        let new = |table: Table, id: &SmolStr| !holders.holds(table, id, entry.hash);
        let nodes = fold.apply_where(entry, meaning, new);
        let mut acted = BTreeSet::new();
        acted_on(&nodes, &mut acted);
        for key in acted {
            let last = find(stored, key.0, &key.1).and_then(|row| row.trail.held.last.as_ref());
            if last.is_some_and(|last| *last > order) {
                *late.entry(key).or_insert(0) += 1;
            }
        }
    }
    Arrived {
        cells: fold.into_cells(),
        late,
    }
}

/// The rows that actions and those below them acted on.
pub(super) fn acted_on(nodes: &[ActionNode], rows: &mut BTreeSet<(Table, SmolStr)>) {
    for node in nodes {
        rows.insert((node.table, node.id.clone()));
        acted_on(&node.children, rows);
    }
}
