//! What the design says the tables are, said again as plainly as can be and without the flow.
//!
//! Every value is looked up in the list of a lead's events; nothing is carried from event to event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::telling::{TENANT, Told, types};
use super::world::{Seen, Tables};
use crate::handlers::Table;
use crate::model::{EventHash, Fingerprint, Timestamp};

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
    for event in in_force(told).filter(|event| has_meaning(event)) {
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
        let own = lead_events(&events);
        if !own.is_empty() {
            put("RSLead", lead, row(&own, lead_fields(lead, &own)));
        }
        let appointments: BTreeSet<&str> =
            events.iter().filter_map(|one| appointment(one)).collect();
        for id in appointments {
            let own = appointment_events(&events, id);
            put(
                "RSAppointment",
                id,
                row(&own, appointment_fields(lead, id, &own)),
            );
            let versions = versions(&own);
            let mut changes = row(&own, changes_fields(id, &versions));
            changes.history = versions;
            put("RSAppointmentChanges", id, changes);
        }
        let causes: Vec<&Told> = (0..events.len())
            .filter(|&at| matters_to_conversions(&events, at))
            .map(|at| events[at])
            .collect();
        if !causes.is_empty() {
            put(
                "RSLeadGlobalConversions",
                lead,
                row(&causes, conversions_fields(lead, &events)),
            );
        }
    }
    tables
}

/// Of the tellings of each event the last, unless that says that it never happened.
fn in_force(told: &[Told]) -> impl Iterator<Item = &Told> {
    told.iter().filter(|one| {
        let of_event = |other: &&Told| (&other.source, &other.id) == (&one.source, &one.id);
        let newer = |other: &Told| other.revision > one.revision;
        !one.withdrawn && !told.iter().filter(of_event).any(newer)
    })
}

/// By day and conversion, how often and for how many hundredths of money in all.
pub(super) type Days = BTreeMap<(String, String), (u64, Option<i64>)>;

/// What all leads' conversions come to, by the days on which they happened.
pub(super) fn days(told: &[Told]) -> Days {
    let mut seen = BTreeSet::new();
    let mut days = Days::new();
    let events = in_force(told).filter(|event| has_meaning(event) && event.adopted.is_none());
    for event in events.filter(|event| seen.insert((&event.lead, &event.source, &event.id))) {
        for name in counts_for(event) {
            let day = event.time()[..10].to_owned();
            let figures = days.entry((day, (*name).to_owned())).or_default();
            figures.0 += 1;
            if let Some(cents) = cents(event).filter(|_| ["signed", "visit"].contains(name)) {
                figures.1 = Some(figures.1.unwrap_or(0) + cents);
            }
        }
    }
    days
}

/// The events that a lead's row holds.
fn lead_events<'t>(events: &[&'t Told]) -> Vec<&'t Told> {
    let own = |event: &&&Told| event.adopted.is_none() || event.adopts(Table::RSLead).is_some();
    events.iter().filter(own).copied().collect()
}

/// The appointment that an event or a baseline is about.
fn appointment(event: &Told) -> Option<&str> {
    let is = event.is_appointment() || event.adopts(Table::RSAppointment).is_some();
    is.then(|| event.data["appointment"].as_str())
}

/// The events that an appointment's rows hold.
fn appointment_events<'t>(events: &[&'t Told], id: &str) -> Vec<&'t Told> {
    let own = events.iter().filter(|event| appointment(event) == Some(id));
    own.copied().collect()
}

/// What the last baseline of a table says, and the events after it; nothing and all where none is.
fn since<'e, 't>(events: &'e [&'t Told], table: Table) -> (Map<String, Value>, &'e [&'t Told]) {
    let adopted = |event: &&Told| event.adopts(table).cloned();
    match events
        .iter()
        .rposition(|event| event.adopts(table).is_some())
    {
        Some(at) => (adopted(&events[at]).expect("a row"), &events[at + 1..]),
        None => (Map::new(), events),
    }
}

fn few(count: usize) -> i64 {
    i64::try_from(count).expect("few")
}

fn number(fields: &Map<String, Value>, name: &str) -> i64 {
    fields
        .get(name)
        .map_or(0, |value| value.as_i64().expect("a number"))
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
    let known = event.adopted.is_some() || types().any(|kind| kind == event.kind);
    known && (!takes_amount || event.data.get("amount").is_none_or(readable))
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
    let identity = |event: &&Told| EventHash::of(&event.source, &event.id);
    let hashes = events.iter();
    let hashes = hashes.map(|event| identity(event).revised(event.revision));
    Seen {
        body: Value::Object(fields).to_string(),
        events: hashes.clone().count() as u64,
        fingerprint: Fingerprint(hashes.fold(0, |sum, hash| sum.wrapping_add(hash.0))),
        last: events.last().map(identity),
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
    let (was, events) = since(events, Table::RSLead);
    let was = |name: &str| was.get(name).cloned();
    let own: Vec<&Told> = events
        .iter()
        .filter(|event| !event.is_appointment())
        .copied()
        .collect();
    let closed = of(events, "lead.closed");
    let reason = match closed.last() {
        Some(event) => event.data.get("reason").map(|reason| json!(reason)),
        None => was("closedReason"),
    };
    let amounts: Vec<i64> = own.iter().filter_map(|event| cents(event)).collect();
    let count = was("events").map_or(0, |count| count.as_u64().expect("a count"));
    let amount = amounts.last().map(|&cents| money(cents));
    object([
        ("tenant", Some(json!(TENANT))),
        ("leadId", Some(json!(lead))),
        ("stage", last_named(&own, "stage").or(was("stage"))),
        ("amount", amount.or(was("amount"))),
        // Whoever takes an appointment has charge of its lead.
        ("assignee", last_named(events, "by").or(was("assignee"))),
        (
            "createdAt",
            was("createdAt").or(first_time(events, "lead.created")),
        ),
        (
            "closedAt",
            last_time(events, "lead.closed").or(was("closedAt")),
        ),
        ("closedReason", reason),
        (
            "convertedAt",
            was("convertedAt").or(first_time(events, "lead.converted")),
        ),
        ("events", Some(json!(count + events.len() as u64))),
    ])
}

fn status(event: &Told) -> &str {
    match event.kind.as_str() {
        "appointment.rescheduled" => "scheduled",
        kind => kind.trim_start_matches("appointment."),
    }
}

fn appointment_fields(lead: &str, id: &str, events: &[&Told]) -> Map<String, Value> {
    let (was, events) = since(events, Table::RSAppointment);
    let starts = number(&was, "starts") + few(of(events, "appointment.started").len());
    let was = |name: &str| was.get(name).cloned();
    let status = events.last().map(|event| json!(status(event)));
    let first = |name: &str, kind: &str| was(name).or(first_time(events, kind));
    let last = |name: &str, kind: &str| last_time(events, kind).or(was(name));
    object([
        ("tenant", Some(json!(TENANT))),
        ("appointmentId", Some(json!(id))),
        ("leadId", Some(json!(lead))),
        ("kind", last_named(events, "kind").or(was("kind"))),
        ("status", status.or(was("status"))),
        ("scheduledAt", first("scheduledAt", "appointment.scheduled")),
        ("startedAt", first("startedAt", "appointment.started")),
        ("completedAt", last("completedAt", "appointment.completed")),
        ("cancelledAt", last("cancelledAt", "appointment.cancelled")),
        ("starts", Some(json!(starts))),
        ("assignee", last_named(events, "by").or(was("assignee"))),
    ])
}

/// One version for each event after which status or assignee are others than before it.
fn versions(events: &[&Told]) -> Vec<Value> {
    let state = |count: usize| {
        let fields = appointment_fields("", "", &events[..count]);
        object([
            ("status", fields.get("status").cloned()),
            ("assignee", fields.get("assignee").cloned()),
        ])
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
    let last = versions
        .last()
        .map(|last| last["fields"].as_object().expect("fields").clone());
    // Only a baseline without a status makes no version.
    let mut fields = last.unwrap_or_default();
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

fn status_group(status: &str) -> &'static str {
    match status {
        "scheduled" | "started" => "appointmentsOpen",
        "completed" => "appointmentsCompleted",
        _ => "appointmentsCancelled",
    }
}

/// The count that an appointment is in after these events.
fn group_of(events: &[&Told], id: &str) -> Option<&'static str> {
    let fields = appointment_fields("", id, &appointment_events(events, id));
    Some(status_group(fields.get("status")?.as_str()?))
}

/// When the lead was created and converted, as of these events.
fn milestones(events: &[&Told]) -> [Option<Value>; 2] {
    let fields = lead_fields("", &lead_events(events));
    ["createdAt", "convertedAt"].map(|name| fields.get(name).cloned())
}

fn conversions_fields(lead: &str, events: &[&Told]) -> Map<String, Value> {
    let (was, after) = since(events, Table::RSLeadGlobalConversions);
    let first = events.len() - after.len();
    let nothing = Map::new();
    let known = was
        .get("conversions")
        .map_or(&nothing, |all| all.as_object().expect("fields"));
    let mut conversions = Map::new();
    for name in ["signed", "touch", "visit", "won"] {
        let figures = conversion(name, known.get(name), after);
        conversions.extend(figures.map(|figures| (name.to_owned(), Value::Object(figures))));
    }
    let appointments: BTreeSet<&str> = events.iter().filter_map(|one| appointment(one)).collect();
    let now = |events: &[&Told], group: &str| -> i64 {
        let of = appointments
            .iter()
            .filter(|id| group_of(events, id) == Some(group));
        few(of.count())
    };
    // As many more as came in since the baseline, as many fewer as went.
    let count = |group: &str| {
        let moved = now(events, group) - now(&events[..first], group);
        Some(json!(number(&was, group) + moved))
    };
    let told_anew =
        (first..events.len()).any(|at| milestones(&events[..at]) != milestones(&events[..=at]));
    let [created, converted] = milestones(events);
    let ms = |time: &Value| Timestamp::parse(time.as_str()?).ok().map(Timestamp::ms);
    let seconds = created
        .as_ref()
        .and_then(ms)
        .zip(converted.as_ref().and_then(ms));
    let seconds = seconds.map(|(created, converted)| json!((converted - created) / 1_000));
    let milestone = |now: Option<Value>, name: &str| {
        if told_anew {
            now
        } else {
            was.get(name).cloned()
        }
    };
    object([
        ("tenant", Some(json!(TENANT))),
        ("leadId", Some(json!(lead))),
        ("conversions", Some(Value::Object(conversions))),
        ("appointmentsOpen", count("appointmentsOpen")),
        ("appointmentsCompleted", count("appointmentsCompleted")),
        ("appointmentsCancelled", count("appointmentsCancelled")),
        ("convertedAt", milestone(converted, "convertedAt")),
        (
            "secondsToConversion",
            milestone(seconds, "secondsToConversion"),
        ),
    ])
}

/// One conversion's figures: what a baseline said they were, and the events after it.
fn conversion(name: &str, was: Option<&Value>, events: &[&Told]) -> Option<Map<String, Value>> {
    let hits: Vec<&Told> = events
        .iter()
        .filter(|event| counts_for(event).contains(&name))
        .copied()
        .collect();
    let times = |of: &str| {
        let before = was.map(|was| was[of].as_str().expect("a time").to_owned());
        before.into_iter().chain(hits.iter().map(|hit| hit.time()))
    };
    let (first, last) = (times("firstAt").min()?, times("lastAt").max()?);
    let has_value = ["signed", "visit"].contains(&name);
    let before = was.and_then(|was| was.get("value"));
    let before = before.map(|value| read_cents(&value.to_string()));
    let worth = hits.iter().filter(|_| has_value);
    let values: Vec<i64> = worth
        .filter_map(|event| cents(event))
        .chain(before)
        .collect();
    let count = was.map_or(0, |was| was["count"].as_u64().expect("a count"));
    Some(object([
        ("count", Some(json!(count + hits.len() as u64))),
        ("firstAt", Some(json!(first))),
        ("lastAt", Some(json!(last))),
        (
            "value",
            (!values.is_empty()).then(|| money(values.iter().sum())),
        ),
    ]))
}

/// Whether a lead's conversions are others because of the event: it says what they are, it counts for
/// one, it changes when the lead was created or converted, or it brings its appointment into another
/// group.
fn matters_to_conversions(events: &[&Told], at: usize) -> bool {
    let (before, after) = (&events[..at], &events[..=at]);
    let event = events[at];
    let moved = appointment(event).is_some_and(|id| group_of(before, id) != group_of(after, id));
    event.adopts(Table::RSLeadGlobalConversions).is_some()
        || !counts_for(event).is_empty()
        || milestones(before) != milestones(after)
        || moved
}

/// An event's amount in hundredths.
fn cents(event: &Told) -> Option<i64> {
    event.data.get("amount").map(|text| read_cents(text))
}

pub(super) fn read_cents(text: &str) -> i64 {
    let (whole, cents) = text.split_once('.').unwrap_or((text, ""));
    let number = |digits: &str| digits.parse::<i64>().expect("digits");
    number(whole) * 100 + number(&format!("{cents:0<2}"))
}

fn money(cents: i64) -> Value {
    if cents % 100 == 0 {
        return json!(cents / 100);
    }
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).expect("a number")
}
