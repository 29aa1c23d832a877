use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::flow::{self, Explained, RowKey, Stored};
use crate::handlers::Table;
use crate::model::{ActionHierarchy, Entry, EventHash, FieldChange, Group, GroupKind, Timestamp};
use crate::ports::{Error, Hierarchies, HistoryVersion, Journal, Queue, Tables};
use crate::settings::{Mapping, Settings, Tenant};

use super::Waits;

/// What is asked of an entity: a lead, an appointment, a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityQuery {
    /// Its id.
    pub id: SmolStr,
    /// How it was seen from where.
    pub at: Point,
    /// Another point, to tell what changed from that one.
    pub since: Option<Point>,
}

/// A point in both times. Nothing set is the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// As it was at this event time: later events are left out.
    pub as_of: Option<Timestamp>,
    /// As it was known at this recorded time: events recorded later are left out.
    pub known_at: Option<Timestamp>,
}

/// All that is known of an entity in one group.
#[derive(Debug, Clone)]
pub struct EntityView {
    /// The group.
    pub group: Group,
    /// Its events, in order.
    pub moments: Vec<Moment>,
    /// Its rows: as they stand at present, as the events that count fold to at another point.
    pub rows: Vec<ViewRow>,
    /// What was believed of its temporal rows, and when.
    pub histories: Vec<(SmolStr, Vec<HistoryVersion>)>,
    /// Which rows wait for events in the dead-letter queue; of the present alone.
    pub waits: Waits,
    /// What is different from the other point, where one was asked about.
    pub changes: Vec<Explained>,
}

/// One event of a timeline.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The event.
    pub entry: Entry,
    /// What it means under the settings, in words.
    pub meaning: String,
    /// What it led to; `None` where that is not known (any more).
    pub hierarchy: Option<ActionHierarchy>,
    /// Why it is not the telling of its event in force, as far as was known then; `None` where it is.
    pub overtaken: Option<Overtaken>,
    /// Whether it counts at the point that was asked about.
    pub counts: bool,
}

/// Why a telling of an event is not the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overtaken {
    /// Another one took its place.
    Amended,
    /// The event was taken back.
    Withdrawn,
}

impl Overtaken {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amended => "amended",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// By the tellings of its event that are known.
    fn of(entry: &Entry, known: &[&Entry]) -> Option<Self> {
        let same = known
            .iter()
            .filter(|one| one.event.identity() == entry.event.identity());
        let latest = same.max_by_key(|one| one.event.revision())?;
        if latest.event.is_withdrawn() {
            return Some(Self::Withdrawn);
        }
        (latest.event.revision() > entry.event.revision()).then_some(Self::Amended)
    }
}

impl Moment {
    /// Which telling of its event it is, and why it does not count.
    #[must_use]
    pub fn mark(&self) -> String {
        let revision = match self.entry.event.revision() {
            0 => String::new(),
            revision => format!(" revision {revision}"),
        };
        match (self.overtaken, self.counts) {
            (Some(overtaken), _) => format!("{revision} ({})", overtaken.name()),
            (None, true) => revision,
            (None, false) if self.entry.event.meant_for().is_some() => revision,
            (None, false) => format!("{revision} (left out)"),
        }
    }
}

/// A row of a view.
#[derive(Debug, Clone)]
pub struct ViewRow {
    /// The table.
    pub table: Table,
    /// The row's id.
    pub id: SmolStr,
    /// Its canonical JSON.
    pub body: String,
    /// Its fields, nested ones by their path: each as `after`, and the event that set it.
    pub fields: Vec<FieldChange>,
}

impl Point {
    /// Whether it is the present.
    #[must_use]
    pub fn is_present(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it was known there.
    fn knows(&self, entry: &Entry) -> bool {
        self.known_at.is_none_or(|moment| entry.recorded <= moment)
    }

    /// A version as it was to be seen there, if it was.
    #[must_use]
    pub fn sees(&self, mut one: HistoryVersion) -> Option<HistoryVersion> {
        let after = |point: Option<Timestamp>, moment| point.is_some_and(|point| moment > point);
        if after(self.known_at, one.recorded_from) || after(self.as_of, one.version.valid_from) {
            return None;
        }
        let (known_at, as_of) = (self.known_at, self.as_of);
        one.recorded_to = one
            .recorded_to
            .filter(|end| known_at.is_none_or(|now| *end <= now));
        let valid_to = one.version.valid_to;
        one.version.valid_to = valid_to.filter(|end| as_of.is_none_or(|moment| *end <= moment));
        Some(one)
    }
}

/// What is known of an entity, in each of these groups that has events.
///
/// # Errors
/// A port failed, or the settings know no such tenant.
pub async fn entity<P: Journal + Queue + Tables + Hierarchies>(
    ports: &P,
    settings: &Settings,
    groups: &[Group],
    query: &EntityQuery,
) -> Result<Vec<EntityView>, Error> {
    let journals = ports.entries(groups).await?;
    let mut views = Vec::new();
    for (group, journal) in groups.iter().zip(journals) {
        let tenant = settings.tenant(&group.tenant);
        let Some(tenant) = tenant.filter(|_| !journal.is_empty()) else {
            continue;
        };
        let stored = ports.read_groups(std::slice::from_ref(group)).await?;
        let stored: Vec<Stored> = stored.into_iter().flatten().collect();
        let hierarchies = ports.of_group(group).await?;
        let known = Known {
            tenant,
            group,
            journal,
            query,
        };
        let waits = if query.at.is_present() {
            Waits::of(ports, tenant, group, (&known.journal, &stored)).await?
        } else {
            Waits::default()
        };
        let rows = known.rows(&stored, &waits);
        let mut histories = Vec::new();
        for row in rows.iter().filter(|row| row.table.is_temporal()) {
            let key = RowKey {
                group: group.clone(),
                table: row.table,
                id: row.id.clone(),
            };
            let versions = ports.history(&key).await?.into_iter();
            let seen = versions
                .filter_map(|version| query.at.sees(version))
                .collect();
            histories.push((row.id.clone(), seen));
        }
        views.push(EntityView {
            group: group.clone(),
            changes: known.changes(),
            moments: known.moments(hierarchies),
            rows,
            histories,
            waits,
        });
    }
    Ok(views)
}

/// What a group's journal says of the entity that is asked about.
struct Known<'a> {
    tenant: &'a Tenant,
    group: &'a Group,
    journal: Vec<Entry>,
    query: &'a EntityQuery,
}

impl Known<'_> {
    /// Whether all of the group is about it.
    fn is_whole(&self) -> bool {
        self.group.subject() == self.query.id && self.group.kind() != GroupKind::Appointment
    }

    /// First what was known; of that the tellings in force; of those what had happened by then.
    fn counted(&self, point: &Point) -> Vec<&Entry> {
        let known = self.journal.iter().filter(|entry| point.knows(entry));
        let known: Vec<&Entry> = known.collect();
        let mut counted = flow::in_force(&known);
        counted.retain(|entry| point.as_of.is_none_or(|moment| entry.event.time <= moment));
        counted
    }

    fn rows(&self, stored: &[Stored], waits: &Waits) -> Vec<ViewRow> {
        let counted = self.counted(&self.query.at);
        let folded = flow::explain(self.tenant, self.group, &[], &counted);
        let is_shown = |id: &SmolStr| self.is_whole() || *id == self.query.id;
        if self.query.at.is_present() {
            let there = stored
                .iter()
                .filter(|row| !row.is_gone() && is_shown(&row.key.id));
            let mut rows: Vec<ViewRow> = there.map(|row| stands(row, &folded)).collect();
            for (table, id) in waits.rows().filter(|(_, id)| is_shown(id)) {
                if !rows.iter().any(|row| (row.table, &row.id) == (*table, id)) {
                    rows.push(not_there(*table, id));
                }
            }
            return rows;
        }
        let rows = folded.into_iter().filter(|row| is_shown(&row.id));
        let row = |one: Explained| {
            Some(ViewRow {
                body: one.row.as_ref()?.body(),
                table: one.table,
                id: one.id,
                fields: one.changes,
            })
        };
        rows.filter_map(row).collect()
    }

    fn changes(&self) -> Vec<Explained> {
        let Some(since) = &self.query.since else {
            return Vec::new();
        };
        let (before, after) = (self.counted(since), self.counted(&self.query.at));
        let mut changes = flow::explain(self.tenant, self.group, &before, &after);
        changes
            .retain(|one| !one.changes.is_empty() && (self.is_whole() || one.id == self.query.id));
        changes
    }

    fn moments(self, hierarchies: Vec<ActionHierarchy>) -> Vec<Moment> {
        let mut by_event = BTreeMap::new();
        // Of what an event led to when it came again, what it led to first is told.
        for one in hierarchies.into_iter().rev() {
            by_event.insert((one.source.clone(), one.event_id.clone()), one);
        }
        let is_whole = self.is_whole();
        let counted = self.counted(&self.query.at);
        let counting: BTreeSet<EventHash> = counted.iter().map(|entry| entry.hash).collect();
        let known = self
            .journal
            .iter()
            .filter(|entry| self.query.at.knows(entry));
        let known: Vec<&Entry> = known.collect();
        let of_id = self.journal.iter();
        let of_id = of_id.filter(|entry| acts_on(self.tenant, entry, &self.query.id));
        let of_id: BTreeSet<EventHash> = of_id.map(|entry| entry.event.identity()).collect();
        let mut ordered: Vec<&Entry> = self.journal.iter().collect();
        ordered.sort_by(|a, b| a.event.cmp_order(&b.event));
        ordered.retain(|entry| is_whole || of_id.contains(&entry.event.identity()));
        let moment = |entry: &Entry| {
            let identity = (entry.event.source.clone(), entry.event.id.clone());
            Moment {
                meaning: meaning(self.tenant, entry),
                hierarchy: by_event.get(&identity).cloned(),
                overtaken: Overtaken::of(entry, &known),
                counts: counting.contains(&entry.hash),
                entry: entry.clone(),
            }
        };
        ordered.into_iter().map(moment).collect()
    }
}

/// A row that waits for its first event.
fn not_there(table: Table, id: &SmolStr) -> ViewRow {
    ViewRow {
        table,
        id: id.clone(),
        body: String::new(),
        fields: Vec::new(),
    }
}

/// A stored row, with the events that set its fields where the fold has them so too.
fn stands(row: &Stored, folded: &[Explained]) -> ViewRow {
    let (table, id) = (row.key.table, row.key.id.clone());
    let mut fields = flow::fields_of(&row.row);
    let explained = folded.iter().find(|one| one.table == table && one.id == id);
    for field in &mut fields {
        let known = explained.and_then(|one| one.changes.iter().find(|c| c.field == field.field));
        let same = known.filter(|known| known.after == field.after);
        field.caused_by = same.and_then(|known| known.caused_by.clone());
    }
    ViewRow {
        table,
        id,
        body: row.row.body(),
        fields,
    }
}

fn acts_on(tenant: &Tenant, entry: &Entry, appointment: &SmolStr) -> bool {
    match tenant.map(&entry.event) {
        Mapping::Mapped(meaning) => {
            let id = Table::RSAppointment.route(&meaning, &entry.group);
            id.as_ref() == Some(appointment)
        }
        Mapping::Unmapped | Mapping::Fault(_) => false,
    }
}

/// What an event means under a tenant's settings, in words.
#[must_use]
pub fn meaning(tenant: &Tenant, entry: &Entry) -> String {
    if entry.event.is_withdrawn() {
        return "(withdraws it)".to_owned();
    }
    if let Some(key) = entry.event.meant_for() {
        return format!("(told {key})");
    }
    match tenant.map(&entry.event) {
        Mapping::Mapped(meaning) => match entry.event.stated_by() {
            Some(key) => format!("{meaning}, stated by {key}"),
            None => meaning.to_string(),
        },
        Mapping::Unmapped => "(unmapped)".to_owned(),
        Mapping::Fault(why) => format!("(parked: {why})"),
    }
}
