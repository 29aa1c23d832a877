//! Rows that wait for events in the dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};

use shared::flow::{Comparison, Evidence, Stored, compare, in_force};
use shared::handlers::Table;
use shared::model::{Class, Entry, EventHash, Group, GroupKind, Stamps};
use shared::service::parked_events;
use shared::settings::{Mapping, Tenant};
use smol_str::SmolStr;

use crate::error::Failure;
use crate::stores::Stores;

/// By row, the ids of the events that it waits for.
#[derive(Debug, Default)]
pub(crate) struct Waits(BTreeMap<(Table, SmolStr), BTreeSet<SmolStr>>);

impl Waits {
    /// Of the rows of a group.
    ///
    /// # Errors
    /// The queue could not be read.
    pub(crate) fn of(
        stores: &Stores,
        tenant: &Tenant,
        group: &Group,
        (journal, stored): (&[Entry], &[Stored]),
    ) -> Result<Self, Failure> {
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
        let parked = stores.wait(parked_events(stores.events()))?;
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
    pub(crate) fn of_row(&self, table: Table, id: &SmolStr) -> Vec<&SmolStr> {
        let events = self.0.get(&(table, id.clone()));
        events.into_iter().flatten().collect()
    }

    /// The rows that wait for some event, also those that are not there yet.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &(Table, SmolStr)> {
        self.0.keys()
    }
}
