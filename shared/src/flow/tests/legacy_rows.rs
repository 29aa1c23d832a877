//! Rows that other code wrote, drawn at random.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::telling::Told;
use crate::handlers::Table;

/// A row's table, the name of its counting field, and its other fields.
type Drawn = (Table, &'static str, Map<String, Value>);

/// The baseline of some row, with any of the fields that its table knows.
pub(super) fn adopted() -> impl Strategy<Value = Told> {
    let row = prop_oneof![lead(), appointment(), conversions()];
    let leads = ["l1", "l1", "l2"];
    let place = (select(leads.to_vec()), select(vec!["a1", "a2"]), 0_i64..6);
    // Baselines of one content are one event, so a number makes each a content of its own.
    (row, place, 0_u64..1 << 40).prop_map(|((table, number, mut fields), place, unique)| {
        let (lead, appointment, minute) = place;
        fields.insert(number.into(), json!(unique));
        Told::baseline(table, lead, appointment, minute * 60_000, &fields)
    })
}

fn lead() -> impl Strategy<Value = Drawn> {
    let own = (
        times(&["createdAt", "convertedAt", "closedAt"]),
        option::of(text(&["ann", "bob"])),
        option::of(text(&["new", "won"])),
        option::of(amount()),
        option::of(text(&["lost"])),
    );
    own.prop_map(|(times, by, stage, amount, reason)| {
        let own = [
            ("assignee", by),
            ("stage", stage),
            ("amount", amount),
            ("closedReason", reason),
        ];
        (
            Table::RSLead,
            "events",
            fields(times.into_iter().chain(own)),
        )
    })
}

fn appointment() -> impl Strategy<Value = Drawn> {
    let statuses = &["scheduled", "started", "completed", "cancelled", "no_show"];
    let own = (
        times(&["scheduledAt", "startedAt", "completedAt", "cancelledAt"]),
        option::of(text(&["ann", "bob"])),
        option::weighted(0.8, text(statuses)),
        option::of(text(&["visit"])),
    );
    own.prop_map(|(times, by, status, kind)| {
        let own = [("assignee", by), ("status", status), ("kind", kind)];
        let fields = fields(times.into_iter().chain(own));
        (Table::RSAppointment, "starts", fields)
    })
}

fn conversions() -> impl Strategy<Value = Drawn> {
    let count = || option::of((-1_i64..3).prop_map(|count| json!(count)));
    let own = (
        times(&["convertedAt"]),
        count(),
        count(),
        option::of(conversion()),
        option::of(conversion()),
    );
    own.prop_map(|(times, completed, cancelled, signed, visit)| {
        let known = fields([("signed", signed), ("visit", visit)]);
        let own = [
            ("appointmentsCompleted", completed),
            ("appointmentsCancelled", cancelled),
            ("conversions", Some(Value::Object(known))),
        ];
        let fields = fields(times.into_iter().chain(own));
        (Table::RSLeadGlobalConversions, "appointmentsOpen", fields)
    })
}

fn conversion() -> impl Strategy<Value = Value> {
    (0_u64..3, time(), time(), option::of(amount())).prop_map(|(count, first, last, value)| {
        let known = [
            ("count", Some(json!(count))),
            ("firstAt", Some(first)),
            ("lastAt", Some(last)),
            ("value", value),
        ];
        Value::Object(fields(known))
    })
}

fn times(
    names: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, Option<Value>)>> {
    let times = vec(option::of(time()), names.len());
    times.prop_map(|times| names.iter().copied().zip(times).collect())
}

fn time() -> impl Strategy<Value = Value> {
    let moments = vec!["00:00:30.500", "00:02:00.000", "00:09:00.000"];
    select(moments).prop_map(|time| json!(format!("2026-03-01T{time}Z")))
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(texts).prop_map(|text| json!(text))
}

fn amount() -> impl Strategy<Value = Value> {
    select(vec![json!(7), json!(12.5)])
}

fn fields<'n>(fields: impl IntoIterator<Item = (&'n str, Option<Value>)>) -> Map<String, Value> {
    let known = fields.into_iter();
    known
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}
