//! The report: one HTML file that needs nothing else.

use std::path::{Path, PathBuf};

use super::chart::{Axis, Chart, Series, Shape, escape, push};
use super::compare;
use super::model::Model;
use super::number::{float, median, short, thousands};
use super::outcome::{Level, Mode, Outcome, Place, Point, Results};
use crate::error::{Failure, Status};

const STYLE: &str = include_str!("style.css");
/// Points of a drawn curve.
const CURVE: u32 = 60;
/// Levels whose course over time, percentiles and steps are drawn.
const LEVELS_DRAWN: usize = 5;

/// A page with this heading and content.
pub(crate) fn page(title: &str, content: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title>\n<style>\n{STYLE}</style>\
         </head><body>\n<h1>{title}</h1>\n{content}</body></html>\n"
    )
}

/// Writes the report of results that were kept.
pub(crate) fn write_report(paths: &[PathBuf], output: &Path) -> Result<Status, Failure> {
    let mut all: Option<Results> = None;
    for path in paths {
        let results = compare::results(path)?;
        match &mut all {
            None => all = Some(results),
            Some(all) => all.outcomes.extend(results.outcomes),
        }
    }
    let page = report(&all.unwrap_or_default());
    compare::write(output, &page)?;
    Ok(Status::Clean)
}

/// The report of some results.
pub(crate) fn report(results: &Results) -> String {
    let machine = &results.machine;
    let mut content = String::new();
    let (version, started) = (escape(&results.version), escape(&results.started));
    let processor = escape(&machine.processor);
    push(
        &mut content,
        format_args!(
            "<p class=\"soft\">foldback {version}, {started}, on {processor}, {} cores, {} GiB. Figures are \
             of this machine at that hour; “× loop” is the ratio to a calibration loop that ran right \
             beside.</p>\n",
            machine.cores,
            machine.memory_mib / 1_024
        ),
    );
    for outcome in &results.outcomes {
        scenario(&mut content, outcome);
    }
    page("Foldback benchmarks", &content)
}

fn scenario(content: &mut String, outcome: &Outcome) {
    let model = Model::of(outcome);
    let (name, about) = (
        escape(&outcome.scenario.name),
        escape(&outcome.scenario.about),
    );
    let place = outcome.place.name();
    let file = outcome.scenario.events.file.as_deref();
    let events = file.map_or_else(String::new, |file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        format!(" With the events of {} instead.", escape(&name))
    });
    push(
        content,
        format_args!("<h2>{name}, {place}</h2>\n<p>{about}{events}</p>\n"),
    );
    facts(content, outcome, model.as_ref());
    figures(content, outcome);
    content.push_str("<div class=\"plots\">\n");
    content.push_str(&scalability(outcome, model.as_ref()).html());
    if !outcome.open().is_empty() {
        content.push_str(&latency(outcome, model.as_ref(), None).html());
    }
    content.push_str(&percentiles(outcome).html());
    content.push_str(&over_time(outcome).html());
    content.push_str("</div>\n");
    steps(content, outcome);
    if let Some(model) = &model {
        foretold(content, model);
    }
}

/// One fact in a box.
pub(crate) fn fact(content: &mut String, value: &str, what: &str, class: &str) {
    let (value, what) = (escape(value), escape(what));
    push(
        content,
        format_args!("<li class=\"{class}\"><b>{value}</b><span>{what}</span></li>"),
    );
}

fn facts(content: &mut String, outcome: &Outcome, model: Option<&Model>) {
    content.push_str("<ul class=\"facts\">");
    let texts = thousands(float(outcome.texts));
    let mean = float(outcome.bytes) / float(outcome.texts.max(1));
    fact(
        content,
        &texts,
        &format!("texts of {} bytes to send", short(mean)),
        "",
    );
    fact(
        content,
        &short(outcome.best()),
        "events/s at best, closed loop",
        "",
    );
    if let Some(model) = model {
        let capacity = &model.capacity;
        let between = format!(
            "events/s capacity ({} to {})",
            short(capacity.low),
            short(capacity.high)
        );
        fact(content, &short(capacity.value), &between, "");
        let knee = &model.knee;
        let between = format!(
            "in flight at the knee ({} to {})",
            short(knee.low),
            short(knee.high)
        );
        fact(content, &short(knee.value), &between, "");
    }
    let sum = |of: fn(&Point) -> u64| -> u64 { outcome.points.iter().map(of).sum() };
    let wrong = sum(|point| point.reliability.findings + point.reliability.missing);
    let class = if wrong > 0 { "bad" } else { "" };
    fact(
        content,
        &thousands(float(wrong)),
        "rows wrong or events missing",
        class,
    );
    for (count, what) in [
        (sum(|point| point.reliability.faults), "faults of stores"),
        (
            sum(|point| point.reliability.restarts),
            "restarts after a death",
        ),
        (sum(|point| point.sums.late), "late events"),
        (
            sum(|point| point.sums.refolded),
            "rows corrected by a refold",
        ),
    ] {
        if count > 0 {
            fact(content, &thousands(float(count)), what, "");
        }
    }
    content.push_str("</ul>\n");
}

/// The columns of a scenario's figures.
pub(crate) const COLUMNS: [&str; 16] = [
    "load",
    "events/s",
    "× loop",
    "p50 ms",
    "p90",
    "p99",
    "p99.9",
    "max",
    "CPU s/M",
    "MiB",
    "kB/event",
    "late",
    "corrected",
    "retries",
    "restarts",
    "wrong",
];

/// A load level's figures, medians and sums of its runs.
pub(crate) fn cells(level: &Level<'_>) -> Vec<String> {
    let of = |figure: &dyn Fn(&Point) -> f64| {
        short(median(
            &level
                .points
                .iter()
                .map(|point| figure(point))
                .collect::<Vec<_>>(),
        ))
    };
    let per_event = |point: &Point, number: u64| float(number) / float(point.done.max(1));
    let sum = |figure: &dyn Fn(&Point) -> u64| -> String {
        thousands(float(level.points.iter().map(|point| figure(point)).sum()))
    };
    // What of a process the system does not tell, and of a stack AWS does not.
    let is_told = level.points.iter().any(|point| point.usage.cpu_ms > 0);
    let told = |figure: &dyn Fn(&Point) -> f64| {
        if is_told {
            of(figure)
        } else {
            "–".to_owned()
        }
    };
    let latency = &level.latency;
    vec![
        level
            .points
            .first()
            .map(|point| point.key())
            .unwrap_or_default(),
        short(level.throughput),
        of(&|point| point.throughput / point.calibration),
        short(latency.p50),
        short(latency.p90),
        short(latency.p99),
        short(latency.p999),
        short(latency.max),
        told(&|point| per_event(point, point.usage.cpu_ms) * 1_000.0),
        told(&|point| float(point.usage.peak_kib) / 1_024.0),
        told(&|point| per_event(point, point.usage.written) / 1_000.0),
        sum(&|point| point.sums.late),
        sum(&|point| point.sums.refolded),
        sum(&|point| point.reliability.retries),
        sum(&|point| point.reliability.restarts),
        sum(&|point| point.reliability.findings + point.reliability.missing),
    ]
}

fn figures(content: &mut String, outcome: &Outcome) {
    let rows: Vec<Vec<String>> = outcome.levels().iter().map(cells).collect();
    table(content, &COLUMNS, &rows);
}

/// A table whose first column is words.
pub(crate) fn table(content: &mut String, header: &[&str], rows: &[Vec<String>]) {
    content.push_str("<div class=\"scroll\"><table><thead><tr>");
    for name in header {
        push(content, format_args!("<th>{}</th>", escape(name)));
    }
    content.push_str("</tr></thead><tbody>\n");
    for row in rows {
        content.push_str("<tr>");
        for cell in row {
            push(content, format_args!("<td>{}</td>", escape(cell)));
        }
        content.push_str("</tr>\n");
    }
    content.push_str("</tbody></table></div>\n");
}

fn series(name: &str, colour: usize, shape: Shape) -> Series {
    Series {
        name: name.to_owned(),
        colour,
        shape,
    }
}

fn axis(label: &str, logarithmic: bool) -> Axis {
    Axis {
        label: label.to_owned(),
        logarithmic,
    }
}

/// Places from low to high, equally far in the logarithm.
fn places(low: f64, high: f64) -> Vec<f64> {
    let step = |n: u32| low * (high / low).powf(f64::from(n) / f64::from(CURVE));
    (0..=CURVE).map(step).collect()
}

fn scalability(outcome: &Outcome, model: Option<&Model>) -> Chart {
    let mut chart = Chart {
        title: "Throughput against events in flight".to_owned(),
        x: axis("events in flight", true),
        y: axis("events/s", true),
        ..Chart::default()
    };
    let closed = outcome.closed();
    if let Some(model) = model {
        let (most, _) = model.measured();
        let at = places(1.0, most * 4.0);
        let bounds = model.throughput(&at);
        let band = at
            .iter()
            .zip(&bounds)
            .map(|(x, one)| (*x, one.low, one.high));
        let name = "95 % of fits";
        chart
            .series
            .push(series(name, 0, Shape::Band(band.collect())));
        let line = at.iter().map(|x| (*x, model.usl.at(*x))).collect();
        chart
            .series
            .push(series("Universal Scalability Law", 0, Shape::Line(line)));
        chart.marks.push((model.knee.value, "knee".to_owned()));
        chart.marks.push((most, "measured to here".to_owned()));
    }
    chart
        .series
        .push(series("measured", 1, Shape::Dots(closed)));
    chart
}

/// Latency against the rate; `at` is a rate that is asked for.
pub(crate) fn latency(outcome: &Outcome, model: Option<&Model>, at: Option<f64>) -> Chart {
    let open = outcome.open();
    let mut chart = Chart {
        title: "Latency against rate, open loop".to_owned(),
        x: axis("events/s", false),
        y: axis("milliseconds", true),
        ..Chart::default()
    };
    let most = open.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
    let of = |queue: Option<super::fit::Queue>| -> Vec<(f64, f64)> {
        let Some(queue) = queue else {
            return Vec::new();
        };
        let end = most.max(at.unwrap_or_default()) * 1.1;
        let rates = (1..=CURVE).map(|n| end * f64::from(n) / f64::from(CURVE));
        rates
            .map(|rate| (rate, queue.at(rate)))
            .filter(|(rate, _)| *rate < queue.capacity * 0.995)
            .collect()
    };
    if let Some(model) = model {
        chart
            .series
            .push(series("p50, fitted", 0, Shape::Line(of(model.median))));
        chart
            .series
            .push(series("p99, fitted", 1, Shape::Line(of(model.tail))));
    }
    let dots = |figure: fn(&super::outcome::Latency) -> f64| {
        open.iter()
            .map(|(rate, latency)| (*rate, figure(latency)))
            .collect()
    };
    chart
        .series
        .push(series("p50", 0, Shape::Dots(dots(|latency| latency.p50))));
    chart
        .series
        .push(series("p99", 1, Shape::Dots(dots(|latency| latency.p99))));
    chart.series.push(series(
        "p99.9",
        2,
        Shape::Dots(dots(|latency| latency.p999)),
    ));
    if let Some(at) = at {
        chart.marks.push((at, "asked for".to_owned()));
    }
    chart
}

/// Some levels, from the first to the last.
fn drawn<'o>(outcome: &'o Outcome) -> Vec<Level<'o>> {
    let levels = outcome.levels();
    let last = levels.len().saturating_sub(1);
    let wanted: Vec<usize> = (0..LEVELS_DRAWN)
        .map(|n| n * last / (LEVELS_DRAWN - 1))
        .collect();
    let place = |(at, level): (usize, Level<'o>)| wanted.contains(&at).then_some(level);
    levels.into_iter().enumerate().filter_map(place).collect()
}

fn percentiles(outcome: &Outcome) -> Chart {
    let mut chart = Chart {
        title: "Latency by percentile".to_owned(),
        x: axis("one in so many takes longer", true),
        y: axis("milliseconds", true),
        ..Chart::default()
    };
    for (colour, level) in drawn(outcome).iter().enumerate() {
        let latency = &level.latency;
        let points = vec![
            (2.0, latency.p50),
            (10.0, latency.p90),
            (100.0, latency.p99),
            (1_000.0, latency.p999),
        ];
        let name = level.points.first().map(|point| point.key());
        chart.series.push(series(
            &name.unwrap_or_default(),
            colour,
            Shape::Line(points),
        ));
    }
    chart
}

fn over_time(outcome: &Outcome) -> Chart {
    let mut chart = Chart {
        title: "Throughput over time, first run".to_owned(),
        x: axis("seconds", false),
        y: axis("events/s", false),
        ..Chart::default()
    };
    for (colour, level) in drawn(outcome).iter().enumerate() {
        let Some(point) = level.points.first() else {
            continue;
        };
        let at = |(tenth, count): (usize, &u64)| (float(tenth as u64) / 10.0, float(*count) * 10.0);
        let points = point.over_time.iter().enumerate().map(at).collect();
        chart
            .series
            .push(series(&point.key(), colour, Shape::Line(points)));
    }
    chart
}

fn steps(content: &mut String, outcome: &Outcome) {
    let whose = match outcome.place {
        Place::Embedded | Place::Mongodb => "the time of the working thread",
        Place::Stack => "an event's time",
    };
    push(
        content,
        format_args!("<h3>Where {whose} goes</h3>\n<div class=\"bars\">"),
    );
    for level in drawn(outcome) {
        let Some(point) = level.points.first() else {
            continue;
        };
        push(
            content,
            format_args!("<span>{}</span><div class=\"bar\">", escape(&point.key())),
        );
        for (colour, step) in point.steps.iter().enumerate() {
            let (name, share) = (escape(&step.name), step.share * 100.0);
            push(
                content,
                format_args!(
                    "<i class=\"c{}\" style=\"width:{share:.2}%\" title=\"{name}: {share:.1} %, p50 {} ms, \
                     p99 {} ms\"></i>",
                    colour % 9,
                    short(step.latency.p50),
                    short(step.latency.p99)
                ),
            );
        }
        content.push_str("</div>");
    }
    content.push_str("</div>\n<div class=\"legend\">");
    let names = outcome.points.first().map(|point| point.steps.as_slice());
    for (colour, step) in names.unwrap_or_default().iter().enumerate() {
        let name = escape(&step.name);
        push(
            content,
            format_args!("<span class=\"key c{}\">{name}</span>", colour % 9),
        );
    }
    content.push_str("</div>\n");
}

fn foretold(content: &mut String, model: &Model) {
    let held = model.held_out();
    if held.is_empty() {
        return;
    }
    content.push_str(
        "<h3>Foretold from loads up to half of the knee</h3>\n<p class=\"soft\">The fit knew the loads up to \
         the one named; medians of the runs of the others are held against it.</p>\n<ul>",
    );
    for one in &held {
        push(
            content,
            format_args!("<li>{}</li>", escape(&one.in_words())),
        );
    }
    content.push_str("</ul>\n");
}

/// Whether a level is of the closed loop.
pub(crate) fn is_closed(level: &Level<'_>) -> bool {
    matches!(level.mode(), Some(Mode::InFlight(_)))
}
