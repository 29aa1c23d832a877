use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use shared::adapters::{Joined, SystemClock};
use shared::handlers::Table;
use shared::ports::Clock;
use shared::service::{Adopt, Adopted};
use smol_str::SmolStr;

use crate::cli::{self, Data};
use crate::error::{Failure, Status};
use crate::progress::Progress;
use crate::settings::{self, Source};
use crate::stores::Stores;
use crate::tables::HostTables;

/// Take rows over that other code wrote to tables in MongoDB.
///
/// What each row is now becomes a baseline in the journal, from which folding goes on; the row gets its
/// trail in place and keeps its id and the fields that are not the table's. Rows that follow from adopted
/// ones are made. From then on, `foldback replay` finds what other code writes as `foreign`. Ends with
/// 1 where a row was refused or left for another run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback adopt RSLead RSAppointment --settings settings.toml
  foldback adopt RSLead --tenant acme")]
pub(crate) struct AdoptArgs {
    /// The tables. One that follows from others is adopted together with them.
    #[arg(required = true, value_name = "TABLE",
          value_parser = PossibleValuesParser::new(Table::ALL.map(Table::name)))]
    tables: Vec<String>,
    #[command(flatten)]
    data: Data,
    /// The tenant of rows that name none.
    #[arg(long, value_name = "ID")]
    tenant: Option<SmolStr>,
    /// What later events mean; without it, what the data directory was last run with.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

pub(crate) fn run(args: &AdoptArgs) -> Result<Status, Failure> {
    let instead = "adopt before the events of these rows go there";
    args.data.must_be_local("adopt", instead)?;
    let source = args
        .settings
        .as_deref()
        .map_or(Source::Stored, Source::File);
    let read = settings::read(source)?;
    let stores = Stores::open(&args.data)?;
    let HostTables::Remote(mongo) = stores.tables() else {
        return Err(Failure::Input(
            "only tables in MongoDB are written by other code; give --mongodb URI or set \
             FOLDBACK_MONGODB"
                .to_owned(),
        ));
    };
    let settings = settings::put_in_force(stores.events(), read.as_ref(), SystemClock.now())?;
    let tables: Vec<Table> = args
        .tables
        .iter()
        .filter_map(|name| Table::named(name))
        .collect();
    let adopt = Adopt {
        ports: &Joined {
            events: stores.events(),
            tables: mongo,
        },
        clock: &SystemClock,
        settings: &settings,
    };
    let mut progress = Progress::new("adopting", "rows", None);
    let mut findings = 0_u64;
    let adopted = stores.wait(adopt.run(
        &tables,
        args.tenant.as_ref(),
        |_finding| findings += 1,
        |so_far| progress.set(so_far.rows, None, so_far.rows),
    ));
    progress.finish();
    let adopted = adopted?;
    print(&adopted)?;
    Ok(if adopted.refusals + adopted.conflicts == 0 {
        Status::Clean
    } else {
        Status::Findings
    })
}

fn print(adopted: &Adopted) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    if !adopted.refused.is_empty() {
        let mut table = cli::table(&["refused", "row", "why"]);
        for refused in &adopted.refused {
            let handle = refused.handle.as_deref().unwrap_or("(the whole table)");
            table.add_row(vec![refused.table.name(), handle, refused.why.as_str()]);
        }
        writeln!(out, "{table}")?;
    }
    out.flush()?;
    let Adopted {
        rows,
        adopted: done,
        already,
        conflicts,
        mended,
        refusals,
        ..
    } = adopted;
    let mut words = format!("{rows} rows without a trail: {done} adopted, {refusals} refused");
    if *already > 0 {
        words.push_str(&format!(
            "; the baselines of {already} were journaled before"
        ));
    }
    if *conflicts > 0 {
        words.push_str(&format!(
            "; {conflicts} were being written by other code and are left: run this again"
        ));
    }
    anstream::eprintln!("{words}; {mended} rows that follow from them written");
    Ok(())
}
