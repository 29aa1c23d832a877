use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use smol_str::SmolStr;

use crate::error::{Failure, Status};

/// Event processing whose tables end up right whatever order the events came in.
///
/// Everything is kept in one data directory. Data goes to standard output, talk to standard error.
/// Exit status: 0 done and clean, 1 done and something was found, 2 wrong input or usage, 3 the store
/// failed.
#[derive(Debug, Parser)]
#[command(
    name = "foldback",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  foldback run                                  # the shipped sample: disordered, doubled, damaged
  foldback run events.jsonl.gz --settings s.toml
  foldback replay                               # prove the tables right
  foldback export RSLead | head -3"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(crate::run::RunArgs),
    Replay(crate::replay::ReplayArgs),
    Export(crate::export::ExportArgs),
}

/// Where the data is.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// The data directory.
    #[arg(long = "data", value_name = "DIR", default_value = "foldback-data")]
    pub(crate) directory: PathBuf,
}

/// Which tenant.
#[derive(Debug, Args)]
pub(crate) struct OneTenant {
    /// The tenant.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<SmolStr>,
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<Status, Failure> {
        match &self.command {
            Command::Run(args) => crate::run::run(args),
            Command::Replay(args) => crate::replay::run(args),
            Command::Export(args) => crate::export::run(args),
        }
    }
}
