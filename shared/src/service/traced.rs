//! What services return, as spans. A host exports them, so that services need not.

use std::collections::BTreeSet;

use crate::model::Timestamp;
use crate::ports::{Receipt, Received};
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
        parent: taken.context.map(|context| context.span),
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

/// Without those whose sender wants none.
fn recorded(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.context.sampled);
    spans
}

#[cfg(test)]
mod tests;
