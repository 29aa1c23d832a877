use maud::{Markup, html};

use super::{Page, Tab, chart, count, lasting, link, moment, things};
use crate::access::Who;
use crate::overview::{Counts, FINISHED, LastReplay, Overview, Recent};
use crate::source::Activity;

pub(crate) fn page(who: &Who, overview: &Overview) -> Markup {
    let body = html! {
        h1 { "Overview" }
        (tiles(&overview.counts))
        section.facts aria-label="In short" {
            dl {
                dt { "Oldest message" }
                dd {
                    @match overview.oldest {
                        // Sent while this page was put together.
                        Some(sent) => { (lasting(overview.at.ms_since(sent).max(0))) ", since " (moment(sent)) }
                        None => { "none waits" }
                    }
                }
                dt { "Late" }
                dd { (late(&overview.recent)) }
                dt { "Last replay" }
                dd { (replay(overview.last_replay.as_ref())) }
                dt { "Found while running" }
                dd {
                    @if overview.live_findings == 0 { "no row out of order" }
                    @else { a href="/findings?run=0" { (overview.live_findings) " rows out of order" } }
                }
                dt { "Settings" }
                dd { "version " (overview.settings) }
            }
        }
        @if let Some(activity) = &overview.activity { (charts(activity)) }
    };
    Page {
        title: "Overview",
        tab: Tab::Overview,
        who,
        live: true,
        body,
    }
    .markup()
}

fn tiles(counts: &Counts) -> Markup {
    let more = if counts.more { "+" } else { "" };
    let full = if counts.completed >= FINISHED as u64 {
        "+"
    } else {
        ""
    };
    let known = |number: Option<u64>| number.map_or("–".to_owned(), count);
    let tile = |state: &str, number: String, note: &str| {
        html! {
            li { a.tile.(state) href=(link("/jobs", &[("state", state)])) {
                span.number { (number) } " " span.name { (state) }
                span.quiet { (note) }
            } }
        }
    };
    html! {
        ul.tiles aria-label="Jobs by state" {
            (tile("waiting", format!("{}{more}", count(counts.waiting)), "in the queue"))
            (tile("active", count(counts.active), "being worked on"))
            (tile("delayed", known(counts.delayed), "tried again later"))
            (tile("stalled", known(counts.stalled), "stuck, or waiting for long"))
            (tile("completed", format!("{}{full}", count(counts.completed)), "the newest"))
            (tile("failed", count(counts.failed), "in the dead-letter queue"))
        }
    }
}

fn late(recent: &Recent) -> Markup {
    html! {
        @if recent.events == 0 { "nothing is finished yet" } @else {
            (count(recent.late)) " of the newest " (count(recent.events)) " events"
            @if recent.late > 0 {
                " (" (per_cent(recent.late, recent.events)) "), by up to " (lasting(recent.late_ms_max))
            }
        }
    }
}

/// In per cent, to a tenth.
fn per_cent(part: u64, of: u64) -> String {
    let tenths = (part * 1_000 + of / 2).checked_div(of).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn replay(last: Option<&LastReplay>) -> Markup {
    html! {
        @match last {
            None => { "none is kept yet" }
            Some(run) => {
                a href=(link("/findings", &[("run", &run.number.to_string())])) {
                    @if run.findings == 0 { span.good { "all equal" } }
                    @else { span.bad { (things(run.findings, "finding")) } }
                }
                @if run.rows > 0 { " in " (things(run.rows, "row")) }
                @if run.mended > 0 { ", " (count(run.mended)) " mended" }
                ", " (run.mode) " of " (run.scope) ", " (moment(run.finished))
            }
        }
    }
}

fn charts(activity: &Activity) -> Markup {
    let busy = activity.slots.iter().filter(|slot| slot.events > 0);
    html! {
        section.pair aria-label="Over time" {
            figure {
                figcaption { "Events processed, by " (chart::slot_name(activity).trim_start_matches("a ").trim_start_matches("an ")) ", " span.key.late { "late" } }
                (chart::throughput(activity))
            }
            figure {
                figcaption { "From the queue to durable rows, ms: " span.key.p50 { "median" } ", " span.key.p99 { "99 of 100" } }
                (chart::latency(activity))
            }
        }
        details {
            summary { "The same in figures" }
            div.scroll { table {
                thead { tr { th scope="col" { "from" } th.n scope="col" { "events" } th.n scope="col" { "late" } th.n scope="col" { "parked" } th.n scope="col" { "median ms" } th.n scope="col" { "99 of 100 ms" } } }
                tbody { @for slot in busy { tr {
                    td { (moment(slot.at)) }
                    td.n { (count(slot.events)) }
                    td.n { (count(slot.late)) }
                    td.n { (count(slot.parked)) }
                    td.n { (slot.p50_ms.map_or("–".to_owned(), count)) }
                    td.n { (slot.p99_ms.map_or("–".to_owned(), count)) }
                } } }
            } }
        }
    }
}
