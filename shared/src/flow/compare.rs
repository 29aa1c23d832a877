use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::handlers::{Table, Version};
use crate::model::{
    Class, Entry, EventHash, EventRef, FieldChange, Finding, Group, GroupKind, Stamps,
};
use crate::observers;
use crate::settings::Tenant;

use super::correct::{Refold, difference, find, refold};
use super::guesses::Guesses;
use super::row::Making;
use super::statements::statements;
use super::{Cell, RowKey, Stored, Write, blame, diff, taken};

/// The most events that one finding names.
const EVENTS_MAX: usize = 16;

/// Why a row is not what it should be, where the fault is with those that feed it.
const FED_BY_LACKING: &str = "rows that feed it lack events";

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
    /// The copies that the group owes to others.
    pub owed: Vec<Owed>,
}

/// A copy that a group owes to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The event's place in the group's journal, in the order of arrival.
    pub place: usize,
    /// The place of the one that it is to be stated because of: the event, or what takes it back.
    pub because_of: usize,
    /// The group that it is to be stated to.
    pub to: Group,
    /// The copy's revision.
    pub revision: u32,
    /// Whether it takes back what was stated before.
    pub withdrawn: bool,
    /// The copy's hash, by which the target's journal knows it.
    pub hash: EventHash,
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
    comparison.owed = owed(group, &journal, &refolded);
    let mut keys: Vec<(Table, SmolStr)> = refolded.cells.keys().cloned().collect();
    for row in stored.iter().filter(|row| !row.is_gone()) {
        let key = (row.key.table, row.key.id.clone());
        if !refolded.cells.contains_key(&key) {
            keys.push(key);
        }
    }
    comparison.rows = keys.len() as u64;
    let amended = refolded.amended.take();
    let making = Making {
        settings: tenant.version(),
        out_of_order: 0,
        stamps,
        amended: amended.as_ref(),
    };
    let mut guesses = None;
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
        let guesses = guesses.get_or_insert_with(|| Guesses::new(evidence));
        let suspect = Suspect {
            evidence,
            guesses,
            key: &key,
            // One that is gone is to be missed like one that never was.
            before: before.filter(|row| !row.is_gone()),
        };
        let Some(finding) = suspect.finding(cell.as_ref()) else {
            continue;
        };
        comparison.findings.push(finding);
        comparison
            .writes
            .extend(difference(key, before, cell, making, true));
    }
    blame::fill(&mut comparison.findings, group, &refolded.events);
    let events = refolded.events.iter();
    let events = events.map(|(_, entry, meaning)| (*entry, meaning));
    taken::note(&mut comparison.writes, group, &events, |_, _, _| true);
    let amended = refolded.tellings.keys().copied();
    taken::note_first_tellings(&mut comparison.writes, &amended);
    comparison
}

/// All copies that the group owes to others.
fn owed(group: &Group, journal: &[&Entry], refolded: &Refold<'_>) -> Vec<Owed> {
    let stated = statements(group, journal, refolded);
    if stated.is_empty() {
        return Vec::new();
    }
    let places: BTreeMap<EventHash, usize> = journal.iter().map(|one| one.hash).zip(0..).collect();
    let owed = stated.into_iter().filter_map(|one| {
        Some(Owed {
            place: *places.get(&one.entry.hash)?,
            because_of: *places.get(&one.because_of.hash)?,
            hash: one.hash(),
            revision: one.revision,
            withdrawn: one.withdrawn,
            to: one.to,
        })
    });
    owed.collect()
}

/// One row that differs from its refold.
struct Suspect<'a> {
    evidence: &'a Evidence<'a>,
    guesses: &'a Guesses<'a>,
    key: &'a RowKey,
    before: Option<&'a Stored>,
}

/// A class, the events behind it, and the row's own figures in words.
type Verdict = (Class, Vec<EventRef>, String);

impl Suspect<'_> {
    /// The finding, or `None` where what the row lacks is only on its way.
    fn finding(&self, wanted: Option<&Cell>) -> Option<Finding> {
        let (class, events, why) = match (self.before, wanted) {
            (None, None) => return None,
            (Some(row), None) if row.trail.is_gone() => written_into(),
            (Some(row), None) if !row.is_made_under(self.evidence.tenant) => self.stale(row),
            (Some(row), None) => self.no_events(row)?,
            (Some(row), Some(_)) if !row.readable => foreign(),
            (Some(row), Some(cell)) if cell.held.same_events(&row.trail.held) => {
                self.other_content(row, cell)?
            }
            (before, Some(cell)) => self.other_events(before, cell)?,
        };
        let (class, events, why) = match class {
            Class::Lost | Class::Extra if self.is_fed_out_of_order() => {
                let why = format!("rows that feed it were applied out of order, so {why}");
                (Class::Late, self.late_events(), why)
            }
            Class::Late | Class::Lost | Class::Extra | Class::Foreign => (class, events, why),
            Class::Stale | Class::Parked | Class::Missing | Class::Orphan => (class, events, why),
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

    /// No event leads to the row: nothing ever did, or it lacks that what did was taken back.
    fn no_events(&self, row: &Stored) -> Option<Verdict> {
        let linking = self.linking_on_their_way();
        if !linking.is_empty() {
            let why = "it stands until the event is handled that names its lead".to_owned();
            return self.owed(linking, why);
        }
        let lacking = self.guesses.lacking(self.key, Some(row));
        match lacking.filter(|lacking| !lacking.is_empty()) {
            Some(lacking) => {
                let held = row.trail.held.events;
                let why = format!("it holds {held} events, and none counts any more");
                self.owed(lacking, why)
            }
            None => Some((Class::Orphan, Vec::new(), String::new())),
        }
    }

    /// Of an appointment's own group the events that name its lead and are not handled yet: until then the rows
    /// stand that follow from the others.
    fn linking_on_their_way(&self) -> Vec<&Entry> {
        let Evidence {
            group,
            journal,
            parked,
            in_flight,
            ..
        } = *self.evidence;
        let waits = |entry: &&Entry| {
            let hash = &entry.hash;
            entry.event.linked_lead().is_some()
                && (in_flight.contains(hash) || parked.contains(hash))
        };
        match group.kind() {
            GroupKind::Appointment => journal.iter().filter(waits).collect(),
            GroupKind::Lead | GroupKind::Day | GroupKind::Event => Vec::new(),
        }
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

    /// Whether a row that feeds this one was applied out of order: which events observers saw change it,
    /// and passed on, depends on the order then.
    fn is_fed_out_of_order(&self) -> bool {
        let Evidence { stored, group, .. } = *self.evidence;
        let fed = (self.key.table, self.key.id.clone());
        let late = stored.iter().filter(|row| row.trail.out_of_order > 0);
        late.flat_map(|row| observers::feeds(row.key.table, group))
            .any(|one| one == fed)
    }

    /// The events that rows lack which feed this one: what observers pass on of later events depends on them.
    fn feeders_lack(&self) -> Vec<&Entry> {
        let Evidence { stored, group, .. } = *self.evidence;
        let fed = (self.key.table, self.key.id.clone());
        let feeders = self
            .guesses
            .rows()
            .filter(|(table, _)| observers::feeds(*table, group).any(|one| one == fed));
        let mut all: Vec<&Entry> = Vec::new();
        for (table, id) in feeders {
            let key = RowKey {
                group: group.clone(),
                table: *table,
                id: id.clone(),
            };
            let before = find(stored, *table, id).filter(|row| !row.is_gone());
            let lacking = self.guesses.lacking(&key, before).unwrap_or_default();
            for event in lacking {
                if all.iter().all(|known| known.hash != event.hash) {
                    all.push(event);
                }
            }
        }
        all
    }

    /// The events that act on the row and arrived after one that comes later in the order.
    fn late_events(&self) -> Vec<EventRef> {
        let mut last: Option<&Entry> = None;
        let mut late = Vec::new();
        for entry in self.guesses.acting_on(self.key.table, &self.key.id) {
            match last {
                Some(latest) if entry.event.cmp_order(&latest.event).is_lt() => late.push(*entry),
                Some(_) | None => last = Some(entry),
            }
        }
        named(&late)
    }

    /// The last event that the row holds, where the journal does not have it.
    fn unknown_event(&self, row: &Stored) -> Vec<EventRef> {
        let last = row.trail.held.last.as_ref();
        let journal = self.evidence.journal;
        let unknown =
            last.filter(|last| !journal.iter().any(|entry| entry.event.order() == **last));
        unknown.into_iter().map(EventRef::from).collect()
    }

    /// Those of the events that act on a row that wait, where they may be what it lacks, though it is not known
    /// which of them it holds: it has as many as are through, or more. What is lost beside them is found once they
    /// are through too.
    fn may_wait_for(&self, held: u64, waits: impl Fn(&EventHash) -> bool) -> Vec<&Entry> {
        let acting = self.guesses.acting_on(self.key.table, &self.key.id);
        let waiting = acting.iter().copied().filter(|event| waits(&event.hash));
        let mut waiting: Vec<&Entry> = waiting.collect();
        if held < (acting.len() - waiting.len()) as u64 {
            waiting.clear();
        }
        waiting
    }

    /// The row holds another set of events, or there is none.
    fn other_events(&self, before: Option<&Stored>, cell: &Cell) -> Option<Verdict> {
        let wanted = cell.held.events;
        let held = before.map_or(0, |row| row.trail.held.events);
        let why = match before {
            Some(_) => format!("it holds {held} of {wanted} events"),
            None => format!("{wanted} events lead to it"),
        };
        let Some(lacking) = self.guesses.lacking(self.key, before) else {
            let Evidence {
                parked, in_flight, ..
            } = self.evidence;
            let on_their_way = self.may_wait_for(held, |event| in_flight.contains(event));
            match before {
                Some(_) if !on_their_way.is_empty() => return None,
                Some(row) if !row.is_made_under(self.evidence.tenant) => {
                    return Some(self.stale(row));
                }
                Some(_) | None => {}
            }
            let lacking = self.feeders_lack();
            if !lacking.is_empty() {
                return self.owed(lacking, format!("{why}; {FED_BY_LACKING}"));
            }
            let waiting = self.may_wait_for(held, |event| {
                parked.contains(event) || in_flight.contains(event)
            });
            if before.is_some() && !waiting.is_empty() {
                return self.owed(waiting, why);
            }
            return Some(match before {
                None => {
                    let acting = self.guesses.acting_on(self.key.table, &self.key.id);
                    (Class::Missing, named(acting), why)
                }
                Some(_) if held < wanted => (Class::Lost, Vec::new(), why),
                Some(row) => (Class::Extra, self.unknown_event(row), why),
            });
        };
        self.owed(lacking, why)
    }

    /// The class of a row that lacks these events; `None` where they are only on their way.
    fn owed(&self, lacking: Vec<&Entry>, mut why: String) -> Option<Verdict> {
        let Evidence {
            parked, in_flight, ..
        } = self.evidence;
        let owed: Vec<&Entry> = lacking
            .into_iter()
            .filter(|event| !in_flight.contains(&event.hash))
            .collect();
        if owed.is_empty() {
            return None;
        }
        let class = if owed.iter().all(|event| parked.contains(&event.hash)) {
            Class::Parked
        } else if self.before.is_some() {
            Class::Lost
        } else {
            Class::Missing
        };
        for amendment in owed.iter().filter(|one| one.event.revision() > 0) {
            let (id, revision) = (&amendment.event.id, amendment.event.revision());
            let what = if amendment.event.is_withdrawn() {
                "which withdraws it"
            } else {
                "which amends it"
            };
            why.push_str(&format!(
                "; revision {revision} of event {id}, {what}, is not in it"
            ));
        }
        Some((class, named(&owed), why))
    }

    /// The row holds the right events, but is not what they fold to.
    ///
    /// `None` where it only waits for what is on its way.
    fn other_content(&self, row: &Stored, cell: &Cell) -> Option<Verdict> {
        let trail = &row.trail;
        // Of a row that was added to nobody knows: 0.
        let ours = [0, crc32fast::hash(row.row.body().as_bytes())].contains(&trail.checksum);
        if !ours {
            return Some(foreign());
        }
        if !row.is_made_under(self.evidence.tenant) {
            return Some(self.stale(row));
        }
        if trail.out_of_order > 0 {
            let why = format!("{} applied out of order", trail.out_of_order);
            return Some((Class::Late, self.late_events(), why));
        }
        if self.is_fed_out_of_order() {
            let why = "rows that feed it were applied out of order".to_owned();
            return Some((Class::Late, self.late_events(), why));
        }
        let lacking = self.feeders_lack();
        if !lacking.is_empty() {
            return self.owed(lacking, FED_BY_LACKING.to_owned());
        }
        Some(self.other_history(row, cell.row.versions().unwrap_or_default()))
    }

    /// The row was made under other settings or by another handler.
    fn stale(&self, row: &Stored) -> Verdict {
        let why = format!(
            "settings {} and handler {}; now settings {} and handler {}",
            row.trail.settings,
            row.trail.handler,
            self.evidence.tenant.version(),
            self.key.table.handler_version()
        );
        (Class::Stale, Vec::new(), why)
    }

    /// The row itself is right; its history is not.
    fn other_history(&self, row: &Stored, wanted: &[Version]) -> Verdict {
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
        foreign()
    }
}

/// Somebody else wrote into what is left of a row that no event leads to.
fn written_into() -> Verdict {
    let why = "what led to it was taken back, and other code has written into it since";
    (Class::Orphan, Vec::new(), why.to_owned())
}

/// Somebody else wrote the row.
fn foreign() -> Verdict {
    (
        Class::Foreign,
        Vec::new(),
        "its content is not what its last write left".to_owned(),
    )
}

fn named(events: &[&Entry]) -> Vec<EventRef> {
    let events = events.iter().take(EVENTS_MAX);
    events.map(|entry| EventRef::from(&entry.event)).collect()
}
