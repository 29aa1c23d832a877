use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::model::Timestamp;
use smol_str::SmolStr;

use crate::aws::AwsArgs;
use crate::error::{Failure, Status};
use crate::stores::Uri;

/// Event processing whose tables end up right whatever order the events came in.
///
/// Everything is kept in one data directory, or in a stack on AWS. Data goes to standard output, talk to standard error.
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
  foldback export RSLead | head -3
  foldback dlq list --target aws --stack foldback"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(crate::run::RunArgs),
    Serve(crate::serve::ServeArgs),
    Adopt(crate::adopt::AdoptArgs),
    Check(crate::check::CheckArgs),
    Replay(crate::replay::ReplayArgs),
    Runs(crate::runs::RunsArgs),
    Export(crate::export::ExportArgs),
    Query(crate::query::QueryArgs),
    Show(crate::show::ShowArgs),
    Trace(crate::trace::TraceArgs),
    Rejects(crate::rejects::RejectsArgs),
    Indexes(crate::indexes::IndexesArgs),
    Dlq(crate::dlq::DlqArgs),
    Settings(crate::settings::SettingsArgs),
    Report(crate::report::ReportArgs),
    Generate(crate::generate::GenerateArgs),
    Bench(Box<crate::bench::BenchArgs>),
}

/// Which kind of place the data is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A data directory of this machine.
    Local,
    /// A stack on AWS.
    Aws,
}

/// Where the data is.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Work on a data directory of this machine, or on the stores of a stack on AWS.
    #[arg(long, value_enum, default_value_t = Target::Local)]
    target: Target,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
    /// The data directory.
    #[arg(long = "data", value_name = "DIR", default_value = "foldback-data")]
    pub(crate) directory: PathBuf,
    /// Keep the rows in MongoDB (8.0 or later) instead: a connection string with the name of a
    /// database, `mongodb://host/name`. It may hold a password; better give it in the environment. On
    /// AWS rows always are in MongoDB; there the stack's secret is read where this is not given.
    #[arg(
        long,
        value_name = "URI",
        env = "FOLDBACK_MONGODB",
        hide_env_values = true
    )]
    pub(crate) mongodb: Option<Uri>,
}

impl Data {
    /// A data directory of this machine.
    pub(crate) fn local(directory: PathBuf, mongodb: Option<Uri>) -> Self {
        Self {
            target: Target::Local,
            aws: AwsArgs::default(),
            directory,
            mongodb,
        }
    }

    /// A stack on AWS.
    pub(crate) fn on_aws(aws: AwsArgs, mongodb: Option<Uri>) -> Self {
        Self {
            target: Target::Aws,
            aws,
            directory: PathBuf::new(),
            mongodb,
        }
    }

    /// Where it is.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        match (self.target, self.aws.given()) {
            (Target::Local, Some(option)) => Err(Failure::Input(format!(
                "{option} says which stack on AWS; it goes with --target aws"
            ))),
            (target, _) => Ok(target),
        }
    }

    /// Refuses a stack on AWS, for a command that is for one machine; `instead` says what does it there.
    pub(crate) fn must_be_local(&self, command: &str, instead: &str) -> Result<(), Failure> {
        match self.target()? {
            Target::Local => Ok(()),
            Target::Aws => Err(Failure::Input(format!(
                "`foldback {command}` works on a data directory of this machine, not on AWS: {instead}"
            ))),
        }
    }
}

/// Which tenant.
#[derive(Debug, Args)]
pub(crate) struct OneTenant {
    /// The tenant.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<SmolStr>,
}

/// Reads a moment: RFC 3339, or a day, which means its beginning in UTC.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_or_day(text).map_err(|error| format!("{error}, nor a day such as 2026-03-01"))
}

/// A table for a person to read.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<Status, Failure> {
        match &self.command {
            Command::Run(args) => crate::run::run(args),
            Command::Serve(args) => crate::serve::run(args),
            Command::Adopt(args) => crate::adopt::run(args),
            Command::Check(args) => crate::check::run(args),
            Command::Replay(args) => crate::replay::run(args),
            Command::Runs(args) => crate::runs::run(args),
            Command::Export(args) => crate::export::run(args),
            Command::Query(args) => crate::query::run(args),
            Command::Show(args) => crate::show::run(args),
            Command::Trace(args) => crate::trace::run(args),
            Command::Rejects(args) => crate::rejects::run(args),
            Command::Indexes(args) => crate::indexes::run(args),
            Command::Dlq(args) => crate::dlq::run(args),
            Command::Settings(args) => crate::settings::run(args),
            Command::Report(args) => crate::report::run(args),
            Command::Generate(args) => crate::generate::run(args),
            Command::Bench(args) => crate::bench::run(args),
        }
    }
}
