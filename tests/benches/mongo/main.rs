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

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use events::Events;
use figures::Measured;
use pass::Bench;
use server::Server;
use shared::handlers::Table;

/// The store writes so many rows in one transaction.
const TRANSACTION_ROWS: u64 = 1_000;
/// It does not divide a lead's rows, so that one of several transactions may take fewer.
const TRANSACTION_ROWS_LEAST: u64 = 900;

/// Measure the process step over rows in MongoDB, and the same work done by hand.
#[derive(Debug, Parser)]
struct Options {
    /// Events of each pass, from the beginning of the log.
    #[arg(long, value_name = "N", default_value = "1000")]
    events: NonZeroUsize,
    /// Events in a batch; several sizes with commas between them.
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,10,100,1000"
    )]
    batch: Vec<NonZeroUsize>,
    /// Events in a batch of the shuffled order.
    #[arg(long, value_name = "N", default_value = "100")]
    shuffled: NonZeroUsize,
    /// How often each pass is made.
    #[arg(long, value_name = "N", default_value = "3")]
    runs: NonZeroUsize,
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
    println!(
        "{} runs of all passes in turn, over the first {} events\n",
        options.runs,
        bench.first(options.events).len()
    );
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

/// The most requests of a batch that comes in order: a find of each table, all at once; for each
/// transaction a bulk write and its end. How many events the rows took in does not matter.
fn requests_max(rows: u64) -> u64 {
    let transactions = if rows <= TRANSACTION_ROWS {
        1
    } else {
        rows.div_ceil(TRANSACTION_ROWS_LEAST)
    };
    Table::COUNT as u64 + 2 * transactions
}

/// All passes, as often as asked for.
async fn measure(options: &Options, bench: &mut Bench<'_>) -> Vec<Measured> {
    let events = bench.first(options.events);
    let mut shuffled = events.to_vec();
    shuffle(&mut shuffled);

    let mut passes = vec![Measured::new("by hand, each event a transaction", false)];
    passes.extend(options.batch.iter().map(|batch| {
        let events = if batch.get() == 1 { "event" } else { "events" };
        Measured::new(&format!("in order, {batch} {events} a batch"), true)
    }));
    let name = format!("shuffled, {} events a batch", options.shuffled);
    passes.push(Measured::new(&name, false));
    for run in 1..=options.runs.get() {
        say(&format!("run {run} of {}", options.runs));
        let mut taken = vec![bench.by_hand(events).await];
        for batch in &options.batch {
            taken.push(bench.in_batches(events, *batch).await);
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
