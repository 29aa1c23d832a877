use std::io::Write;

use clap::Args;
use pollster::block_on;
use shared::adapters::embedded::Embedded;
use shared::ports::Rejects;

use crate::cli::{Data, table};
use crate::error::{Failure, Status};

/// List the input that could not be accepted, each with line number and reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback rejects
  foldback rejects --json | jq -r .text > again.jsonl")]
pub(crate) struct RejectsArgs {
    #[command(flatten)]
    data: Data,
    /// One JSON object a reject, with the text as it came.
    #[arg(long)]
    json: bool,
}

/// How many rejects are read at once.
const PAGE: usize = 1_000;

pub(crate) fn run(args: &RejectsArgs) -> Result<Status, Failure> {
    let instead = "there whoever sends an event is told at once why it is refused";
    args.data.must_be_local("rejects", instead)?;
    let store = Embedded::open_to_read(&args.data.directory)?;
    let mut out = anstream::stdout().lock();
    let mut after = 0;
    let mut any = false;
    loop {
        let page = block_on(store.list(after, PAGE))?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        any = true;
        if args.json {
            for (_, reject) in &page {
                writeln!(out, "{}", serde_json::to_string(reject).unwrap_or_default())?;
            }
            continue;
        }
        let mut listed = table(&["input", "line", "reason", "detail"]);
        for (_, reject) in &page {
            let line = reject.line.to_string();
            listed.add_row(vec![
                &reject.input,
                &line,
                reject.reason.label(),
                &reject.detail,
            ]);
        }
        writeln!(out, "{listed}")?;
    }
    out.flush()?;
    Ok(if any { Status::Findings } else { Status::Clean })
}
