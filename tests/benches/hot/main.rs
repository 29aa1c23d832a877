//! One hot row: leads that all contribute to one day, against the same leads contributing to many days.
//!
//! ```text
//! cargo bench -p foldback-tests --bench hot [-- --leads N --days N --batch N --runs N --mongo-leads N]
//! ```
//!
//! Ends with an error where a day's sum is not exact.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "ratios of measured times")]

mod pass;
#[path = "../mongo/server.rs"]
mod server;

use clap::Parser;

use pass::{Pass, Rates, embedded, in_mongo};
use server::Server;

/// Measure contributions to one day against contributions to many.
#[derive(Debug, Parser)]
struct Options {
    /// Leads, each of which contributes once.
    #[arg(long, value_name = "N", default_value = "20000")]
    leads: u32,
    /// The same with rows in MongoDB; 0 for none.
    #[arg(long, value_name = "N", default_value = "1000")]
    mongo_leads: u32,
    /// The many days.
    #[arg(long, value_name = "N", default_value = "1000")]
    days: u32,
    /// Messages handled at once.
    #[arg(long, value_name = "N", default_value = "500")]
    batch: usize,
    /// How often each pass is made; medians are printed.
    #[arg(long, value_name = "N", default_value = "3")]
    runs: usize,
    /// A MongoDB server that runs already, without a database in the path; else one is started.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    println!(
        "{} leads that convert once each, {} messages at once, embedded store",
        options.leads, options.batch
    );
    compare(&options, options.leads, embedded);
    if options.mongo_leads == 0 {
        return;
    }
    let server = options
        .uri
        .as_deref()
        .map_or_else(Server::start, Server::given);
    println!(
        "\n{} leads, rows in MongoDB: {}",
        options.mongo_leads,
        server.name()
    );
    compare(&options, options.mongo_leads, |pass| {
        in_mongo(pass, &server)
    });
}

/// Prints contributions a second: of the days' own work, and of all that is done, the leads' included.
fn compare(options: &Options, leads: u32, run: impl Fn(&Pass) -> Rates) {
    println!(
        "{:<28} {:>11} {:>11} {:>7}   {:>11} {:>11} {:>7}",
        "contributions/s", "1 day", "many days", "ratio", "with leads", "many days", "ratio"
    );
    for policy in ["correct", "atomic"] {
        for shuffled in [false, true] {
            let rates = |days: u32| {
                let pass = Pass {
                    leads,
                    days,
                    policy,
                    shuffled,
                    batch: options.batch,
                };
                let all: Vec<Rates> = (0..options.runs.max(1)).map(|_run| run(&pass)).collect();
                let median_of = |rate: fn(&Rates) -> f64| median(all.iter().map(rate).collect());
                (median_of(|one| one.days), median_of(|one| one.all))
            };
            let (hot, many) = (rates(1), rates(options.days.min(leads)));
            println!(
                "{:<28} {:>11.0} {:>11.0} {:>7.2}   {:>11.0} {:>11.0} {:>7.2}",
                format!(
                    "{policy}, {}",
                    if shuffled { "shuffled" } else { "in order" }
                ),
                hot.0,
                many.0,
                hot.0 / many.0,
                hot.1,
                many.1,
                hot.1 / many.1,
            );
        }
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.swap_remove(rates.len() / 2)
}
