use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use http::{HeaderMap, StatusCode};

use super::*;
use crate::handlers::Table;
use crate::model::{ActionHierarchy, ActionNode, Entry, Group, Outcome, cloud_event};
use crate::ports::Appended;
use crate::webhook::Response;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn begun() -> Timestamp {
    Timestamp::from_ms(1_000)
}

fn ended() -> Timestamp {
    Timestamp::from_ms(1_250)
}

fn entry(id: &str, parent: Option<&str>) -> Arc<Entry> {
    let parent = parent.map(|parent| format!(r#""traceparent":"{parent}","#));
    let text = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"//crm",{}"type":"t",
            "time":"2026-03-01T09:00:00Z"}}"#,
        parent.unwrap_or_default()
    );
    let event = cloud_event::parse(text.as_bytes()).expect("an event");
    let group = Group {
        tenant: "acme".into(),
        key: "lead-7".into(),
    };
    Arc::new(Entry {
        group,
        hash: event.hash(),
        event,
        recorded: begun(),
    })
}

fn taken(context: Option<&str>, events: &[Arc<Entry>]) -> TakenIn {
    TakenIn {
        response: Response {
            status: StatusCode::ACCEPTED,
            headers: HeaderMap::new(),
            body: String::new(),
        },
        tenant: Some("acme".into()),
        failure: None,
        events: events
            .iter()
            .map(|one| (Arc::clone(one), Appended::New))
            .collect(),
        context: context.and_then(TraceContext::parse),
        refused: 0,
    }
}

fn action(table: Table, outcome: Outcome, children: Vec<ActionNode>) -> ActionNode {
    ActionNode {
        table,
        id: "lead-7".into(),
        outcome,
        children,
    }
}

fn done(entry: &Arc<Entry>) -> Processed {
    let conversions = action(
        Table::RSLeadGlobalConversions,
        Outcome::Unchanged,
        Vec::new(),
    );
    let hierarchy = ActionHierarchy {
        group: entry.group.clone(),
        source: entry.event.source.clone(),
        event_id: entry.event.id.clone(),
        attempt: 1,
        read_start: begun(),
        write_start: Timestamp::from_ms(1_100),
        late: None,
        unmapped: false,
        actions: vec![
            action(
                Table::RSLead,
                Outcome::Changed,
                vec![conversions.clone(), conversions],
            ),
            action(Table::RSAppointment, Outcome::Held, Vec::new()),
        ],
    };
    let day = Group::of_day(&"acme".into(), entry.event.time);
    Processed {
        finished: vec![(Arc::clone(entry), hierarchy)],
        copies_made: vec![Arc::new(entry.copy_to(&day, begun()))],
        ..Processed::default()
    }
}

/// Each span below its parent; a parent that none of them is stands before it.
fn check(spans: &[Span], expect: &Expect) {
    let by_id: BTreeMap<SpanKey, &Span> = spans.iter().map(|span| (key(span), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "each has an id of its own");
    let mut lines = Vec::new();
    for span in spans {
        let mut path = vec![name(span)];
        let mut parent = span.parent;
        while let Some(id) = parent {
            match by_id.get(&(span.context.trace, id)) {
                Some(above) => {
                    path.push(above.name.clone());
                    parent = above.parent;
                }
                None => {
                    path.push(format!("[{id}]"));
                    break;
                }
            }
        }
        path.reverse();
        lines.push(format!("{}\n", path.join(" > ")));
    }
    expect.assert_eq(&lines.concat());
}

type SpanKey = (crate::trace::TraceId, crate::trace::SpanId);

fn key(span: &Span) -> SpanKey {
    (span.context.trace, span.context.span)
}

fn name(span: &Span) -> String {
    let ms = (span.start.ms(), span.end.ms());
    let links = if span.links.is_empty() {
        ""
    } else {
        ", linked"
    };
    let error = span
        .error
        .as_ref()
        .map(|why| format!(", {why}"))
        .unwrap_or_default();
    format!("{} {ms:?}{links}{error}", span.name)
}

#[test]
fn a_journey_is_one_trace_from_the_webhook_to_the_writes() {
    let event = entry("1", Some(PARENT));
    let mut spans = of_request(
        &taken(Some(PARENT), &[Arc::clone(&event)]),
        Scope::LOCAL,
        (begun(), ended()),
    );
    let done = done(&event);
    spans.extend(of_batch(&[], &done, Scope::LOCAL, (begun(), ended())));
    // What the copy leads to, in the group that it is stated to.
    let copy = &done.copies_made[0];
    let hierarchy = ActionHierarchy {
        group: copy.group.clone(),
        actions: vec![action(
            Table::RSTenantDailyConversions,
            Outcome::Changed,
            Vec::new(),
        )],
        ..done.finished[0].1.clone()
    };
    spans.extend(Journey::of(copy).handling(Scope::LOCAL, &hierarchy, ended()));
    let trace = TraceContext::parse(PARENT).expect("a context").trace;
    assert!(spans.iter().all(|span| span.context.trace == trace));
    check(
        &spans,
        &expect![[r#"
        [b7ad6b7169203331] > POST /events/{tenant} (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead > write RSLead (1100, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead > apply RSLeadGlobalConversions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead > apply RSLeadGlobalConversions > write RSLeadGlobalConversions (1100, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead > apply RSLeadGlobalConversions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSLead > apply RSLeadGlobalConversions > write RSLeadGlobalConversions (1100, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > apply RSAppointment (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > create actions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > create actions > process actions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > create actions > process actions > apply RSTenantDailyConversions (1000, 1250)
        [b7ad6b7169203331] > POST /events/{tenant} > create actions > process actions > create actions > process actions > apply RSTenantDailyConversions > write RSTenantDailyConversions (1100, 1250)
    "#]],
    );
}

#[test]
fn without_a_sender_s_trace_it_is_that_of_the_event() {
    let event = entry("1", None);
    let spans = of_request(
        &taken(None, &[Arc::clone(&event)]),
        Scope::LOCAL,
        (begun(), ended()),
    );
    check(
        &spans,
        &expect![[r#"
        POST /events/{tenant} (1000, 1250)
        POST /events/{tenant} > create actions (1000, 1250)
    "#]],
    );
    let day = Group::of_day(&"acme".into(), event.event.time);
    let copy = event.copy_to(&day, begun());
    assert_eq!(
        Journey::of(&copy).trace(),
        Journey::of(&event).trace(),
        "copies share it"
    );
    assert_ne!(
        Journey::of(&entry("2", None)).trace(),
        Journey::of(&event).trace()
    );
    let other = Entry {
        group: Group {
            tenant: "globex".into(),
            ..event.group.clone()
        },
        ..Entry::clone(&event)
    };
    assert_ne!(
        Journey::of(&other).trace(),
        Journey::of(&event).trace(),
        "tenants share none"
    );
}

#[test]
fn events_of_several_traces_are_linked_to_the_request_that_brought_them() {
    let events = [entry("1", None), entry("2", None), entry("3", Some(PARENT))];
    let spans = of_request(&taken(None, &events), Scope::LOCAL, (begun(), ended()));
    check(
        &spans,
        &expect![[r#"
        POST /events/{tenant} (1000, 1250)
        POST /events/{tenant} > create actions (1000, 1250)
        create actions (1000, 1250), linked
        [b7ad6b7169203331] > create actions (1000, 1250), linked
    "#]],
    );
}

#[test]
fn what_fails_is_told_with_its_reason() {
    let (parked, left) = (entry("1", Some(PARENT)), entry("2", Some(PARENT)));
    let received = Received {
        message: crate::ports::Message {
            group: left.group.clone(),
            deduplication_id: 1,
            entries: vec![left],
        },
        receipt: Receipt("a".into()),
        receives: 2,
        sent: begun(),
    };
    let done = Processed {
        parked: vec![(parked, "no amount".to_owned())],
        failed: vec![Receipt("a".into())],
        ..Processed::default()
    };
    let spans = of_batch(&[received], &done, Scope::AWS, (begun(), ended()));
    assert!(spans.iter().all(|span| span.kind == SpanKind::Consumer));
    let errors: Vec<_> = spans
        .iter()
        .filter_map(|span| span.error.as_deref())
        .collect();
    assert_eq!(errors, ["no amount", "left for another try"]);
}

#[test]
fn a_sender_that_records_nothing_is_heard() {
    let unsampled = PARENT.replace("-01", "-00");
    let event = entry("1", Some(&unsampled));
    let spans = of_request(
        &taken(Some(&unsampled), &[Arc::clone(&event)]),
        Scope::LOCAL,
        (begun(), ended()),
    );
    assert_eq!(spans, []);
    assert_eq!(
        of_batch(&[], &done(&event), Scope::LOCAL, (begun(), ended())),
        []
    );
}
