//! What other loads will need and cost.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::chart::{Axis, Chart, Series, Shape, escape, push};
use super::cloud::{Cloud, MONTH_SECONDS, Need, Shape as WorkShape, Terms};
use super::compare::{results, write};
use super::fit::Bounds;
use super::model::{HeldOut, Model};
use super::number::{float, median, short, thousands};
use super::outcome::Outcome;
use super::page;
use crate::cli;
use crate::error::{Failure, Status};

/// Say what a rate of events will need and cost, by what was measured.
///
/// On this machine by the fits of the results; on AWS by what an event was measured to ask of its services,
/// beside published limits and list prices. Says where that goes beyond what was measured.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Results of a scenario with a closed loop; with an open loop too for latencies.
    results: PathBuf,
    /// Events a second.
    #[arg(long, value_name = "N")]
    rate: f64,
    /// How many tenants they are of.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    tenants: f64,
    #[command(flatten)]
    terms: Terms,
    /// Also write it as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A question and its answer.
type Row = Vec<String>;

pub(crate) fn run(args: &PredictArgs) -> Result<Status, Failure> {
    if !(args.rate > 0.0 && args.tenants >= 1.0) {
        return Err(Failure::Input(
            "--rate is greater than 0, --tenants at least 1".to_owned(),
        ));
    }
    let results = results(&args.results)?;
    let fitted = results
        .outcomes
        .iter()
        .find_map(|outcome| Some((outcome, Model::of(outcome)?)));
    let Some((outcome, model)) = fitted else {
        return Err(Failure::Input(
            "no scenario of the results has a closed loop of three levels or more; `foldback bench \
             base` has"
                .to_owned(),
        ));
    };
    let cloud = args
        .terms
        .cloud(args.rate, args.tenants, WorkShape::of(outcome));
    let answer = Answer {
        asked: format!(
            "{} events/s of {} tenants, as in scenario {}",
            short(args.rate),
            thousands(args.tenants),
            outcome.scenario.name
        ),
        here: here(outcome, &model, args.rate),
        there: cloud.needs.iter().map(need).collect(),
        price: price(&cloud, args.rate),
        notes: notes(&cloud, &model, args.rate),
    };
    answer.print()?;
    if let Some(path) = &args.html {
        let latency = page::latency(outcome, Some(&model), Some(args.rate));
        let plots = [latency.html(), limits(args, outcome).html()];
        write(path, &answer.page(&plots.concat()))?;
    }
    Ok(Status::Clean)
}

/// What is answered.
struct Answer {
    asked: String,
    here: Vec<Row>,
    there: Vec<Row>,
    price: Vec<Row>,
    notes: Vec<String>,
}

impl Answer {
    fn print(&self) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}\n", self.asked)?;
        for (header, rows) in [
            (HERE.as_slice(), &self.here),
            (NEEDS.as_slice(), &self.there),
            (PRICE.as_slice(), &self.price),
        ] {
            let mut listed = cli::table(header);
            for row in rows {
                listed.add_row(row);
            }
            writeln!(out, "{listed}\n")?;
        }
        for note in &self.notes {
            writeln!(out, "! {note}")?;
        }
        Ok(())
    }

    fn page(&self, plots: &str) -> String {
        let mut content = format!("<p>{}</p>\n", escape(&self.asked));
        content.push_str("<h2>On a machine like this</h2>\n");
        page::table(&mut content, &HERE, &self.here);
        push(
            &mut content,
            format_args!("<div class=\"plots\">\n{plots}</div>\n<h2>On AWS</h2>\n"),
        );
        page::table(&mut content, &NEEDS, &self.there);
        content.push_str("<h3>What it costs</h3>\n");
        page::table(&mut content, &PRICE, &self.price);
        content.push_str("<h2>How sure this is</h2>\n<ul>");
        for note in &self.notes {
            push(&mut content, format_args!("<li>{}</li>", escape(note)));
        }
        content.push_str("</ul>\n");
        page::page("What events will need and cost", &content)
    }
}

const HERE: [&str; 3] = ["on a machine like this", "", "95 % of fits"];
const PRICE: [&str; 3] = ["USD", "a million events", "a month"];
const NEEDS: [&str; 5] = [
    "on AWS, what breaks first on top",
    "needs",
    "limit",
    "used",
    "reached at events/s",
];

fn need(need: &Need) -> Row {
    let Need {
        what,
        unit,
        needed,
        limit,
        reached_at,
    } = need;
    vec![
        (*what).to_owned(),
        format!("{} {unit}", short(*needed)),
        limit.map_or_else(|| "–".to_owned(), short),
        limit.map_or_else(
            || "–".to_owned(),
            |limit| format!("{} %", short(needed / limit * 100.0)),
        ),
        reached_at.map_or_else(|| "not known".to_owned(), short),
    ]
}

fn price(cloud: &Cloud, rate: f64) -> Vec<Row> {
    let millions = rate * MONTH_SECONDS / 1e6;
    let row =
        |name: &str, usd: f64| vec![name.to_owned(), format!("{usd:.3}"), short(usd * millions)];
    let mut rows: Vec<Row> = cloud
        .prices
        .iter()
        .map(|(name, usd)| row(name, *usd))
        .collect();
    rows.push(row("all, without MongoDB", cloud.price()));
    rows
}

fn within(bounds: Option<Bounds>, unit: &str) -> (String, String) {
    match bounds {
        None => ("not measured".to_owned(), String::new()),
        Some(bounds) if bounds.value.is_infinite() => {
            ("never: more than it can do".to_owned(), String::new())
        }
        Some(Bounds { value, low, high }) => (
            format!("{} {unit}", short(value)),
            format!("{} to {}", short(low), short(high)),
        ),
    }
}

/// What it comes to on a machine like the one that was measured.
fn here(outcome: &Outcome, model: &Model, rate: f64) -> Vec<Row> {
    let row = |what: &str, (value, bounds): (String, String)| vec![what.to_owned(), value, bounds];
    let (p50, p99) = model.latency(rate);
    let capacity = model.capacity;
    let used = format!("{} %", short(rate / capacity.value * 100.0));
    let used_bounds = format!(
        "{} to {}",
        short(rate / capacity.high * 100.0),
        short(rate / capacity.low * 100.0)
    );
    let needed = model.usl.needed(rate);
    let of_levels = |figure: &dyn Fn(&super::outcome::Point) -> f64| {
        let near = outcome
            .points
            .iter()
            .filter(|point| point.throughput >= rate * 0.5);
        let mut values: Vec<f64> = near.map(figure).collect();
        if values.is_empty() {
            values = outcome.points.iter().map(figure).collect();
        }
        median(&values)
    };
    let cores =
        of_levels(&|point| float(point.usage.cpu_ms) / 1_000.0 / float(point.done.max(1)) * rate);
    let written =
        of_levels(&|point| float(point.usage.written) / 1e6 / float(point.done.max(1)) * rate);
    let memory = of_levels(&|point| float(point.usage.peak_kib) / 1_024.0);
    let processor = model.processor.map_or_else(
        || "not measured".to_owned(),
        |usl| format!("{} events", short(usl.capacity())),
    );
    let needed = needed.map_or_else(
        || "never: more than it can do".to_owned(),
        |needed| format!("{} events", short(needed)),
    );
    vec![
        row("capacity", within(Some(capacity), "events/s")),
        row("the knee", within(Some(model.knee), "events in flight")),
        row("used of the capacity", (used, used_bounds)),
        row("events in flight that it takes", (needed, String::new())),
        row("latency, p50", within(p50, "ms")),
        row("latency, p99", within(p99, "ms")),
        row(
            "a second of processor time does at best",
            (processor, String::new()),
        ),
        row("processor cores", (short(cores), String::new())),
        row(
            "written to the disk",
            (format!("{} MB/s", short(written)), String::new()),
        ),
        row(
            "memory at its peak",
            (format!("{} MiB", short(memory)), String::new()),
        ),
    ]
}

/// Where the answer goes beyond what was measured.
fn notes(cloud: &Cloud, model: &Model, rate: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let (in_flight, measured) = model.measured();
    let greatest = model.usl.at(in_flight);
    if rate > greatest {
        notes.push(format!(
            "extrapolates: {} events/s were the most that the fit knows (with {} in flight)",
            short(greatest),
            short(in_flight)
        ));
    }
    if measured > 0.0 && rate > measured {
        notes.push(format!(
            "extrapolates: latencies were measured up to {} events/s",
            short(measured)
        ));
    }
    if rate > model.capacity.low {
        notes.push("this rate is beyond what one such machine may do".to_owned());
    }
    notes.extend(model.held_out().iter().map(HeldOut::in_words));
    notes.push(format!(
        "the fit of throughput is off by {:.0} % in the median at the points that it knows",
        model.off() * 100.0
    ));
    notes.extend(cloud.extrapolates.iter().map(|note| format!("AWS: {note}")));
    notes
}

/// How much of each limit is used, against the rate.
fn limits(args: &PredictArgs, outcome: &Outcome) -> Chart {
    let shape = WorkShape::of(outcome);
    let mut chart = Chart {
        title: "Limits on AWS against rate".to_owned(),
        x: Axis {
            label: "events/s".to_owned(),
            logarithmic: true,
        },
        y: Axis {
            label: "used, % of the limit".to_owned(),
            logarithmic: true,
        },
        ..Chart::default()
    };
    let at = |rate: f64| args.terms.cloud(rate, args.tenants, shape);
    let low = args.rate / 30.0;
    let high = args.rate * 30.0;
    for (colour, need) in at(args.rate).needs.iter().enumerate() {
        let used = |rate: f64| {
            let all = at(rate).needs;
            let same = all.iter().find(|one| one.what == need.what)?;
            Some((rate, same.needed / same.limit? * 100.0))
        };
        let points: Vec<(f64, f64)> = [low, args.rate, high]
            .into_iter()
            .filter_map(used)
            .collect();
        if !points.is_empty() {
            chart.series.push(Series {
                name: need.what.to_owned(),
                colour,
                shape: Shape::Line(points),
            });
        }
    }
    chart.series.push(Series {
        name: "the limit".to_owned(),
        colour: 5,
        shape: Shape::Dashes(vec![(low, 100.0), (high, 100.0)]),
    });
    chart.marks.push((args.rate, "asked for".to_owned()));
    chart
}
