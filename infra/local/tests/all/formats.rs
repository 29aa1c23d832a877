//! Stored formats only grow: a store of every format that was ever written is kept and still reads.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::flow::{Addition, Change, FieldPath, How, Number, RowKey};
use shared::handlers::Table;
use shared::model::{ActionId, AuditRecord, EventHash, Group, Order, Stamps, Timestamp};
use shared::ports::Added::{Done, Held};
use shared::ports::{Added, LockKey, Locks, Reports, Tables};

use crate::support::{Foldback, lock};

/// The format that this version writes.
const PRESENT: u32 = 5;

fn path(format: u32) -> PathBuf {
    let name = format!("../../tests/fixtures/store-format-{format}.db.gz");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Unpacks the store of a format into a fresh data directory.
fn kept(format: u32) -> Foldback {
    let packed = fs::File::open(path(format)).expect("kept");
    let mut database = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut database)
        .expect("gzip");
    let foldback = Foldback::new();
    fs::create_dir(foldback.data()).expect("a directory");
    fs::write(foldback.data().join("foldback.db"), database).expect("written");
    foldback
}

/// The format of a store's file.
fn format(foldback: &Foldback) -> u32 {
    let sql = "PRAGMA user_version";
    let read = foldback.database().query_row(sql, [], |row| row.get(0));
    read.expect("a format")
}

/// A kept store holds the sample's first 400 lines, the later half taken in first, and a parked event.
fn check(foldback: &Foldback, leads: usize) {
    // Those that wrote these formats knew no days to which conversions are stated.
    let owed = foldback.ends(&["replay", "--json"]).stdout;
    let is_owed =
        |line: &str| line.starts_with(r#"{"class":"lost","table":"RSTenantDailyConversions""#);
    assert!(owed.lines().all(is_owed), "{owed}");
    foldback.ends(&["replay", "--mode", "update"]);
    let replay = foldback.ends(&["replay"]);
    assert!(
        replay.stderr.contains("all equal; 1 events are parked"),
        "{}",
        replay.stderr
    );
    let exported = foldback.ok(&["export", "RSLead"]);
    assert_eq!(exported.lines().count(), leads);
    let shown = foldback.ok(&["show", "lead-1001", "--tenant", "acme"]);
    assert!(shown.contains("lead.created"), "{shown}");
    assert_eq!(
        foldback.ends(&["rejects", "--json"]).stdout.lines().count(),
        2
    );
    assert!(
        foldback
            .ends(&["dlq", "list"])
            .stdout
            .contains("is not a decimal number")
    );
}

fn goes_on(foldback: &Foldback) {
    let again = foldback.ends(&["run"]).stdout;
    assert!(again.contains("all equal"), "{again}");
}

#[test]
fn format_1_reads_and_goes_on() {
    let foldback = kept(1);
    check(&foldback, 115);
    goes_on(&foldback);
}

/// Reading changes nothing, whatever is asked; the first process that writes brings the file up.
#[test]
fn format_1_is_read_as_it_is_and_brought_to_the_present_one() {
    let foldback = kept(1);
    let tables = foldback.tables();
    let writer = lock(&foldback);
    let report = foldback.ok(&["report", "--json"]);
    assert!(report.contains("no replay that mends was kept"), "{report}");
    assert_eq!(format(&foldback), 1);
    drop(writer);
    foldback.ok(&["report"]);
    assert_eq!(format(&foldback), PRESENT);
    assert_eq!(foldback.tables(), tables);
    check(&foldback, 115);
    assert_eq!(foldback.ends(&["replay", "--mode", "update"]).status, 1);
    let report = foldback.ok(&["report", "--json"]);
    assert!(report.contains("lastRun"), "{report}");
    assert_eq!(add(&foldback), [Done, Done]);
    assert_eq!(add(&foldback), [Held, Held]);
    assert_eq!(locked(&foldback, "another"), [Some(1), Some(1)]);
    goes_on(&foldback);
}

/// Whatever indexes were declared since then.
#[test]
fn format_1_gets_the_indexes_that_it_lacks() {
    let foldback = kept(1);
    foldback.ok(&["indexes"]);
    let lacking = foldback.database().execute_batch("DROP INDEX rows_by_id");
    lacking.expect("dropped");
    assert_eq!(foldback.ends(&["indexes"]).status, 1);
    assert_eq!(format(&foldback), 1);
    foldback.ok(&["report"]);
    assert_eq!(format(&foldback), PRESENT);
    let told = foldback.ok(&["indexes"]);
    assert!(told.contains("Reports::runs"), "{told}");
}

#[test]
fn format_2_reads_and_goes_on() {
    let foldback = kept(2);
    assert_eq!(format(&foldback), 2);
    check(&foldback, 116);
    check_reports_and_additions(&foldback);
    goes_on(&foldback);
}

#[test]
fn format_2_is_read_as_it_is_and_brought_to_the_present_one() {
    let foldback = kept(2);
    let tables = foldback.tables();
    foldback.ok(&["indexes"]);
    assert_eq!(format(&foldback), 2);
    assert_eq!(locked(&foldback, "another"), [Some(1), Some(1)]);
    assert_eq!(format(&foldback), PRESENT);
    let told = foldback.ok(&["indexes"]);
    assert!(told.contains("Locks::acquire"), "{told}");
    assert_eq!(foldback.tables(), tables);
    check(&foldback, 116);
    check_reports_and_additions(&foldback);
    goes_on(&foldback);
}

/// This one also holds a lock that is held, and one that was released.
#[test]
fn format_3_reads_and_goes_on() {
    let foldback = kept(3);
    assert_eq!(format(&foldback), 3);
    check(&foldback, 116);
    check_reports_and_additions(&foldback);
    assert_eq!(locked(&foldback, "another"), [None, Some(2)]);
    goes_on(&foldback);
}

/// Of its segments nobody knows the greatest event time; a long group is corrected all the same.
#[test]
fn format_3_is_read_as_it_is_and_brought_to_the_present_one() {
    let foldback = kept(3);
    let tables = foldback.tables();
    foldback.ok(&["indexes"]);
    assert_eq!(format(&foldback), 3);
    assert_eq!(locked(&foldback, "another"), [None, Some(2)]);
    assert_eq!(format(&foldback), PRESENT);
    let told = foldback.ok(&["indexes"]);
    assert!(told.contains("Journal::entries_since"), "{told}");
    assert!(told.contains("Tables::images"), "{told}");
    assert_eq!(foldback.tables(), tables);
    check(&foldback, 116);
    check_reports_and_additions(&foldback);
    for part in long_lead(LONG) {
        take_in(&foldback, &part);
    }
    assert!(images(&foldback) > 0);
    late_for_the_long_lead(&foldback);
    goes_on(&foldback);
}

/// This one also holds a lead of many events, and images of what its rows were.
#[test]
fn format_4_reads_and_goes_on() {
    let foldback = kept(4);
    assert_eq!(format(&foldback), 4);
    check(&foldback, 117);
    check_reports_and_additions(&foldback);
    assert!(images(&foldback) > 0);
    late_for_the_long_lead(&foldback);
    goes_on(&foldback);
}

/// This one also holds an amendment of an event of that lead and the record of something that a person did,
/// and tells since when settings are the same.
#[test]
fn format_5_reads_and_goes_on() {
    let foldback = kept(5);
    assert_eq!(format(&foldback), 5);
    check(&foldback, 117);
    check_reports_and_additions(&foldback);
    assert!(images(&foldback) > 0);
    let store = Embedded::open_to_read(&foldback.data()).expect("open");
    let settings = store.settings().expect("settings").expect("some");
    assert_eq!(settings.since.first(), Some(&1));
    drop(store);
    assert_eq!(audited(&foldback), [record()]);
    late_for_the_long_lead(&foldback);
    goes_on(&foldback);
}

#[test]
fn format_4_is_read_as_it_is_and_brought_to_the_present_one() {
    let foldback = kept(4);
    let tables = foldback.tables();
    foldback.ok(&["indexes"]);
    assert_eq!(audited(&foldback), Vec::new());
    assert_eq!(format(&foldback), 4);
    assert_eq!(locked(&foldback, "another"), [None, Some(2)]);
    assert_eq!(format(&foldback), PRESENT);
    let told = foldback.ok(&["indexes"]);
    assert!(told.contains("Embedded::audited"), "{told}");
    assert_eq!(foldback.tables(), tables);
    assert_eq!(audited(&foldback), Vec::new());
    note(&foldback);
    assert_eq!(audited(&foldback), [record()]);
    check(&foldback, 117);
    goes_on(&foldback);
}

fn record() -> AuditRecord {
    AuditRecord {
        at: Timestamp::from_ms(0),
        by: "ops".into(),
        tenant: Some("acme".into()),
        deed: "redrive".into(),
        about: "dead letters 1".to_owned(),
        count: 1,
    }
}

fn note(foldback: &Foldback) {
    let store = Embedded::open(&foldback.data(), QueueLimits::default()).expect("open");
    store.note(&record()).expect("noted");
}

fn audited(foldback: &Foldback) -> Vec<AuditRecord> {
    let store = Embedded::open_to_read(&foldback.data()).expect("open");
    store.audited(10).expect("records")
}

/// How many events the long lead has.
const LONG: i64 = 300;

/// The events of a lead in two parts; the second one finds it long.
fn long_lead(events: i64) -> [Vec<String>; 2] {
    let lines: Vec<String> = (0..events).map(|n| line(60 * n, &n.to_string())).collect();
    let (first, second) = lines.split_at(lines.len() - 20);
    [first.to_vec(), second.to_vec()]
}

/// An event of the long lead, so many seconds in.
fn line(second: i64, id: &str) -> String {
    let time = Timestamp::from_ms(1_772_355_600_000 + 1_000 * second);
    let stage = if second % 120 == 0 { "open" } else { "won" };
    format!(
        r#"{{"specversion":"1.0","id":"long-{id}","source":"//crm.acme.example","type":"crm.lead.stage_changed.v1","time":"{time}","tenant":"acme","partitionkey":"lead-long","data":{{"stage":{{"to":"{stage}"}}}}}}"#
    )
}

fn take_in(foldback: &Foldback, lines: &[String]) {
    foldback.file("long.jsonl", &lines.join("\n"));
    foldback.ends(&["run", "long.jsonl"]);
}

fn images(foldback: &Foldback) -> u32 {
    let sql = "SELECT count(*) FROM images";
    let read = foldback.database().query_row(sql, [], |row| row.get(0));
    read.expect("a count")
}

/// It is folded in, from images or from all of the journal: a replay finds nothing.
fn late_for_the_long_lead(foldback: &Foldback) {
    take_in(foldback, &[line(60 * LONG - 330, "late")]);
    let replay = foldback.ends(&["replay", "--id", "lead-long", "--tenant", "acme"]);
    assert_eq!(replay.status, 0, "{}", replay.stderr);
    let shown = foldback.ok(&["show", "lead-long", "--tenant", "acme"]);
    assert!(shown.contains("long-late"), "{shown}");
    assert!(images(foldback) > 0);
}

/// A kept store since format 2 also holds a run of replay that mended a lead, a report, and additions to
/// a lead of a tenant that the settings do not know.
fn check_reports_and_additions(foldback: &Foldback) {
    let store = Embedded::open_to_read(&foldback.data()).expect("open");
    let runs = block_on(store.runs(10)).expect("runs");
    let (number, run) = runs.last().expect("a run");
    assert_eq!((run.findings, run.mended, run.faults), (1, 1, 1));
    let found = block_on(store.findings(*number, 0, 10)).expect("findings");
    let (_, found) = found.first().expect("a finding");
    assert_eq!(found.id, "lead-1001");
    let changed = found.changes.first().expect("a change");
    assert_eq!(changed.field, "stage");
    let reports = block_on(store.reports(10)).expect("reports");
    let report = reports.first().expect("a report");
    assert_eq!(report.last_run.as_ref(), Some(run));
    assert_eq!(
        (report.rows.get("RSLead"), report.queue.dead),
        (Some(&115), 1)
    );
    drop(store);
    let added = foldback.ok(&["export", "RSLead", "--tenant", "kept"]);
    let expect = r#"{"amount":0.3,"events":2,"leadId":"lead-1","tenant":"kept"}"#;
    assert_eq!(added.trim(), expect);
    assert_eq!(add(foldback), [Held, Held]);
    assert_eq!(
        foldback.ok(&["export", "RSLead", "--tenant", "kept"]),
        added
    );
}

#[test]
fn a_format_that_is_yet_to_come_is_refused() {
    let foldback = kept(PRESENT);
    let newer = foldback.database().execute_batch("PRAGMA user_version = 6");
    newer.expect("written");
    for command in ["replay", "run", "report"] {
        let ended = foldback.ends(&[command]);
        assert_eq!(ended.status, 2, "{command}");
        let told = "it is format 6; this version reads formats 1 to 5";
        assert!(ended.stderr.contains(told), "{command}: {}", ended.stderr);
    }
    assert_eq!(format(&foldback), 6);
}

/// Acquires two locks for a moment long past, and releases the second. Fences are those of leases that were
/// got.
fn locked(foldback: &Foldback, owner: &str) -> [Option<u64>; 2] {
    let store = Embedded::open(&foldback.data(), QueueLimits::default()).expect("open");
    let past = Timestamp::from_ms(0);
    let lease = |name: &str| {
        let key = LockKey {
            tenant: "kept".into(),
            name: name.into(),
        };
        block_on(store.acquire(&key, owner, 1_000, past)).expect("acquire")
    };
    let leases = ["lead-1", "lead-2"].map(lease);
    if let [_, Some(second)] = &leases {
        block_on(store.release(second)).expect("release");
    }
    leases.map(|lease| lease.map(|lease| lease.fence))
}

/// Two additions to one lead.
fn add(foldback: &Foldback) -> Vec<Added> {
    let group = Group {
        tenant: "kept".into(),
        key: "lead-1".into(),
    };
    let key = RowKey {
        id: group.key.clone(),
        group,
        table: Table::RSLead,
    };
    let addition = |id: &str, amount: &str| {
        let event = EventHash::of("//crm", id);
        let change = |field: &str, by: Number| Change {
            field: FieldPath::new([field]).expect("a path"),
            how: How::Increase(by),
        };
        let amount = Number::Amount(shared::model::Amount::parse(amount).expect("an amount"));
        Addition {
            action: ActionId::of(event, key.table, &key.id),
            event,
            order: Order {
                time: Timestamp::from_ms(0),
                below_ms: 0,
                sequence: None,
                source: "//crm".into(),
                id: id.into(),
            },
            start: key.table.new_row(&key.group, &key.id),
            changes: vec![change("events", Number::Count(1)), change("amount", amount)],
            settings: 1,
            stamps: Stamps::default(),
            key: key.clone(),
        }
    };
    let additions = [addition("a", "0.1"), addition("b", "0.2")];
    let store = Embedded::open(&foldback.data(), QueueLimits::default()).expect("open");
    block_on(store.add(&additions, Timestamp::from_ms(0))).expect("add")
}

/// For a format that is new and not out yet; a store that was kept once stays as it is.
#[test]
#[ignore = "writes the kept store of the present format"]
fn make() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/");
    let feed = fs::File::open(format!("{sample}events.jsonl.gz")).expect("the sample");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(feed)
        .read_to_string(&mut text)
        .expect("gzip");
    let lines: Vec<&str> = text.lines().take(400).collect();
    let bad = r#"{"specversion":"1.0","id":"bad-amount","source":"//crm.acme.example","type":"crm.lead.created.v1","time":"2026-01-01T09:00:00Z","tenant":"acme","partitionkey":"lead-000001","data":{"deal":{"value":"1x"}}}"#;
    let foldback = Foldback::new();
    for part in [&lines[200..], &lines[..200], &[bad]] {
        foldback.file("feed.jsonl", &part.join("\n"));
        let settings = format!("{sample}settings.toml");
        // Rejects tell the file as it was named.
        foldback.ends(&["run", "feed.jsonl", "--settings", &settings]);
    }
    let spoil = "UPDATE rows SET body = replace(body, '\"stage\":\"', '\"stage\":\"un')
                 WHERE tbl = 0 AND id = 'lead-1001'
                     AND gid IN (SELECT gid FROM groups WHERE tenant = 'acme')";
    assert_eq!(foldback.database().execute(spoil, []), Ok(1));
    foldback.ends(&["replay", "--mode", "update"]);
    foldback.ok(&["report"]);
    assert_eq!(add(&foldback), [Done, Done]);
    assert_eq!(locked(&foldback, "one"), [Some(1), Some(1)]);
    for part in long_lead(LONG) {
        take_in(&foldback, &part);
    }
    let first = line(60, "1").replace("\"source\"", "\"revision\":1,\"source\"");
    take_in(&foldback, &[first.replace("won", "amended")]);
    assert!(images(&foldback) > 0);
    note(&foldback);
    let database = fs::read(foldback.data().join("foldback.db")).expect("the store");
    let file = fs::File::create(path(format(&foldback))).expect("a file");
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    packed.write_all(&database).expect("written");
    packed.finish().expect("written");
}
