//! Appointments whose events need not name their lead.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Disorder, Foldback, TABLES};

const LEADS: u64 = 20;
const APPOINTMENTS: u64 = 60;

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
partition_key = "/lead"
set = { assignee = { pointer = "/who" }, appointmentId = { pointer = "/appointment" } }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "scheduled"
to = "appointment.scheduled"
[[tenant.map]]
type = "started"
to = "appointment.started"
[[tenant.map]]
type = "completed"
to = "appointment.completed"
[[tenant.map]]
type = "cancelled"
to = "appointment.cancelled"
[[tenant.conversion]]
name = "met"
on = "appointment.completed"
"#;

fn by_id() -> String {
    SETTINGS.replace("partition_key", "appointments = \"by_id\"\npartition_key")
}

/// All that is told of one appointment.
struct Appointment {
    /// Its events by their ids, each with all its tellings by revision.
    events: BTreeMap<String, Vec<Value>>,
}

impl Appointment {
    /// The tellings that count, in the order of events.
    fn in_force(&self) -> Vec<&Value> {
        let latest = self.events.values().filter_map(|tellings| tellings.last());
        let mut counting: Vec<&Value> = latest
            .filter(|event| event.get("withdrawn") != Some(&json!(true)))
            .collect();
        counting.sort_by_key(|event| text(event, "time"));
        counting
    }

    /// The lead that the last of those names that names one.
    fn lead(&self) -> Option<String> {
        let named = |event: &&Value| {
            let key = text(event, "partitionkey");
            let key = key.or_else(|| text(event.get("data")?, "lead"));
            key.map(str::to_owned)
        };
        self.in_force().iter().rev().find_map(named)
    }
}

fn lead(n: u64) -> String {
    format!("lead-{n}")
}

fn event(id: &str, kind: &str, minute: u64, data: &Value) -> Value {
    let (hour, minute) = (minute / 60 % 24, minute % 60);
    let time = format!("2026-03-01T{hour:02}:{minute:02}:00Z");
    json!({"specversion": "1.0", "source": "//crm", "id": id, "type": kind, "time": time,
        "tenant": "acme", "data": data})
}

/// What happens to one appointment: some name a lead never, some in one event, some in many, some another
/// one later; now and then an event is amended or withdrawn.
fn appointment(n: u64, chance: &mut Disorder) -> Appointment {
    let id = format!("meeting-{n}");
    let links = chance.below(5);
    let mut events = BTreeMap::new();
    let kinds = [
        "scheduled",
        "started",
        "completed",
        "scheduled",
        "cancelled",
    ];
    let count = 2 + chance.below(4);
    for (place, kind) in (0..count).zip(kinds) {
        let event_id = format!("{id}/{place}");
        let minute = n + place * 100 + chance.below(90);
        let mut data = json!({"appointment": id, "who": format!("who-{}", chance.below(3))});
        let of = if links == 4 { n + place } else { n };
        let names = links > 0 && (place == links % count || chance.below(4) == 0);
        if names && chance.below(2) == 0 {
            put(&mut data, "lead", json!(lead(of % LEADS)));
        }
        let mut first = event(&event_id, kind, minute, &data);
        if names && data.get("lead").is_none() {
            put(&mut first, "partitionkey", json!(lead(of % LEADS)));
        }
        let amended = (chance.below(8) == 0).then(|| amendment(&first, data, chance));
        events.insert(event_id, [first].into_iter().chain(amended).collect());
    }
    Appointment { events }
}

fn amendment(first: &Value, mut data: Value, chance: &mut Disorder) -> Value {
    let mut second = first.clone();
    put(&mut second, "revision", json!(1));
    put(&mut data, "who", json!("somebody else"));
    match chance.below(3) {
        0 => put(&mut second, "withdrawn", json!(true)),
        1 => put(&mut data, "lead", json!(lead(chance.below(LEADS)))),
        _other => {}
    }
    put(&mut second, "data", data);
    second
}

fn put(object: &mut Value, field: &str, value: Value) {
    let object = object.as_object_mut().expect("an object");
    object.insert(field.into(), value);
}

fn text<'v>(object: &'v Value, field: &str) -> Option<&'v str> {
    object.get(field)?.as_str()
}

fn lines<'v>(events: impl Iterator<Item = &'v Value>) -> Vec<String> {
    events.map(Value::to_string).collect()
}

/// The same events as if each had named the lead that its appointment belongs to in the end, once.
fn naming(appointment: &Appointment, lead: &str) -> Vec<Value> {
    let mut events: Vec<Value> = appointment.in_force().into_iter().cloned().collect();
    for event in &mut events {
        put(event, "partitionkey", json!(lead));
        let event = event.as_object_mut().expect("an object");
        event.remove("revision");
    }
    events
}

/// The tables that a run over events leads to whose appointments belong to their leads from the first.
fn in_order(events: &[Value]) -> BTreeMap<&'static str, String> {
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| text(event, "time"));
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", SETTINGS);
    let file = foldback.file("events.jsonl", &lines(events.into_iter()).join("\n"));
    foldback.ok(&["run", &file, "--settings", &settings]);
    foldback.tables()
}

struct Story {
    arrivals: Vec<String>,
    expected: BTreeMap<&'static str, String>,
    linked: usize,
}

fn story(seed: u64) -> Story {
    let mut chance = Disorder::new(seed);
    let made = (0..LEADS).map(|n| {
        let mut made = event(&lead(n), "lead.created", n, &json!({}));
        put(&mut made, "partitionkey", json!(lead(n)));
        made
    });
    let made: Vec<Value> = made.collect();
    let all = (0..APPOINTMENTS).map(|n| appointment(n, &mut chance));
    let all: Vec<Appointment> = all.collect();
    let mut linked = made.clone();
    let mut alone = Vec::new();
    for appointment in &all {
        match appointment.lead() {
            Some(lead) => linked.extend(naming(appointment, &lead)),
            None => alone.extend(naming(appointment, "nobody")),
        }
    }
    // One that belongs to nobody has its own rows, in which no lead is named, and counts nowhere.
    let (mut expected, nobodys) = (in_order(&linked), in_order(&alone));
    for table in ["RSAppointment", "RSAppointmentChanges"] {
        let rows = expected.get_mut(table).expect("a table");
        let nobodys = nobodys.get(table).expect("a table");
        let nobodys = nobodys.replace(r#","leadId":"nobody""#, "");
        let mut all: Vec<&str> = rows.lines().chain(nobodys.lines()).collect();
        all.sort_by_key(|row| by_id_and_number(row));
        *rows = all.iter().map(|row| format!("{row}\n")).collect();
    }
    let told = all.iter().flat_map(|one| one.events.values().flatten());
    Story {
        arrivals: lines(made.iter().chain(told)),
        expected,
        linked: all.iter().filter(|one| one.lead().is_some()).count(),
    }
}

/// The order in which a table's rows are exported.
fn by_id_and_number(row: &str) -> (String, u64) {
    let row: Value = serde_json::from_str(row).expect("JSON");
    let id = text(&row, "appointmentId").expect("an id").to_owned();
    (id, row.get("n").and_then(Value::as_u64).unwrap_or(0))
}

#[track_caller]
fn check(foldback: &Foldback, story: &Story) {
    let got = foldback.tables();
    for table in TABLES {
        let of = |tables: &BTreeMap<&str, String>| tables.get(table).cloned().expect("a table");
        let (got, want) = (of(&got), of(&story.expected));
        let differs = got.lines().zip(want.lines()).find(|(a, b)| a != b);
        assert!(got == want, "{table}: {differs:#?}\n{got}\n{want}");
    }
    let replay = foldback.ends(&["replay", "--json"]);
    assert_eq!(
        (replay.status, replay.stdout.as_str()),
        (0, ""),
        "{}",
        replay.stderr
    );
}

#[test]
fn appointments_follow_the_lead_that_is_named_last_in_whatever_order() {
    for seed in 0..6 {
        let story = story(seed);
        assert!(story.linked > 10 && story.linked < 60, "of each kind some");
        let mut chance = Disorder::new(seed + 100);
        let mut arrivals = story.arrivals.clone();
        if seed > 0 {
            arrivals.extend(story.arrivals.iter().take(40).cloned());
            chance.shuffle(&mut arrivals);
        }
        let foldback = Foldback::new();
        let settings = foldback.file("settings.toml", &by_id());
        let file = foldback.file("events.jsonl", &arrivals.join("\n"));
        foldback.ok(&["run", &file, "--settings", &settings, "--batch", "7"]);
        check(&foldback, &story);
    }
}

/// One arrives at a time, and what stands after each is what the events so far say.
#[test]
fn an_appointment_stands_alone_until_an_event_links_it() {
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", &by_id());
    let data = json!({"appointment": "meeting-1"});
    let mut linking = event("3", "started", 30, &data);
    linking["partitionkey"] = json!("lead-7");
    let mut other = event("4", "started", 20, &data);
    other["partitionkey"] = json!("lead-8");
    let mut withdrawn = linking.clone();
    withdrawn["revision"] = json!(1);
    withdrawn["withdrawn"] = json!(true);
    let steps = [
        (event("1", "scheduled", 10, &data), None, vec![]),
        (event("2", "completed", 40, &data), None, vec![]),
        (linking, Some("lead-7"), vec!["lead-7"]),
        // Told later, but it happened before.
        (other, Some("lead-7"), vec!["lead-7"]),
        (withdrawn, Some("lead-8"), vec!["lead-8"]),
    ];
    for (n, (event, lead, leads)) in steps.into_iter().enumerate() {
        let file = foldback.file(&format!("{n}.jsonl"), &event.to_string());
        foldback.ok(&["run", &file, "--settings", &settings]);
        let rows = foldback.ok(&["export", "RSAppointment"]);
        assert_eq!(rows.lines().count(), 1, "step {n}: {rows}");
        let row: Value = serde_json::from_str(&rows).expect("JSON");
        assert_eq!(row.get("leadId").and_then(Value::as_str), lead, "step {n}");
        let converted = foldback.ok(&["export", "RSLeadGlobalConversions"]);
        let converted: BTreeSet<String> = converted
            .lines()
            .map(|row| serde_json::from_str::<Value>(row).expect("JSON"))
            .filter(|row| row["conversions"]["met"]["count"] == json!(1))
            .filter_map(|row| Some(row["leadId"].as_str()?.to_owned()))
            .collect();
        assert_eq!(converted.iter().collect::<Vec<_>>(), leads, "step {n}");
        let shown = foldback.ok(&["show", "meeting-1"]);
        assert!(shown.contains("scheduled"), "step {n}: {shown}");
    }
}
