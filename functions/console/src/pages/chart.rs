//! Small charts, drawn on the server.

use maud::{Markup, html};

use super::count;
use crate::source::{Activity, Slot};

const WIDTH: u64 = 600;
const HEIGHT: u64 = 120;
/// Room for the labels of the axis.
const BASE: u64 = 16;

/// Events by time as bars, late ones in another shade.
pub(crate) fn throughput(activity: &Activity) -> Markup {
    let most = activity
        .slots
        .iter()
        .map(|slot| slot.events)
        .max()
        .unwrap_or(0);
    let total: u64 = activity.slots.iter().map(|slot| slot.events).sum();
    let late: u64 = activity.slots.iter().map(|slot| slot.late).sum();
    let label = format!(
        "Events processed: {} in all, {} of them late; at most {} in {}",
        count(total),
        count(late),
        count(most),
        slot_name(activity)
    );
    let bar = |place: usize, slot: &Slot| {
        let (x, width) = column(activity, place);
        let height = part(slot.events, most);
        let late = part(slot.late, most);
        html! {
            rect.bar x=(x) y=(HEIGHT - height) width=(width) height=(height) {
                title { (slot.at) ": " (count(slot.events)) " events, " (count(slot.late)) " late, " (count(slot.parked)) " parked" }
            }
            @if late > 0 { rect.bar.late x=(x) y=(HEIGHT - late) width=(width) height=(late) {} }
        }
    };
    frame(
        &label,
        most,
        activity,
        &html! {
            @for (place, slot) in activity.slots.iter().enumerate() { (bar(place, slot)) }
        },
    )
}

/// How long events took by time: the median, and what one in a hundred took longer than.
pub(crate) fn latency(activity: &Activity) -> Markup {
    let most = activity
        .slots
        .iter()
        .filter_map(|slot| slot.p99_ms)
        .max()
        .unwrap_or(0);
    let label = format!(
        "From the queue to durable rows: at most {} ms for 99 of 100",
        count(most)
    );
    let points = |of: fn(&Slot) -> Option<u64>| {
        let slots = activity.slots.iter().enumerate();
        let points = slots.filter_map(|(place, slot)| {
            let (x, width) = column(activity, place);
            Some((x + width / 2, HEIGHT - part(of(slot)?, most)))
        });
        points.collect::<Vec<(u64, u64)>>()
    };
    let line = |class: &'static str, points: &[(u64, u64)]| {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        html! {
            polyline.line.(class) points=(path.join(" ")) {}
            @for (x, y) in points { circle.dot.(class) cx=(x) cy=(y) r="2.5" {} }
        }
    };
    frame(
        &label,
        most,
        activity,
        &html! {
            (line("p99", &points(|slot| slot.p99_ms)))
            (line("p50", &points(|slot| slot.p50_ms)))
        },
    )
}

fn frame(label: &str, most: u64, activity: &Activity, inside: &Markup) -> Markup {
    let first = activity.slots.first().map(short);
    html! {
        svg.chart role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT + BASE) } {
            line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
            (inside)
            @if most == 0 { text.tick x="8" y=(HEIGHT / 2) { "nothing in this time" } }
            text.tick x="0" y="10" { (count(most)) }
            @if let Some(first) = first { text.tick x="0" y=(HEIGHT + BASE - 3) { (first) } }
            text.tick.end x=(WIDTH) y=(HEIGHT + BASE - 3) { "now" }
        }
    }
}

/// The hour and minute of a slot.
fn short(slot: &Slot) -> String {
    let text = slot.at.to_string();
    text.get(11..16).unwrap_or_default().to_owned()
}

pub(crate) fn slot_name(activity: &Activity) -> String {
    match activity.slot_seconds {
        60 => "a minute".to_owned(),
        3_600 => "an hour".to_owned(),
        seconds => format!("{seconds} s"),
    }
}

/// Where a slot's column begins, and how wide it is.
fn column(activity: &Activity, place: usize) -> (u64, u64) {
    let columns = (activity.slots.len() as u64).max(1);
    let begins = |place: u64| place * WIDTH / columns;
    let place = place as u64;
    let (from, to) = (begins(place), begins(place + 1));
    (from, (to - from).saturating_sub(1).max(1))
}

/// How high a value stands; what is more than nothing can be seen.
fn part(value: u64, most: u64) -> u64 {
    match (value * (HEIGHT - BASE)).checked_div(most) {
        Some(height) if value > 0 => height.max(1),
        Some(_) | None => 0,
    }
}
