//! Groups whose tables are all under policy `atomic`: their rows are added to without being read.

use std::sync::Arc;

use crate::flow::{Addition, Disposition, EventOutcome, RowKey};
use crate::handlers::Table;
use crate::model::{ActionId, ActionNode, Entry, Group, Outcome, Stamps};
use crate::ports::{Added, Clock, Error, Tables};
use crate::settings::{Mapping, Meaning, Policy, Tenant};

/// Whether all rows that a group's events lead to may be added to. Rows that other code writes too are read
/// and written under their locks.
pub(super) fn is_atomic(tenant: &Tenant, group: &Group) -> bool {
    let kind = group.kind();
    let mut tables = Table::ALL
        .into_iter()
        .filter(|table| table.lives_in(kind))
        .peekable();
    tables.peek().is_some()
        && tables.all(|table| tenant.policy(table) == Policy::Atomic && !tenant.locks_by_id(table))
}

/// Events of such a group.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) group: &'a Group,
    pub(super) entries: &'a [&'a Arc<Entry>],
    pub(super) mappings: &'a [Mapping],
}

/// What adding came to.
pub(super) struct Done {
    pub(super) events: Vec<EventOutcome>,
    pub(super) stamps: Stamps,
    /// How many additions were new.
    pub(super) rows: u64,
}

/// The additions of one event, by their places among all; or what is to be said of it at once.
enum Planned {
    Additions(Vec<usize>),
    Said(EventOutcome),
}

/// Adds a batch's events to their rows. Redelivered ones change nothing.
pub(super) async fn add(
    ports: &impl Tables,
    clock: &impl Clock,
    batches: &[Batch<'_>],
) -> Result<Vec<Done>, Error> {
    let now = clock.now();
    let mut additions = Vec::new();
    let mut plans = Vec::with_capacity(batches.len());
    for batch in batches {
        let stamps = Stamps {
            event: batch.entries.last().map_or(now, |entry| entry.event.time),
            read_start: now,
            write_start: now,
        };
        let events = batch.entries.iter().zip(batch.mappings);
        let planned: Vec<Planned> = events
            .map(|(entry, mapping)| batch.plan(entry, mapping, stamps, &mut additions))
            .collect();
        plans.push((stamps, planned));
    }
    let added = ports.add(&additions, now).await?;
    Ok(plans
        .into_iter()
        .map(|(stamps, planned)| Done {
            rows: planned.iter().map(|one| one.rows_added(&added)).sum(),
            events: planned
                .into_iter()
                .map(|one| one.outcome(&additions, &added))
                .collect(),
            stamps,
        })
        .collect())
}

impl Batch<'_> {
    fn plan(
        &self,
        entry: &Entry,
        mapping: &Mapping,
        stamps: Stamps,
        additions: &mut Vec<Addition>,
    ) -> Planned {
        let meaning = match mapping {
            Mapping::Mapped(meaning) => meaning,
            Mapping::Unmapped => return Planned::Said(said(Disposition::Unmapped)),
            Mapping::Fault(why) => return Planned::Said(said(Disposition::Fault(why.clone()))),
        };
        let mut places = Vec::new();
        for table in Table::ALL {
            match self.addition(table, entry, meaning, stamps) {
                Ok(Some(addition)) => {
                    places.push(additions.len());
                    additions.push(addition);
                }
                Ok(None) => {}
                Err(why) => {
                    additions.truncate(additions.len() - places.len());
                    return Planned::Said(said(Disposition::Fault(why)));
                }
            }
        }
        Planned::Additions(places)
    }

    fn addition(
        &self,
        table: Table,
        entry: &Entry,
        meaning: &Meaning,
        stamps: Stamps,
    ) -> Result<Option<Addition>, String> {
        let (Some(id), Meaning::Event(mapped)) = (table.route(meaning, self.group), meaning) else {
            return Ok(None);
        };
        let changes = table.changes(mapped).map_err(|why| why.to_string())?;
        Ok(Some(Addition {
            action: ActionId::of(entry.hash, table, &id),
            event: entry.hash,
            order: entry.event.order(),
            start: table.new_row(self.group, &id),
            changes,
            settings: self.tenant.version(),
            stamps: Stamps {
                event: entry.event.time,
                ..stamps
            },
            key: RowKey {
                group: self.group.clone(),
                table,
                id,
            },
        }))
    }
}

impl Planned {
    fn rows_added(&self, added: &[Added]) -> u64 {
        let is_new = |place: &&usize| added.get(**place) == Some(&Added::Done);
        match self {
            Self::Additions(places) => places.iter().filter(is_new).count() as u64,
            Self::Said(_) => 0,
        }
    }

    fn outcome(self, additions: &[Addition], added: &[Added]) -> EventOutcome {
        let places = match self {
            Self::Additions(places) => places,
            Self::Said(outcome) => return outcome,
        };
        let mut outcome = said(Disposition::Applied);
        for (addition, became) in places
            .iter()
            .filter_map(|place| additions.get(*place).zip(added.get(*place)))
        {
            if *became == Added::Held {
                outcome.disposition = Disposition::Held;
            }
            outcome.nodes.push(ActionNode {
                table: addition.key.table,
                id: addition.key.id.clone(),
                outcome: match became {
                    Added::Done => Outcome::Changed,
                    Added::Held => Outcome::Held,
                },
                children: Vec::new(),
            });
        }
        outcome
    }
}

fn said(disposition: Disposition) -> EventOutcome {
    EventOutcome {
        disposition,
        nodes: Vec::new(),
        late: None,
    }
}
