//! `simulate`: runs seeds until so many are through, or so long; explains the first that fails.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use foldback_simulation::{Outcome, Stats, explain, simulate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates Foldback's services under faults, one schedule a seed.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// For so many minutes instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Says nothing but the result.
    #[arg(long)]
    quiet: bool,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    sums: Mutex<(Stats, Vec<(u64, String)>)>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begun = now();
    let until = args
        .minutes
        .map(|minutes| Duration::from_secs(minutes * 60));
    let progress = Progress::default();
    thread::scope(|scope| {
        for _job in 0..args.jobs.max(1) {
            scope.spawn(|| run(&args, &progress, begun, until));
        }
    });
    let (stats, failed) = progress
        .sums
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    tell(&args, &stats, begun.elapsed());
    let Some((seed, failure)) = failed.into_iter().min() else {
        say("no divergence");
        return ExitCode::SUCCESS;
    };
    say(&format!("seed {seed} fails: {failure}"));
    match explain(seed) {
        Some(found) if !args.quiet => {
            say(&format!("\nmade as small as it goes:\n\n{}", found.story));
        }
        Some(_) => {}
        None => say("it does not fail again: the simulation itself is at fault"),
    }
    ExitCode::FAILURE
}

fn run(args: &Args, progress: &Progress, begun: Instant, until: Option<Duration>) {
    let mut sums = Stats::new();
    loop {
        let number = progress.next.fetch_add(1, Ordering::Relaxed);
        let over = match until {
            Some(until) => begun.elapsed() >= until,
            None => number >= args.seeds,
        };
        if over || progress.stop.load(Ordering::Relaxed) {
            break;
        }
        let Outcome {
            seed,
            stats,
            failure,
            ..
        } = simulate(args.seed + number);
        for (what, many) in stats {
            *sums.entry(what).or_default() += many;
        }
        if let Some(failure) = failure {
            progress.stop.store(true, Ordering::Relaxed);
            let mut shared = progress.sums.lock().unwrap_or_else(PoisonError::into_inner);
            shared.1.push((seed, failure));
        }
        let done = progress.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(20_000) && !args.quiet {
            say(&format!(
                "{done} schedules, {} a second",
                rate(done, begun.elapsed())
            ));
        }
    }
    let mut shared = progress.sums.lock().unwrap_or_else(PoisonError::into_inner);
    for (what, many) in sums {
        *shared.0.entry(what).or_default() += many;
    }
}

fn tell(args: &Args, stats: &BTreeMap<&'static str, u64>, took: Duration) {
    let schedules = stats.get("schedules").copied().unwrap_or(0);
    say(&format!(
        "seeds {} to {}: {schedules} schedules in {} s, {} a second",
        args.seed,
        (args.seed + schedules).saturating_sub(1),
        took.as_secs(),
        rate(schedules, took),
    ));
    for (what, many) in stats.iter().filter(|_| !args.quiet) {
        say(&format!("{many:>14}  {what}"));
    }
}

fn rate(done: u64, took: Duration) -> u128 {
    u128::from(done) * 1_000 / took.as_millis().max(1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long it took is what is to be told"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "a command line")]
fn say(what: &str) {
    println!("{what}");
}
