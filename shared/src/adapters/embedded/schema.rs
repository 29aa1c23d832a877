use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::ports::{Error, ErrorKind};

use super::{failed, indexes};

/// The format of the file. A later version reads older ones; an older one refuses later ones.
pub(super) const FORMAT: i32 = 5;
/// Marks the file as ours for `file(1)` and for us: "Fold".
const APPLICATION_ID: i32 = 0x466f_6c64;

/// Pages in the write-ahead log before it is moved into the file: 64 MiB. A page that many batches
/// touch is then moved once.
const CHECKPOINT_PAGES: u32 = 16_384;
const CACHE_KIB: i32 = 65_536;
const MAP_BYTES: i64 = 1 << 30;

/// The tables of a file of format 1. Indexes are declared beside the queries that need them.
const TABLES_1: &str = "
    CREATE TABLE groups (
        gid INTEGER PRIMARY KEY, tenant TEXT NOT NULL, key TEXT NOT NULL, hash INTEGER NOT NULL,
        UNIQUE (tenant, key)
    ) STRICT;
    -- Segments: the events of one group that were appended together.
    CREATE TABLE journal (
        position INTEGER PRIMARY KEY, gid INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
    -- Where the event of an identity stands. The key is the first free number from its hash on.
    CREATE TABLE identities (hash INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;
    CREATE TABLE messages (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, gid INTEGER NOT NULL,
        deduplication BLOB NOT NULL, sent INTEGER NOT NULL, receives INTEGER NOT NULL,
        hidden_until INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE deduplication (id BLOB PRIMARY KEY, sent INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT, gid INTEGER NOT NULL, deduplication BLOB NOT NULL,
        receives INTEGER NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE rows (
        gid INTEGER NOT NULL, tbl INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
        body TEXT NOT NULL, trail BLOB NOT NULL,
        PRIMARY KEY (gid, tbl, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE history (
        gid INTEGER NOT NULL, tbl INTEGER NOT NULL, id TEXT NOT NULL, n INTEGER NOT NULL,
        made INTEGER NOT NULL, valid_from INTEGER NOT NULL, valid_to INTEGER,
        recorded_from INTEGER NOT NULL, recorded_to INTEGER,
        caused_by TEXT NOT NULL, fields TEXT NOT NULL,
        PRIMARY KEY (gid, tbl, id, n, recorded_from, made)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE conversions (
        tenant TEXT NOT NULL, name TEXT NOT NULL, last_at INTEGER NOT NULL, lead TEXT NOT NULL,
        gid INTEGER NOT NULL,
        PRIMARY KEY (tenant, name, last_at, lead)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hierarchies (
        id INTEGER PRIMARY KEY, gid INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE rejects (
        id INTEGER PRIMARY KEY, mark BLOB NOT NULL UNIQUE, at INTEGER NOT NULL,
        input TEXT NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
    CREATE TABLE settings (
        version INTEGER PRIMARY KEY, at INTEGER NOT NULL, format TEXT NOT NULL, text TEXT NOT NULL
    ) STRICT;
";
/// What format 2 adds.
const TABLES_2: &str = "
    -- The actions that additions took in, for good.
    CREATE TABLE additions (
        gid INTEGER NOT NULL, action BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (gid, action)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE replay_runs (run INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
    CREATE TABLE findings (
        run INTEGER NOT NULL, place INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reports (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
";
/// What format 3 adds.
const TABLES_3: &str = "
    -- Locks that were acquired. One that was released has no holder and keeps its fence.
    CREATE TABLE locks (
        tenant TEXT NOT NULL, name TEXT NOT NULL, fence INTEGER NOT NULL, holder TEXT,
        held_until INTEGER NOT NULL, forget_from INTEGER NOT NULL,
        PRIMARY KEY (tenant, name)
    ) STRICT, WITHOUT ROWID;
";
/// What format 4 adds. Of a segment that was written before nobody knows the greatest event time: it is read
/// whatever is asked for.
const TABLES_4: &str = "
    ALTER TABLE journal ADD COLUMN until INTEGER NOT NULL DEFAULT 9223372036854775807;
    -- What rows of long groups were before some of their events.
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT, gid INTEGER NOT NULL, until INTEGER NOT NULL,
        events INTEGER NOT NULL, touched INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
";
/// What format 5 adds. Its trails may also tell how far amended events reach.
const TABLES_5: &str = "
    -- Since which version each tenant's settings are the same, in the order of the tenants' ids.
    CREATE TABLE settings_since (version INTEGER PRIMARY KEY, since BLOB NOT NULL) STRICT;
    -- What people did.
    CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
";
/// The tables, by the format that first had them.
const TABLES: [(i32, &str); 5] = [
    (1, TABLES_1),
    (2, TABLES_2),
    (3, TABLES_3),
    (4, TABLES_4),
    (5, TABLES_5),
];

/// What every connection has in common.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Plans must not depend on bound values: statements would be prepared again for each.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Sets a connection up that only reads. Mapped pages are the system's to reclaim.
pub(super) fn tune_to_read(connection: &Connection) -> rusqlite::Result<()> {
    tune(connection)?;
    connection.pragma_update(None, "mmap_size", MAP_BYTES)
}

/// Sets a connection up that writes, makes tables and indexes in a new file, and adds to one of an older
/// format those that it lacks.
pub(super) fn prepare(connection: &Connection, directory: &Path) -> Result<(), Error> {
    let doing = format!("open the store in {}", directory.display());
    let objects = tune_to_write(connection).map_err(failed(&doing))?;
    let format = match objects {
        0 => 0,
        _some => check(connection, directory)?,
    };
    if format == FORMAT {
        return Ok(());
    }
    let missing: String = TABLES
        .into_iter()
        .filter_map(|(since, tables)| (since > format).then_some(tables))
        .collect();
    let indexes: String = indexes::declared(FORMAT)
        .map(|index| index.sql_where_missing() + "; ")
        .collect();
    connection
        .execute_batch(&format!(
            "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {missing} {indexes} \
             PRAGMA user_version = {FORMAT}; COMMIT;"
        ))
        .map_err(failed(&doing))
}

/// Sets a connection up that writes, and returns how many tables and indexes the file has.
fn tune_to_write(connection: &Connection) -> rusqlite::Result<i64> {
    tune(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

/// What `SQLite` finds wrong with the file's pages, indexes and columns; at most so many faults.
/// Source: <https://sqlite.org/pragma.html#pragma_integrity_check>.
pub(super) fn integrity(connection: &Connection, most: u32) -> rusqlite::Result<Vec<String>> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({most})"))?;
    let found = check.query_map([], |row| row.get::<_, String>(0))?;
    let mut faults = found.collect::<rusqlite::Result<Vec<_>>>()?;
    faults.retain(|fault| fault != "ok");
    Ok(faults)
}

/// Says that there is no store, or that whoever began to make it was stopped before it was one.
pub(super) fn none(doing: String) -> Error {
    Error::new(
        ErrorKind::Reject,
        doing,
        "there is none; `foldback run` makes one",
    )
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema";
    Ok(connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0)
}

/// The format of the file. Refuses one that is not ours or is newer than this code.
pub(super) fn check(connection: &Connection, directory: &Path) -> Result<i32, Error> {
    let doing = format!("read the format of the store in {}", directory.display());
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id").map_err(failed(&doing))?;
    let format = number("PRAGMA user_version").map_err(failed(&doing))?;
    if application == 0 && is_empty(connection).map_err(failed(&doing))? {
        return Err(none(doing));
    }
    if application != APPLICATION_ID {
        return Err(Error::new(
            ErrorKind::Reject,
            doing,
            "the file is not a Foldback store",
        ));
    }
    if !(1..=FORMAT).contains(&format) {
        let detail = format!("it is format {format}; this version reads formats 1 to {FORMAT}");
        return Err(Error::new(ErrorKind::Reject, doing, detail));
    }
    Ok(format)
}
