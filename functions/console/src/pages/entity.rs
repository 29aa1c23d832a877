use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use shared::flow::Explained;
use shared::model::{EventRef, FieldChange, Group};
use shared::ports::HistoryVersion;
use shared::service::{EntityView, Moment, Point, ViewRow};
use smol_str::SmolStr;

use super::{Page, Tab, lasting, link, moment};
use crate::access::Who;
use crate::entity::{Asked, Seen};

/// How many events of a long timeline are shown, of its end.
const MOMENTS_MAX: usize = 500;

pub(crate) fn page(who: &Who, asked: &Asked, seen: &Seen) -> Markup {
    let id = asked.id.as_deref().unwrap_or_default();
    let title = if id.is_empty() {
        "Entity".to_owned()
    } else {
        format!("Entity {id}")
    };
    let body = html! {
        h1 { "Entity " (id) }
        (controls(who, asked))
        @if id.is_empty() { p.note { "Give the id of a lead, an appointment, or a day such as 2026-03-01." } }
        @else if seen.views.is_empty() { p.note { "No event of such an entity is known." } }
        @for view in &seen.views { (one(who, view, seen)) }
    };
    // Whoever looks at a point in the past looks at something that stays.
    let live = seen.at.is_present() && seen.since.is_none() && !id.is_empty();
    Page {
        title: &title,
        tab: Tab::Entity,
        who,
        live,
        body,
    }
    .markup()
}

fn controls(who: &Who, asked: &Asked) -> Markup {
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    let field = |id: &str, label: &str, value: String, hint: &str| {
        html! {
            div { label for=(id) { (label) } input id=(id) name=(id) value=(value) maxlength="40" placeholder=(hint); }
        }
    };
    let hint = "2026-03-01 09:30";
    html! {
        form.filter method="get" action="/entity" {
            @if who.tenant.is_none() { div { label for="tenant" { "Tenant" } input #tenant name="tenant" value=(asked.tenant.as_deref().unwrap_or_default()) maxlength="256"; } }
            div { label for="id" { "Id" } input #id name="id" value=(asked.id.as_deref().unwrap_or_default()) maxlength="512" required; }
            fieldset {
                legend { "Show it" }
                (field("as_of", "as it was at", text(&asked.as_of), hint))
                (field("known_at", "as we knew it at", text(&asked.known_at), hint))
            }
            fieldset {
                legend { "and what changed since it" }
                (field("from_as_of", "was at", text(&asked.from_as_of), hint))
                (field("from_known_at", "was known at", text(&asked.from_known_at), hint))
            }
            button type="submit" { "Show" }
        }
    }
}

fn one(who: &Who, view: &EntityView, seen: &Seen) -> Markup {
    let group = &view.group;
    html! {
        section aria-label={ (group.kind()) " " (group.subject()) } {
            h2 { (group.kind()) " " (group.subject()) " of " (group.tenant) }
            div.row {
                span { (view.moments.len()) " events" (when(&seen.at)) }
                @if !who.read_only { (repair(who, group)) }
                @for (id, versions) in &view.histories { @if !versions.is_empty() { a href={ "#h-" (id) } { "History of " (id) } } }
                a href={ "#t-" (group.subject()) } { "Timeline" }
            }
            @if let Some(since) = &seen.since { (changed(group, view, since, &seen.at)) }
            h3 { "Rows" }
            @if view.rows.is_empty() { p.note { "None: no event counts by then." } }
            div.cards { @for row in &view.rows { (row_card(group, view, row)) } }
            @for (id, versions) in &view.histories { (history(id, versions)) }
            h3 id={ "t-" (group.subject()) } { "Timeline" }
            (timeline(view))
        }
    }
}

fn repair(who: &Who, group: &Group) -> Markup {
    html! {
        form.inline method="post" action="/act" {
            input type="hidden" name="csrf" value=(who.csrf);
            input type="hidden" name="deed" value="replay";
            input type="hidden" name="tenant" value=(group.tenant);
            input type="hidden" name="id" value=(group.subject());
            button.plain type="submit" { "Compare with the journal…" }
        }
    }
}

fn when(point: &Point) -> Markup {
    html! {
        @if let Some(at) = point.as_of { " as it was at " (moment(at)) }
        @if let Some(at) = point.known_at { " as we knew it at " (moment(at)) }
    }
}

/// What is different from another point, field by field.
fn changed(group: &Group, view: &EntityView, since: &Point, at: &Point) -> Markup {
    html! {
        h3 { "What changed since it was" (when(since)) @if !at.is_present() { ", to" (when(at)) } }
        @if view.changes.is_empty() { p.note { "Nothing." } }
        @for one in &view.changes { (difference(group, view, one)) }
    }
}

fn difference(group: &Group, view: &EntityView, one: &Explained) -> Markup {
    html! {
        div.scroll { table.diff {
            caption { (one.table.name()) " " (one.id) }
            thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } th scope="col" { "By event" } } }
            tbody { @for change in &one.changes { tr {
                th scope="row" { (change.field) }
                td.before { (value(change.before.as_ref())) }
                td.after { (value(change.after.as_ref())) }
                td { (cause(group, view, change.caused_by.as_ref())) }
            } } }
        } }
    }
}

/// A value as it is written in JSON; text without its marks.
pub(super) fn value(value: Option<&Value>) -> Markup {
    html! {
        @match value {
            None => span.quiet { "(none)" },
            Some(Value::String(text)) => (text),
            Some(other) => (other.to_string()),
        }
    }
}

fn row_card(group: &Group, view: &EntityView, row: &ViewRow) -> Markup {
    let own = row.table.id_field();
    let shown = |change: &&FieldChange| change.field != "tenant" && change.field != own;
    html! {
        div.card {
            h4 { (row.table.name()) " " (row.id) }
            @let waits = view.waits.of_row(row.table, &row.id);
            @if !waits.is_empty() {
                p.bad { "Parked: waits for " @for (place, event) in waits.iter().enumerate() { @if place > 0 { ", " } (event) } }
            }
            div.scroll { table {
                thead.quiet { tr { th scope="col" { "Field" } th scope="col" { "Value" } th scope="col" { "By event" } } }
                tbody { @for field in row.fields.iter().filter(shown) { tr {
                    th scope="row" { (field.field) }
                    td { (value(field.after.as_ref())) }
                    td { (cause(group, view, field.caused_by.as_ref())) }
                } } }
            } }
        }
    }
}

fn cause(group: &Group, view: &EntityView, event: Option<&EventRef>) -> Markup {
    let Some(event) = event else {
        return html! { span.quiet { "–" } };
    };
    let known = view.moments.iter().find(|one| {
        one.entry.event.id == event.id
            && (event.source.is_empty() || one.entry.event.source == event.source)
    });
    html! {
        @match known {
            Some(one) => a href=(job_of(group, one)) { (event.id) },
            None => (event.id),
        }
    }
}

fn job_of(group: &Group, one: &Moment) -> String {
    let event = &one.entry.event;
    link(
        "/job",
        &[
            ("tenant", &group.tenant),
            ("group", &group.key),
            ("source", &event.source),
            ("event", &event.id),
        ],
    )
}

fn history(id: &SmolStr, versions: &[HistoryVersion]) -> Markup {
    let mut sorted: Vec<&HistoryVersion> = versions.iter().collect();
    sorted.sort_by_key(|one| (one.version.valid_from, one.recorded_from));
    html! {
        h3 id={ "h-" (id) } { "What was believed of " (id) }
        div.scroll { table {
            thead { tr { th scope="col" { "No." } th scope="col" { "Valid from" } th scope="col" { "to" } th scope="col" { "Was" } th scope="col" { "By event" } th scope="col" { "Believed from" } th scope="col" { "to" } } }
            tbody { @for one in sorted { tr.superseded[one.recorded_to.is_some()] {
                th scope="row" { (one.version.n) }
                td { (moment(one.version.valid_from)) }
                td { @match one.version.valid_to { Some(end) => (moment(end)), None => "…" } }
                td { (fields(&one.version.fields)) }
                td { (one.version.caused_by) }
                td { (moment(one.recorded_from)) }
                td { @match one.recorded_to { Some(end) => (moment(end)), None => "…" } }
            } } }
        } }
    }
}

fn fields(json: &str) -> Markup {
    let fields: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    html! { @for (place, (name, of)) in fields.iter().enumerate() { @if place > 0 { ", " } (name) " " strong { (value(Some(of))) } } }
}

fn timeline(view: &EntityView) -> Markup {
    let hidden = view.moments.len().saturating_sub(MOMENTS_MAX);
    html! {
        @if hidden > 0 { p.quiet { "The first " (hidden) " events are left out here; `foldback show` has them all." } }
        ol.timeline {
            @for one in view.moments.iter().skip(hidden) { (event(&view.group, one)) }
        }
    }
}

fn event(group: &Group, one: &Moment) -> Markup {
    let event = &one.entry.event;
    let late = one
        .hierarchy
        .as_ref()
        .and_then(|hierarchy| hierarchy.late.as_ref());
    html! {
        li.out[!one.counts] .is-late[late.is_some()] {
            (moment(event.time)) " "
            a href=(job_of(group, one)) { (event.id) } " "
            span.kind { (event.kind) } " " span.means { (one.meaning) }
            @if let Some(late) = late {
                " " span.late { "late by " (lasting(late.ms)) } " " span.quiet { "after " (late.overtaken_by) }
            }
            @let mark = one.mark();
            @if !mark.is_empty() { " " span.quiet { (mark) } }
            div.quiet { "recorded " (moment(one.entry.recorded)) }
        }
    }
}
