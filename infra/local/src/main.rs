//! `foldback`: the command line, and the host of all handlers on one machine.

mod adopt;
mod aws;
mod bench;
mod check;
mod cli;
mod dlq;
mod error;
mod events;
mod export;
mod findings;
mod generate;
mod handover;
mod indexes;
mod input;
mod intake;
mod log;
mod pipeline;
mod probe;
mod progress;
mod query;
mod rejects;
mod replay;
mod report;
mod run;
mod runs;
mod serve;
mod settings;
mod show;
mod stopwatch;
mod stores;
mod summary;
mod tables;
mod trace;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(status) => status.into(),
        Err(error) => error.report(),
    }
}
