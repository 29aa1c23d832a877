//! Small events, messages and rows to test with.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::flow::{Batch, HistoryWrite, Put, RowKey, Stored, Write, correct, sort_events, step};
use shared::handlers::{Conversion, RSLead, RSLeadGlobalConversions, Row, Table, Version};
use shared::model::{
    Entry, Event, EventHash, Fingerprint, Group, Held, Payload, Sequence, Stamps, Timestamp, Trail,
};
use shared::ports::Message;
use shared::settings::{Format, Settings};

/// The moment so many minutes after 2026-03-01T09:00:00Z.
#[must_use]
pub fn at(minutes: i64) -> Timestamp {
    const NINE_MS: i64 = 1_772_355_600_000;
    Timestamp::from_ms(NINE_MS + minutes * 60_000)
}

/// A group of a tenant.
#[must_use]
pub fn group(tenant: &str, key: &str) -> Group {
    Group {
        tenant: tenant.into(),
        key: key.into(),
    }
}

/// An event that has what every event has, and names its group.
#[must_use]
pub fn event(group: &Group, id: &str) -> Event {
    Event {
        source: "//crm.example".into(),
        id: id.into(),
        kind: "lead.updated".into(),
        time: at(0),
        below_ms: 0,
        sequence: None,
        subject: None,
        tenant: Some(group.tenant.clone()),
        partition_key: Some(group.key.clone()),
        traceparent: None,
        content_type: None,
        data: Payload::Json(r#"{"stage":"open","n":[1,2.5,null]}"#.into()),
        extensions: BTreeMap::new(),
    }
}

/// The event as the journal keeps it.
#[must_use]
pub fn entry(group: &Group, event: Event) -> Arc<Entry> {
    Arc::new(Entry {
        group: group.clone(),
        hash: event.hash(),
        event,
        recorded: at(1),
    })
}

/// An entry of its group that matters only by its id.
#[must_use]
pub fn plain(group: &Group, id: &str) -> Arc<Entry> {
    entry(group, event(group, id))
}

/// Entries of one group that between them use every field, and each in its extremes.
#[must_use]
pub fn every_shape(group: &Group) -> Vec<Arc<Entry>> {
    let base = |id: &str| event(group, id);
    let extensions = BTreeMap::from([
        ("color".into(), r#""rouge é""#.into()),
        ("count".into(), "7".into()),
        ("flag".into(), "true".into()),
        ("tracestate".into(), r#""vendor=1""#.into()),
    ]);
    let events = [
        base("plain"),
        Event {
            below_ms: 999_999,
            sequence: Some(Sequence("00042".into())),
            subject: Some("lead/7".into()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            content_type: Some("application/json; charset=utf-8".into()),
            extensions,
            ..base("full")
        },
        Event {
            tenant: None,
            partition_key: None,
            ..base("names neither tenant nor partition key")
        },
        Event {
            tenant: None,
            ..base("names no tenant")
        },
        Event {
            partition_key: None,
            ..base("names no partition key")
        },
        Event {
            data: Payload::None,
            ..base("no data")
        },
        Event {
            data: Payload::Json("".into()),
            ..base("empty data")
        },
        Event {
            data: Payload::Base64("AP/+".into()),
            content_type: Some("application/octet-stream".into()),
            ..base("bytes")
        },
        Event {
            data: Payload::Base64("".into()),
            ..base("no bytes")
        },
        Event {
            data: Payload::Json("{ \"b\" : 1.0,\n\t\"a\":\"\\u00e9 \u{e9} \u{1f600} \\u0000\" }".into()),
            source: "//crm.example/Zürich".into(),
            subject: Some("名前 \u{1f469}\u{200d}\u{1f4bb}".into()),
            sequence: Some(Sequence("".into())),
            ..base("ünïcode ' \" \\ % _ # / \u{0} \n")
        },
        Event {
            time: Timestamp::MIN,
            ..base("first moment")
        },
        Event {
            time: Timestamp::MAX,
            below_ms: 1,
            ..base("last moment")
        },
    ];
    events.map(|event| entry(group, event)).to_vec()
}

/// A message of plain entries.
#[must_use]
pub fn message(group: &Group, deduplication_id: u128, ids: &[&str]) -> Message {
    Message {
        group: group.clone(),
        deduplication_id,
        entries: ids.iter().map(|id| plain(group, id)).collect(),
    }
}

/// A row's key.
#[must_use]
pub fn key(group: &Group, table: Table, id: &str) -> RowKey {
    RowKey {
        group: group.clone(),
        table,
        id: id.into(),
    }
}

/// The key of the group's lead.
#[must_use]
pub fn lead_key(group: &Group) -> RowKey {
    key(group, Table::RSLead, &group.key)
}

/// The lead of a group, at a stage.
#[must_use]
pub fn lead(group: &Group, stage: &str) -> Row {
    Row::RSLead(RSLead {
        amount: None,
        assignee: None,
        closed_at: None,
        closed_reason: None,
        converted_at: None,
        created_at: Some(at(0)),
        events: 1,
        lead_id: group.key.clone(),
        stage: Some(stage.into()),
        tenant: group.tenant.clone(),
    })
}

/// A lead that converted once by each of these names, at these moments.
#[must_use]
pub fn converted(group: &Group, conversions: &[(&str, Timestamp)]) -> Row {
    let conversion = |last_at: Timestamp| Conversion {
        count: 1,
        first_at: last_at,
        last_at,
        value: None,
    };
    Row::RSLeadGlobalConversions(RSLeadGlobalConversions {
        appointments_cancelled: 0,
        appointments_completed: 0,
        appointments_open: 0,
        conversions: conversions
            .iter()
            .map(|(name, last_at)| ((*name).into(), conversion(*last_at)))
            .collect(),
        converted_at: None,
        lead_id: group.key.clone(),
        seconds_to_conversion: None,
        tenant: group.tenant.clone(),
    })
}

/// A trail of a row that holds one event.
#[must_use]
pub fn trail(version: u64) -> Trail {
    let hash = EventHash::of("//crm.example", "1");
    Trail {
        held: Held {
            events: 1,
            fingerprint: Fingerprint::default().with(hash),
            last: None,
            taken: Some(hash),
        },
        out_of_order: 0,
        version,
        settings: 1,
        handler: 1,
        checksum: 0,
        stamps: Stamps {
            event: at(0),
            read_start: at(1),
            write_start: at(2),
        },
    }
}

/// The write of `row` over version `expected`.
#[must_use]
pub fn write(key: &RowKey, expected: Option<u64>, row: Row) -> Write {
    let put = Put {
        body: row.body(),
        row,
        trail: trail(expected.map_or(1, |version| version + 1)),
        history: None,
    };
    Write {
        key: key.clone(),
        expected,
        put: Some(put),
    }
}

/// The write that takes version `expected` of a row away.
#[must_use]
pub fn taking_away(key: &RowKey, expected: u64) -> Write {
    Write {
        key: key.clone(),
        expected: Some(expected),
        put: None,
    }
}

/// The write of an appointment's history over version `expected`: versions after `keep` give way to
/// those that begin at these minutes with these statuses.
#[must_use]
pub fn changes(
    key: &RowKey,
    expected: Option<u64>,
    keep: u32,
    supersede: bool,
    begin: &[(i64, &str)],
) -> Write {
    let mut write = write(key, expected, key.table.new_row(&key.group, &key.id));
    if let Some(put) = &mut write.put {
        put.history = Some(HistoryWrite {
            keep,
            supersede,
            versions: versions(keep, begin),
        });
    }
    write
}

/// Versions that follow version `after`, by the minutes at which they begin.
#[must_use]
pub fn versions(after: u32, begin: &[(i64, &str)]) -> Vec<Version> {
    let ends = begin.iter().skip(1).map(|(minutes, _)| Some(at(*minutes)));
    (after + 1..)
        .zip(begin)
        .zip(ends.chain([None]))
        .map(|((n, (minutes, status)), valid_to)| Version {
            n,
            valid_from: at(*minutes),
            valid_to,
            caused_by: format!("event {status} at {minutes}").into(),
            fields: format!(r#"{{"status":"{status}"}}"#).into(),
        })
        .collect()
}

const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme", "globex"]
[tenant.set]
stage = { pointer = "/stage" }
assignee = { pointer = "/owner" }
appointmentId = { pointer = "/appointment" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.map]]
type = "appointment.scheduled"
to = "appointment.scheduled"
[[tenant.map]]
type = "appointment.started"
to = "appointment.started"
[[tenant.map]]
type = "appointment.completed"
to = "appointment.completed"
[[tenant.conversion]]
name = "created"
on = "lead.created"
[[tenant.conversion]]
name = "met"
on = "appointment.completed"
"#;

/// Settings that map the canonical types used here to themselves, for tenants acme and globex.
///
/// # Panics
/// The settings do not compile.
#[must_use]
pub fn settings() -> Settings {
    Settings::compile(SETTINGS, Format::Toml, 3).expect("the settings compile")
}

/// An event of a type, so many minutes in, about the group's lead or its appointment `meeting`.
#[must_use]
pub fn happened(group: &Group, minutes: i64, kind: &str) -> Arc<Entry> {
    let data = r#"{"stage":"open","owner":"Ann","appointment":"meeting"}"#;
    entry(
        group,
        Event {
            kind: kind.into(),
            time: at(minutes),
            data: Payload::Json(data.into()),
            ..event(group, &format!("{kind} at {minutes}"))
        },
    )
}

/// What live handling writes for new events of a group, in order or not.
///
/// # Panics
/// The group's tenant is not one of the [`settings`].
#[must_use]
pub fn handle(
    settings: &Settings,
    group: &Group,
    stored: &[Stored],
    journal: &[Entry],
    new: &[Arc<Entry>],
) -> Vec<Write> {
    let tenant = settings.tenant(&group.tenant).expect("a known tenant");
    let mut entries: Vec<&Arc<Entry>> = new.iter().collect();
    sort_events(&mut entries);
    let mappings: Vec<_> = entries
        .iter()
        .map(|entry| tenant.map(&entry.event))
        .collect();
    let batch = Batch {
        tenant,
        group,
        entries: &entries,
        mappings: &mappings,
        stamps: trail(1).stamps,
    };
    step(&batch, stored)
        .unwrap_or_else(|| correct(&batch, stored, journal))
        .writes
}
