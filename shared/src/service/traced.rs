//! What services return, as spans. A host exports them, so that services need not.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ActionHierarchy, Entry, Group, Timestamp};
use crate::observers::stated_to;
use crate::ports::{Error, Hierarchies, Journal, Receipt, Received};
use crate::settings::{Mapping, Tenant};
use crate::trace::{Journey, Scope, Span, SpanKind, TraceContext};

use super::process::Processed;
use super::webhook::TakenIn;

/// Of a webhook's request that arrived at `begun` and was answered at `ended`: the request, and the making
/// of each event's message. A request that brought no event and came with no trace tells nothing.
#[must_use]
pub fn of_request(
    taken: &TakenIn,
    scope: Scope,
    (begun, ended): (Timestamp, Timestamp),
) -> Vec<Span> {
    let status = taken.response.status;
    let first = taken.events.first().map(|(entry, _)| entry);
    let Some(first) = first else {
        return Vec::new();
    };
    let context = TraceContext::of_request(taken.context, first, begun);
    let failed = status.is_server_error();
    let mut spans = vec![Span {
        context,
        // Without a trace of its own the request is part of its first event's.
        parent: match taken.context {
            Some(context) => Some(context.span),
            None => Journey::of(first).parent(),
        },
        name: "POST /events/{tenant}".to_owned(),
        kind: SpanKind::Server,
        start: begun,
        end: ended,
        attributes: vec![
            ("http.request.method", "POST".into()),
            ("http.route", "/events/{tenant}".into()),
            (
                "http.response.status_code",
                i64::from(status.as_u16()).into(),
            ),
            (
                "foldback.tenant",
                taken.tenant.as_deref().unwrap_or_default().into(),
            ),
        ],
        links: Vec::new(),
        error: failed.then(|| status.to_string()),
    }];
    let created = taken
        .events
        .iter()
        .map(|(entry, _)| Journey::of(entry).creation(scope, Some(context), (begun, ended)));
    spans.extend(created);
    recorded(spans)
}

/// Of a batch of messages that was received at `begun` and worked on until `ended`.
#[must_use]
pub fn of_batch(
    received: &[Received],
    done: &Processed,
    scope: Scope,
    (begun, ended): (Timestamp, Timestamp),
) -> Vec<Span> {
    let mut spans = Vec::new();
    for (entry, hierarchy) in &done.finished {
        spans.extend(Journey::of(entry).handling(scope, hierarchy, ended));
    }
    for copy in &done.copies_made {
        spans.push(Journey::of(copy).creation(scope, None, (copy.recorded, ended)));
    }
    let attempt = received.iter().map(|one| one.receives).max().unwrap_or(1);
    for (entry, why) in &done.parked {
        spans.push(Journey::of(entry).failure(scope, attempt, why, (begun, ended)));
    }
    let failed: BTreeSet<&Receipt> = done.failed.iter().collect();
    for one in received.iter().filter(|one| failed.contains(&one.receipt)) {
        let failures = one.message.entries.iter().map(|entry| {
            Journey::of(entry).failure(scope, one.receives, "left for another try", (begun, ended))
        });
        spans.extend(failures);
    }
    recorded(spans)
}

/// The journeys of a group's events, told again from what is kept: all that `wanted` says yes to, with what
/// they led to in the groups that they are stated to.
///
/// # Errors
/// A store failed.
pub async fn journeys<P: Journal + Hierarchies>(
    ports: &P,
    tenant: &Tenant,
    group: &Group,
    scope: Scope,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Vec<Span>, Error> {
    let journal = ports.entries(std::slice::from_ref(group)).await?.concat();
    let mut entries: Vec<Entry> = journal.into_iter().filter(wanted).collect();
    entries.sort_by(|a, b| a.event.cmp_order(&b.event));
    let mut copies: BTreeMap<Group, Vec<Entry>> = BTreeMap::new();
    for entry in &entries {
        if let Mapping::Mapped(meaning) = tenant.map(&entry.event) {
            for to in stated_to(group, &entry.event, &meaning) {
                let copy = entry.copy_to(&to, entry.recorded);
                copies.entry(to).or_default().push(copy);
            }
        }
    }
    let mut spans = of_entries(ports, group, &entries, scope).await?;
    for (group, copies) in &copies {
        spans.extend(of_entries(ports, group, copies, scope).await?);
    }
    Ok(spans)
}

/// What is kept of some entries of a group.
async fn of_entries(
    hierarchies: &impl Hierarchies,
    group: &Group,
    entries: &[Entry],
    scope: Scope,
) -> Result<Vec<Span>, Error> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let kept = hierarchies.of_group(group).await?;
    let kept: BTreeMap<(&str, &str), &ActionHierarchy> = kept
        .iter()
        .map(|one| ((one.source.as_str(), one.event_id.as_str()), one))
        .collect();
    let mut spans = Vec::new();
    for entry in entries {
        let journey = Journey::of(entry);
        spans.push(journey.creation(scope, None, (entry.recorded, entry.recorded)));
        let done = kept.get(&(entry.event.source.as_str(), entry.event.id.as_str()));
        if let Some(done) = done {
            spans.extend(journey.handling(scope, done, done.write_start));
        }
    }
    Ok(spans)
}

/// Without those whose sender wants none.
fn recorded(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.context.sampled);
    spans
}

#[cfg(test)]
mod tests;
