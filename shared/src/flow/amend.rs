use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Amended, Entry, EventHash, Fingerprint, Group, GroupKind, Held, Timestamp};
use crate::settings::{EventType, Fields, Mapped, Mapping, Meaning, Tenant};

use super::reach;

/// One telling of an event that was amended.
#[derive(Debug)]
pub(super) struct Telling<'j> {
    /// Its place in the order of arrival.
    pub(super) arrival: usize,
    pub(super) entry: &'j Entry,
    /// What it would do if it counted; `None` where that is nothing.
    pub(super) meaning: Option<Meaning>,
}

/// All tellings of the events that were amended, by identity.
pub(super) type Tellings<'j> = BTreeMap<EventHash, Vec<Telling<'j>>>;

/// The highest revision of each event that was amended.
type Latest = BTreeMap<EventHash, u32>;

fn latest<'e>(events: impl Iterator<Item = &'e Entry>) -> Latest {
    let mut latest = Latest::new();
    for entry in events {
        let revision = entry.event.revision();
        if revision > 0 {
            let known = latest.entry(entry.event.identity()).or_insert(0);
            *known = revision.max(*known);
        }
    }
    latest
}

fn counts(entry: &Entry, latest: &Latest) -> bool {
    if latest.is_empty() {
        return entry.event.acts_here();
    }
    let highest = latest.get(&entry.event.identity());
    highest.is_none_or(|highest| *highest == entry.event.revision()) && entry.event.acts_here()
}

/// What a group's journal tells of its amended events; `None` where there are none.
pub(super) fn known<'e>(journal: impl Iterator<Item = &'e Entry> + Clone) -> Option<Amended> {
    let latest = latest(journal.clone());
    if latest.is_empty() {
        return None;
    }
    let mut until = Timestamp::MIN;
    let mut told: BTreeMap<EventHash, BTreeSet<u32>> = BTreeMap::new();
    for entry in journal {
        let identity = entry.event.identity();
        if latest.contains_key(&identity) {
            until = until.max(entry.event.time);
            told.entry(identity)
                .or_default()
                .insert(entry.event.revision());
        }
    }
    // What lacks no telling up to the last gets none that would not amend it once more.
    let is_open = |highest: u32, told: &BTreeSet<u32>| told.len() as u64 <= u64::from(highest);
    let open = latest.into_iter().filter_map(|(identity, highest)| {
        let told = told.get(&identity)?;
        is_open(highest, told).then_some(identity)
    });
    let open: BTreeSet<EventHash> = open.collect();
    if open.len() > Amended::OPEN_MAX {
        return Some(Amended::unknown());
    }
    Some(Amended { until, open })
}

/// Those of some events that count: of each identity the highest revision, unless it is withdrawn or meant
/// for another group.
#[must_use]
pub fn in_force<'e>(events: &[&'e Entry]) -> Vec<&'e Entry> {
    let latest = latest(events.iter().copied());
    let counting = events.iter().filter(|entry| counts(entry, &latest));
    counting.copied().collect()
}

/// The rows that amendments among `entries` can touch because of what was told of their events before;
/// `journal` is that of the group.
#[must_use]
pub fn amended_reach(
    tenant: &Tenant,
    group: &Group,
    entries: &[&Arc<Entry>],
    journal: &[Entry],
) -> BTreeSet<(Table, SmolStr)> {
    let amending = entries.iter().filter(|one| one.event.revision() > 0);
    let amended: BTreeSet<EventHash> = amending.map(|one| one.event.identity()).collect();
    if amended.is_empty() {
        return BTreeSet::new();
    }
    let mut reached = common(group);
    for entry in journal {
        if amended.contains(&entry.event.identity())
            && let Mapping::Mapped(meaning) = tenant.map(&entry.event)
        {
            reached.extend(reach(&meaning, group));
        }
    }
    reached
}

/// Takes the events that do not count out of a group's journal, and says what was told of those that
/// were amended.
pub(super) fn sort_out<'j>(tenant: &Tenant, journal: &mut Vec<(usize, &'j Entry)>) -> Tellings<'j> {
    let latest = latest(journal.iter().map(|(_, entry)| *entry));
    let mut tellings = Tellings::new();
    if latest.is_empty() {
        journal.retain(|(_, entry)| counts(entry, &latest));
        return tellings;
    }
    for (arrival, entry) in journal.iter().copied() {
        let identity = entry.event.identity();
        if latest.contains_key(&identity) {
            let mapping = if entry.event.acts_here() {
                tenant.map(&entry.event)
            } else {
                Mapping::Unmapped
            };
            let meaning = match mapping {
                Mapping::Mapped(meaning) => Some(meaning),
                Mapping::Unmapped | Mapping::Fault(_) => None,
            };
            let of_event = tellings.entry(identity).or_default();
            of_event.push(Telling {
                arrival,
                entry,
                meaning,
            });
        }
    }
    journal.retain(|(_, entry)| counts(entry, &latest));
    tellings
}

impl Telling<'_> {
    /// The rows that the telling itself would act on.
    pub(super) fn routes(&self, group: &Group) -> BTreeSet<(Table, SmolStr)> {
        let route = |table: Table| Some((table, table.route(self.meaning.as_ref()?, group)?));
        Table::ALL.into_iter().filter_map(route).collect()
    }

    /// The rows that it could touch, through observers too.
    pub(super) fn reach(&self, group: &Group) -> BTreeSet<(Table, SmolStr)> {
        let meaning = self.meaning.as_ref();
        meaning.map_or_else(BTreeSet::new, |meaning| reach(meaning, group))
    }
}

/// The rows that every event of the group can touch, whatever it says: what is written on them, no
/// event that a rule maps can miss.
pub(super) fn common(group: &Group) -> BTreeSet<(Table, SmolStr)> {
    match group.kind() {
        GroupKind::Lead => {
            let bare = Mapped {
                kind: EventType::LeadUpdated,
                fields: Fields::default(),
                conversions: Vec::new(),
            };
            reach(&Meaning::Event(bare), group)
        }
        GroupKind::Appointment | GroupKind::Day | GroupKind::Event => {
            let tables = Table::ALL.into_iter();
            let tables = tables.filter(|table| table.lives_in(group.kind()));
            tables
                .map(|table| (table, group.subject().into()))
                .collect()
        }
    }
}

/// An event that came to a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Its place in the order of arrival.
    pub(super) place: usize,
    pub(super) event: EventHash,
    /// Where its event was amended: the identity, its revision, and whether this telling acts on the row.
    pub(super) telling: Option<(EventHash, u32, bool)>,
}

impl Arrival {
    /// The arrival of an event that was never amended.
    pub(super) fn plain(place: usize, event: EventHash) -> Self {
        Self {
            place,
            event,
            telling: None,
        }
    }

    /// The arrivals of all tellings of an event; `acts` says which act on the row.
    pub(super) fn tellings<'t>(
        identity: EventHash,
        tellings: &'t [Telling<'_>],
        acts: impl Fn(&Telling<'_>) -> bool + 't,
    ) -> impl Iterator<Item = Self> + 't {
        tellings.iter().map(move |one| Self {
            place: one.arrival,
            event: one.entry.hash,
            telling: Some((identity, one.entry.event.revision(), acts(one))),
        })
    }
}

/// Which of a row's journaled events the stored row knows of: those that arrived first, up to the last
/// point at which the ones that counted make up the row's fingerprint. `None` where there is no such point.
pub(super) fn held_events(held: &Held, arrivals: Vec<Arrival>) -> Option<BTreeSet<EventHash>> {
    held_since(&Held::default(), held, arrivals)
}

/// The same of events that came on top of those of `base`.
pub(super) fn held_since(
    base: &Held,
    held: &Held,
    mut arrivals: Vec<Arrival>,
) -> Option<BTreeSet<EventHash>> {
    arrivals.sort_unstable_by_key(|one| one.place);
    let (mut count, mut sum) = (base.events, base.fingerprint);
    let is_held = |count: u64, sum: Fingerprint| count == held.events && sum == held.fingerprint;
    let mut fits = is_held(count, sum).then_some(0);
    let mut told: BTreeMap<EventHash, (u32, Option<EventHash>)> = BTreeMap::new();
    for (before, one) in arrivals.iter().enumerate() {
        let acts = match one.telling {
            None => true,
            Some((identity, revision, acts)) => {
                let earlier = told.get(&identity);
                if earlier.is_some_and(|(known, _)| *known >= revision) {
                    false
                } else {
                    if let Some((_, Some(superseded))) = earlier {
                        count = count.saturating_sub(1);
                        sum = sum.minus(Fingerprint(superseded.0));
                    }
                    told.insert(identity, (revision, acts.then_some(one.event)));
                    acts
                }
            }
        };
        if acts {
            count += 1;
            sum = sum.with(one.event);
        }
        if is_held(count, sum) {
            fits = Some(before + 1);
        }
    }
    let known = arrivals.get(..fits?)?;
    Some(known.iter().map(|one| one.event).collect())
}
