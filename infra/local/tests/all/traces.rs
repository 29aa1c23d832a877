//! One webhook's trace, from its sender to its last write, as a collector is sent it.

use std::collections::{BTreeMap, BTreeSet};

use foldback_tests::servers::{Collected, Collector};
use serde_json::Value;

use crate::serve::{Serving, event, settings};
use crate::support::Foldback;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";

/// The names of a span and of what it was done for, the sender first.
fn path(span: &Collected, by_id: &BTreeMap<&str, &Collected>) -> String {
    let mut names = vec![span.name.as_str()];
    let mut above = span.parent.as_str();
    while let Some(span) = by_id.get(above) {
        names.push(&span.name);
        above = &span.parent;
    }
    names.push(if above == SENDER { "sender" } else { "nobody" });
    names.reverse();
    names.join(" > ")
}

fn paths(spans: &[Collected]) -> BTreeSet<String> {
    let by_id: BTreeMap<&str, &Collected> =
        spans.iter().map(|span| (span.id.as_str(), span)).collect();
    spans.iter().map(|span| path(span, &by_id)).collect()
}

#[test]
fn a_webhooks_trace_goes_on_to_every_action_and_write() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let collector = Collector::start();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_SERVICE_NAME", "crm-events".to_owned()),
    ];
    let serving = Serving::start_with(&foldback, &["--settings", &settings], &environment);
    let headers = format!(
        "content-type: application/cloudevents+json\r\ntraceparent: 00-{TRACE}-{SENDER}-01\r\n"
    );
    let body = event("lead-7", 0, "lead.created").to_string();
    let answer = serving.request("POST", "/events/acme", &headers, &body);
    assert_eq!(answer.status, 202, "{}", answer.body);

    let last = "write RSTenantDailyConversions";
    let spans = collector.wait_for(TRACE, |spans| spans.iter().any(|span| span.name == last));
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "each is sent once: {spans:#?}");
    let request = "sender > POST /events/{tenant}";
    let create = format!("{request} > create actions");
    let process = format!("{create} > process actions");
    let day =
        format!("{process} > create actions > process actions > apply RSTenantDailyConversions");
    let paths = paths(&spans);
    for expected in [
        request.to_owned(),
        create,
        process.clone(),
        format!("{process} > apply RSLead"),
        format!("{process} > apply RSLead > write RSLead"),
        format!("{process} > create actions"),
        day.clone(),
        format!("{day} > write RSTenantDailyConversions"),
    ] {
        assert!(
            paths.contains(&expected),
            "{expected:?} is not in {paths:#?}"
        );
    }
    assert!(
        paths
            .iter()
            .any(|path| path.contains("> apply RSLeadGlobalConversions")),
        "{paths:#?}"
    );
    for span in &spans {
        assert_eq!((span.service.as_str(), &span.error), ("crm-events", &None));
        assert!(span.start <= span.end && span.start > 0, "{span:?}");
    }
    check_attributes(&spans);
    check_told_again(&foldback, &spans);
    assert_eq!(serving.end("-TERM"), 0);
}

/// By the semantic conventions for messaging, HTTP and databases.
fn check_attributes(spans: &[Collected]) {
    let has = |name: &str, kind: i32, attributes: &[(&str, &str)]| {
        let named = spans.iter().filter(|span| span.name == name);
        let fits = named.filter(|span| {
            let all = attributes.iter();
            let mut all = all
                .map(|(name, value)| span.attributes.get(*name).map(String::as_str) == Some(value));
            span.kind == kind && all.all(|fits| fits)
        });
        assert!(
            fits.count() > 0,
            "no {name} of kind {kind} with {attributes:?} in {spans:#?}"
        );
    };
    let (server, client, producer, consumer) = (2, 3, 4, 5);
    has(
        "POST /events/{tenant}",
        server,
        &[
            ("http.request.method", "POST"),
            ("http.response.status_code", "202"),
            ("http.route", "/events/{tenant}"),
        ],
    );
    let message = |operation: &'static str| {
        [
            ("messaging.system", "foldback"),
            ("messaging.operation.type", operation),
            ("messaging.destination.name", "actions"),
            ("messaging.destination.partition.id", "acme#lead-7"),
            ("cloudevents.event_id", "lead-7-0"),
        ]
    };
    has("create actions", producer, &message("create"));
    has("process actions", consumer, &message("process"));
    has(
        "write RSLead",
        client,
        &[
            ("db.system.name", "sqlite"),
            ("db.collection.name", "RSLead"),
        ],
    );
}

/// `foldback trace` says the same of what is kept, span for span.
fn check_told_again(foldback: &Foldback, spans: &[Collected]) {
    let said = foldback.ok(&["trace", "lead-7", "--trace", TRACE, "--json"]);
    let told = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let key = |span: &Value| {
        let text = |name: &str| span[name].as_str().expect("a text").to_owned();
        (text("name"), text("span"))
    };
    let told: BTreeSet<(String, String)> = told.map(|span| key(&span)).collect();
    // The request itself is not kept, only what it brought.
    let sent = spans.iter().filter(|span| span.kind != 2);
    let sent: BTreeSet<(String, String)> = sent
        .map(|span| (span.name.clone(), span.id.clone()))
        .collect();
    assert_eq!(told, sent);
    let shown = foldback.ok(&["trace", "lead-7", "--event", "lead-7-0"]);
    assert!(shown.starts_with(&format!("trace {TRACE}\n")), "{shown}");
    assert!(shown.contains("write RSTenantDailyConversions"), "{shown}");
    let other = foldback.ends(&["trace", "lead-7", "--trace", SENDER]);
    assert_eq!(other.status, 2, "{}", other.stderr);
}

/// A collector that is down costs spans, and nothing else.
#[test]
fn nobody_waits_for_a_collector() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let nobody = format!("http://127.0.0.1:{}", foldback_tests::servers::free_port());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", nobody)];
    let serving = Serving::start_with(&foldback, &["--settings", &settings], &environment);
    assert_eq!(
        serving
            .event("acme", &event("lead-7", 0, "lead.created"))
            .status,
        202
    );
    assert_eq!(serving.end("-TERM"), 0);
    let row = foldback.ok(&["export", "RSLead"]);
    assert_eq!(row.lines().count(), 1, "{row}");
}
