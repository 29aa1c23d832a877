use maud::{Markup, html};
use shared::handlers::Table;

use super::{Page, Tab, count, lasting, link, moment};
use crate::access::Who;
use crate::jobs::{self, Asked, Job, State};

pub(crate) fn page(who: &Who, asked: &Asked, found: &jobs::Page) -> Markup {
    let shown = asked.state.unwrap_or(State::Completed);
    let body = html! {
        h1 { "Jobs" }
        nav.states aria-label="States" {
            ul {
                @for state in State::ALL {
                    li { a href=(address(asked, Some(state), None)) aria-current=[(state == shown).then_some("true")] { (state.name()) } }
                }
            }
        }
        (filter(who, asked))
        @if shown == State::Failed && !who.read_only && !found.jobs.is_empty() { (all(who)) }
        @if !found.known {
            p.note { "This cannot be looked into here: the queue tells how many messages it has, not which, and the journal is read by key. Look for a lead or an appointment by its id." }
        } @else {
            (list(&found.jobs))
            p.quiet {
                "Looked at " (count(found.examined))
                @if asked.text.as_ref().is_some_and(|text| !text.is_empty()) { " events, the newest first." } @else { "." }
                @if let Some(next) = found.next {
                    " " a rel="next" href=(address(asked, asked.state, Some(next))) { "Look further" }
                } @else { " There are no more." }
            }
        }
    };
    let live = asked.from.is_none();
    Page {
        title: "Jobs",
        tab: Tab::Jobs,
        who,
        live,
        body,
    }
    .markup()
}

fn text(of: Option<&smol_str::SmolStr>) -> &str {
    of.map_or("", |text| text.as_str())
}

fn address(asked: &Asked, state: Option<State>, from: Option<u64>) -> String {
    let from = from.map(|from| from.to_string()).unwrap_or_default();
    link(
        "/jobs",
        &[
            ("state", state.map_or("", State::name)),
            ("tenant", text(asked.tenant.as_ref())),
            ("action", text(asked.action.as_ref())),
            ("id", text(asked.id.as_ref())),
            ("text", text(asked.text.as_ref())),
            ("from", &from),
        ],
    )
}

fn filter(who: &Who, asked: &Asked) -> Markup {
    let action = text(asked.action.as_ref());
    html! {
        form.filter method="get" action="/jobs" role="search" aria-label="Jobs" {
            @if let Some(state) = asked.state { input type="hidden" name="state" value=(state.name()); }
            @if who.tenant.is_none() {
                div { label for="f-tenant" { "Tenant" } input #f-tenant name="tenant" value=(text(asked.tenant.as_ref())) maxlength="256"; }
            }
            div {
                label for="f-action" { "Action on" }
                select #f-action name="action" {
                    option value="" { "any table" }
                    @for table in Table::ALL { option value=(table.name()) selected[table.name() == action] { (table.name()) } }
                }
            }
            div { label for="f-id" { "Id" } input #f-id name="id" value=(text(asked.id.as_ref())) maxlength="512" placeholder="event, lead, appointment"; }
            div { label for="f-text" { "Text in payloads" } input #f-text name="text" value=(text(asked.text.as_ref())) maxlength="256"; }
            button type="submit" { "Show" }
        }
    }
}

fn all(who: &Who) -> Markup {
    html! {
        div.row {
            @for (deed, name) in [("redrive", "Redrive all"), ("discard", "Discard all")] {
                form method="post" action="/act" {
                    input type="hidden" name="csrf" value=(who.csrf);
                    input type="hidden" name="deed" value=(deed);
                    input type="hidden" name="letters" value="all";
                    button.(deed) type="submit" { (name) "…" }
                }
            }
        }
    }
}

fn list(found: &[Job]) -> Markup {
    html! {
        @if found.is_empty() { p.note { "No such job." } } @else {
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Event" } th scope="col" { "State" } th scope="col" { "Type" } th scope="col" { "Of" }
                    th scope="col" { "Since" } th.n scope="col" { "Tries" } th scope="col" { "What about it" }
                } }
                tbody { @for job in found { (line(job)) } }
            } }
        }
    }
}

/// The page of a job.
pub(crate) fn of(job: &Job) -> String {
    link(
        "/job",
        &[
            ("tenant", &job.tenant),
            ("group", &job.group),
            ("source", &job.source),
            ("event", &job.event),
        ],
    )
}

fn line(job: &Job) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(of(job)) { (job.event) } }
            td { span.state.(job.state.name()) { (job.state.name()) } }
            td { (job.kind.as_deref().unwrap_or("–")) }
            td { (job.tenant) " " a href=(link("/entity", &[("tenant", &job.tenant), ("id", &job.subject)])) { (job.subject) } }
            td { (moment(job.since)) }
            td.n { (job.attempts) }
            td {
                @if let Some(reason) = &job.reason { span.bad { (reason) } }
                @if let Some(ms) = job.late_ms { span.late { "late by " (lasting(ms)) } " " }
                @if !job.actions.is_empty() { (job.actions.len()) @if job.actions.len() == 1 { " action" } @else { " actions" } }
            }
        }
    }
}
