use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Entry, EventHash, Fingerprint, Held};

use super::amend::{Arrival, held_events};
use super::correct::{Refold, acted_on, refold};
use super::{Evidence, RowKey, Stored};

/// How many amendments are tried as the one that is lacking, the newest first.
const AMENDMENTS_TRIED_MAX: usize = 16;

/// Of how many events that wait each part is tried as what is lacking.
const SUBSETS_OF_MAX: usize = 10;

/// Which events rows hold.
type HeldByRow = BTreeMap<(Table, SmolStr), Held>;

/// The events that a group's rows may lack, and what its rows would be without them.
///
/// A row that differs from its refold may still be exactly the fold of fewer events: those that are
/// not on their way or parked, or those that arrived before a point. Each such guess is folded once and
/// held against every row; a fingerprint that fits proves the guess.
pub(super) struct Guesses<'a> {
    evidence: &'a Evidence<'a>,
    /// By row, the events that act on it in the whole fold, by arrival.
    acting: BTreeMap<(Table, SmolStr), Vec<&'a Entry>>,
    /// By row, the tellings of amended events that could act on it.
    told: BTreeMap<(Table, SmolStr), Vec<(Arrival, &'a Entry)>>,
    /// What may be lacking, and which events the rows would hold then.
    folded: Vec<(BTreeSet<EventHash>, HeldByRow)>,
}

impl<'a> Guesses<'a> {
    pub(super) fn new(evidence: &'a Evidence<'a>) -> Self {
        let Evidence {
            tenant,
            group,
            stored,
            journal,
            parked,
            in_flight,
        } = *evidence;
        let entries: Vec<&Entry> = journal.iter().collect();
        let all: BTreeSet<EventHash> = journal.iter().map(|entry| entry.hash).collect();
        let traced = refold(tenant, group, &entries, &all);
        let mut acting: BTreeMap<(Table, SmolStr), Vec<(usize, &Entry)>> = BTreeMap::new();
        for (arrival, entry, _) in &traced.events {
            let mut rows = BTreeSet::new();
            if let Some(nodes) = traced.nodes.get(&entry.hash) {
                acted_on(nodes, &mut rows);
            }
            for row in rows {
                acting.entry(row).or_default().push((*arrival, entry));
            }
        }
        let by_arrival = |mut events: Vec<(usize, &'a Entry)>| {
            events.sort_by_key(|(arrival, _)| *arrival);
            events
                .into_iter()
                .map(|(_, entry)| entry)
                .collect::<Vec<_>>()
        };
        let acting = acting
            .into_iter()
            .map(|(row, events)| (row, by_arrival(events)))
            .collect();
        let mut guesses = Self {
            evidence,
            acting,
            told: told(evidence, &traced),
            folded: Vec::new(),
        };
        let waiting: BTreeSet<EventHash> = parked.union(in_flight).copied().collect();
        for lacking in [in_flight.clone(), parked.clone(), waiting] {
            guesses.fold_without(lacking);
        }
        for lacking in amendments(&traced) {
            guesses.fold_without(lacking.union(in_flight).copied().collect());
            guesses.fold_without(lacking);
        }
        for row in stored {
            if let Some(lacking) = guesses.lacking_alone(row) {
                guesses.fold_without(lacking.union(in_flight).copied().collect());
                guesses.fold_without(lacking);
            }
        }
        guesses
    }

    fn fold_without(&mut self, lacking: BTreeSet<EventHash>) {
        if lacking.is_empty() || self.folded.iter().any(|(known, _)| *known == lacking) {
            return;
        }
        let Evidence {
            tenant,
            group,
            journal,
            ..
        } = *self.evidence;
        let entries: Vec<&Entry> = journal
            .iter()
            .filter(|entry| !lacking.contains(&entry.hash))
            .collect();
        let cells = refold(tenant, group, &entries, &BTreeSet::new()).cells;
        let held = cells
            .into_iter()
            .map(|(row, cell)| (row, cell.held))
            .collect();
        self.folded.push((lacking, held));
    }

    /// The rows that events act on in the whole fold.
    pub(super) fn rows(&self) -> impl Iterator<Item = &(Table, SmolStr)> {
        self.acting.keys()
    }

    pub(super) fn acting_on(&self, table: Table, id: &SmolStr) -> &[&'a Entry] {
        self.acting
            .get(&(table, id.clone()))
            .map_or(&[], Vec::as_slice)
    }

    /// What one row lacks by its own fingerprint: one event, or all that arrived after a point.
    fn lacking_alone(&self, row: &Stored) -> Option<BTreeSet<EventHash>> {
        let acting = self.acting_on(row.key.table, &row.key.id);
        let held = &row.trail.held;
        let all = acting
            .iter()
            .fold(Fingerprint::default(), |sum, event| sum.with(event.hash));
        if all == held.fingerprint {
            return None;
        }
        let lacks = all.minus(held.fingerprint);
        // Without an amendment the telling before it would count.
        let one = acting.iter().find(|event| event.hash.0 == lacks.0);
        if let Some(one) = one.filter(|one| one.event.revision() == 0) {
            return Some(BTreeSet::from([one.hash]));
        }
        // Some of those that wait are held: they are handled and not acknowledged yet, or came again and were
        // handled while another message of theirs is parked.
        let Evidence {
            parked, in_flight, ..
        } = self.evidence;
        let waiting = acting.iter().map(|event| event.hash);
        let waiting = waiting.filter(|hash| in_flight.contains(hash) || parked.contains(hash));
        if let Some(some) = summing_up(&waiting.collect::<Vec<_>>(), lacks) {
            return Some(some);
        }
        let row = (row.key.table, row.key.id.clone());
        let told = self.told.get(&row).map_or(&[][..], Vec::as_slice);
        let is_told = |event: &&Entry| told.iter().any(|(_, known)| known.hash == event.hash);
        let plain = acting.iter().filter(|event| !is_told(event));
        let mut arrivals: Vec<Arrival> = told.iter().map(|(arrival, _)| *arrival).collect();
        let places: BTreeMap<EventHash, usize> = match told {
            [] => BTreeMap::new(),
            _some => self.places(),
        };
        // Without amendments the order of arrival is that in which they stand here.
        arrivals.extend(plain.enumerate().map(|(place, event)| {
            let place = places.get(&event.hash).copied().unwrap_or(place);
            Arrival::plain(place, event.hash)
        }));
        let known = arrivals.clone();
        let held = held_events(held, arrivals)?;
        let unknown = known.iter().map(|one| one.event);
        Some(unknown.filter(|event| !held.contains(event)).collect())
    }

    /// The places of all events in the order of arrival.
    fn places(&self) -> BTreeMap<EventHash, usize> {
        let entries = self.evidence.journal.iter().enumerate();
        entries.map(|(place, entry)| (entry.hash, place)).collect()
    }

    /// The events without which the row would be as it is stored; `None` where no guess fits.
    pub(super) fn lacking(&self, key: &RowKey, before: Option<&Stored>) -> Option<Vec<&'a Entry>> {
        let row = (key.table, key.id.clone());
        let fits = |held: &HeldByRow| match (held.get(&row), before) {
            (Some(held), Some(stored)) => held.same_events(&stored.trail.held),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let acting = self.acting_on(key.table, &key.id);
        let (lacking, _) = self.folded.iter().find(|(_, held)| fits(held))?;
        let told = self.told.get(&row).into_iter().flatten();
        let told = told.map(|(_, event)| *event);
        let mut named: Vec<&Entry> = Vec::new();
        for event in acting.iter().copied().chain(told) {
            let is_new = named.iter().all(|known| known.hash != event.hash);
            if lacking.contains(&event.hash) && is_new {
                named.push(event);
            }
        }
        Some(named)
    }
}

/// Those among few events whose hashes sum up to this.
fn summing_up(events: &[EventHash], sum: Fingerprint) -> Option<BTreeSet<EventHash>> {
    if events.len() > SUBSETS_OF_MAX {
        return None;
    }
    let chosen = |set: u32| {
        let events = events.iter().enumerate();
        events.filter(move |(place, _)| set & (1 << place) != 0)
    };
    let sum_of = |set: u32| {
        let hashes = chosen(set).map(|(_, hash)| *hash);
        hashes.fold(Fingerprint::default(), Fingerprint::with)
    };
    let set = (1..1_u32 << events.len()).find(|set| sum_of(*set) == sum)?;
    Some(chosen(set).map(|(_, hash)| *hash).collect())
}

/// By row, the tellings of amended events that could act on it, or took back what did.
fn told<'a>(
    evidence: &Evidence<'_>,
    traced: &Refold<'a>,
) -> BTreeMap<(Table, SmolStr), Vec<(Arrival, &'a Entry)>> {
    let mut by_row: BTreeMap<_, Vec<(Arrival, &Entry)>> = BTreeMap::new();
    for (identity, tellings) in &traced.tellings {
        let reached: Vec<_> = tellings
            .iter()
            .map(|one| one.reach(evidence.group))
            .collect();
        for row in reached.iter().flatten().collect::<BTreeSet<_>>() {
            let acts = |one: &super::amend::Telling<'_>| one.reach(evidence.group).contains(row);
            let arrivals = Arrival::tellings(*identity, tellings, acts);
            let entries = tellings.iter().map(|one| one.entry);
            let of_row = by_row.entry(row.clone()).or_default();
            of_row.extend(arrivals.zip(entries));
        }
    }
    by_row
}

/// Each amendment alone, as far as there are few, and all together.
fn amendments(traced: &Refold<'_>) -> Vec<BTreeSet<EventHash>> {
    let tellings = traced.tellings.values().flatten();
    let amending = tellings.filter(|one| one.entry.event.revision() > 0);
    let mut all: Vec<(usize, EventHash)> =
        amending.map(|one| (one.arrival, one.entry.hash)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    let each = all.iter().take(AMENDMENTS_TRIED_MAX);
    let mut guesses: Vec<_> = each.map(|(_, one)| BTreeSet::from([*one])).collect();
    guesses.push(all.into_iter().map(|(_, one)| one).collect());
    guesses
}
