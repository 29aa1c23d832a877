use std::io::Write;

use clap::Args;
use indicatif::HumanCount;
use pollster::block_on;
use shared::adapters::SystemClock;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{Depth, ReplayRun, Report};
use shared::ports::{Clock, ErrorKind, Reports};
use shared::service;

use crate::cli::Data;
use crate::error::{Failure, Status};
use crate::indexes::Checks;
use crate::stores::Stores;
use crate::tables::HostTables;

/// Tell how things stand: rows, queue, dead letters, indexes, and what the replay kept last found.
///
/// Keeps the report with the rows; in the data directory, unless another process is writing there just
/// then. Ends with 0 whatever there is to tell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback report
  foldback report --json | jq .lastRun.byClass")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    data: Data,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ReportArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let checks = Checks::make(&stores)?;
    let report = make(&stores, &checks)?;
    let kept = keep(stores, &report)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        let line = serde_json::to_string(&report).unwrap_or_default();
        writeln!(out, "{line}")?;
    } else {
        for (name, value) in lines(&report, &checks) {
            writeln!(out, "{name:<12}  {value}")?;
        }
    }
    out.flush()?;
    if !kept {
        anstream::eprintln!("the report was not kept: another process writes there");
    }
    Ok(Status::Clean)
}

/// Makes a report; it is not kept yet.
pub(crate) fn make(stores: &Stores, checks: &Checks) -> Result<Report, Failure> {
    let tables = stores.tables();
    let rows = stores.wait(tables.row_counts())?.into_iter();
    let rows = rows.map(|(table, count)| (table.name().into(), count));
    let (ports, indexes) = (stores.ports(&tables), Some(checks.json()));
    let made = service::report(&ports, rows.collect(), indexes, SystemClock.now());
    Ok(stores.wait(made)?)
}

/// Keeps a report; `false` where another process is the one that writes.
fn keep(stores: Stores, report: &Report) -> Result<bool, Failure> {
    if let HostTables::Remote(store) = stores.tables() {
        stores.wait(store.keep_report(report))?;
        return Ok(true);
    }
    let directory = stores.local()?.directory().to_path_buf();
    drop(stores);
    match Embedded::open(&directory, QueueLimits::default()) {
        Ok(store) => {
            block_on(store.keep_report(report))?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::Retry => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The report for a person to read: names, each at its first line alone, and values.
fn lines(report: &Report, checks: &Checks) -> Vec<(&'static str, String)> {
    let mut lines = vec![("at", report.at.to_string())];
    section(&mut lines, "rows", report.rows.iter().map(counted));
    let Depth {
        visible,
        in_flight,
        dead,
    } = report.queue;
    let queue = format!("{visible} waiting, {in_flight} in flight, {dead} dead");
    lines.push(("queue", queue));
    if let Some(run) = &report.last_run {
        lines.push(("last replay", in_words(run)));
        let classes = run.by_class.iter().flat_map(|(class, by_table)| {
            let of_class = move |table| format!("{class:<8} {}", counted(table));
            by_table.iter().map(of_class)
        });
        section(&mut lines, "findings", classes);
    }
    let late = report.late_rows.iter().map(|one| {
        let (tenant, table) = (&one.group.tenant, one.table.name());
        format!("{tenant} {table} {}: {}", one.id, one.explanation)
    });
    section(&mut lines, "late rows", late);
    let mut faults = checks.faults();
    if faults.is_empty() {
        faults.push("all as declared".to_owned());
    }
    section(&mut lines, "indexes", faults.into_iter());
    section(&mut lines, "notes", report.notes.iter().cloned());
    lines
}

fn section(
    lines: &mut Vec<(&'static str, String)>,
    name: &'static str,
    values: impl Iterator<Item = String>,
) {
    for (place, value) in values.enumerate() {
        lines.push((if place == 0 { name } else { "" }, value));
    }
}

fn counted<N: AsRef<str>>((name, count): (N, &u64)) -> String {
    let (name, count) = (name.as_ref(), HumanCount(*count).to_string());
    format!("{name:<24} {count:>9}")
}

fn in_words(run: &ReplayRun) -> String {
    let mut words = format!(
        "{} ({}, {}): {} rows of {} groups compared with the fold of {} events, ",
        run.finished,
        run.mode,
        run.scope,
        HumanCount(run.rows),
        HumanCount(run.groups),
        HumanCount(run.events),
    );
    match run.findings {
        0 => words.push_str("all equal"),
        1 => words.push_str("1 finding"),
        more => words.push_str(&format!("{more} findings")),
    }
    if run.mended > 0 {
        words.push_str(&format!(", {} rows mended", run.mended));
    }
    if run.faults > 0 {
        words.push_str(&format!(
            "; {} events cannot be read under the settings",
            run.faults
        ));
    }
    words
}
