//! Events in short: `scheduled 9:00 a2 by=ann id=e7`, `baseline 10:00 RSAppointment a2 starts=3`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::handlers::{Baseline, Table};
use crate::model::{BASELINE, Entry, Timestamp, cloud_event};
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
    /// What a baseline says its row is.
    pub(super) adopted: Option<(Table, Map<String, Value>)>,
    /// Which telling of the event it is.
    pub(super) revision: u32,
    pub(super) withdrawn: bool,
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
        if kind == "baseline" {
            let table = words.next().and_then(Table::named).expect("a table");
            return told.read_baseline(table, words);
        }
        if told.kind.starts_with("appointment.") {
            told.data.insert("appointment", "a1".into());
        }
        for word in words {
            match word.split_once('=') {
                None if word == "withdrawn" => told.withdrawn = true,
                None => drop(told.data.insert("appointment", word.into())),
                Some(("rev", value)) => told.revision = value.parse().expect("a number"),
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

    /// Reads what a baseline says: `a2 lead=l2 status=started startedAt=9:30`.
    fn read_baseline<'w>(mut self, table: Table, words: impl Iterator<Item = &'w str>) -> Self {
        let mut fields = Map::new();
        let mut appointment = "a1";
        for word in words {
            let value = match word.split_once('=') {
                None => {
                    appointment = word;
                    continue;
                }
                Some(("lead", lead)) => {
                    self.lead = lead.into();
                    continue;
                }
                Some((name, time)) if name.ends_with("At") => json!(show_time(read_time(time).0)),
                Some((_, text)) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            };
            let (name, _) = word.split_once('=').expect("name and value");
            fields.insert(name.into(), value);
        }
        Self::baseline(table, &self.lead, appointment, self.ms, &fields)
    }

    /// The baseline of a row that has these fields, and what every row of the table has.
    pub(super) fn baseline(
        table: Table,
        lead: &str,
        appointment: &str,
        ms: i64,
        fields: &Map<String, Value>,
    ) -> Self {
        let mut row = json!({"tenant": TENANT, "leadId": lead});
        let needed = match table {
            Table::RSLead => json!({"events": 0}),
            Table::RSAppointment => json!({"appointmentId": appointment, "starts": 0}),
            Table::RSLeadGlobalConversions => json!({
                "appointmentsOpen": 0, "appointmentsCompleted": 0, "appointmentsCancelled": 0,
                "conversions": {},
            }),
            Table::RSAppointmentChanges | Table::RSTenantDailyConversions => {
                panic!("no table that is taken over")
            }
        };
        let row = row.as_object_mut().expect("fields");
        row.extend(needed.as_object().expect("fields").clone());
        row.extend(fields.clone());
        let mut told = Self {
            kind: BASELINE.into(),
            lead: lead.into(),
            ms,
            adopted: Some((table, row.clone())),
            ..Self::default()
        };
        if table == Table::RSAppointment {
            told.data.insert("appointment", appointment.into());
        }
        let event = told.adoption(Timestamp::MIN).expect("a baseline").event;
        (told.source, told.id) = (event.source.to_string(), event.id.to_string());
        told
    }

    /// The entry of a baseline.
    fn adoption(&self, time: Timestamp) -> Option<Entry> {
        let (table, row) = self.adopted.as_ref()?;
        let body = Value::Object(row.clone()).to_string();
        let baseline = Baseline::new(*table, &TENANT.into(), &body).expect("a row");
        Some(baseline.entry(baseline.event_id(None), time))
    }

    /// What the row of `table` becomes by this event.
    pub(super) fn adopts(&self, table: Table) -> Option<&Map<String, Value>> {
        let (of, row) = self.adopted.as_ref()?;
        (*of == table).then_some(row)
    }

    pub(super) fn is_appointment(&self) -> bool {
        self.kind.starts_with("appointment.")
    }

    /// Event time as rows show it.
    pub(super) fn time(&self) -> String {
        show_time(self.ms)
    }

    /// The event, received and read as a sender's message is.
    pub(super) fn entry(&self, settings: &Settings, recorded: Timestamp) -> Arc<Entry> {
        let time = Timestamp::parse(&self.time()).expect("a time");
        if let Some(entry) = self.adoption(time) {
            return Arc::new(Entry { recorded, ..entry });
        }
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
        if self.revision > 0 {
            set("revision", json!(self.revision));
            set("withdrawn", json!(self.withdrawn));
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

fn show_time(ms: i64) -> String {
    let (s, ms) = (ms / 1_000, ms % 1_000);
    let (d, h, m, s) = (1 + s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
    format!("2026-03-{d:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
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

/// Reads a story: steps between `;`, each of events between `,`; `again e1` tells an event again,
/// `again e1 rev=2` its second amendment.
pub(super) fn story(text: &str) -> Vec<Step> {
    let mut told: Vec<Told> = Vec::new();
    let mut steps = Vec::new();
    for step in text.split(';') {
        let (how, events) = step.split_once(": ").unwrap_or(("", step));
        let mut batch = Vec::new();
        for event in events.split(',').map(str::trim) {
            if let Some(id) = event.strip_prefix("again ") {
                let (id, revision) = id.split_once(" rev=").unwrap_or((id, "0"));
                let is = |one: &&Told| one.id == id && one.revision.to_string() == revision;
                let known = told.iter().find(is);
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
