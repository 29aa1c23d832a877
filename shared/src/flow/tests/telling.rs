//! Events in short: `scheduled 9:00 a2 by=ann id=e7`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::handlers::Table;
use crate::model::{Entry, Timestamp, cloud_event};
use crate::settings::{Format, Settings};

/// The tenant of all tests.
pub(super) const TENANT: &str = "acme";

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
set = { assignee = { pointer = "/by" } }
[[tenant.conversion]]
name = "signed"
on = "lead.converted"
value = "amount"
[[tenant.conversion]]
name = "won"
type = "*.converted"
[[tenant.conversion]]
name = "touch"
type = "lead.up*"
[[tenant.conversion]]
name = "visit"
on = "appointment.completed"
value = "/amount"
"#;

const LEAD_TYPES: [&str; 4] = ["created", "updated", "converted", "closed"];
const APPOINTMENT_TYPES: [&str; 6] = [
    "scheduled",
    "rescheduled",
    "started",
    "completed",
    "cancelled",
    "no_show",
];

/// The types of the ten canonical events, as the tests' tenant sends them.
pub(super) fn types() -> impl Iterator<Item = String> {
    let leads = LEAD_TYPES.into_iter().map(|kind| format!("lead.{kind}"));
    leads.chain(
        APPOINTMENT_TYPES
            .into_iter()
            .map(|kind| format!("appointment.{kind}")),
    )
}

/// Settings whose external types are the canonical ones, with some tables under `detect`.
pub(super) fn settings(version: u32, detect: &[Table]) -> Settings {
    compile(version, detect, |kind| kind)
}

/// Settings under which nobody's coming counts as a completed appointment.
pub(super) fn other_settings(version: u32) -> Settings {
    compile(version, &[], |kind| match kind {
        "appointment.no_show" => "appointment.completed",
        kind => kind,
    })
}

fn compile(version: u32, detect: &[Table], to: fn(&str) -> &str) -> Settings {
    let mut text = SETTINGS.to_owned();
    for kind in types() {
        let set = if kind.starts_with("lead.") {
            r#"stage = { pointer = "/stage" }, amount = { pointer = "/amount" },
               closedReason = { pointer = "/reason" }"#
        } else {
            r#"appointmentId = { pointer = "/appointment" }, kind = { pointer = "/kind" }"#
        };
        let set = set.replace('\n', " ");
        let to = to(&kind);
        text += &format!("[[tenant.map]]\ntype = \"{kind}\"\nto = \"{to}\"\nset = {{ {set} }}\n");
    }
    for table in detect {
        let name = table.name();
        text += &format!("[tenant.tables.{name}]\npolicy = \"detect\"\n");
    }
    Settings::compile(&text, Format::Toml, version).expect("settings")
}

/// What an external system says, before it is a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) kind: String,
    pub(super) lead: String,
    /// Milliseconds since midnight of 2026-03-01, UTC.
    pub(super) ms: i64,
    /// Nanoseconds below the millisecond.
    pub(super) below: u32,
    pub(super) sequence: Option<String>,
    pub(super) source: String,
    pub(super) id: String,
    /// The payload: `appointment`, `by`, `stage`, `amount`, `reason`, `kind`.
    pub(super) data: BTreeMap<&'static str, String>,
}

const DATA: [&str; 6] = ["appointment", "by", "stage", "amount", "reason", "kind"];

impl Told {
    /// Reads an event in short. Its id is `e` and `place`, unless it says another.
    fn read(text: &str, place: usize) -> Self {
        let mut words = text.split_whitespace();
        let (kind, time) = (words.next().expect("a type"), words.next().expect("a time"));
        let mut told = Self {
            kind: full_type(kind),
            lead: "l1".into(),
            source: "//crm".into(),
            id: format!("e{place}"),
            ..Self::default()
        };
        (told.ms, told.below) = read_time(time);
        if told.kind.starts_with("appointment.") {
            told.data.insert("appointment", "a1".into());
        }
        for word in words {
            match word.split_once('=') {
                None => drop(told.data.insert("appointment", word.into())),
                Some(("lead", value)) => told.lead = value.into(),
                Some(("id", value)) => told.id = value.into(),
                Some(("src", value)) => told.source = value.into(),
                Some(("seq", value)) => told.sequence = Some(value.into()),
                Some((name, value)) => {
                    let name = DATA.into_iter().find(|known| *known == name);
                    told.data.insert(name.expect("a field"), value.into());
                }
            }
        }
        told
    }

    pub(super) fn is_appointment(&self) -> bool {
        self.kind.starts_with("appointment.")
    }

    /// Event time as rows show it.
    pub(super) fn time(&self) -> String {
        let (s, ms) = (self.ms / 1_000, self.ms % 1_000);
        let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
        format!("2026-03-01T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }

    /// The event, received and read as a sender's message is.
    pub(super) fn entry(&self, settings: &Settings, recorded: Timestamp) -> Arc<Entry> {
        let mut message = Map::new();
        let mut set = |name: &str, value: Value| drop(message.insert(name.to_owned(), value));
        let time = self.time().replace('Z', &format!("{:06}Z", self.below));
        set("specversion", json!("1.0"));
        set("source", json!(self.source));
        set("id", json!(self.id));
        set("type", json!(self.kind));
        set("time", json!(time));
        set("partitionkey", json!(self.lead));
        set("data", json!(self.data));
        if let Some(sequence) = &self.sequence {
            set("sequence", json!(sequence));
        }
        let text = Value::Object(message).to_string();
        let event = cloud_event::parse(text.as_bytes()).expect("an event");
        let tenant = settings.tenant(TENANT).expect("the tenant");
        Arc::new(Entry {
            group: tenant.group(&TENANT.into(), &event).expect("a group"),
            hash: event.hash(),
            event,
            recorded,
        })
    }
}

fn full_type(kind: &str) -> String {
    if LEAD_TYPES.contains(&kind) {
        format!("lead.{kind}")
    } else if APPOINTMENT_TYPES.contains(&kind) {
        format!("appointment.{kind}")
    } else {
        kind.to_owned()
    }
}

/// Reads `9:30`, `9:30:01` or `9:30:01.000000001`.
fn read_time(text: &str) -> (i64, u32) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<i64> = whole
        .split(':')
        .map(|part| part.parse().expect("a time"))
        .collect();
    let part = |place: usize| parts.get(place).copied().unwrap_or(0);
    let seconds = (part(0) * 60 + part(1)) * 60 + part(2);
    let nanos: u32 = format!("{fraction:0<9}").parse().expect("a fraction");
    (
        seconds * 1_000 + i64::from(nanos / 1_000_000),
        nanos % 1_000_000,
    )
}

/// One step of a story.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// `journal: …` accepts events that are delivered later.
    Journal(Vec<Told>),
    /// `…` accepts events and handles them.
    Deliver(Vec<Told>),
    /// `torn RSLead+RSAppointment: …` does so too, but dies when only those rows are written.
    Torn(Vec<Table>, Vec<Told>),
}

/// Reads a story: steps between `;`, each of events between `,`; `again e1` tells an event again.
pub(super) fn story(text: &str) -> Vec<Step> {
    let mut told: Vec<Told> = Vec::new();
    let mut steps = Vec::new();
    for step in text.split(';') {
        let (how, events) = step.split_once(": ").unwrap_or(("", step));
        let mut batch = Vec::new();
        for event in events.split(',').map(str::trim) {
            if let Some(id) = event.strip_prefix("again ") {
                let known = told.iter().find(|one| one.id == id);
                batch.push(known.expect("an event told before").clone());
            } else {
                let event = Told::read(event, told.len() + 1);
                told.push(event.clone());
                batch.push(event);
            }
        }
        steps.push(match how.trim().split_once(' ') {
            None if how.trim() == "journal" => Step::Journal(batch),
            None => Step::Deliver(batch),
            Some((_torn, tables)) => {
                Step::Torn(tables.split('+').filter_map(Table::named).collect(), batch)
            }
        });
    }
    steps
}
