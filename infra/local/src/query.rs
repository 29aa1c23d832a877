use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::flow::RowKey;
use shared::handlers::Table;
use shared::model::{Group, Timestamp};
use shared::ports::{ConversionQuery, Cursor, HistoryVersion, Reading, Tables};
use smol_str::SmolStr;

use crate::cli::{Data, moment};
use crate::error::{Failure, Status};
use crate::stores::Stores;

/// Ask the tables, through an index.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Conversions(ConversionsArgs),
    Changes(ChangesArgs),
}

/// Leads' conversions: of one lead, or by name within a time range, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback query conversions --tenant acme --lead lead-1017
  foldback query conversions --tenant acme --name won --from 2026-02-01 --to 2026-03-01 --limit 20")]
struct ConversionsArgs {
    #[command(flatten)]
    data: Data,
    /// The tenant.
    #[arg(long, value_name = "ID")]
    tenant: SmolStr,
    /// The lead.
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "from", "to", "after"])]
    lead: Option<SmolStr>,
    /// The conversion's name; leads come by the time of its last occurrence.
    #[arg(long, required_unless_present = "lead")]
    name: Option<SmolStr>,
    /// Not before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// At most so many rows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on after the page that gave this cursor.
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

pub(crate) fn run(args: &QueryArgs) -> Result<Status, Failure> {
    match &args.what {
        What::Conversions(args) => conversions(args),
        What::Changes(args) => changes(args),
    }
}

/// What an appointment was when, and since when that was known: one version a line.
///
/// Without more, the versions that are believed now. `--known-at` asks what was believed at a moment in
/// here (recorded time), `--as-of` which version held at a moment out there (event time), and both
/// together what we believed then about another moment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback query changes --tenant acme --appointment meeting-1002-1
  foldback query changes --tenant acme --lead lead-1002 --as-of 2026-02-14
  foldback query changes --tenant acme --appointment meeting-1002-1 --known-at 2026-03-01T12:00:00Z
  foldback query changes --tenant acme --appointment meeting-1002-1 --all")]
struct ChangesArgs {
    #[command(flatten)]
    data: Data,
    /// The tenant.
    #[arg(long, value_name = "ID")]
    tenant: SmolStr,
    /// The appointment.
    #[arg(long, value_name = "ID", required_unless_present = "lead")]
    appointment: Option<SmolStr>,
    /// All appointments of this lead.
    #[arg(long, value_name = "ID", conflicts_with = "appointment")]
    lead: Option<SmolStr>,
    /// The version that held at this event time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<Timestamp>,
    /// What was believed at this recorded time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    known_at: Option<Timestamp>,
    /// Every version there ever was, superseded ones included.
    #[arg(long, conflicts_with_all = ["as_of", "known_at"])]
    all: bool,
}

fn changes(args: &ChangesArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let tables = stores.tables();
    let mut keys = match (&args.appointment, &args.lead) {
        (Some(id), _) => stores.wait(tables.find(Some(&args.tenant), id))?,
        (None, lead) => {
            let group = Group {
                tenant: args.tenant.clone(),
                key: lead.clone().unwrap_or_default(),
            };
            let rows = stores.wait(tables.read_groups(&[group]))?;
            rows.into_iter().flatten().map(|row| row.key).collect()
        }
    };
    keys.retain(|key| key.table == Table::RSAppointmentChanges);
    keys.sort();
    let mut out = std::io::stdout().lock();
    let mut any = false;
    for key in &keys {
        let history = stores.wait(tables.history(key))?;
        let versions = if args.all {
            history
        } else {
            HistoryVersion::believed(&history, args.known_at)
        };
        let held = |one: &&HistoryVersion| args.as_of.is_none_or(|moment| one.held_at(moment));
        for version in versions.iter().filter(held) {
            any = true;
            writeln!(out, "{}", line(key, version))?;
        }
    }
    out.flush()?;
    if !any {
        anstream::eprintln!("no versions");
    }
    Ok(Status::Clean)
}

/// A version with both its times, its fields in the order of their names.
fn line(key: &RowKey, one: &HistoryVersion) -> String {
    let HistoryVersion {
        version,
        recorded_from,
        recorded_to,
    } = one;
    let mut fields: Map<String, Value> = serde_json::from_str(&version.fields).unwrap_or_default();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put(key.table.id_field(), key.id.as_str().into());
    put("tenant", key.group.tenant.as_str().into());
    put("n", version.n.into());
    put("causedBy", version.caused_by.as_str().into());
    let ends = [
        ("validFrom", Some(version.valid_from)),
        ("validTo", version.valid_to),
        ("recordedFrom", Some(*recorded_from)),
        ("recordedTo", *recorded_to),
    ];
    for (name, moment) in ends {
        if let Some(moment) = moment {
            put(name, moment.to_string().into());
        }
    }
    Value::Object(fields).to_string()
}

fn conversions(args: &ConversionsArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let tables = stores.tables();
    let mut out = std::io::stdout().lock();
    let (rows, next) = match (&args.lead, &args.name) {
        (Some(lead), _) => {
            let key = RowKey::conversions(&args.tenant, lead);
            let mut rows = stores.wait(tables.read(&[key], Reading::Row))?;
            rows.retain(|row| !row.is_gone());
            (rows, None)
        }
        (None, name) => {
            let page = stores.wait(tables.conversions(&ConversionQuery {
                tenant: args.tenant.clone(),
                name: name.clone().unwrap_or_default(),
                from: args.from.unwrap_or(Timestamp::MIN),
                to: args.to.unwrap_or(Timestamp::MAX),
                limit: usize::from(args.limit),
                after: args.after.clone(),
            }))?;
            (page.rows, page.next)
        }
    };
    if rows.is_empty() {
        anstream::eprintln!("no rows");
    }
    for row in rows {
        writeln!(out, "{}", row.row.body())?;
    }
    out.flush()?;
    if let Some(next) = next {
        anstream::eprintln!("there is more: --after {next}");
    }
    Ok(Status::Clean)
}
