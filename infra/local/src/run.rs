use std::fs;
use std::path::PathBuf;

use clap::Args;
use shared::adapters::SystemClock;
use shared::adapters::prometheus::Scraped;
use shared::ports::{Clock, Meter, Queue};
use shared::service::measured;
use smol_str::SmolStr;

use crate::cli::Data;
use crate::error::{Failure, Status};
use crate::input::Input;
use crate::intake::Intake;
use crate::log::Log;
use crate::pipeline::Watch;
use crate::probe::Probe;
use crate::progress::Progress;
use crate::settings::{self, InForce, Source};
use crate::stopwatch::Stopwatch;
use crate::stores::Stores;
use crate::{pipeline, replay, summary};

/// Take events in and process them to the end.
///
/// Reads `CloudEvents` JSON, one a line or as documents, plain, gzip or zstd. Running the same input
/// again, or again after a crash, changes nothing: every event is taken in once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback run
  foldback run monday.jsonl.gz tuesday.jsonl.zst --settings settings.toml
  zcat events.gz | foldback run - --tenant acme")]
pub(crate) struct RunArgs {
    /// Files of events; `-` is standard input. Without any, the sample that ships with foldback.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    data: Data,
    /// What the events mean: TOML, or JSON if so named. Without it, the sample's for the sample, else
    /// what the data directory was last run with. Other settings than before make the rows stale.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The tenant of events that name none. An event that names another is rejected.
    #[arg(long, value_name = "ID")]
    tenant: Option<SmolStr>,
    /// The most events that one commit makes durable. Fewer mean shorter waits and less speed; events
    /// that are put in order within a batch are not late. By default 65536, and 256 for the sample.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: Option<u64>,
    /// Write an error-level line of JSON for each late event, and each row that policy detect finds out of
    /// order, to this file; `-` is standard error.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write the metrics of the run to this file when it is over, as Prometheus's text; for its textfile
    /// collector, or to look at.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Leave the replay at the end out.
    #[arg(long)]
    no_verify: bool,
}

/// The most events of one commit. Of a complete permutation a batch refolds nearly every lead, so that half as
/// many batches are nearly half the work; more would cost more memory than they save time.
pub(crate) const BATCH_MAX: u64 = 65_536;
/// Small enough that the sample's disorder shows.
const SAMPLE_BATCH: u64 = 256;

pub(crate) fn run(args: &RunArgs) -> Result<Status, Failure> {
    let instead = "there the function `ingest` takes events in, at the stack's IngestUrl";
    args.data.must_be_local("run", instead)?;
    let inputs = Input::named(&args.files);
    let source = match &args.settings {
        Some(path) => Source::File(path),
        None if inputs == [Input::Sample] => Source::Sample,
        None => Source::Stored,
    };
    for input in &inputs {
        input.check()?;
    }
    let read = settings::read(source)?;
    let stores = Stores::open(&args.data)?;
    let settings = settings::put_in_force(stores.events(), read.as_ref(), SystemClock.now())?;
    let in_force = InForce::new(settings);
    let sample = inputs == [Input::Sample];
    let intake = Intake {
        settings: &in_force,
        tenant: args.tenant.as_ref(),
        inputs: &inputs,
        batch_max: args
            .batch
            .unwrap_or(if sample { SAMPLE_BATCH } else { BATCH_MAX }),
    };

    let total = inputs.iter().map(Input::bytes).sum();
    let mut progress = Progress::new("processing", "events", total);
    let started = Stopwatch::start();
    let log = Log::open(args.log.as_deref())?;
    let scraped = args.metrics.as_ref().map(|_| Scraped::new()).transpose()?;
    let watch = Watch {
        probe: &Probe::default(),
        scraped: scraped.as_ref(),
        told: &mut |told| {
            progress.set(told.consumed, total, told.totals.read);
            Ok(())
        },
    };
    let done = pipeline::run(&stores, intake, log, watch);
    progress.finish();
    let totals = done?;
    let elapsed = started.elapsed();

    let verdict = if args.no_verify {
        None
    } else {
        Some(replay::verify(&stores, &in_force.get())?)
    };
    if let (Some(scraped), Some(path)) = (&scraped, &args.metrics) {
        if let Some(verdict) = &verdict {
            scraped.record(&measured::of_replay(&verdict.run, true));
        }
        fs::write(path, scraped.text()?).map_err(|source| Failure::File {
            what: format!("write the metrics {}", path.display()),
            source,
        })?;
    }
    let depth = stores.wait(stores.events().depth(SystemClock.now()))?;
    let rows = stores.wait(stores.tables().row_counts())?;
    summary::Summary {
        totals: &totals,
        elapsed,
        verdict: verdict.as_ref(),
        depth,
        rows: &rows,
    }
    .print()?;
    Ok(verdict.map_or(Status::Clean, |verdict| verdict.status()))
}
