use maud::{Markup, html};
use shared::model::{ActionHierarchy, ActionNode, EventHash, Outcome};

use super::{Page, Tab, lasting, link, moment};
use crate::access::Who;
use crate::job::{JobView, Step};
use crate::jobs::{Job, State};

pub(crate) fn page(who: &Who, view: &JobView) -> Markup {
    let job = &view.job;
    let title = format!("Job {}", job.event);
    let body = html! {
        h1 { "Job " (job.event) }
        p { span.state.(job.state.name()) { (job.state.name()) } " " (state_words(job)) }
        @if let Some(reason) = &job.reason { p.bad.reason { (reason) } }
        @if !who.read_only { (deeds(who, view)) }
        section aria-labelledby="h-way" {
            h2 #h-way { "The way" }
            (way(&view.steps))
        }
        section aria-labelledby="h-actions" {
            h2 #h-actions { "Actions" }
            @if view.hierarchies.is_empty() { p.note { "None has run, or they are not kept any more." } }
            @for one in &view.hierarchies { (hierarchy(one, view.hash)) }
        }
        section aria-labelledby="h-event" {
            h2 #h-event { "Event" }
            dl.table {
                dt { "Source" } dd { (job.source) }
                dt { "Type" } dd { (job.kind.as_deref().unwrap_or("–")) }
                dt { "Means" } dd { (view.meaning) }
                dt { "Tenant" } dd { (job.tenant) }
                dt { "Of" } dd { a href=(link("/entity", &[("tenant", &job.tenant), ("id", &view.subject)])) { (view.subject) } }
                @if let Some(trace) = &view.trace { dt { "Trace" } dd { (trace) } }
            }
            h3 { "Payload" }
            pre tabindex="0" { (view.payload) }
        }
    };
    Page {
        title: &title,
        tab: Tab::Jobs,
        who,
        live: true,
        body,
    }
    .markup()
}

fn state_words(job: &Job) -> Markup {
    let tries = match job.attempts {
        0 => "not tried yet".to_owned(),
        1 => "tried once".to_owned(),
        more => format!("tried {more} times"),
    };
    html! {
        (tries) ", since " (moment(job.since))
        @if let Some(ms) = job.late_ms { "; " span.late { "late by " (lasting(ms)) } }
    }
}

fn deeds(who: &Who, view: &JobView) -> Markup {
    let form = |deed: &str, name: &str, field: &str, value: &str| {
        html! {
            form method="post" action="/act" {
                input type="hidden" name="csrf" value=(who.csrf);
                input type="hidden" name="deed" value=(deed);
                input type="hidden" name=(field) value=(value);
                input type="hidden" name="back" value=(super::jobs::of(&view.job));
                button.(deed) type="submit" { (name) "…" }
            }
        }
    };
    html! {
        div.row {
            @if let Some(letter) = &view.job.letter {
                (form("redrive", "Retry", "letters", letter))
                (form("discard", "Discard", "letters", letter))
            }
            @if let Some(receipt) = view.job.receipt.as_deref().filter(|_| view.job.state == State::Delayed) {
                (form("retry", "Retry now", "receipt", receipt))
            }
        }
    }
}

/// The moments from out there to the rows, each with the time since the one before.
fn way(steps: &[Step]) -> Markup {
    html! {
        ol.way {
            @for (place, step) in steps.iter().enumerate() {
                li {
                    span.name { (step.what) } " " (moment(step.at))
                    @let before = place.checked_sub(1).and_then(|place| steps.get(place));
                    @if let Some(before) = before { " " span.quiet { "after " (lasting(step.at.ms_since(before.at))) } }
                }
            }
        }
    }
}

fn hierarchy(one: &ActionHierarchy, event: EventHash) -> Markup {
    html! {
        p.quiet {
            "At try " (one.attempt) ": rows read at " (moment(one.read_start)) ", written at " (moment(one.write_start))
        }
        @if let Some(late) = &one.late {
            p.late {
                "Late by " (lasting(late.ms)) ": its row held event " (late.overtaken_by)
                @if let Some(at) = late.at { " of " (moment(at)) }
                " already"
            }
        }
        @if one.unmapped { p.note { "No rule of the settings maps its type: it acts on no row." } }
        (tree(&one.actions, event))
    }
}

fn tree(nodes: &[ActionNode], event: EventHash) -> Markup {
    html! {
        @if !nodes.is_empty() {
            ul.tree {
                @for node in nodes {
                    li {
                        span.name { (node.table.name()) } " " (node.id) " "
                        span.outcome { (outcome(node.outcome)) } " "
                        code.quiet { (node.action_id(event)) }
                        (tree(&node.children, event))
                    }
                }
            }
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Changed => "changed the row",
        Outcome::Unchanged => "was noted; the row's content stayed",
        Outcome::Held => "was held already",
    }
}
