//! What the design says the tables are, said again as plainly as can be and without the flow.
//!
//! Every value is looked up in the list of a lead's events; nothing is carried from event to event.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::telling::{TENANT, Told, types};
use super::world::{Seen, Tables};
use crate::model::{EventHash, Fingerprint};

/// The tables that this model knows.
pub(super) const TABLES: [&str; 4] = [
    "RSLead",
    "RSAppointment",
    "RSAppointmentChanges",
    "RSLeadGlobalConversions",
];

/// The tables after these events, whatever the order and however often each is told.
pub(super) fn tables(told: &[Told]) -> Tables {
    let mut leads: BTreeMap<&str, BTreeMap<Place<'_>, &Told>> = BTreeMap::new();
    for event in told.iter().filter(|event| has_meaning(event)) {
        leads
            .entry(&event.lead)
            .or_default()
            .insert(place(event), event);
    }
    let mut tables = Tables::new();
    for (lead, events) in leads {
        let events: Vec<&Told> = events.into_values().collect();
        let mut put = |table: &'static str, id: &str, seen: Seen| {
            tables.insert((lead.into(), table, id.into()), seen);
        };
        put("RSLead", lead, row(&events, lead_fields(lead, &events)));
        let mut by_appointment: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.is_appointment()) {
            by_appointment
                .entry(&event.data["appointment"])
                .or_default()
                .push(event);
        }
        for (id, own) in &by_appointment {
            put(
                "RSAppointment",
                id,
                row(own, appointment_fields(lead, id, own)),
            );
            let versions = versions(own);
            let mut changes = row(own, changes_fields(id, &versions));
            changes.history = versions;
            put("RSAppointmentChanges", id, changes);
        }
        let causes: Vec<&Told> = events
            .iter()
            .filter(|event| matters_to_conversions(event, &events))
            .copied()
            .collect();
        if !causes.is_empty() {
            let fields = conversions_fields(lead, &events, &by_appointment);
            put("RSLeadGlobalConversions", lead, row(&causes, fields));
        }
    }
    tables
}

/// An event's place: time, then sequence (none, numbers, other texts), then source, then id.
pub(super) type Place<'t> = ((i64, u32), (u8, u128, &'t str), &'t str, &'t str);

pub(super) fn place(event: &Told) -> Place<'_> {
    let sequence = match event.sequence.as_deref() {
        None => (0, 0, ""),
        Some(text) => match text.parse() {
            Ok(number) => (1, number, text),
            Err(_) => (2, 0, text),
        },
    };
    ((event.ms, event.below), sequence, &event.source, &event.id)
}

/// Whether the tests' settings map the event and can read it.
fn has_meaning(event: &Told) -> bool {
    let readable = |amount: &String| amount.parse::<f64>().is_ok();
    let takes_amount = !event.is_appointment() || event.kind == "appointment.completed";
    types().any(|kind| kind == event.kind)
        && (!takes_amount || event.data.get("amount").is_none_or(readable))
}

fn of<'t>(events: &[&'t Told], kind: &str) -> Vec<&'t Told> {
    events
        .iter()
        .filter(|event| event.kind == kind)
        .copied()
        .collect()
}

fn first_time(events: &[&Told], kind: &str) -> Option<Value> {
    of(events, kind).first().map(|event| json!(event.time()))
}

fn last_time(events: &[&Told], kind: &str) -> Option<Value> {
    of(events, kind).last().map(|event| json!(event.time()))
}

fn last_named(events: &[&Told], field: &str) -> Option<Value> {
    let named = |event: &&Told| event.data.get(field).map(|value| json!(value));
    events.iter().rev().find_map(named)
}

fn row(events: &[&Told], fields: Map<String, Value>) -> Seen {
    let hashes = events
        .iter()
        .map(|event| EventHash::of(&event.source, &event.id));
    Seen {
        body: Value::Object(fields).to_string(),
        events: hashes.clone().count() as u64,
        fingerprint: Fingerprint(hashes.clone().fold(0, |sum, hash| sum.wrapping_add(hash.0))),
        last: hashes.clone().next_back(),
        history: Vec::new(),
    }
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let known = fields.into_iter();
    known
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
        .collect()
}

fn lead_fields(lead: &str, events: &[&Told]) -> Map<String, Value> {
    let own: Vec<&Told> = events
        .iter()
        .filter(|event| !event.is_appointment())
        .copied()
        .collect();
    let closed = of(events, "lead.closed");
    let reason = closed.last().and_then(|event| event.data.get("reason"));
    let amounts: Vec<i64> = own.iter().filter_map(|event| cents(event)).collect();
    object([
        ("tenant", Some(json!(TENANT))),
        ("leadId", Some(json!(lead))),
        ("stage", last_named(&own, "stage")),
        ("amount", amounts.last().map(|&cents| money(cents))),
        // Whoever takes an appointment has charge of its lead.
        ("assignee", last_named(events, "by")),
        ("createdAt", first_time(events, "lead.created")),
        ("closedAt", last_time(events, "lead.closed")),
        ("closedReason", reason.map(|reason| json!(reason))),
        ("convertedAt", first_time(events, "lead.converted")),
        ("events", Some(json!(events.len()))),
    ])
}

fn status(event: &Told) -> &str {
    match event.kind.as_str() {
        "appointment.rescheduled" => "scheduled",
        kind => kind.trim_start_matches("appointment."),
    }
}

fn appointment_fields(lead: &str, id: &str, events: &[&Told]) -> Map<String, Value> {
    object([
        ("tenant", Some(json!(TENANT))),
        ("appointmentId", Some(json!(id))),
        ("leadId", Some(json!(lead))),
        ("kind", last_named(events, "kind")),
        ("status", events.last().map(|event| json!(status(event)))),
        ("scheduledAt", first_time(events, "appointment.scheduled")),
        ("startedAt", first_time(events, "appointment.started")),
        ("completedAt", last_time(events, "appointment.completed")),
        ("cancelledAt", last_time(events, "appointment.cancelled")),
        (
            "starts",
            Some(json!(of(events, "appointment.started").len())),
        ),
        ("assignee", last_named(events, "by")),
    ])
}

/// One version for each event after which status or assignee are others than before it.
fn versions(events: &[&Told]) -> Vec<Value> {
    let state = |count: usize| {
        let so_far = &events[..count];
        let status = so_far.last().map(|event| json!(status(event)));
        object([("status", status), ("assignee", last_named(so_far, "by"))])
    };
    let changes: Vec<usize> = (0..events.len())
        .filter(|&at| state(at) != state(at + 1))
        .collect();
    let version = |(index, &at): (usize, &usize)| {
        let end = changes.get(index + 1).map(|&next| events[next].time());
        json!({
            "n": index + 1,
            "validFrom": events[at].time(),
            "validTo": end,
            "causedBy": events[at].id,
            "fields": state(at + 1),
        })
    };
    changes.iter().enumerate().map(version).collect()
}

/// The row itself is the version in force.
fn changes_fields(id: &str, versions: &[Value]) -> Map<String, Value> {
    let last = versions.last().expect("the first event makes a version");
    let mut fields = last["fields"].as_object().expect("fields").clone();
    fields.insert("n".into(), json!(versions.len()));
    fields.insert("appointmentId".into(), json!(id));
    fields.insert("tenant".into(), json!(TENANT));
    fields
}

/// The names of the conversions that an event counts for.
fn counts_for(event: &Told) -> &'static [&'static str] {
    match event.kind.as_str() {
        "lead.converted" => &["signed", "won"],
        "lead.updated" => &["touch"],
        "appointment.completed" => &["visit"],
        _ => &[],
    }
}

fn status_group(event: &Told) -> &'static str {
    match status(event) {
        "scheduled" | "started" => "appointmentsOpen",
        "completed" => "appointmentsCompleted",
        _ => "appointmentsCancelled",
    }
}

fn conversions_fields(
    lead: &str,
    events: &[&Told],
    appointments: &BTreeMap<&str, Vec<&Told>>,
) -> Map<String, Value> {
    let mut conversions = Map::new();
    for name in ["signed", "touch", "visit", "won"] {
        let hits: Vec<&Told> = events
            .iter()
            .filter(|event| counts_for(event).contains(&name))
            .copied()
            .collect();
        let (Some(first), Some(last)) = (hits.first(), hits.last()) else {
            continue;
        };
        let has_value = ["signed", "visit"].contains(&name);
        let worth = hits.iter().filter(|_| has_value);
        let values: Vec<i64> = worth.filter_map(|event| cents(event)).collect();
        let value = (!values.is_empty()).then(|| money(values.iter().sum()));
        let figures = object([
            ("count", Some(json!(hits.len()))),
            ("firstAt", Some(json!(first.time()))),
            ("lastAt", Some(json!(last.time()))),
            ("value", value),
        ]);
        conversions.insert(name.to_owned(), Value::Object(figures));
    }
    let now = |group: &str| {
        let last = appointments.values().filter_map(|own| own.last());
        Some(json!(
            last.filter(|event| status_group(event) == group).count()
        ))
    };
    let at = |kind: &str| of(events, kind).first().map(|event| event.ms);
    let seconds = at("lead.created")
        .zip(at("lead.converted"))
        .map(|(created, converted)| json!((converted - created) / 1_000));
    object([
        ("tenant", Some(json!(TENANT))),
        ("leadId", Some(json!(lead))),
        ("conversions", Some(Value::Object(conversions))),
        ("appointmentsOpen", now("appointmentsOpen")),
        ("appointmentsCompleted", now("appointmentsCompleted")),
        ("appointmentsCancelled", now("appointmentsCancelled")),
        ("convertedAt", first_time(events, "lead.converted")),
        ("secondsToConversion", seconds),
    ])
}

/// Whether a lead's conversions are others because of the event: it counts for one, it is the first
/// that created or converted the lead, or it brought its appointment into another group.
fn matters_to_conversions(event: &Told, events: &[&Told]) -> bool {
    let is_first = |kind: &str| {
        of(events, kind)
            .first()
            .is_some_and(|first| *first == event)
    };
    let own = events
        .iter()
        .filter(|other| other.is_appointment())
        .filter(|other| other.data.get("appointment") == event.data.get("appointment"));
    let before = own.take_while(|other| **other != event).last();
    let moved = event.is_appointment()
        && before.map(|before| status_group(before)) != Some(status_group(event));
    !counts_for(event).is_empty() || is_first("lead.created") || is_first("lead.converted") || moved
}

/// An event's amount in hundredths.
fn cents(event: &Told) -> Option<i64> {
    let text = event.data.get("amount")?;
    let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
    let number = |digits: &str| digits.parse::<i64>().expect("digits");
    Some(number(whole) * 100 + number(cents))
}

fn money(cents: i64) -> Value {
    if cents % 100 == 0 {
        return json!(cents / 100);
    }
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).expect("a number")
}
