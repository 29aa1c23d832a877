use std::io::Write;

use clap::{Args, Subcommand};
use shared::model::Timestamp;
use shared::ports::{ConversionQuery, Cursor, Reading, Tables};
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
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<Cursor>,
}

/// A cursor as a page's end prints it: the time of the last row's conversion, then its lead.
fn cursor(text: &str) -> Result<Cursor, String> {
    let wrong = || format!("{text:?} is no cursor that a page has given");
    let (time, lead) = text.split_once('/').ok_or_else(wrong)?;
    let last_at = Timestamp::parse(time).map_err(|_no_time| wrong())?;
    Ok(Cursor {
        last_at,
        lead_id: lead.into(),
    })
}

pub(crate) fn run(args: &QueryArgs) -> Result<Status, Failure> {
    match &args.what {
        What::Conversions(args) => conversions(args),
    }
}

fn conversions(args: &ConversionsArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let tables = stores.tables();
    let mut out = std::io::stdout().lock();
    let (rows, next) = match (&args.lead, &args.name) {
        (Some(lead), _) => {
            let key = shared::flow::RowKey::conversions(&args.tenant, lead);
            (stores.wait(tables.read(&[key], Reading::Row))?, None)
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
    if let Some(Cursor { last_at, lead_id }) = next {
        anstream::eprintln!("there is more: --after {last_at}/{lead_id}");
    }
    Ok(Status::Clean)
}
