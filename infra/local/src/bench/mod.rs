//! Benchmarks that predict: they measure the main job under a load, fit what was measured, and say what other
//! loads will need and cost.

#![expect(
    clippy::float_arithmetic,
    reason = "measured times and rates are fractions; no row depends on them"
)]

mod chart;
mod cloud;
mod compare;
mod counts;
mod fit;
mod load;
mod machine;
mod model;
mod number;
mod outcome;
mod page;
mod predict;
mod rank;
mod run;
mod scenario;
mod stack;
mod worker;
mod workload;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::aws::AwsArgs;
use crate::cli::Target;
use crate::error::{Failure, Status};
use crate::stores::Uri;

/// Measure the main job under a load, and predict what other loads need and cost.
///
/// A scenario says who sends what, how fast, and what goes wrong; some ship with foldback. Each load level
/// runs in a process of its own over a data directory of its own, or on a stack on AWS, and is replayed at its
/// end: a row that differs or an event that is missing ends with status 1.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  foldback bench base                            # a shipped scenario; `foldback bench list` has them
  foldback bench mine.toml --runs 5
  foldback bench base --events log.jsonl.gz --settings settings.toml
  foldback bench --all
  foldback bench disorder+locks                  # both at once
  foldback bench base --target aws --stack foldback-bench
  foldback bench predict foldback-bench/base.json --rate 2000 --tenants 50
  foldback bench compare before.json after.json"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Shipped scenarios by name, or files; several joined by `+` are one, what a later one says going before.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// All shipped scenarios; on a stack, those without faults.
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Take these events instead of the scenario's.
    #[arg(long, value_name = "FILE", requires = "settings")]
    events: Option<PathBuf>,
    /// What these mean.
    #[arg(long, value_name = "FILE", requires = "events")]
    settings: Option<PathBuf>,
    /// Measure each load level so often instead.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// The longest time of a load level instead.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Keep the rows in MongoDB: a connection string with the name of a database. Each load level takes a
    /// database of its own, named after it, and drops it at the end.
    #[arg(
        long,
        value_name = "URI",
        env = "FOLDBACK_BENCH_MONGODB",
        hide_env_values = true
    )]
    mongodb: Option<Uri>,
    /// Measure a process of this machine, or a stack on AWS that is there for that: events go in by its function
    /// URL, and are done when what followed from them is kept with its rows. The benchmark puts settings of its
    /// own in force, so it refuses a stack that has others.
    #[arg(long, value_enum, default_value_t = Target::Local)]
    target: Target,
    #[command(flatten)]
    aws: AwsArgs,
    /// Where the stack takes events in, if that is not where its outputs say.
    #[arg(long, value_name = "URL")]
    ingest_url: Option<String>,
    /// On a stack, the most events of one request; 1 unless it is said.
    #[arg(long, value_name = "N")]
    per_request: Option<usize>,
    /// Where the stack's rows are, if its secret cannot be read from here.
    #[arg(
        long,
        value_name = "URI",
        env = "FOLDBACK_MONGODB",
        hide_env_values = true
    )]
    rows: Option<Uri>,
    /// Where results and the report go; what is measured is kept there meanwhile, so it also says which disk.
    #[arg(long, value_name = "DIR", default_value = "foldback-bench")]
    output: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the shipped scenarios.
    List,
    Predict(predict::PredictArgs),
    Compare(compare::CompareArgs),
    /// Write the report of results that were kept, together on one page.
    Report {
        /// Results.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// The page.
        #[arg(long, value_name = "FILE", default_value = "report.html")]
        output: PathBuf,
    },
    Baseline(compare::BaselineArgs),
    /// What is measured; started by the others.
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

pub(crate) fn run(args: &BenchArgs) -> Result<Status, Failure> {
    match &args.what {
        None => run::run(&args.run),
        Some(What::List) => run::list(),
        Some(What::Predict(args)) => predict::run(args),
        Some(What::Report { results, output }) => page::write_report(results, output),
        Some(What::Compare(args)) => compare::run(args),
        Some(What::Baseline(args)) => compare::baseline(args),
        Some(What::Worker(args)) => worker::run(args),
    }
}
