use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use serde_json::{Map, Value as Json, json};
use shared::model::Entry;
use shared::service::traced;
use shared::trace::{Journey, Span, SpanId, TraceId, Value};
use smol_str::SmolStr;

use crate::cli::{Data, OneTenant, table};
use crate::error::{Failure, Status};
use crate::replay::groups_of;
use crate::settings;
use crate::stores::Stores;

/// Show an event's whole journey: from its sender through the queue to every action and write.
///
/// The spans are those that a collector is sent (`OTEL_EXPORTER_OTLP_ENDPOINT`), told again from the journal and
/// the kept hierarchies of actions; no collector is needed. Log lines and traces name the trace.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback trace lead-1007
  foldback trace lead-1007 --event 4711
  foldback trace lead-1007 --trace 0af7651916cd43dd8448eb211c80319c --json")]
pub(crate) struct TraceArgs {
    /// The lead or the appointment that the event is about.
    id: SmolStr,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    tenant: OneTenant,
    /// This event's journey alone.
    #[arg(long, value_name = "ID")]
    event: Option<SmolStr>,
    /// The journeys of this trace alone.
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    /// A span a line, as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TraceArgs) -> Result<Status, Failure> {
    let stores = Stores::open_to_read(&args.data)?;
    let settings = settings::in_force(stores.events())?;
    let wanted = |entry: &Entry| {
        let event = args.event.as_ref().is_none_or(|id| entry.event.id == *id);
        let trace = || Journey::of(entry).trace().to_string();
        event && args.trace.as_ref().is_none_or(|wanted| trace() == *wanted)
    };
    let tables = stores.tables();
    let ports = stores.ports(&tables);
    let mut spans = Vec::new();
    for group in groups_of(&stores, args.tenant.tenant.as_ref(), &args.id)? {
        if let Some(tenant) = settings.tenant(&group.tenant) {
            let of_group = traced::journeys(&ports, tenant, &group, stores.scope(), wanted);
            spans.extend(stores.wait(of_group)?);
        }
    }
    if spans.is_empty() {
        return Err(Failure::Input(format!(
            "of {:?} no such event is known; without --event and --trace all are shown",
            args.id
        )));
    }
    let mut out = anstream::stdout().lock();
    if args.json {
        for span in &spans {
            writeln!(out, "{}", json(span))?;
        }
    } else {
        print(&mut out, &spans)?;
    }
    out.flush()?;
    Ok(Status::Clean)
}

/// Each trace as a tree.
fn print(out: &mut impl Write, spans: &[Span]) -> Result<(), Failure> {
    let mut traces: Vec<TraceId> = Vec::new();
    for span in spans {
        if !traces.contains(&span.context.trace) {
            traces.push(span.context.trace);
        }
    }
    for trace in traces {
        let of_trace: Vec<&Span> = spans
            .iter()
            .filter(|span| span.context.trace == trace)
            .collect();
        writeln!(out, "trace {trace}")?;
        let mut rows = table(&["step", "begins", "takes", "about"]);
        for (depth, span) in tree(&of_trace) {
            rows.add_row(vec![
                format!("{}{}", "  ".repeat(depth), span.name),
                span.start.to_string(),
                format!("{} ms", span.end.ms_since(span.start)),
                about(span),
            ]);
        }
        writeln!(out, "{rows}\n")?;
    }
    Ok(())
}

/// The spans of a trace, each after the one that it was done for, with how deep it stands.
fn tree<'s>(spans: &[&'s Span]) -> Vec<(usize, &'s Span)> {
    let known: BTreeSet<SpanId> = spans.iter().map(|span| span.context.span).collect();
    let mut below: BTreeMap<Option<SpanId>, Vec<&'s Span>> = BTreeMap::new();
    for span in spans {
        let parent = span.parent.filter(|parent| known.contains(parent));
        below.entry(parent).or_default().push(span);
    }
    let mut waiting: Vec<(usize, &'s Span)> = Vec::new();
    let of = |parent: Option<SpanId>, depth: usize| {
        let spans = below.get(&parent).into_iter().flatten().rev();
        spans.map(move |span| (depth, *span)).collect::<Vec<_>>()
    };
    waiting.extend(of(None, 0));
    let mut all = Vec::with_capacity(spans.len());
    while let Some((depth, span)) = waiting.pop() {
        all.push((depth, span));
        waiting.extend(of(Some(span.context.span), depth + 1));
    }
    all
}

/// What a person wants to know of a span besides its name.
fn about(span: &Span) -> String {
    let text = |name: &str| {
        let (_, value) = span.attributes.iter().find(|(one, _)| *one == name)?;
        Some(match value {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
        })
    };
    let event = text("cloudevents.event_id").map(|id| format!("event {id}"));
    let kind = text("cloudevents.event_type");
    let late = text("foldback.late_ms").map(|ms| format!("late by {ms} ms"));
    let row = text("foldback.row");
    let parts = [event, kind, late, row, text("foldback.outcome")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

fn json(span: &Span) -> Json {
    let attributes = span.attributes.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => text.as_str().into(),
            Value::Number(number) => (*number).into(),
            Value::Flag(flag) => (*flag).into(),
        };
        ((*name).to_owned(), value)
    });
    json!({
        "trace": span.context.trace.to_string(),
        "span": span.context.span.to_string(),
        "parent": span.parent.map(|parent| parent.to_string()),
        "name": span.name,
        "start": span.start,
        "end": span.end,
        "attributes": attributes.collect::<Map<_, _>>(),
    })
}
