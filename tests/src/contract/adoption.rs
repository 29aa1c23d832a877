//! What every [`LegacyTables`] must do, and how rows that other code wrote are adopted over it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::flow::{RowKey, Stored, Write, begin, first_writes};
use shared::handlers::{Baseline, Table, known_fields};
use shared::model::{Class, Entry, Event, Finding, Group, Payload};
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{
    Committed, Journal, LegacyRow, LegacyTables, Locks, Partition, Queue, Reading, Reports, Tables,
    Waiting,
};
use shared::service::{
    Adopt, Adopted, Duplicates, Mode, Replay, Scope, ingest, parked_events, process,
};

use super::{Fixture, LegacyFixture, MARGIN_MS, Still};
use crate::fixtures::{at, entry, event, group, key, lead, lead_key, settings, trail, write};

/// All that an adoption needs.
pub trait AdoptionPorts:
    Journal + Queue + Waiting + Tables + LegacyTables + Locks + Reports
{
}
impl<P> AdoptionPorts for P where
    P: Journal + Queue + Waiting + Tables + LegacyTables + Locks + Reports
{
}

suite! { $ adoption_suite, adoption: AdoptionPorts, LegacyFixture;
    rows_without_a_trail_come_in_pages,
    what_the_table_does_not_know_is_passed_over,
    what_is_no_row_says_so,
    rows_that_foldback_made_are_none,
    a_row_is_adopted_once,
    a_row_that_changed_is_left_alone,
    a_row_whose_place_is_taken_is_left_alone,
    adopted_rows_stay_what_they_were,
    events_go_on_from_an_adopted_row,
    earlier_events_change_nothing_in_an_adopted_row,
    what_legacy_code_writes_afterwards_is_foreign,
    adopting_again_adopts_nothing,
    a_death_between_journal_and_rows_is_healed,
    rows_that_follow_from_adopted_ones_are_made,
    what_was_counted_is_not_counted_again,
    a_table_that_others_feed_is_adopted_with_them,
    a_row_that_cannot_be_read_stops_what_it_feeds,
    what_cannot_be_adopted_is_left_alone,
    a_history_is_not_adopted,
    many_rows_go_by_pages,
}

const CURRENT: [Table; 2] = [Table::RSLead, Table::RSAppointment];
const ADOPTABLE: [Table; 3] = [
    Table::RSLead,
    Table::RSAppointment,
    Table::RSLeadGlobalConversions,
];

fn one() -> Group {
    group("acme", "lead-1")
}

/// A lead as legacy code writes it: with nulls, and fields of its own.
fn lead_document(lead: &str, stage: &str) -> Value {
    json!({
        "tenant": "acme", "leadId": lead, "stage": stage, "amount": 12.5, "assignee": null,
        "createdAt": at(-60).to_string(), "events": 7, "score": 0.75, "tags": ["a", {"b": null}],
    })
}

fn appointment_document(lead: &str, id: &str, status: &str) -> Value {
    json!({
        "tenant": "acme", "leadId": lead, "appointmentId": id, "status": status, "starts": 2,
        "assignee": "Bob", "scheduledAt": at(-30).to_string(), "room": "7",
    })
}

fn conversions_document(lead: &str) -> Value {
    let old = json!({"count": 3, "firstAt": at(-90).to_string(), "lastAt": at(-10).to_string()});
    json!({
        "tenant": "acme", "leadId": lead, "appointmentsOpen": 2, "appointmentsCompleted": 1,
        "appointmentsCancelled": 0, "conversions": {"met": old}, "convertedAt": null,
    })
}

/// The fields that are not null: whether absent fields are null is the legacy code's affair.
fn filled(document: &Value) -> Map<String, Value> {
    let mut fields = document.as_object().expect("a document").clone();
    fields.retain(|_, value| !value.is_null());
    fields
}

/// The fields that the table knows, as canonical JSON.
fn known(table: Table, document: &Value) -> String {
    known_fields(table, document.as_object().expect("a document")).expect("a row")
}

async fn untracked(
    fixture: &impl Fixture<Ports: AdoptionPorts>,
    table: Table,
    limit: usize,
) -> Vec<LegacyRow> {
    let mut all: Vec<LegacyRow> = Vec::new();
    loop {
        let after = all.last().map(|row| row.handle.as_str());
        let page = fixture.ports().untracked(table, after, limit).await;
        let page = page.expect("untracked");
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
        assert!(all.len() < 10_000, "the pages have no end");
    }
}

/// The write that the service makes of a row.
fn first_write(fixture: &impl Fixture, row: &LegacyRow) -> (Entry, Write) {
    let body = row.body.as_ref().expect("a row");
    let tenant = row.tenant.as_ref().expect("a tenant");
    let baseline = Baseline::new(row.table, tenant, body).expect("a baseline");
    let entry = begin(&baseline, &[], fixture.now()).expect("none journaled");
    let settings = settings();
    let writes = first_writes(
        settings.tenant(tenant).expect("the tenant"),
        baseline.group(),
        std::slice::from_ref(&entry),
        &[(baseline.table(), baseline.id().clone())],
        trail(1).stamps,
    );
    let write = writes.into_iter().next().flatten().expect("a write");
    (entry, write)
}

async fn adopt_one(
    fixture: &impl Fixture<Ports: AdoptionPorts>,
    row: &LegacyRow,
) -> Vec<Committed> {
    let adoption = (row.clone(), first_write(fixture, row).1);
    let adopted = fixture.ports().adopt(&[adoption], fixture.now()).await;
    adopted.expect("adopt")
}

async fn stored(fixture: &impl Fixture<Ports: AdoptionPorts>, key: &RowKey) -> Stored {
    let keys = std::slice::from_ref(key);
    let read = fixture.ports().read(keys, Reading::WithHistory).await;
    read.expect("read").pop().expect("a row")
}

async fn adopted(fixture: &impl Fixture<Ports: AdoptionPorts>, tables: &[Table]) -> Adopted {
    let adopt = Adopt {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
    };
    let adopted = adopt.run(tables, None, |_| {}, |_| {}).await;
    adopted.expect("adopt")
}

/// Adopts what there is, of which nothing may be refused.
async fn adopted_all(fixture: &impl Fixture<Ports: AdoptionPorts>, tables: &[Table]) -> u64 {
    let adopted = adopted(fixture, tables).await;
    assert_eq!(adopted.refused, []);
    assert_eq!((adopted.rows, adopted.conflicts), (adopted.adopted, 0));
    adopted.adopted
}

async fn replayed(fixture: &impl Fixture<Ports: AdoptionPorts>, mode: Mode) -> Vec<Finding> {
    let parked = parked_events(fixture.ports()).await.expect("parked");
    let replay = Replay {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
        parked: &parked,
        grace_ms: 0,
    };
    let mut found = Vec::new();
    let scope = Scope::Partition(Partition::WHOLE, None);
    let run = replay.run(&scope, mode, |finding| found.push(finding), |_| {});
    run.await.expect("replay");
    found
}

/// An event of the group about its appointment `meeting`, so many minutes from now.
fn happens(fixture: &impl Fixture, group: &Group, minutes: i64, kind: &str) -> Arc<Entry> {
    let data = r#"{"stage":"won","owner":"Ann","appointment":"meeting"}"#;
    let told = Event {
        kind: kind.into(),
        time: fixture.now().plus_ms(minutes * 60_000),
        data: Payload::Json(data.into()),
        ..event(group, &format!("{kind} at {minutes}"))
    };
    entry(group, told)
}

async fn handled(fixture: &impl Fixture<Ports: AdoptionPorts>, entries: &[Arc<Entry>]) {
    let (ports, now) = (fixture.ports(), fixture.now());
    ingest(ports, entries, Duplicates::Skip, now)
        .await
        .expect("ingest");
    let received = ports.receive(10, now).await.expect("receive");
    let done = process(ports, &Still(now), &settings(), &received).await;
    assert_eq!(done.expect("process").events, entries.len() as u64);
}

async fn rows_without_a_trail_come_in_pages(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    assert_eq!(untracked(fixture, Table::RSLead, 10).await, []);
    let mut documents = Vec::new();
    for place in [4, 1, 3, 0, 2] {
        let mut document = lead_document(&format!("lead-{place}"), "open");
        if place == 0 {
            document["tenant"] = Value::Null;
        }
        fixture.put_legacy(Table::RSLead, &document).await;
        documents.push(document);
    }
    let other = appointment_document("lead-1", "meeting", "started");
    fixture.put_legacy(Table::RSAppointment, &other).await;
    let rows = untracked(fixture, Table::RSLead, 10).await;
    for limit in [1, 2, 4, 5] {
        assert_eq!(untracked(fixture, Table::RSLead, limit).await, rows);
    }
    let mut read: Vec<_> = rows
        .iter()
        .map(|row| (row.tenant.clone(), row.body.clone()))
        .collect();
    let mut expect: Vec<_> = documents
        .iter()
        .map(|one| {
            let tenant = one["tenant"].as_str().map(Into::into);
            (tenant, Ok(known(Table::RSLead, one)))
        })
        .collect();
    read.sort();
    expect.sort();
    assert_eq!(read, expect);
    assert!(rows.iter().all(|row| row.table == Table::RSLead));
    assert_eq!(untracked(fixture, Table::RSAppointment, 10).await.len(), 1);
}

async fn what_the_table_does_not_know_is_passed_over(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let document = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &document).await;
    let rows = untracked(fixture, Table::RSLead, 10).await;
    let body = rows[0].body.as_ref().expect("a row");
    let mut expect = filled(&document);
    expect.retain(|name, _| !["score", "tags"].contains(&name.as_str()));
    assert_eq!(*body, Value::Object(expect).to_string(), "canonical");
}

async fn what_is_no_row_says_so(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let mut document = lead_document("lead-1", "open");
    document["events"] = json!("many");
    fixture.put_legacy(Table::RSLead, &document).await;
    let rows = untracked(fixture, Table::RSLead, 10).await;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].body.is_err(), "{rows:?}");
}

async fn rows_that_foldback_made_are_none(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let insert = write(&lead_key(&one()), None, lead(&one(), "open"));
    let committed = fixture.ports().commit(&[insert], &[], fixture.now()).await;
    assert_eq!(committed.expect("commit"), [Done]);
    assert_eq!(untracked(fixture, Table::RSLead, 10).await, []);
}

async fn a_row_is_adopted_once(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let document = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &document).await;
    let row = untracked(fixture, Table::RSLead, 10).await.remove(0);
    let (_, write) = first_write(fixture, &row);
    assert_eq!(adopt_one(fixture, &row).await, [Done]);
    let put = write.put.expect("a row");
    let stored = stored(fixture, &write.key).await;
    assert_eq!((stored.row, stored.trail), (put.row, put.trail));
    let content = fixture.legacy_content(Table::RSLead, "lead-1").await;
    assert_eq!(filled(&content), filled(&document), "in place");
    assert_eq!(untracked(fixture, Table::RSLead, 10).await, []);
    assert_eq!(adopt_one(fixture, &row).await, [Conflict]);
}

async fn a_row_that_changed_is_left_alone(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    for lead in ["lead-1", "lead-2"] {
        let document = lead_document(lead, "open");
        fixture.put_legacy(Table::RSLead, &document).await;
    }
    let rows = untracked(fixture, Table::RSLead, 10).await;
    let changed = lead_document("lead-1", "shut");
    fixture.put_legacy(Table::RSLead, &changed).await;
    let adoptions: Vec<_> = rows
        .iter()
        .map(|row| (row.clone(), first_write(fixture, row).1))
        .collect();
    let adopted = fixture.ports().adopt(&adoptions, fixture.now()).await;
    let expect: Vec<_> = adoptions
        .iter()
        .map(|(_, write)| {
            if write.key.id == "lead-1" {
                Conflict
            } else {
                Done
            }
        })
        .collect();
    assert_eq!(adopted.expect("adopt"), expect, "each on its own");
    let content = fixture.legacy_content(Table::RSLead, "lead-1").await;
    assert_eq!(filled(&content), filled(&changed));
    let left = untracked(fixture, Table::RSLead, 10).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].body, Ok(known(Table::RSLead, &changed)));
}

async fn a_row_whose_place_is_taken_is_left_alone(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let document = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &document).await;
    let row = untracked(fixture, Table::RSLead, 10).await.remove(0);
    handled(fixture, &[happens(fixture, &one(), 1, "lead.updated")]).await;
    assert_eq!(adopt_one(fixture, &row).await, [Conflict]);
    assert_eq!(untracked(fixture, Table::RSLead, 10).await, [row]);
}

async fn adopted_rows_stay_what_they_were(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let documents = [
        (Table::RSLead, "lead-1", lead_document("lead-1", "open")),
        (
            Table::RSAppointment,
            "meeting",
            appointment_document("lead-1", "meeting", "started"),
        ),
        (
            Table::RSLeadGlobalConversions,
            "lead-1",
            conversions_document("lead-1"),
        ),
    ];
    for (table, _, document) in &documents {
        fixture.put_legacy(*table, document).await;
    }
    assert_eq!(adopted_all(fixture, &ADOPTABLE).await, 3);
    assert_eq!(replayed(fixture, Mode::Report).await, []);
    for (table, id, document) in &documents {
        let content = fixture.legacy_content(*table, id).await;
        assert_eq!(filled(&content), filled(document), "{id} of {table:?}");
        let stored = stored(fixture, &key(&one(), *table, id)).await;
        assert_eq!(stored.row.body(), known(*table, document));
        let last = stored.trail.held.last.expect("a baseline");
        assert_eq!(
            (last.source, stored.trail.version),
            (Baseline::source(*table), 1)
        );
        assert_eq!(stored.trail.stamps.event, fixture.now());
    }
}

async fn events_go_on_from_an_adopted_row(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let appointment = appointment_document("lead-1", "meeting", "scheduled");
    fixture.put_legacy(Table::RSAppointment, &appointment).await;
    adopted_all(fixture, &CURRENT).await;
    for (minutes, kind) in [(1, "appointment.started"), (2, "lead.updated")] {
        handled(fixture, &[happens(fixture, &one(), minutes, kind)]).await;
    }
    let content = fixture.legacy_content(Table::RSLead, "lead-1").await;
    assert_eq!(content["events"], 9, "seven before, two since");
    assert_eq!(
        (&content["stage"], &content["score"]),
        (&json!("won"), &json!(0.75))
    );
    let content = fixture
        .legacy_content(Table::RSAppointment, "meeting")
        .await;
    assert_eq!(
        (&content["starts"], &content["status"]),
        (&json!(3), &json!("started"))
    );
    let changes = key(&one(), Table::RSAppointmentChanges, "meeting");
    let history = stored(fixture, &changes).await.history.expect("a history");
    let begins: Vec<_> = history.iter().map(|version| version.valid_from).collect();
    assert_eq!(begins, [fixture.now(), fixture.now().plus_ms(60_000)]);
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

async fn earlier_events_change_nothing_in_an_adopted_row(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let appointment = appointment_document("lead-1", "meeting", "scheduled");
    fixture.put_legacy(Table::RSAppointment, &appointment).await;
    let conversions = conversions_document("lead-1");
    fixture
        .put_legacy(Table::RSLeadGlobalConversions, &conversions)
        .await;
    adopted_all(fixture, &ADOPTABLE).await;
    let late = [
        happens(fixture, &one(), -9, "lead.created"),
        happens(fixture, &one(), -5, "appointment.completed"),
        happens(fixture, &one(), -1, "lead.updated"),
    ];
    for entry in late {
        handled(fixture, &[entry]).await;
    }
    for (table, id, document) in [
        (Table::RSLead, "lead-1", &lead),
        (Table::RSAppointment, "meeting", &appointment),
        (Table::RSLeadGlobalConversions, "lead-1", &conversions),
    ] {
        let content = fixture.legacy_content(table, id).await;
        assert_eq!(filled(&content), filled(document), "{id} of {table:?}");
    }
    let held = stored(fixture, &lead_key(&one())).await.trail.held;
    assert_eq!(held.events, 4, "and yet it holds them");
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

async fn what_legacy_code_writes_afterwards_is_foreign(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let document = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &document).await;
    adopted_all(fixture, &CURRENT).await;
    let edited = lead_document("lead-1", "shut");
    fixture.put_legacy(Table::RSLead, &edited).await;
    assert_eq!(
        untracked(fixture, Table::RSLead, 10).await,
        [],
        "it keeps its trail"
    );
    for mode in [Mode::Report, Mode::Update] {
        let found = replayed(fixture, mode).await;
        let classes: Vec<_> = found.iter().map(|one| (one.class, one.table)).collect();
        assert_eq!(classes, [(Class::Foreign, Table::RSLead)]);
    }
    assert_eq!(replayed(fixture, Mode::Report).await, []);
    let content = fixture.legacy_content(Table::RSLead, "lead-1").await;
    assert_eq!(filled(&content), filled(&document), "taken back");
}

async fn adopting_again_adopts_nothing(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let first = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &first).await;
    assert_eq!(adopted_all(fixture, &CURRENT).await, 1);
    let before = stored(fixture, &lead_key(&one())).await;
    fixture.pass(MARGIN_MS).await;
    assert_eq!(adopted(fixture, &CURRENT).await, Adopted::default());
    assert_eq!(stored(fixture, &lead_key(&one())).await, before);
    let second = lead_document("lead-2", "open");
    fixture.put_legacy(Table::RSLead, &second).await;
    assert_eq!(adopted_all(fixture, &CURRENT).await, 1);
    assert_eq!(stored(fixture, &lead_key(&one())).await, before);
}

async fn a_death_between_journal_and_rows_is_healed(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let document = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &document).await;
    let other = lead_document("lead-2", "open");
    fixture.put_legacy(Table::RSLead, &other).await;
    for row in untracked(fixture, Table::RSLead, 10).await {
        let (entry, _) = first_write(fixture, &row);
        let appended = fixture.ports().append(&[Arc::new(entry)]).await;
        appended.expect("append");
    }
    fixture.reopen().await;
    fixture.pass(MARGIN_MS).await;
    // In the meantime legacy code wrote one of them.
    let written = lead_document("lead-2", "shut");
    fixture.put_legacy(Table::RSLead, &written).await;
    let adopted = adopted(fixture, &CURRENT).await;
    assert_eq!((adopted.rows, adopted.adopted, adopted.already), (2, 2, 1));
    for (id, document) in [("lead-1", &document), ("lead-2", &written)] {
        let content = fixture.legacy_content(Table::RSLead, id).await;
        assert_eq!(filled(&content), filled(document));
    }
    assert_eq!(replayed(fixture, Mode::Report).await, []);
    let journals = fixture
        .ports()
        .entries(&[one(), group("acme", "lead-2")])
        .await;
    let counts: Vec<_> = journals.expect("entries").iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 2], "the same content again is no new event");
}

async fn rows_that_follow_from_adopted_ones_are_made(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let mut lead = lead_document("lead-1", "won");
    lead["convertedAt"] = json!(at(0).to_string());
    fixture.put_legacy(Table::RSLead, &lead).await;
    for (id, status) in [("a", "scheduled"), ("b", "completed"), ("c", "no_show")] {
        let document = appointment_document("lead-1", id, status);
        fixture.put_legacy(Table::RSAppointment, &document).await;
    }
    let adopted = adopted(fixture, &CURRENT).await;
    assert_eq!((adopted.adopted, adopted.mended), (4, 4));
    let conversions = RowKey::conversions("acme", "lead-1");
    let derived: Value =
        serde_json::from_str(&stored(fixture, &conversions).await.row.body()).expect("JSON");
    let expect = json!({
        "appointmentsCancelled": 1, "appointmentsCompleted": 1, "appointmentsOpen": 1,
        "conversions": {}, "convertedAt": at(0).to_string(), "leadId": "lead-1",
        "secondsToConversion": 3600, "tenant": "acme",
    });
    assert_eq!(derived, expect);
    for id in ["a", "b", "c"] {
        let changes = key(&one(), Table::RSAppointmentChanges, id);
        let history = stored(fixture, &changes).await.history.expect("a history");
        assert_eq!(history.len(), 1);
        assert!(history[0].caused_by.starts_with(&format!("{id}#")));
    }
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

async fn what_was_counted_is_not_counted_again(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let appointment = appointment_document("lead-1", "meeting", "started");
    fixture.put_legacy(Table::RSAppointment, &appointment).await;
    let document = conversions_document("lead-1");
    fixture
        .put_legacy(Table::RSLeadGlobalConversions, &document)
        .await;
    let mut tables = ADOPTABLE;
    tables.reverse();
    assert_eq!(adopted_all(fixture, &tables).await, 3);
    handled(
        fixture,
        &[happens(fixture, &one(), 1, "appointment.completed")],
    )
    .await;
    // An appointment that legacy code made since then has not been counted yet.
    let new = appointment_document("lead-1", "new", "scheduled");
    fixture.put_legacy(Table::RSAppointment, &new).await;
    fixture.pass(120_000).await;
    assert_eq!(adopted_all(fixture, &tables).await, 1);
    let derived = fixture
        .legacy_content(Table::RSLeadGlobalConversions, "lead-1")
        .await;
    assert_eq!(derived["appointmentsOpen"], 2 - 1 + 1);
    assert_eq!(derived["appointmentsCompleted"], 2);
    assert_eq!(derived["conversions"]["met"]["count"], 4);
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

async fn a_table_that_others_feed_is_adopted_with_them(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let document = conversions_document("lead-1");
    fixture
        .put_legacy(Table::RSLeadGlobalConversions, &document)
        .await;
    let tables = [Table::RSLead, Table::RSLeadGlobalConversions];
    let adopted = adopted(fixture, &tables).await;
    assert_eq!((adopted.rows, adopted.adopted, adopted.refusals), (0, 0, 1));
    let refused = &adopted.refused[0];
    assert_eq!((refused.table, &refused.handle), (tables[1], &None));
    assert!(refused.why.contains("RSAppointment"), "{}", refused.why);
    for table in tables {
        assert_eq!(untracked(fixture, table, 10).await.len(), 1);
    }
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

/// It may be counted already, and nobody can tell for which lead.
async fn a_row_that_cannot_be_read_stops_what_it_feeds(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let mut broken = appointment_document("lead-1", "meeting", "started");
    broken["starts"] = json!("twice");
    fixture.put_legacy(Table::RSAppointment, &broken).await;
    let document = conversions_document("lead-1");
    fixture
        .put_legacy(Table::RSLeadGlobalConversions, &document)
        .await;
    let stopped = adopted(fixture, &ADOPTABLE).await;
    let refused: Vec<_> = stopped
        .refused
        .iter()
        .map(|one| (one.table, one.handle.is_some()))
        .collect();
    let expect = [
        (Table::RSAppointment, true),
        (Table::RSLeadGlobalConversions, false),
    ];
    assert_eq!((stopped.adopted, &refused[..]), (0, &expect[..]));
    for table in ADOPTABLE {
        assert_eq!(untracked(fixture, table, 10).await.len(), 1);
    }
    broken["starts"] = json!(2);
    fixture.put_legacy(Table::RSAppointment, &broken).await;
    assert_eq!(adopted_all(fixture, &ADOPTABLE).await, 3);
    let derived = fixture
        .legacy_content(Table::RSLeadGlobalConversions, "lead-1")
        .await;
    assert_eq!(filled(&derived), filled(&document));
}

async fn what_cannot_be_adopted_is_left_alone(
    fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>,
) {
    handled(fixture, &[happens(fixture, &one(), 0, "lead.created")]).await;
    let taken = lead_document("lead-1", "legacy");
    let mut unknown = lead_document("lead-2", "open");
    unknown["tenant"] = json!("initech");
    let mut nobodys = lead_document("lead-3", "open");
    nobodys["tenant"] = Value::Null;
    let mut broken = lead_document("lead-4", "open");
    broken["events"] = json!({});
    let good = lead_document("lead-5", "open");
    for document in [&taken, &unknown, &nobodys, &broken, &good] {
        fixture.put_legacy(Table::RSLead, document).await;
    }
    let before = untracked(fixture, Table::RSLead, 10).await;
    let first = adopted(fixture, &CURRENT).await;
    assert_eq!((first.rows, first.adopted, first.refusals), (5, 1, 4));
    let reasons: Vec<&str> = first.refused.iter().map(|one| one.why.as_str()).collect();
    for reason in [
        "that Foldback keeps",
        "no tenant \"initech\"",
        "names no tenant",
        "no row of RSLead",
    ] {
        let told = reasons.iter().any(|why| why.contains(reason));
        assert!(told, "{reason}: {reasons:?}");
    }
    let left = untracked(fixture, Table::RSLead, 10).await;
    let same = left.iter().all(|row| before.contains(row));
    assert!(left.len() == 4 && same, "{left:?}");
    // The row that names no tenant is somebody's after all.
    let adopt = Adopt {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
    };
    let second = adopt
        .run(&CURRENT, Some(&"globex".into()), |_| {}, |_| {})
        .await;
    let second = second.expect("adopt");
    assert_eq!((second.rows, second.adopted, second.refusals), (4, 1, 3));
    let stored = stored(fixture, &lead_key(&group("globex", "lead-3"))).await;
    assert!(stored.row.body().contains(r#""tenant":"globex""#));
    assert_eq!(replayed(fixture, Mode::Report).await, []);
}

async fn a_history_is_not_adopted(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    let lead = lead_document("lead-1", "open");
    fixture.put_legacy(Table::RSLead, &lead).await;
    let adopted = adopted(fixture, &Table::ALL).await;
    assert_eq!(
        (adopted.adopted, adopted.refusals),
        (1, 2),
        "the rest goes on"
    );
    let why = |table: Table| {
        let refused = adopted.refused.iter().find(|one| one.table == table);
        refused.map(|one| one.why.as_str()).expect("refused")
    };
    assert!(why(Table::RSAppointmentChanges).contains("history begins"));
    assert!(why(Table::RSTenantDailyConversions).contains("no events of their own"));
}

async fn many_rows_go_by_pages(fixture: &mut impl LegacyFixture<Ports: AdoptionPorts>) {
    const LEADS: u64 = 300;
    for place in 0..LEADS {
        let lead = format!("lead-{place}");
        let document = lead_document(&lead, "open");
        fixture.put_legacy(Table::RSLead, &document).await;
        if place % 50 == 0 {
            let document = appointment_document(&lead, "meeting", "started");
            fixture.put_legacy(Table::RSAppointment, &document).await;
        }
        if place % 7 == 0 {
            let mut broken = lead_document(&format!("broken-{place}"), "open");
            broken["events"] = json!("many");
            fixture.put_legacy(Table::RSLead, &broken).await;
        }
    }
    let broken = LEADS.div_ceil(7);
    let adopt = Adopt {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
    };
    let mut steps = Vec::new();
    let run = adopt.run(&CURRENT, None, |_| {}, |sum| steps.push(sum.adopted));
    let sum = run.await.expect("adopt");
    assert_eq!((sum.rows, sum.adopted), (LEADS + broken + 6, LEADS + 6));
    assert_eq!((sum.refusals, sum.conflicts), (broken, 0));
    assert!(steps.len() > 2 && steps.is_sorted(), "{steps:?}");
    assert_eq!(replayed(fixture, Mode::Report).await, []);
    assert_eq!(
        untracked(fixture, Table::RSLead, 100).await.len() as u64,
        broken
    );
}
