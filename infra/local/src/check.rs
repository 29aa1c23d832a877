use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use shared::adapters::embedded::Embedded;
use shared::model::{StoreCheck, StorePart};

use crate::cli::{Data, table};
use crate::error::{Failure, Status};
use crate::stopwatch::Stopwatch;

/// Verify all that a data directory holds.
///
/// The file's pages, and that every record can be read and is what its checksum is of: the journal without a
/// gap, each event in it once, waiting messages, dead letters, settings, rows and their trails, histories,
/// places of conversions, indexes. A journal that ends before what was durable is found. It writes nothing and
/// runs beside a process that writes. Whether rows are what their events come to is for `foldback replay` to say.
///
/// Ends with 0 where nothing is wrong, with 1 where all that is wrong can be made anew from what is there, and
/// with 3 where something is lost, or the file cannot be read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback check
  foldback check --data crm --json | jq .faulty")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    data: Data,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Result<Status, Failure> {
    let instead = "there DynamoDB, SQS and MongoDB verify what they store; `foldback replay` verifies the rows";
    args.data.must_be_local("check", instead)?;
    let started = Stopwatch::start();
    let check = Embedded::open_to_read(&args.data.directory)?.check()?;
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(&check))?;
    } else {
        print(&check, &mut out)?;
    }
    out.flush()?;
    anstream::eprintln!("{} in {:.2?}", in_words(&check), started.elapsed());
    Ok(match (check.is_clean(), check.is_mendable()) {
        (true, _) => Status::Clean,
        (false, true) => Status::Findings,
        (false, false) => Status::Lost,
    })
}

fn as_json(check: &StoreCheck) -> Value {
    let mut json = json!(check);
    let todo = check
        .faulty
        .keys()
        .map(|part| (part.name().to_owned(), part.what_to_do().into()));
    let todo: serde_json::Map<String, Value> = todo.collect();
    if let Some(json) = json.as_object_mut() {
        json.insert("whatToDo".to_owned(), todo.into());
    }
    json
}

fn print(check: &StoreCheck, out: &mut impl Write) -> Result<(), Failure> {
    let mut counts = table(&["checked", "number"]);
    counts.add_row(vec![
        "format of the file".to_owned(),
        check.format.to_string(),
    ]);
    for (what, count) in &check.counts {
        counts.add_row(vec![(*what).to_owned(), count.to_string()]);
    }
    writeln!(out, "{counts}")?;
    for (part, count) in &check.faulty {
        writeln!(out, "\n{}: {count} wrong", part.name())?;
        let named = check.faults.iter().filter(|fault| fault.part == *part);
        for fault in named {
            writeln!(out, "  {}: {}", fault.place, fault.what)?;
        }
        writeln!(out, "  → {}", part.what_to_do())?;
    }
    Ok(())
}

fn in_words(check: &StoreCheck) -> String {
    if check.is_clean() {
        return "all is as it should be:".to_owned() + " checked";
    }
    let parts: Vec<&str> = check.faulty.keys().copied().map(StorePart::name).collect();
    let end = if check.is_mendable() {
        "all of it can be made anew"
    } else {
        "not all of it can be made anew"
    };
    format!("damaged: {}; {end}; checked", parts.join(", "))
}
