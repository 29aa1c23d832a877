//! What the tables must be: the design's words on each table, taken literally. Every value is looked up in
//! the ordered list of events; nothing is carried from event to event, and nothing of the product is used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use shared::model::Timestamp;

use crate::rules::Rules;
use crate::told::{Tenant, Told};

/// A row's tenant, group, table and id.
pub(crate) type Key = (Tenant, String, &'static str, String);

/// What a row must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    /// Canonical JSON.
    pub(crate) body: String,
    /// The numbers of the tellings that it holds, in order.
    pub(crate) events: Vec<usize>,
    /// The versions in force, each as JSON.
    pub(crate) versions: Vec<Value>,
}

/// A telling that counts, and its number.
type One<'t> = (usize, &'t Told);

/// The tables of these tellings, which have arrived in whatever order.
pub(crate) fn tables(rules: &Rules, arrived: &[One<'_>]) -> BTreeMap<Key, Right> {
    let mut tables = BTreeMap::new();
    let mut days: BTreeMap<(Tenant, String), Vec<One<'_>>> = BTreeMap::new();
    for ((tenant, group), mut events) in groups(arrived) {
        events.retain(|(_, told)| rules.takes(told));
        let of_lead = !group.starts_with("foldback:");
        let mut put = |table: &'static str, id: &str, right: Right| {
            tables.insert((tenant, group.clone(), table, id.to_owned()), right);
        };
        let ids: BTreeSet<&str> = events.iter().filter_map(|one| appointment(one)).collect();
        for id in &ids {
            let own = about(&events, id);
            let lead = of_lead.then_some(group.as_str());
            put(
                "RSAppointment",
                id,
                right(&own, appointment_row(tenant, id, lead, &own)),
            );
            let versions = versions(&own);
            let mut row = right(&own, changes_row(tenant, id, &own, versions.len()));
            row.versions = versions;
            put("RSAppointmentChanges", id, row);
        }
        if !of_lead || events.is_empty() {
            continue;
        }
        put(
            "RSLead",
            &group,
            right(&events, lead_row(rules, tenant, &group, &events)),
        );
        let causes: Vec<One<'_>> = (0..events.len())
            .filter(|at| bears_on_conversions(rules, &events, *at))
            .map(|at| events[at])
            .collect();
        if !causes.is_empty() {
            let row = conversions_row(rules, tenant, &group, &events, &ids);
            put("RSLeadGlobalConversions", &group, right(&causes, row));
        }
        for one in events {
            if !rules.conversions(one.1).is_empty() {
                let day = one.1.time()[..10].to_owned();
                days.entry((tenant, day)).or_default().push(one);
            }
        }
    }
    for ((tenant, day), mut events) in days {
        events.sort_by(|a, b| place(a.1).cmp(&place(b.1)));
        let row = day_row(rules, tenant, &day, &events);
        let key = (
            tenant,
            format!("foldback:day/{day}"),
            "RSTenantDailyConversions",
            day,
        );
        tables.insert(key, right(&events, row));
    }
    tables
}

/// The tellings that count, in order, by the group whose rows follow from them.
fn groups<'t>(arrived: &[One<'t>]) -> BTreeMap<(Tenant, String), Vec<One<'t>>> {
    let mut groups: BTreeMap<(Tenant, String), Vec<One<'t>>> = BTreeMap::new();
    let mut alone: BTreeMap<(Tenant, String), Vec<One<'t>>> = BTreeMap::new();
    for one in counting(arrived) {
        let told = one.1;
        match &told.appointment {
            Some(id) if told.tenant.links() && told.is_appointment() => {
                let key = (told.tenant, format!("foldback:appointment/{id}"));
                alone.entry(key).or_default().push(one);
            }
            Some(_) | None => {
                let lead = told.lead.clone().unwrap_or_default();
                groups.entry((told.tenant, lead)).or_default().push(one);
            }
        }
    }
    // An appointment belongs to the lead that is named last, if any is.
    for ((tenant, key), mut events) in alone {
        sort(&mut events);
        let lead = events.iter().rev().find_map(|(_, told)| told.lead.clone());
        let group = (tenant, lead.unwrap_or(key));
        groups.entry(group).or_default().extend(events);
    }
    groups.values_mut().for_each(|events| sort(events));
    groups
}

/// Of each event the last telling, unless it says that the event did not happen.
pub(crate) fn counting<'t>(arrived: &[One<'t>]) -> Vec<One<'t>> {
    let mut last: BTreeMap<(Tenant, &str, &str), One<'t>> = BTreeMap::new();
    for one in arrived {
        let identity = (one.1.tenant, one.1.source, one.1.id.as_str());
        let known = last.entry(identity).or_insert(*one);
        if known.1.revision < one.1.revision {
            *known = *one;
        }
    }
    let counting = last.into_values();
    counting.filter(|(_, told)| !told.withdrawn).collect()
}

type Place<'t> = (i64, u32, (u8, u64, &'t str), &'t str, &'t str);

/// An event's place: time, sequence (none, then numbers, then words), source, id.
fn place(told: &Told) -> Place<'_> {
    let sequence = match told.sequence {
        None => (0, 0, ""),
        Some(text) => match text.parse() {
            Ok(number) => (1, number, text),
            Err(_word) => (2, 0, text),
        },
    };
    (told.ms, told.below, sequence, told.source, &told.id)
}

fn sort(events: &mut [One<'_>]) {
    events.sort_by(|a, b| place(a.1).cmp(&place(b.1)));
}

fn appointment<'t>((_, told): &One<'t>) -> Option<&'t str> {
    let id = told.appointment.as_deref();
    id.filter(|_| told.is_appointment())
}

fn about<'t>(events: &[One<'t>], id: &str) -> Vec<One<'t>> {
    let own = events.iter().filter(|one| appointment(one) == Some(id));
    own.copied().collect()
}

fn right(events: &[One<'_>], row: Map<String, Value>) -> Right {
    Right {
        body: Value::Object(row).to_string(),
        events: events.iter().map(|(number, _)| *number).collect(),
        versions: Vec::new(),
    }
}

fn row<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = fields.into_iter();
    given
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
        .collect()
}

fn times<'e>(events: &'e [One<'_>], kind: &'e str) -> impl DoubleEndedIterator<Item = Value> + 'e {
    let of_kind = events.iter().filter(move |(_, told)| told.kind == kind);
    of_kind.map(|(_, told)| json!(told.time()))
}

fn last_field(events: &[One<'_>], name: &str) -> Option<Value> {
    let named = events.iter().rev();
    named
        .filter_map(|(_, told)| told.field(name))
        .map(|text| json!(text))
        .next()
}

fn lead_row(rules: &Rules, tenant: Tenant, lead: &str, events: &[One<'_>]) -> Map<String, Value> {
    let own: Vec<One<'_>> = events
        .iter()
        .filter(|(_, told)| !told.is_appointment())
        .copied()
        .collect();
    let mut closings = own.iter().filter(|(_, told)| told.kind == "lead.closed");
    let reason = closings
        .next_back()
        .and_then(|(_, told)| told.field("reason"));
    let amounts = own.iter().rev();
    let amount = amounts
        .filter_map(|(_, told)| rules.cents(told).ok().flatten())
        .next();
    row([
        ("tenant", Some(json!(tenant.id()))),
        ("leadId", Some(json!(lead))),
        ("stage", last_field(&own, "stage")),
        ("amount", amount.map(money)),
        ("assignee", last_field(events, "by")),
        ("createdAt", times(&own, "lead.created").next()),
        ("closedAt", times(&own, "lead.closed").next_back()),
        ("closedReason", reason.map(|reason| json!(reason))),
        ("convertedAt", times(&own, "lead.converted").next()),
        ("events", Some(json!(events.len()))),
    ])
}

fn status(told: &Told) -> &'static str {
    match told.kind {
        "appointment.started" => "started",
        "appointment.completed" => "completed",
        "appointment.cancelled" => "cancelled",
        "appointment.no_show" => "no_show",
        _scheduled_or_rescheduled => "scheduled",
    }
}

fn appointment_row(
    tenant: Tenant,
    id: &str,
    lead: Option<&str>,
    events: &[One<'_>],
) -> Map<String, Value> {
    let status = events.last().map(|(_, told)| json!(status(told)));
    row([
        ("tenant", Some(json!(tenant.id()))),
        ("appointmentId", Some(json!(id))),
        ("leadId", lead.map(|lead| json!(lead))),
        ("kind", last_field(events, "kind")),
        ("status", status),
        ("scheduledAt", times(events, "appointment.scheduled").next()),
        ("startedAt", times(events, "appointment.started").next()),
        (
            "completedAt",
            times(events, "appointment.completed").next_back(),
        ),
        (
            "cancelledAt",
            times(events, "appointment.cancelled").next_back(),
        ),
        (
            "starts",
            Some(json!(times(events, "appointment.started").count())),
        ),
        ("assignee", last_field(events, "by")),
    ])
}

/// Status and assignee after the first so many events.
fn state(events: &[One<'_>], count: usize) -> Map<String, Value> {
    let events = &events[..count];
    let status = events.last().map(|(_, told)| json!(status(told)));
    row([("assignee", last_field(events, "by")), ("status", status)])
}

/// One version for each event that changed status or assignee.
fn versions(events: &[One<'_>]) -> Vec<Value> {
    let changes: Vec<usize> = (0..events.len())
        .filter(|at| state(events, *at) != state(events, at + 1))
        .collect();
    let version = |(n, at): (usize, &usize)| {
        let next = changes.get(n + 1).map(|next| events[*next].1.time());
        json!({
            "n": n + 1,
            "from": events[*at].1.time(),
            "to": next,
            "by": events[*at].1.id,
            "fields": Value::Object(state(events, at + 1)).to_string(),
        })
    };
    changes.iter().enumerate().map(version).collect()
}

fn changes_row(tenant: Tenant, id: &str, events: &[One<'_>], count: usize) -> Map<String, Value> {
    let mut fields = state(events, events.len());
    fields.insert("tenant".to_owned(), json!(tenant.id()));
    fields.insert("appointmentId".to_owned(), json!(id));
    fields.insert("n".to_owned(), json!(count));
    fields
}

/// In which count an appointment is after these events.
fn counted(events: &[One<'_>], id: &str) -> Option<&'static str> {
    let own = about(events, id);
    let last = own.last()?;
    Some(match status(last.1) {
        "scheduled" | "started" => "appointmentsOpen",
        "completed" => "appointmentsCompleted",
        _cancelled_or_no_show => "appointmentsCancelled",
    })
}

/// When the lead was created and when it was converted, as of these events.
fn milestones(events: &[One<'_>]) -> [Option<Value>; 2] {
    ["lead.created", "lead.converted"].map(|kind| times(events, kind).next())
}

fn bears_on_conversions(rules: &Rules, events: &[One<'_>], at: usize) -> bool {
    let (before, after) = (&events[..at], &events[..=at]);
    let one = events[at];
    let moved = appointment(&one).is_some_and(|id| counted(before, id) != counted(after, id));
    moved || !rules.conversions(one.1).is_empty() || milestones(before) != milestones(after)
}

fn conversions_row(
    rules: &Rules,
    tenant: Tenant,
    lead: &str,
    events: &[One<'_>],
    appointments: &BTreeSet<&str>,
) -> Map<String, Value> {
    let [created, converted] = milestones(events);
    let ms = |time: &Value| Timestamp::parse(time.as_str()?).ok().map(Timestamp::ms);
    let span = created
        .as_ref()
        .and_then(ms)
        .zip(converted.as_ref().and_then(ms));
    let seconds = span.map(|(created, converted)| json!((converted - created) / 1_000));
    let count = |which: &str| {
        let all = appointments.iter();
        let count = all.filter(|id| counted(events, id) == Some(which)).count();
        Some(json!(count))
    };
    row([
        ("tenant", Some(json!(tenant.id()))),
        ("leadId", Some(json!(lead))),
        ("conversions", Some(figures(rules, events, true))),
        ("appointmentsOpen", count("appointmentsOpen")),
        ("appointmentsCompleted", count("appointmentsCompleted")),
        ("appointmentsCancelled", count("appointmentsCancelled")),
        ("convertedAt", converted),
        ("secondsToConversion", seconds),
    ])
}

fn day_row(rules: &Rules, tenant: Tenant, day: &str, events: &[One<'_>]) -> Map<String, Value> {
    row([
        ("tenant", Some(json!(tenant.id()))),
        ("day", Some(json!(day))),
        ("conversions", Some(figures(rules, events, false))),
    ])
}

/// The conversions of some events by name: how often, what they are worth, and when if that is wanted.
fn figures(rules: &Rules, events: &[One<'_>], when: bool) -> Value {
    let mut hits: BTreeMap<&str, Vec<(&Told, Option<i64>)>> = BTreeMap::new();
    for (_, told) in events {
        for (name, worth) in rules.conversions(told) {
            hits.entry(name).or_default().push((told, worth));
        }
    }
    let figures = hits.into_iter().map(|(name, hits)| {
        let moments = || hits.iter().map(|(told, _)| told.time()).filter(|_| when);
        let worth: Vec<i64> = hits.iter().filter_map(|(_, worth)| *worth).collect();
        let row = row([
            ("count", Some(json!(hits.len()))),
            ("firstAt", moments().min().map(|time| json!(time))),
            ("lastAt", moments().max().map(|time| json!(time))),
            (
                "value",
                (!worth.is_empty()).then(|| money(worth.iter().sum())),
            ),
        ]);
        (name.to_owned(), Value::Object(row))
    });
    Value::Object(figures.collect())
}

/// Hundredths as a number.
fn money(cents: i64) -> Value {
    if cents % 100 == 0 {
        return json!(cents / 100);
    }
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).unwrap_or_default()
}
