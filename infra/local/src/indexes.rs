use std::io::Write;

use clap::Args;
use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{IndexCheck, QueryPlan};
use shared::ports::Indexes;

use crate::cli::{Data, table};
use crate::error::{Failure, Status};

/// Explain every declared query and check the indexes that it needs.
///
/// Each query must use the index that was declared for it, and look at about as much as it returns;
/// those that are for a whole table say so. Missing and unused indexes are named. Ends with 0 where
/// every query runs as declared (with `--create`: does now), and with 1 where one does not, an index
/// is missing, or one that the store keeps itself is not what the rows say.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback indexes
  foldback indexes --create
  foldback indexes --json | jq -r '.missing[].index'")]
pub(crate) struct IndexesArgs {
    #[command(flatten)]
    data: Data,
    /// First create the indexes that are missing, and mend those that the store keeps itself.
    #[arg(long)]
    create: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &IndexesArgs) -> Result<Status, Failure> {
    let directory = &args.data.directory;
    let store = if args.create {
        Embedded::open(directory, QueueLimits::default())?
    } else {
        Embedded::open_to_read(directory)?
    };
    if args.create {
        for index in block_on(store.create_indexes())? {
            anstream::eprintln!("created {index}");
        }
    }
    let check = block_on(store.check_indexes())?;
    let mut out = anstream::stdout().lock();
    if args.json {
        let json = serde_json::to_string(&check).unwrap_or_default();
        writeln!(out, "{json}")?;
    } else {
        print(&check, &mut out)?;
    }
    out.flush()?;
    anstream::eprintln!("{}", in_words(&check));
    Ok(if check.is_clean() {
        Status::Clean
    } else {
        Status::Findings
    })
}

/// The check of any store, for a person to read.
fn print(check: &IndexCheck, out: &mut impl Write) -> Result<(), Failure> {
    let mut plans = table(&[
        "query",
        "table",
        "needs",
        "uses",
        "examined / returned",
        "verdict",
    ]);
    for plan in &check.plans {
        plans.add_row(vec![
            plan.query.as_str(),
            &plan.table,
            &plan.needs,
            plan.uses.as_deref().unwrap_or("-"),
            &examined(plan),
            &verdict(plan),
        ]);
    }
    writeln!(out, "{plans}")?;
    for missing in &check.missing {
        let queries = missing.queries.join("; ");
        writeln!(
            out,
            "missing  {}.{}, needed by: {queries}",
            missing.table, missing.index
        )?;
    }
    for unused in &check.unused {
        writeln!(
            out,
            "unused   {}.{}: no query needs it",
            unused.table, unused.index
        )?;
    }
    for derived in check.derived.iter().filter(|derived| !derived.is_clean()) {
        writeln!(
            out,
            "astray   {}: lacks {} entries that rows lead to, has {} that none does",
            derived.index, derived.lacking, derived.stray
        )?;
    }
    Ok(())
}

/// "Looked at / returned" in the trial.
fn examined(plan: &QueryPlan) -> String {
    match plan.examined.zip(plan.returned) {
        Some((examined, returned)) => format!("{examined} / {returned}"),
        None => String::new(),
    }
}

fn verdict(plan: &QueryPlan) -> String {
    match plan.fault() {
        Some(fault) => format!("{fault}: {}", plan.explained),
        None if plan.is_whole_pass() => "as declared: all of the table".to_owned(),
        None => "good".to_owned(),
    }
}

/// The check in a sentence.
fn in_words(check: &IndexCheck) -> String {
    let count = |number: usize, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    };
    let faulty = check.plans.iter().filter(|plan| plan.fault().is_some());
    let astray = check.derived.iter().filter(|derived| !derived.is_clean());
    let lacks = match check.missing.len() + astray.count() {
        0 => String::new(),
        _some => "; `foldback indexes --create` mends them".to_owned(),
    };
    format!(
        "{} explained: {} not as declared; {} missing, {} unused{lacks}",
        count(check.plans.len(), "plan", "plans"),
        faulty.count(),
        count(check.missing.len(), "index", "indexes"),
        check.unused.len(),
    )
}
