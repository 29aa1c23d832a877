//! Copies that groups owe to others: what of them does not stand in their targets' journals.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::flow::{Owed, Statement};
use crate::handlers::Table;
use crate::model::{Class, Entry, EventHash, EventRef, Finding, Group, GroupKind, Timestamp};
use crate::ports::{Error, Journal};

/// The most events that one finding names.
const EVENTS_MAX: usize = 16;

/// A group's journal, and what it owes.
pub(super) struct Debtor<'a> {
    pub(super) journal: &'a [Entry],
    pub(super) owed: &'a [Owed],
    /// Events that need not have been stated yet: under way or in the dead-letter queue.
    pub(super) excused: BTreeSet<EventHash>,
}

/// The copies that are missing, each group's by itself. Only the journal's identities are looked up, so a
/// replay of one partition sees what its groups owe to those of others.
pub(super) async fn missing(
    journal: &impl Journal,
    debtors: &[Debtor<'_>],
    now: Timestamp,
) -> Result<Vec<Vec<Entry>>, Error> {
    let copies = |debtor: &Debtor<'_>| -> Vec<(SmolStr, EventHash)> {
        let due = debtor.due();
        due.map(|(_, owed)| (owed.to.tenant.clone(), owed.hash))
            .collect()
    };
    let asked: Vec<(SmolStr, EventHash)> = debtors.iter().flat_map(copies).collect();
    if asked.is_empty() {
        return Ok(debtors.iter().map(|_| Vec::new()).collect());
    }
    let mut found = journal.whereabouts(&asked).await?.into_iter();
    let missing = debtors.iter().map(|debtor| {
        let due = debtor.due();
        let due = due.filter(|_| found.next().is_none_or(|place| place.is_none()));
        due.map(|(stated, _)| stated.copy(now)).collect()
    });
    Ok(missing.collect())
}

impl<'a> Debtor<'a> {
    fn due(&self) -> impl Iterator<Item = (Statement<'a>, &'a Owed)> {
        let excused = |entry: &Entry| self.excused.contains(&entry.hash);
        let owed = if self.waits() { &[] } else { self.owed };
        owed.iter().filter_map(move |owed| {
            let entry = self.journal.get(owed.place)?;
            let because_of = self.journal.get(owed.because_of)?;
            let stated = Statement {
                entry,
                because_of,
                to: owed.to.clone(),
                revision: owed.revision,
                withdrawn: owed.withdrawn,
            };
            (!excused(entry) && !excused(because_of)).then_some((stated, owed))
        })
    }

    /// Whether one of an appointment's events is yet to be handled: that may change what is stated about
    /// the others.
    fn waits(&self) -> bool {
        let is_excused = |entry: &Entry| {
            entry.group.kind() == GroupKind::Appointment && self.excused.contains(&entry.hash)
        };
        self.journal.iter().any(is_excused)
    }
}

/// What missing copies of one group mean: rows of their targets lack events.
pub(super) fn findings(by: &Group, missing: &[Entry]) -> Vec<Finding> {
    let mut targets: BTreeMap<&Group, Vec<&Entry>> = BTreeMap::new();
    for copy in missing {
        targets.entry(&copy.group).or_default().push(copy);
    }
    let mut findings = Vec::with_capacity(targets.len());
    for (to, copies) in targets {
        let tables = Table::ALL.into_iter();
        let Some(table) = tables.into_iter().find(|table| table.lives_in(to.kind())) else {
            continue;
        };
        let events = copies.iter().map(|copy| EventRef::from(&copy.event));
        let class = Class::Lost;
        findings.push(Finding {
            class,
            table,
            group: to.clone(),
            id: to.subject().into(),
            changes: Vec::new(),
            events: events.take(EVENTS_MAX).collect(),
            explanation: format!(
                "{}: {} of {by}, whose copies do not stand in the journal of {to}",
                class.explanation(),
                copies.len(),
            ),
        });
    }
    findings
}
