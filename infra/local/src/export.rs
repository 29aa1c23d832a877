use std::io::{BufWriter, Write};

use clap::Args;
use clap::builder::PossibleValuesParser;
use shared::handlers::Table;

use crate::cli::{Data, OneTenant};
use crate::error::{Failure, Status};
use crate::stores::Stores;

/// Write a table as canonical JSON Lines.
///
/// One row a line, keys sorted, absent fields left out, rows sorted by tenant and id in byte order.
/// Trails and recorded times are left out; of histories, the versions in force are written. Any order
/// of arrival gives the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback export RSLead
  foldback export RSAppointmentChanges --tenant acme > changes.jsonl")]
pub(crate) struct ExportArgs {
    /// The table.
    #[arg(value_parser = PossibleValuesParser::new(Table::ALL.map(Table::name)))]
    table: String,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    tenant: OneTenant,
}

pub(crate) fn run(args: &ExportArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let Some(table) = Table::named(&args.table) else {
        return Err(Failure::Input(format!(
            "there is no table {:?}",
            args.table
        )));
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let tenant = args.tenant.tenant.as_deref();
    let write = |row: &str| -> Result<(), Failure> {
        out.write_all(row.as_bytes())?;
        Ok(out.write_all(b"\n")?)
    };
    stores.wait(stores.tables().export(table, tenant, write))?;
    out.flush()?;
    Ok(Status::Clean)
}
