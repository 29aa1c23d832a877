//! The process that is measured: the main job over standard input. It tells what is durable on standard
//! output, a line of JSON a unit of work.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use shared::adapters::SystemClock;
use shared::ports::Clock;

use super::machine::Usage;
use crate::cli::Data;
use crate::error::{Failure, Status};
use crate::input::Input;
use crate::intake::Intake;
use crate::log::Log;
use crate::pipeline::{self, Told, Watch};
use crate::probe::{FaultRates, Faults, Probe};
use crate::settings::{self, InForce, Source};
use crate::stores::{Stores, Uri};

/// What a worker is started with.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[arg(long)]
    pub(crate) settings: PathBuf,
    #[arg(long, env = "FOLDBACK_MONGODB", hide_env_values = true)]
    pub(crate) mongodb: Option<Uri>,
    #[arg(long)]
    pub(crate) batch: u64,
    #[arg(long)]
    pub(crate) errors: f64,
    #[arg(long)]
    pub(crate) slow: f64,
    #[arg(long)]
    pub(crate) slow_ms: u64,
    #[arg(long)]
    pub(crate) seed: u64,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// It is up.
    Ready,
    /// A unit of work is durable.
    Unit(Unit),
    /// All is done.
    End(Usage),
}

/// A unit of work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Texts that are durable with all that follows from them.
    pub(crate) durable: u64,
    /// Microseconds in each step.
    pub(crate) steps_us: Vec<u64>,
    /// How often it was tried again.
    pub(crate) retries: u64,
    /// Faults that were made.
    pub(crate) faults: u64,
    /// What the process came to so far.
    pub(crate) sums: Sums,
}

/// Sums over a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    pub(crate) late: u64,
    pub(crate) refolded: u64,
    pub(crate) conflicts: u64,
    pub(crate) parked: u64,
    pub(crate) found: u64,
    pub(crate) rows: u64,
    pub(crate) actions: u64,
    pub(crate) stated: u64,
    pub(crate) commits: u64,
}

impl Sums {
    fn of(totals: &pipeline::Totals) -> Self {
        let done = &totals.processed;
        Self {
            accepted: totals.accepted,
            duplicates: totals.duplicates,
            rejected: totals.rejects.values().sum(),
            late: totals.late,
            refolded: done.refolded,
            conflicts: done.conflicts,
            parked: totals.parked,
            found: totals.found,
            rows: done.rows,
            actions: done.actions,
            stated: done.stated,
            commits: totals.commits,
        }
    }

    /// Adds what another process came to.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.late += other.late;
        self.refolded += other.refolded;
        self.conflicts += other.conflicts;
        self.parked += other.parked;
        self.found += other.found;
        self.rows += other.rows;
        self.actions += other.actions;
        self.stated += other.stated;
        self.commits += other.commits;
    }
}

/// Works until standard input ends.
pub(crate) fn run(args: &WorkerArgs) -> Result<Status, Failure> {
    let data = Data::local(args.data.clone(), args.mongodb.clone());
    let read = settings::read(Source::File(&args.settings))?;
    let stores = Stores::open(&data)?;
    let settings = settings::put_in_force(stores.events(), read.as_ref(), SystemClock.now())?;
    let in_force = InForce::new(settings);
    let inputs = Input::named(&[PathBuf::from("-")]);
    let intake = Intake {
        settings: &in_force,
        tenant: None,
        inputs: &inputs,
        batch_max: args.batch,
    };
    let rates = FaultRates {
        errors: args.errors,
        slow: args.slow,
        slow_ms: args.slow_ms,
    };
    let probe = if rates == FaultRates::default() {
        Probe::default()
    } else {
        Probe::with(Faults::new(rates, args.seed))
    };
    say(&Said::Ready)?;
    let watch = Watch {
        probe: &probe,
        scraped: None,
        told: &mut |told: Told<'_>| {
            say(&Said::Unit(Unit {
                durable: told.durable,
                steps_us: probe.take_us(),
                retries: told.retries,
                faults: probe.take_faults(),
                sums: Sums::of(told.totals),
            }))
        },
    };
    pipeline::run(&stores, intake, Log::default(), watch)?;
    say(&Said::End(Usage::own()))?;
    Ok(Status::Clean)
}

fn say(what: &Said) -> Result<(), Failure> {
    let mut line = serde_json::to_string(what).unwrap_or_default();
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}
