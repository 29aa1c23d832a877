use std::io::Write;

use clap::Args;
use serde_json::json;
use shared::handlers::Table;
use shared::model::{Late, Timestamp};
use shared::ports::{HistoryVersion, Journal};
use shared::service::{self, EntityQuery, EntityView, Moment, Overtaken, Point, ViewRow};
use smol_str::SmolStr;

use crate::cli::{Data, OneTenant, moment, table};
use crate::error::{Failure, Status};
use crate::replay::groups_of;
use crate::settings;
use crate::stores::Stores;
use crate::summary::lateness;

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
    let query = EntityQuery {
        id: args.id.clone(),
        at: Point {
            as_of: args.as_of,
            known_at: args.known_at,
        },
        since: None,
    };
    for (group, _) in groups
        .iter()
        .zip(&journals)
        .filter(|(_, journal)| !journal.is_empty())
    {
        if settings.tenant(&group.tenant).is_none() {
            return Err(Failure::Input(format!(
                "the settings know no tenant {:?}",
                group.tenant
            )));
        }
    }
    let ports = stores.ports(&tables);
    for view in stores.wait(service::entity(&ports, &settings, &groups, &query))? {
        if args.json {
            writeln!(out, "{}", json(&view))?;
        } else {
            print(&mut out, &view, args)?;
        }
    }
    out.flush()?;
    Ok(Status::Clean)
}

fn late(moment: &Moment) -> Option<&Late> {
    moment.hierarchy.as_ref()?.late.as_ref()
}

fn print(out: &mut impl Write, view: &EntityView, args: &ShowArgs) -> Result<(), Failure> {
    writeln!(
        out,
        "{} {} of tenant {}: {} events",
        view.group.kind(),
        view.group.subject(),
        view.group.tenant,
        view.moments.len()
    )?;
    let mut events = table(&["event time", "event", "type", "means", "recorded", "late"]);
    for moment in &view.moments {
        let event = &moment.entry.event;
        events.add_row(vec![
            event.time.to_string(),
            format!("{}{}", event.id, moment.mark()),
            event.kind.to_string(),
            moment.meaning.clone(),
            moment.entry.recorded.to_string(),
            late(moment).map_or_else(String::new, |late| {
                format!("by {}, after {}", lateness(late.ms), late.overtaken_by)
            }),
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
    if view.rows.is_empty() {
        writeln!(
            out,
            "  none: no event counts by then; the column recorded says what was known when"
        )?;
    }
    for ViewRow {
        table, id, body, ..
    } in &view.rows
    {
        writeln!(out, "  {} {id}{}", table.name(), parked(view, *table, id))?;
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(body).unwrap_or_default();
        let shown = fields
            .iter()
            .filter(|(name, _)| *name != "tenant" && *name != table.id_field());
        for (name, value) in shown {
            writeln!(out, "    {name:<22} {value}")?;
        }
    }
    print_histories(out, view)
}

/// What is said of a row that waits for events in the dead-letter queue.
fn parked(view: &EntityView, table: Table, id: &SmolStr) -> String {
    let events = view.waits.of_row(table, id);
    if events.is_empty() {
        return String::new();
    }
    let events: Vec<&str> = events.into_iter().map(SmolStr::as_str).collect();
    format!("  parked: waits for {}", events.join(", "))
}

fn print_histories(out: &mut impl Write, view: &EntityView) -> Result<(), Failure> {
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
    for (id, versions) in &view.histories {
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

fn json(view: &EntityView) -> serde_json::Value {
    let events: Vec<_> = view
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
                "late": late(moment),
                "actions": moment.hierarchy.as_ref().map(|hierarchy| &hierarchy.actions),
            })
        })
        .collect();
    let rows: Vec<_> = view
        .rows
        .iter()
        .map(
            |ViewRow {
                 table, id, body, ..
             }| {
                let row: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                let parked = view.waits.of_row(*table, id);
                json!({"table": table, "id": id, "row": row, "parked": parked})
            },
        )
        .collect();
    let histories: Vec<_> = view
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
    json!({"group": view.group, "events": events, "rows": rows, "history": histories})
}
