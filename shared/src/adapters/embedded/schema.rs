use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::ports::{Error, ErrorKind};

use super::{failed, indexes};

/// The format of the file. A later version reads older ones; an older one refuses later ones.
const FORMAT: i32 = 1;
/// Marks the file as ours for `file(1)` and for us: "Fold".
const APPLICATION_ID: i32 = 0x466f_6c64;

/// Pages in the write-ahead log before it is moved into the file: 64 MiB. A page that many batches
/// touch is then moved once.
const CHECKPOINT_PAGES: u32 = 16_384;
const CACHE_KIB: i32 = 65_536;
const MAP_BYTES: i64 = 1 << 30;

/// The tables. Their indexes are declared beside the queries that need them.
const TABLES: &str = "
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

/// Sets a connection up that writes, and makes the tables in a new file.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    tune(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if objects == 0 {
        let indexes: String = indexes::declared()
            .map(|index| index.sql() + "; ")
            .collect();
        connection.execute_batch(&format!(
            "BEGIN; {TABLES} {indexes} PRAGMA application_id = {APPLICATION_ID}; \
             PRAGMA user_version = {FORMAT}; COMMIT;"
        ))?;
    }
    Ok(())
}

/// Refuses a file that is not ours or is newer than this code.
pub(super) fn check(connection: &Connection, directory: &Path) -> Result<(), Error> {
    let doing = format!("read the format of the store in {}", directory.display());
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id").map_err(failed(&doing))?;
    let format = number("PRAGMA user_version").map_err(failed(&doing))?;
    if application != APPLICATION_ID {
        return Err(Error::new(
            ErrorKind::Reject,
            doing,
            "the file is not a Foldback store",
        ));
    }
    if format != FORMAT {
        let detail = format!("it is format {format}; this version reads format {FORMAT}");
        return Err(Error::new(ErrorKind::Reject, doing, detail));
    }
    Ok(())
}
