use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Entry, EventHash, Group, GroupKind, Timestamp};
use crate::observers::{may_be_stated_to, stated_to};
use crate::settings::{Mapping, Meaning};

use super::amend::{Telling, Tellings};
use super::correct::Refold;
use super::linked::Linked;
use super::{Batch, moved};

/// What a group states to another about one of its events: that it is the other's too, or that it is not.
///
/// Of all that is ever stated to one group about one event, the highest revision is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'j> {
    /// The telling of the event that is stated.
    pub entry: &'j Entry,
    /// The entry because of which it is: the same, or what takes it back.
    pub because_of: &'j Entry,
    /// The group that it is stated to.
    pub to: Group,
    /// The revision of the statement.
    pub revision: u32,
    /// Whether the event is none of that group's.
    pub withdrawn: bool,
}

impl<'j> Statement<'j> {
    /// That an event is the other's too.
    pub(super) fn plain(entry: &'j Entry, to: Group) -> Self {
        Self {
            entry,
            because_of: entry,
            to,
            revision: entry.event.revision(),
            withdrawn: false,
        }
    }

    /// The entry in the other group's journal.
    #[must_use]
    pub fn copy(&self, recorded: Timestamp) -> Entry {
        let Self {
            entry,
            revision,
            withdrawn,
            ..
        } = *self;
        entry.statement_to(&self.to, revision, withdrawn, recorded)
    }

    /// The hash of that entry.
    #[must_use]
    pub fn hash(&self) -> EventHash {
        let (by, to) = (&self.entry.group.key, &self.to.key);
        self.entry.event.hash_of_copy(by, to, self.revision)
    }
}

/// Everything that a group has to state to others, given its journal and the fold of it.
pub(super) fn statements<'j>(
    group: &Group,
    journal: &[&'j Entry],
    refolded: &'j Refold<'j>,
) -> Vec<Statement<'j>> {
    let mut all = moved::statements(journal);
    if group.kind() == GroupKind::Appointment {
        all.extend(Linked::new(journal).statements());
        return all;
    }
    let events = refolded.events.iter();
    let events = events.map(|(_, entry, meaning)| (*entry, meaning));
    all.extend(of_tellings(group, events, &refolded.tellings));
    all
}

/// The copies by which a group states what is new once a batch is handled: what became of each of its
/// events, whatever telling came.
pub(super) fn news(batch: &Batch<'_>, journal: &[&Entry], refolded: &Refold<'_>) -> Vec<Entry> {
    let identities = batch.entries.iter().map(|entry| entry.event.identity());
    let identities: BTreeSet<EventHash> = identities.collect();
    let is_told = |one: &Statement<'_>| identities.contains(&one.entry.event.identity());
    let stated = if batch.group.kind() == GroupKind::Appointment {
        let handled = batch.entries.iter().map(|entry| entry.hash).collect();
        let mut stated = moved::statements(journal);
        stated.retain(is_told);
        stated.extend(Linked::new(journal).news(&handled));
        stated
    } else {
        let mut stated = statements(batch.group, journal, refolded);
        stated.retain(is_told);
        stated
    };
    let recorded = batch.stamps.write_start;
    stated.iter().map(|one| one.copy(recorded)).collect()
}

/// Each event that counts, and, to those that an earlier telling of an event was stated to and the one that
/// counts is not, that it is withdrawn.
///
/// What takes a telling back has the revision of what amends it, so that of the copies of one identity in a
/// target's journal the highest revision is right, whatever order they arrive in. `tellings` are those of each
/// event that was amended, the one that counts among them.
fn of_tellings<'j>(
    group: &Group,
    counting: impl Iterator<Item = (&'j Entry, &'j Meaning)>,
    tellings: &Tellings<'j>,
) -> Vec<Statement<'j>> {
    let plain = |(entry, meaning): (&'j Entry, &Meaning)| {
        stated_to(group, &entry.event, meaning).map(move |to| Statement::plain(entry, to))
    };
    let mut all: Vec<Statement<'j>> = counting.flat_map(plain).collect();
    for told in tellings.values() {
        all.extend(taken_back(group, told));
    }
    all
}

/// What takes back what earlier tellings of one event stated.
fn taken_back<'j>(group: &Group, told: &[Telling<'j>]) -> Vec<Statement<'j>> {
    let mut told: Vec<&Telling<'j>> = told.iter().collect();
    told.sort_by_key(|one| one.entry.event.revision());
    let Some((latest, earlier)) = told.split_last() else {
        return Vec::new();
    };
    let targets = |one: &Telling<'j>| -> Vec<Group> {
        let meaning = one.meaning.iter();
        meaning
            .flat_map(|meaning| stated_to(group, &one.entry.event, meaning))
            .collect()
    };
    // Of several tellings that were stated to one group, the last.
    let mut stale: BTreeMap<Group, &'j Entry> = BTreeMap::new();
    for one in earlier {
        stale.extend(targets(one).into_iter().map(|to| (to, one.entry)));
    }
    for to in targets(latest) {
        stale.remove(&to);
    }
    let event = &latest.entry.event;
    let statement = |(to, entry): (Group, &'j Entry)| {
        // What it says may come to count there under other settings.
        if event.acts_here() && may_be_stated_to(group, event, &to) {
            return Statement::plain(latest.entry, to);
        }
        Statement {
            entry,
            because_of: latest.entry,
            to,
            revision: event.revision(),
            withdrawn: true,
        }
    };
    stale.into_iter().map(statement).collect()
}

impl Batch<'_> {
    /// The copies that the batch's events are stated by to other groups, where none of the group's events
    /// was amended.
    #[must_use]
    pub fn stated(&self) -> Vec<Entry> {
        let mapped = self.entries.iter().zip(self.mappings);
        let mapped = mapped.filter_map(|(entry, mapping)| match mapping {
            Mapping::Mapped(meaning) => Some((entry.as_ref(), meaning)),
            Mapping::Unmapped | Mapping::Fault(_) => None,
        });
        let stated = of_tellings(self.group, mapped, &Tellings::new());
        let recorded = self.stamps.write_start;
        stated.iter().map(|one| one.copy(recorded)).collect()
    }
}
