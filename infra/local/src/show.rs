use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use serde_json::json;
use shared::flow::{self, RowKey, Stored};
use shared::handlers::Table;
use shared::model::{ActionHierarchy, Entry, EventHash, Group, GroupKind, Timestamp};
use shared::ports::{Hierarchies, HistoryVersion, Journal, Tables};
use shared::settings::{Mapping, Settings, Tenant};
use smol_str::SmolStr;

use crate::cli::{Data, OneTenant, moment, table};
use crate::error::{Failure, Status};
use crate::replay::groups_of;
use crate::settings;
use crate::stores::Stores;
use crate::summary::lateness;
use crate::waits::Waits;

/// Show an entity: its events, what was late, its rows, and what was believed when.
///
/// `--as-of` asks what was so at a moment out there (event time), `--known-at` what we had been told by
/// a moment in here (recorded time); both together ask what we believed then about another moment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback show lead-1007
  foldback show lead-1007 --as-of 2026-02-14
  foldback show meeting-1002-1 --known-at 2027-01-01 --json")]
pub(crate) struct ShowArgs {
    /// A lead or an appointment.
    id: SmolStr,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    tenant: OneTenant,
    /// Rows as of this event time: later events are left out.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<Timestamp>,
    /// Rows as known at this recorded time: events recorded later are left out.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    known_at: Option<Timestamp>,
    /// One JSON object a tenant that knows the id.
    #[arg(long)]
    json: bool,
}

/// One event of the timeline.
struct Moment<'e> {
    entry: &'e Entry,
    meaning: String,
    hierarchy: Option<&'e ActionHierarchy>,
    /// What the tellings that are known came to make of it; `None` where it is the one in force.
    overtaken: Option<Overtaken>,
    counts: bool,
}

/// Why a telling of an event is not the one in force.
#[derive(Clone, Copy)]
enum Overtaken {
    Amended,
    Withdrawn,
}

impl Overtaken {
    fn name(self) -> &'static str {
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

/// A row of the view: the table, its id and its canonical JSON.
type ViewRow = (Table, SmolStr, String);

/// All that is shown of one group.
struct View<'e> {
    group: &'e Group,
    moments: Vec<Moment<'e>>,
    rows: Vec<ViewRow>,
    histories: Vec<(SmolStr, Vec<HistoryVersion>)>,
    waits: Waits,
}

pub(crate) fn run(args: &ShowArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let (store, tables) = (stores.events(), stores.tables());
    let settings = settings::in_force(store)?;
    let groups = groups_of(&stores, args.tenant.tenant.as_ref(), &args.id)?;
    let mut out = anstream::stdout().lock();
    let journals = stores.wait(store.entries(&groups))?;
    if journals.iter().all(Vec::is_empty) {
        return Err(Failure::Input(format!(
            "no lead or appointment {:?} is known",
            args.id
        )));
    }
    for (group, journal) in groups
        .iter()
        .zip(&journals)
        .filter(|(_, journal)| !journal.is_empty())
    {
        let stored = stores.wait(tables.read_groups(std::slice::from_ref(group)))?;
        let stored: Vec<Stored> = stored.into_iter().flatten().collect();
        let hierarchies = stores.wait(tables.of_group(group))?;
        let view = view(
            args,
            &stores,
            &settings,
            group,
            (journal, &stored, &hierarchies),
        )?;
        if args.json {
            writeln!(out, "{}", view.json())?;
        } else {
            view.print(&mut out, args)?;
        }
    }
    out.flush()?;
    Ok(Status::Clean)
}

fn view<'e>(
    args: &ShowArgs,
    stores: &Stores,
    settings: &Settings,
    group: &'e Group,
    (journal, stored, hierarchies): (&'e [Entry], &'e [Stored], &'e [ActionHierarchy]),
) -> Result<View<'e>, Failure> {
    let Some(tenant) = settings.tenant(&group.tenant) else {
        return Err(Failure::Input(format!(
            "the settings know no tenant {:?}",
            group.tenant
        )));
    };
    let whole = group.subject() == args.id && group.kind() != GroupKind::Appointment;
    let mut entries: Vec<&Entry> = journal.iter().collect();
    entries.sort_by(|a, b| a.event.cmp_order(&b.event));
    // First what was known; of that the tellings in force; of those what had happened by then.
    let was_known = |entry: &&Entry| args.known_at.is_none_or(|moment| entry.recorded <= moment);
    let known: Vec<&Entry> = entries.iter().copied().filter(was_known).collect();
    let mut counted = flow::in_force(&known);
    counted.retain(|entry| args.as_of.is_none_or(|moment| entry.event.time <= moment));
    let counting: BTreeSet<EventHash> = counted.iter().map(|entry| entry.hash).collect();
    let of_id = entries
        .iter()
        .filter(|entry| acts_on(tenant, entry, &args.id));
    let of_id: BTreeSet<EventHash> = of_id.map(|entry| entry.event.identity()).collect();
    let by_event: BTreeMap<(&str, &str), &ActionHierarchy> = hierarchies
        .iter()
        .rev()
        .map(|h| ((h.source.as_str(), h.event_id.as_str()), h))
        .collect();
    let moments = entries
        .iter()
        .filter(|entry| whole || of_id.contains(&entry.event.identity()))
        .map(|entry| Moment {
            entry,
            meaning: meaning(tenant, entry),
            hierarchy: by_event
                .get(&(entry.event.source.as_str(), entry.event.id.as_str()))
                .copied(),
            overtaken: Overtaken::of(entry, &known),
            counts: counting.contains(&entry.hash),
        })
        .collect();
    let rows = if args.as_of.is_some() || args.known_at.is_some() {
        let cells = flow::fold_all(tenant, group, &counted);
        cells
            .into_iter()
            .map(|((table, id), cell)| (table, id, cell.row.body()))
            .collect()
    } else {
        let row = |row: &Stored| (row.key.table, row.key.id.clone(), row.row.body());
        let there = stored.iter().filter(|row| !row.is_gone());
        there.map(row).collect::<Vec<ViewRow>>()
    };
    let mut rows: Vec<ViewRow> = rows
        .into_iter()
        .filter(|(_, id, _)| whole || *id == args.id)
        .collect();
    let waits = if args.as_of.is_some() || args.known_at.is_some() {
        Waits::default()
    } else {
        Waits::of(stores, tenant, group, (journal, stored))?
    };
    for (table, id) in waits.rows().filter(|(_, id)| whole || *id == args.id) {
        if !rows.iter().any(|row| (row.0, &row.1) == (*table, id)) {
            rows.push((*table, id.clone(), String::new()));
        }
    }
    let mut histories = Vec::new();
    for (table, id, _) in rows.iter().filter(|(table, _, _)| table.is_temporal()) {
        let key = RowKey {
            group: group.clone(),
            table: *table,
            id: id.clone(),
        };
        let versions = stores.wait(stores.tables().history(&key))?;
        histories.push((
            id.clone(),
            versions.into_iter().filter_map(|v| seen(args, v)).collect(),
        ));
    }
    Ok(View {
        group,
        moments,
        rows,
        histories,
        waits,
    })
}

/// A version as it was to be seen at the moments that are asked about, if it was.
fn seen(args: &ShowArgs, mut one: HistoryVersion) -> Option<HistoryVersion> {
    if args
        .known_at
        .is_some_and(|moment| one.recorded_from > moment)
        || args
            .as_of
            .is_some_and(|moment| one.version.valid_from > moment)
    {
        return None;
    }
    one.recorded_to = one
        .recorded_to
        .filter(|end| args.known_at.is_none_or(|now| *end <= now));
    one.version.valid_to = one
        .version
        .valid_to
        .filter(|end| args.as_of.is_none_or(|moment| *end <= moment));
    Some(one)
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

fn meaning(tenant: &Tenant, entry: &Entry) -> String {
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

impl Moment<'_> {
    /// Which telling of its event it is, and why it does not count.
    fn mark(&self) -> String {
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

    fn late(&self) -> String {
        match self.hierarchy.and_then(|hierarchy| hierarchy.late.as_ref()) {
            Some(late) => format!("by {}, after {}", lateness(late.ms), late.overtaken_by),
            None => String::new(),
        }
    }
}

impl View<'_> {
    fn print(&self, out: &mut impl Write, args: &ShowArgs) -> Result<(), Failure> {
        writeln!(
            out,
            "{} {} of tenant {}: {} events",
            self.group.kind(),
            self.group.subject(),
            self.group.tenant,
            self.moments.len()
        )?;
        let mut events = table(&["event time", "event", "type", "means", "recorded", "late"]);
        for moment in &self.moments {
            let event = &moment.entry.event;
            events.add_row(vec![
                event.time.to_string(),
                format!("{}{}", event.id, moment.mark()),
                event.kind.to_string(),
                moment.meaning.clone(),
                moment.entry.recorded.to_string(),
                moment.late(),
            ]);
        }
        writeln!(out, "{events}")?;
        let when = |name: &str, moment: Option<Timestamp>| {
            moment
                .map(|moment| format!(" {name} {moment}"))
                .unwrap_or_default()
        };
        let as_of = when("as of", args.as_of);
        writeln!(out, "\nrows{as_of}{}", when("as known at", args.known_at))?;
        if self.rows.is_empty() {
            writeln!(
                out,
                "  none: no event counts by then; the column recorded says what was known when"
            )?;
        }
        for (table, id, body) in &self.rows {
            writeln!(out, "  {} {id}{}", table.name(), self.parked(*table, id))?;
            let fields: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(body).unwrap_or_default();
            let shown = fields
                .iter()
                .filter(|(name, _)| *name != "tenant" && *name != table.id_field());
            for (name, value) in shown {
                writeln!(out, "    {name:<22} {value}")?;
            }
        }
        self.print_histories(out)
    }

    /// What is said of a row that waits for events in the dead-letter queue.
    fn parked(&self, table: Table, id: &SmolStr) -> String {
        let events = self.waits.of_row(table, id);
        if events.is_empty() {
            return String::new();
        }
        let events: Vec<&str> = events.into_iter().map(SmolStr::as_str).collect();
        format!("  parked: waits for {}", events.join(", "))
    }

    fn print_histories(&self, out: &mut impl Write) -> Result<(), Failure> {
        let open = |end: Option<Timestamp>| end.map_or("…".to_owned(), |end| end.to_string());
        let header = [
            "n",
            "valid from",
            "valid to",
            "is",
            "caused by",
            "believed from",
            "until",
        ];
        for (id, versions) in &self.histories {
            writeln!(out, "\nwhat was believed of {id}, and when")?;
            let mut believed = table(&header);
            for HistoryVersion {
                version,
                recorded_from,
                recorded_to,
            } in versions
            {
                believed.add_row(vec![
                    version.n.to_string(),
                    version.valid_from.to_string(),
                    open(version.valid_to),
                    version.fields.to_string(),
                    version.caused_by.to_string(),
                    recorded_from.to_string(),
                    open(*recorded_to),
                ]);
            }
            writeln!(out, "{believed}")?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let events: Vec<_> = self
            .moments
            .iter()
            .map(|moment| {
                let event = &moment.entry.event;
                json!({
                    "time": event.time, "source": event.source, "id": event.id,
                    "type": event.kind, "means": moment.meaning,
                    "recorded": moment.entry.recorded, "counts": moment.counts,
                    "revision": event.revision(),
                    "overtaken": moment.overtaken.map(Overtaken::name),
                    "late": moment.hierarchy.and_then(|hierarchy| hierarchy.late.as_ref()),
                    "actions": moment.hierarchy.map(|hierarchy| &hierarchy.actions),
                })
            })
            .collect();
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(table, id, body)| {
                let row: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                let parked = self.waits.of_row(*table, id);
                json!({"table": table, "id": id, "row": row, "parked": parked})
            })
            .collect();
        let histories: Vec<_> = self
            .histories
            .iter()
            .flat_map(|(id, versions)| {
                versions.iter().map(move |one| {
                    let fields: serde_json::Value =
                        serde_json::from_str(&one.version.fields).unwrap_or_default();
                    json!({
                        "id": id, "n": one.version.n, "validFrom": one.version.valid_from,
                        "validTo": one.version.valid_to, "causedBy": one.version.caused_by,
                        "fields": fields, "recordedFrom": one.recorded_from,
                        "recordedTo": one.recorded_to,
                    })
                })
            })
            .collect();
        json!({"group": self.group, "events": events, "rows": rows, "history": histories})
    }
}
