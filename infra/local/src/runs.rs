use std::io::Write;

use clap::Args;
use serde::Serialize;
use shared::model::{Finding, ReplayRun};
use shared::ports::{RUNS_KEPT_MAX, Reports};

use crate::cli::{self, Data};
use crate::error::{Failure, Status};
use crate::findings;
use crate::stores::Stores;

/// List the replays that were kept, the newest first, or what one of them found.
///
/// The newest 200 are kept, with their findings. Ends with 0, and with 2 where the run is not kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback runs
  foldback runs 7
  foldback runs --json | jq '{number, findings}'
  foldback runs --target aws --stack foldback")]
pub(crate) struct RunsArgs {
    /// The number of one run: list what it found.
    #[arg(value_name = "NUMBER")]
    number: Option<u64>,
    #[command(flatten)]
    data: Data,
    /// List the newest so many.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        conflicts_with = "number"
    )]
    limit: u16,
    /// One JSON object a run; of one run, one JSON object a finding.
    #[arg(long)]
    json: bool,
}

/// How many findings are read at once.
const PAGE: usize = 1_000;

/// A run as it is listed for machines.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    #[serde(flatten)]
    run: &'a ReplayRun,
}

pub(crate) fn run(args: &RunsArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let mut out = anstream::stdout().lock();
    match args.number {
        Some(number) => one(&mut out, &stores, number, args.json)?,
        None => all(&mut out, &stores, args)?,
    }
    out.flush()?;
    Ok(Status::Clean)
}

fn all(out: &mut impl Write, stores: &Stores, args: &RunsArgs) -> Result<(), Failure> {
    let runs = stores.wait(stores.tables().runs(usize::from(args.limit)))?;
    if args.json {
        for (number, run) in &runs {
            let number = *number;
            let line = serde_json::to_string(&Line { number, run }).unwrap_or_default();
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    if runs.is_empty() {
        anstream::eprintln!(
            "no run of replay is kept; in a data directory those of `--mode update` are"
        );
        return Ok(());
    }
    let header = [
        "run", "began", "took", "mode", "scope", "settings", "rows", "findings", "mended",
        "of which",
    ];
    let mut table = cli::table(&header);
    for (number, run) in &runs {
        table.add_row(vec![
            number.to_string(),
            run.started.to_string(),
            took(run),
            run.mode.to_string(),
            run.scope.clone(),
            match run.settings {
                0 => String::new(),
                version => version.to_string(),
            },
            run.rows.to_string(),
            run.findings.to_string(),
            run.mended.to_string(),
            by_class(run),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn took(run: &ReplayRun) -> String {
    let ms = run.finished.ms() - run.started.ms();
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

fn by_class(run: &ReplayRun) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (class, tables) in &run.by_class {
        parts.push(format!("{class} {}", tables.values().sum::<u64>()));
    }
    let others = [
        (run.faults, "events parked by a field"),
        (run.busy_groups, "groups busy"),
        (run.locked_groups, "groups locked"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(others.map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}

fn one(out: &mut impl Write, stores: &Stores, number: u64, json: bool) -> Result<(), Failure> {
    let tables = stores.tables();
    let kept = stores.wait(tables.runs(usize::try_from(RUNS_KEPT_MAX).unwrap_or(usize::MAX)))?;
    let Some((_, run)) = kept.into_iter().find(|(one, _)| *one == number) else {
        return Err(Failure::Input(format!(
            "no run {number} is kept (`foldback runs` lists those that are)"
        )));
    };
    let mut found: Vec<Finding> = Vec::new();
    let mut after = 0;
    loop {
        let page = stores.wait(tables.findings(number, after, PAGE))?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = *last;
        found.extend(page.into_iter().map(|(_place, finding)| finding));
    }
    if json {
        findings::lines(out, &found)?;
        return Ok(());
    }
    findings::fields(out, &found)?;
    let listed = found.len() as u64;
    let mut words = format!(
        "run {number}, {} of {}, began {}, took {}, settings {}: {} findings in {} rows, {} mended",
        run.mode,
        run.scope,
        run.started,
        took(&run),
        run.settings,
        run.findings,
        run.rows,
        run.mended,
    );
    if listed < run.findings {
        words.push_str(&format!(" (the first {listed} are kept)"));
    }
    anstream::eprintln!("{words}");
    Ok(())
}
