//! Runs scenarios, level by level.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::adapters::SystemClock;
use shared::ports::Clock;

use super::RunArgs;
use super::compare::write;
use super::load::{self, Measured, Plan};
use super::machine::{self, Machine};
use super::outcome::{Mode, Outcome, Point, Reliability, Results};
use super::page;
use super::scenario::{Arrivals, SHIPPED, Scenario};
use super::workload::Workload;
use crate::cli::{Data, table};
use crate::error::{Failure, Status};
use crate::stores::{Stores, Uri};
use crate::tables::HostTables;
use crate::{replay, settings};

/// The seed of arrivals and faults.
const SEED: u64 = 11;

/// Names the shipped scenarios.
pub(crate) fn list() -> Result<Status, Failure> {
    let mut listed = table(&["scenario", "what it is to show"]);
    for shipped in SHIPPED {
        let scenario = Scenario::find(shipped.name)?;
        listed.add_row([scenario.name, scenario.about]);
    }
    writeln!(anstream::stdout().lock(), "{listed}")?;
    Ok(Status::Clean)
}

/// Runs what the command line names.
pub(crate) fn run(args: &RunArgs) -> Result<Status, Failure> {
    let mut results = Results {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: SystemClock.now().to_string(),
        machine: Machine::this(),
        outcomes: Vec::new(),
    };
    let scenarios = scenarios(args)?;
    fs::create_dir_all(&args.output).map_err(|source| Failure::File {
        what: format!("make {}", args.output.display()),
        source,
    })?;
    for scenario in scenarios {
        let bench = Bench::new(args, scenario)?;
        let outcome = bench.run()?;
        print(&outcome)?;
        let path = args.output.join(format!("{}.json", outcome.scenario.name));
        results.outcomes.push(outcome);
        let alone = Results {
            outcomes: results.outcomes.last().cloned().into_iter().collect(),
            ..results.clone()
        };
        let text = serde_json::to_string_pretty(&alone).unwrap_or_default();
        write(&path, &text)?;
        anstream::eprintln!("results: {}", path.display());
    }
    let path = args.output.join("report.html");
    write(&path, &page::report(&results))?;
    anstream::eprintln!("report: {}", path.display());
    let sound = results.outcomes.iter().all(Outcome::is_sound);
    Ok(if sound {
        Status::Clean
    } else {
        Status::Findings
    })
}

fn scenarios(args: &RunArgs) -> Result<Vec<Scenario>, Failure> {
    let named: Vec<&str> = if args.all {
        SHIPPED.iter().map(|shipped| shipped.name).collect()
    } else {
        args.scenarios.iter().map(String::as_str).collect()
    };
    if named.is_empty() {
        return Err(Failure::Input(
            "name a scenario, or --all; `foldback bench list` has those that ship with foldback"
                .to_owned(),
        ));
    }
    let change = |mut scenario: Scenario| {
        if let (Some(events), Some(settings)) = (&args.events, &args.settings) {
            scenario.events.file = Some(events.clone());
            scenario.events.settings = Some(settings.clone());
        }
        if let Some(runs) = args.runs {
            scenario.load.runs = runs.max(1);
        }
        if let Some(seconds) = args.seconds {
            scenario.load.seconds_max = seconds;
        }
        scenario
    };
    named
        .into_iter()
        .map(|name| Scenario::find(name).map(change))
        .collect()
}

/// A scenario, ready to be run.
struct Bench<'a> {
    scenario: Scenario,
    workload: Workload,
    output: &'a Path,
    mongodb: Option<&'a Uri>,
    settings: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(args: &'a RunArgs, scenario: Scenario) -> Result<Self, Failure> {
        let workload = Workload::of(&scenario)?;
        let settings = args.output.join("settings.toml");
        write(&settings, &workload.settings)?;
        Ok(Self {
            scenario,
            workload,
            output: &args.output,
            mongodb: args.mongodb.as_ref(),
            settings,
        })
    }

    /// All levels in turn, as often as there are runs; the open loop's shares once the closed loop is known.
    fn run(&self) -> Result<Outcome, Failure> {
        let load = &self.scenario.load;
        let mut outcome = Outcome {
            scenario: self.scenario.clone(),
            texts: self.workload.lines.len() as u64,
            bytes: self.workload.bytes(),
            points: Vec::new(),
        };
        let closed = load.in_flight.iter().map(|count| Mode::InFlight(*count));
        let rates = load.rates.iter().map(|rate| Mode::Rate(*rate));
        let levels: Vec<Mode> = closed.chain(rates).collect();
        for run in 0..load.runs {
            for mode in &levels {
                outcome.points.push(self.point(*mode, None, run)?);
            }
        }
        let best = typical_best(&outcome);
        for run in 0..load.runs {
            for share in &load.shares {
                let mode = Mode::Rate(best * share);
                outcome.points.push(self.point(mode, Some(*share), run)?);
            }
        }
        Ok(outcome)
    }

    fn point(&self, mode: Mode, share: Option<f64>, run: usize) -> Result<Point, Failure> {
        let Scenario { load, faults, .. } = &self.scenario;
        anstream::eprintln!(
            "{}: {}, run {} of {}",
            self.scenario.name,
            mode.name(),
            run + 1,
            load.runs
        );
        let data = self.output.join("data");
        drop(fs::remove_dir_all(&data));
        let calibration = machine::calibrate(self.output)?;
        let schedule = match mode {
            Mode::InFlight(_) => Vec::new(),
            Mode::Rate(rate) => {
                let seed = SEED + run as u64;
                arrivals(self.workload.lines.len(), rate, load.arrivals, seed)
            }
        };
        let plan = Plan {
            lines: &self.workload.lines,
            mode,
            schedule,
            seconds_max: load.seconds_max,
            crashes: faults.crashes,
        };
        let suffix = format!("_{}", SystemClock.now().ms());
        let mongodb = self.mongodb.map(|uri| uri.beside(&suffix));
        let stores = Data::local(data.clone(), mongodb);
        let measured = load::measure(&plan, &mut |life| self.worker(&stores, life))?;
        let mut reliability = Reliability {
            faults: measured.faults,
            retries: measured.retries,
            restarts: measured.restarts,
            ..Reliability::default()
        };
        self.judge(&stores, measured.done, &mut reliability)?;
        drop(fs::remove_dir_all(&data));
        Ok(point(mode, share, (measured, reliability), calibration))
    }

    /// The command that starts a worker.
    fn worker(&self, data: &Data, life: u64) -> Command {
        let store = &self.scenario.faults.store;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("foldback"));
        let mut command = Command::new(program);
        command
            .args(["bench", "worker", "--data"])
            .arg(&data.directory);
        command.arg("--settings").arg(&self.settings);
        let numbers = [
            ("--batch", self.scenario.load.batch_max.to_string()),
            ("--errors", store.errors.to_string()),
            ("--slow", store.slow.to_string()),
            ("--slow-ms", store.slow_ms.to_string()),
            ("--seed", (SEED + life).to_string()),
        ];
        for (option, number) in numbers {
            command.args([option, &number]);
        }
        match &data.mongodb {
            Some(uri) => command.env("FOLDBACK_MONGODB", uri.reveal()),
            None => command.env_remove("FOLDBACK_MONGODB"),
        };
        command
    }

    /// Replays all, and looks for events that are not there.
    fn judge(
        &self,
        data: &Data,
        texts: usize,
        reliability: &mut Reliability,
    ) -> Result<(), Failure> {
        let stores = Stores::open_to_read(data)?;
        let in_force = settings::in_force(stores.events())?;
        let verdict = replay::verify(&stores, &in_force)?;
        reliability.findings = verdict.replayed.findings;
        let acting = self.workload.acting(texts);
        reliability.missing = acting.saturating_sub(verdict.replayed.events);
        match stores.tables() {
            HostTables::Local(_) => {}
            HostTables::Remote(store) => {
                stores.wait(store.run(r#"{"dropDatabase":1}"#))?;
            }
        }
        Ok(())
    }
}

/// The greatest of the levels' medians.
fn typical_best(outcome: &Outcome) -> f64 {
    let levels = outcome.levels();
    let closed = levels.iter().filter(|level| page::is_closed(level));
    closed.map(|level| level.throughput).fold(0.0, f64::max)
}

/// When texts are to be sent.
fn arrivals(count: usize, rate: f64, arrivals: Arrivals, seed: u64) -> Vec<std::time::Duration> {
    match arrivals {
        Arrivals::Even => load::schedule(count, rate, None),
        Arrivals::Poisson => {
            let mut series = ChaCha8Rng::seed_from_u64(seed);
            let mut random = || f64::from(series.next_u32()) / f64::from(u32::MAX);
            load::schedule(count, rate, Some(&mut random))
        }
    }
}

fn point(
    mode: Mode,
    share: Option<f64>,
    (measured, reliability): (Measured, Reliability),
    calibration: f64,
) -> Point {
    Point {
        mode,
        share,
        done: measured.done as u64,
        throughput: measured.throughput,
        latency: measured.latency,
        over_time: measured.over_time,
        steps: measured.steps,
        sender_late_ms: measured.sender_late.as_secs_f64() * 1_000.0,
        reliability,
        sums: measured.sums,
        usage: measured.usage,
        calibration,
    }
}

/// The figures of a scenario, a line a level.
fn print(outcome: &Outcome) -> Result<(), Failure> {
    let mut figures = table(&page::COLUMNS);
    for level in outcome.levels() {
        figures.add_row(page::cells(&level));
    }
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "\n{}: {}",
        outcome.scenario.name, outcome.scenario.about
    )?;
    writeln!(out, "{figures}")?;
    Ok(())
}
