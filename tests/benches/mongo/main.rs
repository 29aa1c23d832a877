//! Rows in MongoDB: requests and time of the process step, beside the same work done by hand in the
//! same run: machines and servers differ, ratios travel.
//!
//! ```text
//! cargo bench -p foldback-tests --bench mongo [-- --events N --batch N,N --runs N --uri URI]
//! ```
//!
//! Ends with an error where a batch that came in order took more requests than it may, or where any
//! way of handling the events led to other tables than the embedded store's.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "ratios of measured times")]

mod events;
mod figures;
mod pass;
mod report;
mod server;
mod timed;

use std::process::ExitCode;

use clap::Parser;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use events::Events;
use figures::Measured;
use pass::Bench;
use server::Server;

/// The store writes so many rows in one transaction.
const TRANSACTION_ROWS: u64 = 1_000;
/// It does not divide a lead's rows, so that one of several transactions may take fewer.
const TRANSACTION_ROWS_LEAST: u64 = 900;

/// Measure the process step over rows in MongoDB, and the same work done by hand.
#[derive(Debug, Parser)]
struct Options {
    /// The most events of a pass, from the beginning of the log.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    events: usize,
    /// Events in a batch; several sizes with commas between them.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 10, 100, 1_000])]
    batch: Vec<usize>,
    /// The most batches of a pass, and the most events handled by hand: both are slow.
    #[arg(long, value_name = "N", default_value_t = 200)]
    batches: usize,
    /// Events in a batch of the shuffled order.
    #[arg(long, value_name = "N", default_value_t = 100)]
    shuffled: usize,
    /// How often each pass is made.
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// A server that runs already, without a database in the path; else one is started. Databases of
    /// its own are made there and dropped again.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> ExitCode {
    let events = Events::load();
    let server = match &options.uri {
        Some(uri) => Server::given(uri),
        None => Server::start(),
    };
    let mut bench = Bench::new(&server, &events);
    println!("{}", events.name);
    println!("{}", bench.describe_server().await);
    println!("{} runs, all passes in turn\n", options.runs);
    let passes = measure(options, &mut bench).await;
    report::print(&passes);
    println!("\neach pass led to the same tables as the embedded store does, in order");
    let too_many = passes
        .iter()
        .filter(|pass| pass.in_order)
        .flat_map(Measured::calls)
        .find(|call| call.requests > requests_max(call.rows));
    match too_many {
        Some(call) => {
            let most = requests_max(call.rows);
            println!("FAILED: in order, more than {most} requests: {call:?}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// The most requests of a batch that comes in order: an aggregation; for each transaction a bulk write
/// and its end. How many events the rows took in does not matter.
fn requests_max(rows: u64) -> u64 {
    let transactions = if rows <= TRANSACTION_ROWS {
        1
    } else {
        rows.div_ceil(TRANSACTION_ROWS_LEAST)
    };
    1 + 2 * transactions
}

/// All passes, as often as asked for.
async fn measure(options: &Options, bench: &mut Bench<'_>) -> Vec<Measured> {
    let all = &bench.events.entries;
    let first = |count: usize| all.get(..count).unwrap_or(all);
    let of_batch = |batch: usize| first(options.events.min(batch * options.batches));
    let by_hand = first(options.batches.min(options.events));
    let mut shuffled = of_batch(options.shuffled).to_vec();
    shuffle(&mut shuffled);
    let sizes: Vec<usize> = options.batch.iter().map(|batch| (*batch).max(1)).collect();

    let mut passes = vec![Measured::new("by hand, each event a transaction", false)];
    passes.extend(sizes.iter().map(|batch| {
        let events = if *batch == 1 { "event" } else { "events" };
        Measured::new(&format!("in order, {batch} {events} a batch"), true)
    }));
    let name = format!("shuffled, {} events a batch", options.shuffled);
    passes.push(Measured::new(&name, false));
    for run in 1..=options.runs.max(1) {
        say(&format!("run {run} of {}", options.runs));
        let mut taken = vec![bench.by_hand(by_hand).await];
        for batch in &sizes {
            taken.push(bench.in_batches(of_batch(*batch), *batch).await);
        }
        taken.push(bench.in_batches(&shuffled, options.shuffled).await);
        for (pass, figures) in passes.iter_mut().zip(taken) {
            pass.runs.push(figures);
        }
    }
    passes
}

/// A complete permutation (Fisher and Yates), the same in every run.
fn shuffle<T>(items: &mut [T]) {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for i in (1..items.len()).rev() {
        let j = random.next_u64() % (i as u64 + 1);
        items.swap(i, usize::try_from(j).unwrap_or(0));
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a minute of silence looks like a standstill"
)]
fn say(what: &str) {
    eprintln!("{what}");
}
