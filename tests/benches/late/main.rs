//! What one late event costs: against how late it is, and against how long its lead's history is. Beside it,
//! in the same run, what it costs to fold the whole journal: machines differ, ratios travel.
//!
//! ```text
//! cargo bench -p foldback-tests --bench late [-- --events N --runs N --plot FILE]
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "ratios of measured times")]

mod life;
mod plot;

use std::path::PathBuf;

use clap::Parser;
use shared::flow::Imaging;

use life::{Cost, Life, Rates, ordered};
use plot::{Line, Panel};

/// Events of the smallest history, and how late events are that come into histories of all lengths.
const EVENTS_LEAST: i64 = 100;
const LATE_BY: i64 = 10;

/// Measure what a late event costs.
#[derive(Debug, Parser)]
struct Options {
    /// Events of the longest history.
    #[arg(long, value_name = "N", default_value = "100000")]
    events: i64,
    /// How many late events are measured at each point.
    #[arg(long, value_name = "N", default_value = "15")]
    runs: i64,
    /// Write the plot there, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let by_lateness = by_lateness(&options);
    let by_length = by_length(&options);
    amended(&options);
    overhead();
    if let Some(path) = &options.plot {
        let panels = [
            Panel {
                title: format!("history of {} events", options.events),
                across: "late by so many events",
                lines: lines(&by_lateness),
            },
            Panel {
                title: format!("late by {LATE_BY} events"),
                across: "events of the history",
                lines: lines(&by_length),
            },
        ];
        std::fs::write(path, plot::svg(&panels)).expect("the plot is written");
        println!("\nplot: {}", path.display());
    }
}

/// What is measured at one point: from images, and by the whole journal.
struct Point {
    at: i64,
    images: Cost,
    whole: Cost,
}

fn by_lateness(options: &Options) -> Vec<Point> {
    println!("one late event of a lead with {} events", options.events);
    head("late by");
    let life = Life::new(options.events);
    let whole = life.copy();
    let mut points = Vec::new();
    let mut by = 1;
    while by <= options.events / 10 {
        let point = Point {
            at: by,
            images: life.late(by, options.runs, Imaging::LIVE),
            whole: whole.late(by, options.runs.min(3), Imaging::NEVER),
        };
        point.print();
        points.push(point);
        by *= 10;
    }
    points
}

fn by_length(options: &Options) -> Vec<Point> {
    println!("\none event that is late by {LATE_BY} others");
    head("history");
    let mut points = Vec::new();
    let mut events = EVENTS_LEAST;
    while events <= options.events {
        let life = Life::new(events);
        let whole = life.copy();
        let point = Point {
            at: events,
            images: life.late(LATE_BY, options.runs, Imaging::LIVE),
            whole: whole.late(LATE_BY, options.runs.min(3), Imaging::NEVER),
        };
        point.print();
        points.push(point);
        events *= 10;
    }
    points
}

fn head(at: &str) {
    println!(
        "{at:>8} {:>10} {:>10} {:>10} {:>14} {:>14} {:>8}",
        "ms", "folded", "images", "whole: ms", "whole: folded", "ratio"
    );
}

impl Point {
    fn print(&self) {
        let Self { at, images, whole } = self;
        println!(
            "{at:>8} {:>10.2} {:>10} {:>10} {:>14.2} {:>14} {:>8.1}",
            images.ms,
            images.folded,
            images.images,
            whole.ms,
            whole.folded,
            whole.ms / images.ms,
        );
    }
}

/// What an amendment costs, and what others cost after it.
fn amended(options: &Options) {
    println!(
        "\na lead with {} events, one of the first tenth of which is amended",
        options.events
    );
    println!("{:>24} {:>10} {:>10} {:>10}", "", "ms", "folded", "images");
    let mut life = Life::new(options.events);
    let [amendment, next] = life.amend();
    let late = life.late(LATE_BY, options.runs, Imaging::LIVE);
    for (name, cost) in [
        ("the amendment", amendment),
        ("the next one in order", next),
        ("one that is late by 10", late),
    ] {
        let Cost { ms, folded, images } = cost;
        println!("{name:>24} {ms:>10.2} {folded:>10} {images:>10}");
    }
}

fn lines(points: &[Point]) -> Vec<Line> {
    let line = |name, cost: fn(&Point) -> f64| Line {
        name,
        points: points.iter().map(|point| (point.at, cost(point))).collect(),
    };
    vec![
        line("from images", |point| point.images.ms),
        line("whole journal", |point| point.whole.ms),
    ]
}

/// What correction costs where every event comes in order: images of what rows were, that nobody needs then.
fn overhead() {
    println!("\nin order, events/s by policy, medians");
    println!(
        "{:<40} {:>10} {:>10} {:>8} {:>10} {:>8}",
        "", "detect", "no images", "ratio", "correct", "ratio"
    );
    for (name, leads, events, batch) in [
        ("5,000 leads of 20 events, 1,000 at once", 5_000, 20, 1_000),
        ("a lead of 20,000 events, 1 at a time", 1, 20_000, 1),
        ("a lead of 20,000 events, 10 at a time", 1, 20_000, 10),
        ("a lead of 20,000 events, 100 at a time", 1, 20_000, 100),
    ] {
        let Rates {
            detect,
            without,
            with,
        } = ordered(leads, events, batch);
        println!(
            "{name:<40} {detect:>10.0} {without:>10.0} {:>8.3} {with:>10.0} {:>8.3}",
            without / detect,
            with / detect
        );
    }
}
