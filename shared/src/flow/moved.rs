//! Events of which a telling names another group than the one that holds them: what that group is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Entry, EventHash, Group};

use super::Statement;

/// The group that a telling is meant for, where that is another.
fn target(entry: &Entry) -> Option<Group> {
    let key = entry.event.meant_for()?;
    Some(Group {
        tenant: entry.group.tenant.clone(),
        key,
    })
}

/// What a group states about such events, given its journal: to the group that the latest telling of each
/// names, that it is that group's, and to those that earlier ones named, that it is none of theirs.
///
/// All have the revision of the latest telling, and what it is says the same of every group, however many of the
/// earlier ones are known. So of what is stated to one group about one event the highest revision is right.
pub(super) fn statements<'j>(journal: &[&'j Entry]) -> Vec<Statement<'j>> {
    let of_others = journal.iter().filter(|entry| target(entry).is_some());
    let events: BTreeSet<EventHash> = of_others.map(|entry| entry.event.identity()).collect();
    if events.is_empty() {
        return Vec::new();
    }
    let mut told: BTreeMap<EventHash, BTreeMap<u32, &'j Entry>> = BTreeMap::new();
    for entry in journal {
        let identity = entry.event.identity();
        if events.contains(&identity) {
            let tellings = told.entry(identity).or_default();
            tellings.entry(entry.event.revision()).or_insert(entry);
        }
    }
    told.values().flat_map(of_event).collect()
}

/// What is stated about one event; its tellings come by revision.
fn of_event<'j>(tellings: &BTreeMap<u32, &'j Entry>) -> Vec<Statement<'j>> {
    let Some(latest) = tellings.values().next_back() else {
        return Vec::new();
    };
    let mut last_named: BTreeMap<Group, &'j Entry> = BTreeMap::new();
    // What was withdrawn from the start was never stated.
    let said = tellings.values();
    for entry in said.filter(|entry| !entry.event.is_withdrawn()) {
        last_named.extend(target(entry).map(|to| (to, *entry)));
    }
    let counts_for = target(latest).filter(|_| !latest.event.is_withdrawn());
    let statement = |(to, entry): (Group, &'j Entry)| {
        if counts_for.as_ref() == Some(&to) {
            return Statement::plain(latest, to);
        }
        Statement {
            entry,
            because_of: latest,
            to,
            revision: latest.event.revision(),
            withdrawn: true,
        }
    };
    last_named.into_iter().map(statement).collect()
}
