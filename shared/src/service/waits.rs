//! Rows that wait for events in the dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::flow::{Comparison, Evidence, Stored, compare, in_force};
use crate::handlers::Table;
use crate::model::{Class, Entry, EventHash, Group, GroupKind, Stamps};
use crate::ports::{Error, Queue};
use crate::settings::{Mapping, Tenant};

use super::parked_events;

/// By row, the ids of the events that it waits for.
#[derive(Debug, Clone, Default)]
pub struct Waits(BTreeMap<(Table, SmolStr), BTreeSet<SmolStr>>);

impl Waits {
    /// Of the rows of a group.
    ///
    /// # Errors
    /// The queue could not be read.
    pub async fn of(
        queue: &impl Queue,
        tenant: &Tenant,
        group: &Group,
        (journal, stored): (&[Entry], &[Stored]),
    ) -> Result<Self, Error> {
        let none = BTreeSet::new();
        let compared = |parked: &BTreeSet<EventHash>| -> Comparison {
            let evidence = Evidence {
                tenant,
                group,
                stored,
                journal,
                parked,
                in_flight: &none,
            };
            compare(&evidence, Stamps::default())
        };
        // Most rows wait for nothing, and to look into a queue may cost more than to fold a group.
        let whole = compared(&none);
        if whole.findings.is_empty() && whole.faults == 0 {
            return Ok(Self::default());
        }
        let parked = parked_events(queue).await?;
        let Some(parked) = parked.get(group) else {
            return Ok(Self::default());
        };
        let mut waits = Self::default();
        for finding in compared(parked).findings {
            if finding.class == Class::Parked {
                let events = finding.events.into_iter().map(|event| event.id);
                waits.add(finding.table, finding.id, events);
            }
        }
        waits.add_unreadable(tenant, group, journal, parked);
        Ok(waits)
    }

    /// What a rule cannot read acts on no row that could be told, but for the one that every event of the group
    /// acts on.
    fn add_unreadable(
        &mut self,
        tenant: &Tenant,
        group: &Group,
        journal: &[Entry],
        parked: &BTreeSet<EventHash>,
    ) {
        let table = match group.kind() {
            GroupKind::Lead => Table::RSLead,
            GroupKind::Appointment => Table::RSAppointment,
            GroupKind::Day => Table::RSTenantDailyConversions,
            // It has no rows.
            GroupKind::Event => return,
        };
        let entries: Vec<&Entry> = journal.iter().collect();
        let unreadable = in_force(&entries).into_iter().filter(|entry| {
            parked.contains(&entry.hash) && matches!(tenant.map(&entry.event), Mapping::Fault(_))
        });
        let events = unreadable.map(|entry| entry.event.id.clone());
        self.add(table, group.subject().into(), events);
    }

    fn add(&mut self, table: Table, id: SmolStr, events: impl Iterator<Item = SmolStr>) {
        let mut events = events.peekable();
        if events.peek().is_some() {
            self.0.entry((table, id)).or_default().extend(events);
        }
    }

    /// The events that a row waits for.
    #[must_use]
    pub fn of_row(&self, table: Table, id: &SmolStr) -> Vec<&SmolStr> {
        let events = self.0.get(&(table, id.clone()));
        events.into_iter().flatten().collect()
    }

    /// The rows that wait for some event, also those that are not there yet.
    pub fn rows(&self) -> impl Iterator<Item = &(Table, SmolStr)> {
        self.0.keys()
    }
}
