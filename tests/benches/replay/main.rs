//! Replay by the number of partitions: one after the other, and side by side.
//!
//! ```text
//! cargo bench -p foldback-tests --bench replay [-- --leads N --events N --runs N]
//! ```
//!
//! Ends with an error where a replay finds anything, or where the partitions are not the whole.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "ratios of measured times")]

use std::path::Path;
use std::thread;
use std::time::Instant;

use clap::Parser;
use foldback_tests::fixtures::{Lives, Standing, at, entries};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::ports::{Clock, Partition, Queue};
use shared::service::{Duplicates, Mode, Parked, Replay, Replayed, Scope, ingest, process};
use shared::settings::Settings;

const PARTITIONS: [u64; 5] = [1, 2, 4, 8, 16];
const BATCH: usize = 2_000;
const SEED: u64 = 3;

/// Measure replay by the number of partitions.
#[derive(Debug, Parser)]
struct Options {
    /// Leads.
    #[arg(long, value_name = "N", default_value = "10000")]
    leads: u32,
    /// Events of all of them together.
    #[arg(long, value_name = "N", default_value = "200000")]
    events: u32,
    /// How often each replay is made; medians are printed.
    #[arg(long, value_name = "N", default_value = "5")]
    runs: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn clock() -> Standing {
    Standing(at(60_000_000))
}

fn main() {
    let options = Options::parse();
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Lives::settings();
    fill(directory.path(), &settings, &options);
    println!(
        "{} events of {} leads, embedded store, {} processors; events/s, medians of {}",
        options.events,
        options.leads,
        thread::available_parallelism().map_or(1, usize::from),
        options.runs
    );
    println!(
        "{:>10} {:>16} {:>8} {:>14} {:>8}",
        "partitions", "one by one", "ratio", "side by side", "ratio"
    );
    let mut first = None;
    for count in PARTITIONS {
        let one_by_one = median(&options, || in_turn(directory.path(), &settings, count));
        let at_once = median(&options, || {
            side_by_side(directory.path(), &settings, count)
        });
        let (alone, together) = *first.get_or_insert((one_by_one, at_once));
        println!(
            "{count:>10} {one_by_one:>16.0} {:>8.2} {at_once:>14.0} {:>8.2}",
            one_by_one / alone,
            at_once / together
        );
    }
}

/// Takes the events in, those of a batch in order.
fn fill(directory: &Path, settings: &Settings, options: &Options) {
    let store = Embedded::open(directory, QueueLimits::default()).expect("open");
    let lives = Lives::new(SEED, options.leads, options.events);
    for lines in lives.in_order.chunks(BATCH) {
        store.begin().expect("begin");
        let events = entries(settings, lines);
        let told = ingest(&store, &events, Duplicates::Skip, clock().now());
        block_on(told).expect("ingest");
        loop {
            let received = block_on(store.receive(BATCH, clock().now())).expect("receive");
            if received.is_empty() {
                break;
            }
            block_on(process(&store, &clock(), settings, &received)).expect("process");
        }
        store.commit().expect("commit");
    }
}

fn in_turn(directory: &Path, settings: &Settings, count: u64) -> Vec<Replayed> {
    let store = Embedded::open_to_read(directory).expect("open");
    let partition = |index| replay(&store, settings, Partition { index, count });
    (0..count).map(partition).collect()
}

/// Each partition on a thread and a connection of its own, as functions on AWS would.
fn side_by_side(directory: &Path, settings: &Settings, count: u64) -> Vec<Replayed> {
    thread::scope(|scope| {
        let begin = |index| {
            scope.spawn(move || {
                let store = Embedded::open_to_read(directory).expect("open");
                replay(&store, settings, Partition { index, count })
            })
        };
        let threads: Vec<_> = (0..count).map(begin).collect();
        let ended = threads.into_iter().map(|one| one.join());
        ended.map(|one| one.expect("replayed")).collect()
    })
}

fn replay(store: &Embedded, settings: &Settings, partition: Partition) -> Replayed {
    let replay = Replay {
        ports: store,
        clock: &clock(),
        settings,
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let scope = Scope::Partition(partition, None);
    let run = replay.run(&scope, Mode::Report, |_| {}, |_| {});
    block_on(run).expect("replayed")
}

/// Events a second, of the fold of leads' and days' events alike.
fn median(options: &Options, run: impl Fn() -> Vec<Replayed>) -> f64 {
    let mut rates: Vec<f64> = (0..options.runs.max(1))
        .map(|_run| {
            let started = now();
            let parts = run();
            let elapsed = started.elapsed();
            let found: u64 = parts.iter().map(|part| part.findings).sum();
            assert_eq!(found, 0, "all is as it should be");
            let events: u64 = parts.iter().map(|part| part.events).sum();
            assert!(events > 0);
            f64::from(u32::try_from(events).expect("few")) / elapsed.as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.swap_remove(rates.len() / 2)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
