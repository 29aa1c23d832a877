use std::collections::BTreeSet;

use maud::{Markup, html};
use shared::model::{Class, Finding, ReplayRun};
use shared::ports::LIVE_RUN;

use super::entity::value;
use super::{Page, Tab, count, lasting, link, moment, things};
use crate::access::Who;

/// What is shown of a run.
pub(crate) struct Run<'a> {
    pub(crate) number: u64,
    /// `None` for what live handling found.
    pub(crate) run: Option<&'a ReplayRun>,
    pub(crate) findings: &'a [(u64, Finding)],
    pub(crate) next: Option<u64>,
}

/// The runs that are kept.
pub(crate) fn list(who: &Who, runs: &[(u64, ReplayRun)]) -> Markup {
    let body = html! {
        h1 { "Findings" }
        p { "Replay folds every row anew from its journal and compares. " a href=(link("/findings", &[("run", "0")])) { "What was found while running" } " is listed apart." }
        @if !who.read_only { (replay(who)) }
        @if runs.is_empty() { p.note { "No run of replay is kept yet." } } @else { div.scroll { table {
            thead { tr {
                th scope="col" { "Run" } th scope="col" { "Ended" } th scope="col" { "Mode" } th scope="col" { "Of" }
                @if who.tenant.is_none() { th.n scope="col" { "Rows" } th.n scope="col" { "Findings" } th.n scope="col" { "Mended" } th scope="col" { "Classes" } }
            } }
            tbody { @for (number, run) in runs { tr {
                th scope="row" { a href=(link("/findings", &[("run", &number.to_string())])) { (number) } }
                td { (moment(run.finished)) }
                td { (run.mode) }
                td { (if who.tenant.is_none() { run.scope.as_str() } else { "" }) }
                @if who.tenant.is_none() {
                    td.n { (count(run.rows)) }
                    td.n { @if run.findings == 0 { span.good { "0" } } @else { span.bad { (count(run.findings)) } } }
                    td.n { (count(run.mended)) }
                    td { @for (place, (class, tables)) in run.by_class.iter().enumerate() { @if place > 0 { ", " } (class) " " (count(tables.values().sum())) } }
                }
            } } }
        } } }
    };
    Page {
        title: "Findings",
        tab: Tab::Findings,
        who,
        live: true,
        body,
    }
    .markup()
}

fn replay(who: &Who) -> Markup {
    let form = |deed: &str, name: &str| {
        html! {
            form method="post" action="/act" {
                input type="hidden" name="csrf" value=(who.csrf);
                input type="hidden" name="deed" value=(deed);
                @if let Some(tenant) = &who.tenant { input type="hidden" name="tenant" value=(tenant); }
                button.(deed) type="submit" { (name) "…" }
            }
        }
    };
    html! { div.row { (form("replay", "Replay now")) (form("repair", "Repair everything")) } }
}

/// What one run found.
pub(crate) fn run(who: &Who, shown: &Run<'_>) -> Markup {
    let title = match shown.run {
        Some(_) => format!("Run {}", shown.number),
        None => "Found while running".to_owned(),
    };
    let classes: BTreeSet<Class> = shown.findings.iter().map(|(_, one)| one.class).collect();
    let body = html! {
        h1 { (title) }
        @match shown.run {
            Some(run) => p {
                (run.mode) @if who.tenant.is_none() { " of " (run.scope) ": " (things(run.rows, "row")) " of " (things(run.groups, "group")) ", " (things(run.findings, "finding")) ", " (count(run.mended)) " mended" }
                ", settings " (run.settings) ", ended " (moment(run.finished)) " after " (lasting(run.finished.ms_since(run.started)))
            },
            None => p { "Rows under policy " code { "detect" } " that an event came late for, and that nothing has mended since." },
        }
        @if shown.findings.is_empty() { p.good { "All equal: every row is the fold of its events." } }
        @for class in &classes { (explained(*class)) }
        @for (_, finding) in shown.findings { (one(who, finding)) }
        @if let Some(next) = shown.next {
            p { a rel="next" href=(link("/findings", &[("run", &shown.number.to_string()), ("from", &next.to_string())])) { "More" } }
        }
    };
    let live = shown.number == LIVE_RUN;
    Page {
        title: &title,
        tab: Tab::Findings,
        who,
        live,
        body,
    }
    .markup()
}

fn explained(class: Class) -> Markup {
    html! {
        details.class {
            summary { span.state.failed { (class.name()) } " the row " (class.explanation()) }
            p { "Comes about: " (class.comes_about()) "." }
            p { "To do: " (class.to_do()) "." }
        }
    }
}

fn one(who: &Who, finding: &Finding) -> Markup {
    let tenant = finding.group.tenant.as_str();
    html! {
        article.card {
            h2 {
                span.state.failed { (finding.class.name()) } " " (finding.table.name()) " "
                a href=(link("/entity", &[("tenant", tenant), ("id", &finding.id)])) { (finding.id) }
            }
            p { (finding.group.kind()) " " (finding.group.subject()) " of " (tenant) ": " (finding.explanation) }
            @if !finding.events.is_empty() { p { "Events: " @for (place, event) in finding.events.iter().enumerate() { @if place > 0 { ", " } a href=(link("/job", &[("tenant", tenant), ("group", &finding.group.key), ("source", &event.source), ("event", &event.id)])) { (event.id) } } } }
            @if !finding.changes.is_empty() { div.scroll { table.diff {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Is" } th scope="col" { "Should be" } th scope="col" { "By event" } } }
                tbody { @for change in &finding.changes { tr {
                    th scope="row" { (change.field) }
                    td.before { (value(change.before.as_ref())) }
                    td.after { (value(change.after.as_ref())) }
                    td { @match &change.caused_by { Some(event) => (event.id), None => span.quiet { "–" } } }
                } } }
            } } }
            @if !who.read_only {
                form method="post" action="/act" {
                    input type="hidden" name="csrf" value=(who.csrf);
                    input type="hidden" name="deed" value="repair";
                    input type="hidden" name="tenant" value=(tenant);
                    input type="hidden" name="id" value=(finding.group.subject());
                    button.repair type="submit" { "Repair…" }
                }
            }
        }
    }
}
