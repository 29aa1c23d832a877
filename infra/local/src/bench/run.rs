//! Runs scenarios, level by level.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::adapters::SystemClock;
use shared::model::EventHash;
use shared::ports::{Clock, Journal};
use smol_str::SmolStr;

use super::RunArgs;
use super::compare::write;
use super::load::{self, Measured, Plan};
use super::machine::{self, Machine};
use super::outcome::{Mode, Outcome, Place, Point, Reliability, Results};
use super::page;
use super::scenario::{Arrivals, Faults, SHIPPED, Scenario};
use super::stack;
use super::workload::Workload;
use crate::cli::{Data, Target, table};
use crate::error::{Failure, Status};
use crate::stores::{Stores, Uri};
use crate::tables::HostTables;
use crate::{replay, settings};

/// The seed of arrivals and faults.
const SEED: u64 = 11;
/// Events that are looked for at once.
const LOOK_UPS: usize = 1_000;

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
        let mut bench = Bench::new(args, scenario)?;
        let outcome = bench.run_and_leave()?;
        print(&outcome)?;
        let path = args.output.join(format!("{}.json", outcome.key()));
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
    must_fit(args)?;
    let on_stack = args.target == Target::Aws;
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
    let mut scenarios = Vec::new();
    for name in named {
        let scenario = change(Scenario::find(name)?);
        let has_faults = scenario.faults != Faults::default();
        if on_stack && has_faults && !args.all {
            return Err(Failure::Input(format!(
                "scenario {name}: its faults are made in a process of this machine; a stack has its own"
            )));
        }
        if !(on_stack && has_faults) {
            scenarios.push(scenario);
        }
    }
    Ok(scenarios)
}

/// Refuses options that are about another target.
fn must_fit(args: &RunArgs) -> Result<(), Failure> {
    let of_stack = [
        ("--stack, --region or --profile", args.aws.given().is_some()),
        ("--ingest-url", args.ingest_url.is_some()),
        ("--per-request", args.per_request.is_some()),
    ];
    let on_stack = args.target == Target::Aws;
    let given = of_stack.into_iter().find(|(_, given)| *given);
    if let Some((option, _)) = given.filter(|_| !on_stack) {
        return Err(Failure::Input(format!(
            "{option} is about a stack on AWS; it goes with --target aws"
        )));
    }
    if on_stack && args.mongodb.is_some() {
        return Err(Failure::Input(
            "--mongodb (FOLDBACK_BENCH_MONGODB) is for a process of this machine; the rows of a stack are where its \
             secret says, or --rows"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A scenario, ready to be run.
struct Bench<'a> {
    scenario: Scenario,
    workload: Workload,
    output: &'a Path,
    what: What<'a>,
}

/// What is measured.
enum What<'a> {
    /// A process of this machine, over a data directory of its own and these settings.
    Process {
        settings: PathBuf,
        mongodb: Option<&'a Uri>,
    },
    /// A stack.
    Stack {
        stack: stack::Target,
        /// The events before they became other tenants'.
        first: Workload,
        /// How many of the texts it has had.
        had: usize,
    },
}

impl<'a> Bench<'a> {
    fn new(args: &'a RunArgs, scenario: Scenario) -> Result<Self, Failure> {
        let workload = Workload::of(&scenario)?;
        let what = match args.target {
            Target::Local => {
                let settings = args.output.join("settings.toml");
                write(&settings, &workload.settings)?;
                let mongodb = args.mongodb.as_ref();
                What::Process { settings, mongodb }
            }
            Target::Aws => {
                let data = Data::on_aws(args.aws.clone(), args.rows.clone());
                let url = args.ingest_url.as_deref();
                let per_request = args.per_request.unwrap_or(1);
                What::Stack {
                    stack: stack::Target::open(&data, url, per_request)?,
                    had: workload.lines.len(),
                    first: workload.clone(),
                }
            }
        };
        Ok(Self {
            scenario,
            workload,
            output: &args.output,
            what,
        })
    }

    /// Runs, and leaves a stack as one that takes nothing in, whatever came of it.
    fn run_and_leave(&mut self) -> Result<Outcome, Failure> {
        let outcome = self.run();
        if let What::Stack { stack, .. } = &self.what {
            let ended = stack.end(&self.workload);
            return outcome.and_then(|outcome| ended.map(|()| outcome));
        }
        outcome
    }

    /// All levels in turn, as often as there are runs; the open loop's shares once the closed loop is known.
    fn run(&mut self) -> Result<Outcome, Failure> {
        let load = self.scenario.load.clone();
        let mut outcome = Outcome {
            scenario: self.scenario.clone(),
            place: match self.what {
                What::Process { mongodb: None, .. } => Place::Embedded,
                What::Process { .. } => Place::Mongodb,
                What::Stack { .. } => Place::Stack,
            },
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

    fn point(&mut self, mode: Mode, share: Option<f64>, run: usize) -> Result<Point, Failure> {
        let Scenario { load, .. } = &self.scenario;
        anstream::eprintln!(
            "{}: {}, run {} of {}",
            self.scenario.name,
            mode.name(),
            run + 1,
            load.runs
        );
        let calibration = machine::calibrate(self.output)?;
        let from = self.next_texts()?;
        let lines = self.workload.lines.get(from..).unwrap_or_default();
        let schedule = match mode {
            Mode::InFlight(_) => Vec::new(),
            Mode::Rate(rate) => {
                let seed = SEED + run as u64;
                arrivals(lines.len(), rate, self.scenario.load.arrivals, seed)
            }
        };
        let plan = Plan {
            lines,
            mode,
            schedule,
            seconds_max: self.scenario.load.seconds_max,
            crashes: self.scenario.faults.crashes,
        };
        let (measured, reliability) = match &mut self.what {
            What::Process { settings, mongodb } => {
                let suffix = format!("_{}", SystemClock.now().ms());
                let mongodb = mongodb.map(|uri| uri.beside(&suffix));
                let data = Data::local(self.output.join("data"), mongodb);
                drop(fs::remove_dir_all(&data.directory));
                let worker = Worker {
                    scenario: &self.scenario,
                    settings,
                    data: &data,
                };
                let measured = load::measure(&plan, &mut |life| worker.command(life))?;
                let stores = Stores::open_to_read(&data)?;
                let done = lines.get(..measured.done).unwrap_or_default();
                let reliability = judge(&stores, &self.workload.acting(done), &measured)?;
                match stores.tables() {
                    HostTables::Local(_) => {}
                    HostTables::Remote(store) => {
                        stores.wait(store.run(r#"{"dropDatabase":1}"#))?;
                    }
                }
                drop(fs::remove_dir_all(&data.directory));
                (measured, reliability)
            }
            What::Stack { stack, had, .. } => {
                let measured = stack.measure(&plan, (&self.workload, from))?;
                *had = from + measured.done;
                let all = self.workload.lines.get(..*had).unwrap_or_default();
                let acting = self.workload.acting(all);
                let mut reliability = judge(stack.stores(), &acting, &measured)?;
                if !reliability.is_sound() {
                    stack.wait_on()?;
                    reliability = judge(stack.stores(), &acting, &measured)?;
                }
                (measured, reliability)
            }
        };
        Ok(point(mode, share, (measured, reliability), calibration))
    }

    /// Where the next level's texts begin. A process begins with an empty directory; what a stack has had it keeps,
    /// so there the level goes on where the last one ended, and most of the way through they are sent once more, as
    /// other tenants'.
    fn next_texts(&mut self) -> Result<usize, Failure> {
        let What::Stack { stack, first, had } = &mut self.what else {
            return Ok(0);
        };
        let texts = self.workload.lines.len();
        if *had >= texts - texts / 4 {
            let mark = format!("-{}", SystemClock.now().ms());
            self.workload = first.apart(&mark)?;
            stack.begin(&self.workload)?;
            *had = 0;
        }
        Ok(*had)
    }
}

/// What is started as a worker.
struct Worker<'a> {
    scenario: &'a Scenario,
    settings: &'a Path,
    data: &'a Data,
}

impl Worker<'_> {
    /// The command that starts a worker.
    fn command(&self, life: u64) -> Command {
        let store = &self.scenario.faults.store;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("foldback"));
        let mut command = Command::new(program);
        command
            .args(["bench", "worker", "--data"])
            .arg(&self.data.directory);
        command.arg("--settings").arg(self.settings);
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
        match &self.data.mongodb {
            Some(uri) => command.env("FOLDBACK_MONGODB", uri.reveal()),
            None => command.env_remove("FOLDBACK_MONGODB"),
        };
        command
    }
}

/// Replays all, and looks for events that are not there.
fn judge(
    stores: &Stores,
    acting: &BTreeSet<(SmolStr, EventHash)>,
    measured: &Measured,
) -> Result<Reliability, Failure> {
    let in_force = settings::in_force(stores.events())?;
    let verdict = replay::verify(stores, &in_force)?;
    Ok(Reliability {
        faults: measured.faults,
        retries: measured.retries,
        restarts: measured.restarts,
        missing: missing(stores, acting)?,
        findings: verdict.replayed.findings,
    })
}

/// How many of these events are not journaled.
fn missing(stores: &Stores, events: &BTreeSet<(SmolStr, EventHash)>) -> Result<u64, Failure> {
    let events: Vec<_> = events.iter().cloned().collect();
    let mut missing = 0;
    for some in events.chunks(LOOK_UPS) {
        let found = stores.wait(stores.events().whereabouts(some))?;
        missing += found.iter().filter(|group| group.is_none()).count() as u64;
    }
    Ok(missing)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::service::accept;
    use shared::settings::{Format, Settings};

    use super::super::workload::EventKey;
    use super::*;

    /// An event that is not journaled is missed, however many copies the others led to.
    #[test]
    fn an_event_that_is_not_journaled_is_missing() {
        let mut scenario = Scenario::find("base").expect("a scenario");
        scenario.events.leads = 20;
        let workload = Workload::of(&scenario).expect("events");
        let settings = Settings::compile(&workload.settings, Format::Toml, 1).expect("settings");
        let acting = workload.acting(&workload.lines);
        assert!(acting.len() > 100, "{}", acting.len());

        let directory = tempfile::tempdir().expect("a directory");
        let data = Data::local(directory.path().join("data"), None);
        let stores = Stores::open(&data).expect("stores");
        let entry = |line: &String| {
            let text = line.trim_end().as_bytes();
            accept(&settings, None, text, SystemClock.now())
                .ok()
                .map(Arc::new)
        };
        let mut entries: Vec<_> = workload.lines.iter().filter_map(entry).collect();
        let left_out = entries.iter().rposition(|entry| {
            let event = (entry.group.tenant.clone(), entry.hash);
            acting.contains(&event)
        });
        entries.remove(left_out.expect("one that acts"));
        let appended = stores.wait(stores.events().append(&entries));
        assert_eq!(appended.expect("journaled").len(), entries.len());
        assert_eq!(missing(&stores, &acting).expect("a look"), 1);
    }

    /// As other tenants' the same texts are other events, and mean the same.
    #[test]
    fn texts_are_sent_again_as_those_of_others() {
        let mut scenario = Scenario::find("disorder").expect("a scenario");
        scenario.events.leads = 20;
        scenario.events.malformed = 5.0;
        let workload = Workload::of(&scenario).expect("events");
        let other = workload.apart("-2").expect("other events");
        let (acting, others) = (workload.acting(&workload.lines), other.acting(&other.lines));
        assert_eq!(acting.len(), others.len());
        assert!(acting.is_disjoint(&others));
        let texts = [workload.sendable(0), other.sendable(0)];
        let [texts, others] = texts;
        let mut unreadable = 0;
        for (one, other) in texts.iter().zip(&others) {
            assert_eq!(one.alone, other.alone);
            assert_eq!(other.tenant, format!("{}-2", one.tenant));
            let id = |event: &Option<EventKey>| {
                let event = event.as_ref()?;
                let EventKey { group, source, id } = event;
                Some((group.key.clone(), source.clone(), id.clone()))
            };
            assert_eq!(id(&one.event), id(&other.event));
            unreadable += u32::from(one.alone);
        }
        assert!(unreadable > 0, "malformed texts are sent by themselves");
        // Nothing follows from what comes twice.
        let to_be_seen: BTreeSet<_> = texts.iter().filter_map(|text| text.event.clone()).collect();
        let all = texts.iter().filter(|text| text.event.is_some()).count();
        assert_eq!(to_be_seen.len(), all);
        // Nor from what comes again after a while.
        let later = workload.sendable(texts.len() / 2);
        let later = later.iter().map(|text| &text.event);
        assert!(later.eq(texts.iter().skip(texts.len() / 2).map(|text| &text.event)));
        let open = other.settings_with_webhooks().expect("settings");
        let open = Settings::compile(&open, Format::Toml, 1).expect("settings");
        let tenant = open.tenant("acme-2").expect("a tenant");
        assert!(tenant.webhook().is_some());
    }
}
