//! The tables.

use crate::figures::{Measured, float};

/// Prints all of it. The first of the passes is what the others are held against.
pub(crate) fn print(passes: &[Measured]) {
    let base = passes.first().map_or(1.0, |by_hand| by_hand.rates().1);
    requests(passes);
    speed(passes, base);
    shares(passes);
}

fn requests(passes: &[Measured]) {
    println!("requests to the server; a call is a batch, by hand an event");
    println!(
        "{:<34} {:>8} {:>11} {:>9} {:>8} {:>8} {:>9}",
        "", "calls", "rows a call", "fewest", "median", "most", "an event"
    );
    for pass in passes {
        let sorted = pass.requests();
        let calls = sorted.len();
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        let rows: u64 = pass.calls().map(|call| call.rows).sum();
        let events: usize = pass.calls().map(|call| call.events).sum();
        let rows = if rows == 0 {
            "–".to_owned()
        } else {
            format!("{:.1}", whole(rows) / float(calls))
        };
        println!(
            "{:<34} {calls:>8} {rows:>11} {:>9} {:>8} {:>8} {:>9.3}",
            pass.name,
            at(0),
            at(calls / 2),
            at(calls.saturating_sub(1)),
            whole(sorted.iter().sum()) / float(events),
        );
    }
}

fn speed(passes: &[Measured], base: f64) {
    println!("\nspeed: median (slowest to fastest run), milliseconds a call over all runs");
    println!(
        "{:<34} {:>8} {:>9} {:>18} {:>8} {:>8} {:>8} {:>10}",
        "", "events", "events/s", "", "p50", "p99", "most", "× by hand"
    );
    for pass in passes {
        let events = pass.runs.first().map_or(0, |run| run.events());
        let (slowest, median, fastest) = pass.rates();
        let spread = format!("({slowest:.0} to {fastest:.0})");
        let (p50, p99, most) = pass.latencies_ms();
        let p99 = p99.map_or("–".to_owned(), |p99| format!("{p99:.1}"));
        println!(
            "{:<34} {events:>8} {median:>9.0} {spread:>18} {p50:>8.1} {p99:>8} {most:>8.1} {:>10.2}",
            pass.name,
            median / base
        );
    }
}

fn shares(passes: &[Measured]) {
    println!("\nwhere the time goes; own work is this process's processor time, within all of it");
    println!(
        "{:<34} {:>9} {:>9} {:>16} {:>9}",
        "", "reading", "writing", "rules and queue", "own work"
    );
    for pass in passes {
        let (reading, writing, own) = pass.shares();
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let own = own.map_or("–".to_owned(), percent);
        let of_calls = if reading > 0.0 {
            [reading, writing, 1.0 - reading - writing].map(percent)
        } else {
            ["–", "–", "–"].map(str::to_owned)
        };
        let [reading, writing, rest] = of_calls;
        println!(
            "{:<34} {reading:>9} {writing:>9} {rest:>16} {own:>9}",
            pass.name
        );
    }
}

fn whole(count: u64) -> f64 {
    usize::try_from(count).map_or(f64::MAX, float)
}
