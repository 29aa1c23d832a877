//! What events cost on AWS: requests and units a thousand events take, and from them the price of a
//! million; and how long a function takes from its start to its first poll, beside one in Node.js.
//!
//! ```text
//! cargo bench -p foldback-tests --bench aws [-- --events N --sqs USD --write USD …]
//! ```
//!
//! The requests are those that an emulator of AWS was asked, by the adapters that the functions use; units
//! of DynamoDB are counted from the sizes of the items. Rows are kept in a local store: what MongoDB costs
//! is not part of it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "prices are fractions")]

#[path = "../mongo/events.rs"]
mod events;
mod feed;
mod start;

use clap::Parser;

use events::Events;
use feed::{Feed, Prices};

/// Measure what events cost on AWS, and how fast functions start.
#[derive(Debug, Parser)]
struct Options {
    /// Events of each feed, from the beginning of the log.
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    events: usize,
    /// How often each function is started.
    #[arg(long, value_name = "N", default_value_t = 20)]
    starts: usize,
    #[command(flatten)]
    prices: Prices,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    start::measure(options.starts);
    let events = Events::load();
    let first = options.events.min(events.entries.len());
    let entries = events.entries.get(..first).expect("as many");
    println!("\n{}, the first {first} events\n", events.name);
    let feeds = [
        Feed::new("100 events a request, in order", 100, false),
        Feed::new("100 events a request, shuffled", 100, true),
        Feed::new("10 events a request, in order", 10, false),
        Feed::new("1 event a request, in order", 1, false),
    ];
    for feed in feeds {
        let cost = runtime.block_on(feed.run(entries, &events.settings));
        cost.print(&feed, first, &options.prices);
    }
}
