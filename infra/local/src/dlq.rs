use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pollster::block_on;
use shared::adapters::SystemClock;
use shared::adapters::embedded::Embedded;
use shared::ports::{Clock, Queue};

use crate::cli::{Data, table};
use crate::error::{Failure, Status};
use crate::intake::Intake;
use crate::pipeline;
use crate::progress::Progress;
use crate::settings::{self, Source};
use crate::stores::Stores;

/// Look at the dead-letter queue, or send its events back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback dlq list
  foldback dlq redrive --settings mended.toml
  foldback dlq redrive 17 18")]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List parked events with the reason. Ends with 1 where there are any.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Send parked events back to the queue and process them; the rows they belong to heal.
    Redrive {
        #[command(flatten)]
        data: Data,
        /// The letters' numbers; all of them if none is given.
        #[arg(value_name = "LETTER")]
        letters: Vec<u128>,
        /// New settings to put in force first: a wrong rule is what parks most events.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
}

/// How many letters are read at once.
const PAGE: usize = 1_000;

pub(crate) fn run(args: &DlqArgs) -> Result<Status, Failure> {
    match &args.what {
        What::List { data } => list(data),
        What::Redrive {
            data,
            letters,
            settings,
        } => redrive(data, letters, settings.as_ref()),
    }
}

fn list(data: &Data) -> Result<Status, Failure> {
    let store = Embedded::open_to_read(&data.directory)?;
    let mut out = anstream::stdout().lock();
    let mut listed = table(&["letter", "group", "event", "type", "since", "reason"]);
    let mut after = 0;
    let mut any = false;
    loop {
        let letters = block_on(store.dead_letters(after, PAGE))?;
        let Some(last) = letters.last() else { break };
        after = last.id;
        any = true;
        for letter in &letters {
            for entry in &letter.message.entries {
                listed.add_row(vec![
                    letter.id.to_string(),
                    letter.message.group.to_string(),
                    entry.event.id.to_string(),
                    entry.event.kind.to_string(),
                    letter.at.to_string(),
                    letter.reason.clone(),
                ]);
            }
        }
    }
    if any {
        writeln!(out, "{listed}")?;
        out.flush()?;
        return Ok(Status::Findings);
    }
    anstream::eprintln!("the dead-letter queue is empty");
    Ok(Status::Clean)
}

fn redrive(
    data: &Data,
    letters: &[u128],
    new_settings: Option<&PathBuf>,
) -> Result<Status, Failure> {
    let read = settings::read(new_settings.map_or(Source::Stored, |path| Source::File(path)))?;
    let stores = Stores::open(data)?;
    let store = stores.local();
    let settings = settings::put_in_force(store, read.as_ref(), SystemClock.now())?;
    let mut sent = 0;
    if letters.is_empty() {
        let mut after = 0;
        loop {
            let page = block_on(store.dead_letters(after, PAGE))?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let ids: Vec<u128> = page.iter().map(|letter| letter.id).collect();
            sent += block_on(store.redrive(&ids, SystemClock.now()))?;
        }
    } else {
        sent = block_on(store.redrive(letters, SystemClock.now()))?;
    }
    let intake = Intake {
        settings: &settings,
        tenant: None,
        inputs: &[],
        batch_max: crate::run::BATCH_MAX,
    };
    let mut progress = Progress::new("redriving", "events", None);
    let done = pipeline::run(&stores, intake, &mut progress);
    progress.finish();
    let totals = done?;
    let applied = totals.processed.events;
    anstream::eprintln!(
        "{sent} letters sent back: {applied} events applied, {} parked again",
        totals.parked
    );
    for (event, why) in &totals.first_parked {
        anstream::eprintln!("  event {event}: {why}");
    }
    Ok(if totals.parked == 0 {
        Status::Clean
    } else {
        Status::Findings
    })
}
