//! All ports over one `SQLite` file, for one machine.
//!
//! One process writes at a time and holds the data directory's lock; any number may read beside it.
//! Every call is one transaction, or part of the [unit of work](Embedded::begin) around it, which is
//! how the host commits a whole batch with one sync ("group commit"). `SQLite` runs in WAL mode with
//! `synchronous = FULL`: what a commit wrote survives a killed process and a power cut.

mod additions;
mod audit;
mod check;
mod check_tables;
pub(super) mod codec;
mod conversions;
mod dead_letters;
mod durable;
mod explain;
mod export;
mod failure;
mod groups;
mod hierarchies;
mod images;
mod indexes;
mod inspect;
mod journal;
mod locks;
mod look;
mod query;
mod queue;
mod rejects;
mod reports;
mod schema;
mod settings;
mod settings_since;
mod suffix;
mod tables;
mod write;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::model::{Group, Timestamp};
use crate::ports::{Error, ErrorKind, Message};

use durable::Durable;
use failure::{Failure, failed, of_file};
use query::Database;

/// The name of the database file in a data directory.
pub const FILE_NAME: &str = "foldback.db";
/// How long who writes beside the owner waits for a gap between its units of work, which may be small.
const BESIDE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
const LOCK_NAME: &str = "foldback.lock";

/// Limits of the queue, as SQS has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// How long a received message stays hidden, in milliseconds.
    pub visibility_ms: i64,
    /// After so many receives a message goes to the dead-letter queue.
    pub receives_max: u32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            visibility_ms: 30_000,
            receives_max: 5,
        }
    }
}

/// The store.
#[derive(Debug)]
pub struct Embedded {
    inner: Mutex<Inner>,
    limits: QueueLimits,
    directory: PathBuf,
    /// Held as long as the store may write.
    _lock: Option<File>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    /// Whether a unit of work is open.
    in_unit: bool,
    /// Messages that the open unit of work sent, by their numbers: it need not read them again to receive them.
    sent: BTreeMap<i64, Message>,
    /// Numbers of groups seen lately.
    known_groups: BTreeMap<Group, i64>,
    /// What stands in segments of the journal that were looked at.
    seen_segments: journal::SeenSegments,
    /// When expired deduplication ids are forgotten again.
    forget_from: Timestamp,
    /// When old locks are forgotten again.
    forget_locks_from: Timestamp,
    /// How far the journal is durable, beside the file; only its owner says so.
    durable: Option<Durable>,
}

impl Embedded {
    /// Opens, and where needed makes, the store of a data directory for writing. A file of an older
    /// format is brought to the present one.
    ///
    /// Messages that a dead owner had received become visible again, and that receive is given back:
    /// how often a process was killed says nothing about its messages.
    ///
    /// # Errors
    /// Another process writes there, the directory cannot be used, or the file is no store of a
    /// format that this version knows.
    pub fn open(directory: &Path, limits: QueueLimits) -> Result<Self, Error> {
        let doing = || format!("open the store in {}", directory.display());
        std::fs::create_dir_all(directory).map_err(of_file(doing()))?;
        let lock = take_lock(directory)?;
        let connection =
            Connection::open(directory.join(FILE_NAME)).map_err(|error| failed(&doing())(error))?;
        schema::prepare(&connection, directory)?;
        let durable = Durable::open(directory)?;
        let store = Self::with(connection, limits, directory, Some(lock));
        store.lock().durable = Some(durable);
        store.unit(|inner| inner.database.prepare(&queue::GIVE_BACK)?.execute([]))?;
        Ok(store)
    }

    /// Opens the store of a data directory for reading; another process may write meanwhile.
    ///
    /// # Errors
    /// There is no store, or it is of a format that this version does not know.
    pub fn open_to_read(directory: &Path) -> Result<Self, Error> {
        let doing = format!("read the store in {}", directory.display());
        if !directory.join(FILE_NAME).exists() {
            return Err(schema::none(doing));
        }
        let connection = connect_to_read(directory).map_err(failed(&doing))?;
        schema::check(&connection, directory)?;
        Ok(Self::with(
            connection,
            QueueLimits::default(),
            directory,
            None,
        ))
    }

    /// Opens the store of a data directory to put settings in force there, while another process writes.
    /// Nothing else may be written through it: that needs the directory's lock.
    ///
    /// # Errors
    /// There is no store, or it is not of this version's format.
    pub fn open_beside(directory: &Path) -> Result<Self, Error> {
        let doing = format!("put settings into the store in {}", directory.display());
        let connection = connect_beside(directory).map_err(failed(&doing))?;
        let format = schema::check(&connection, directory)?;
        if format != schema::FORMAT {
            let older = "another version of foldback writes there; put them with that one";
            return Err(Error::new(ErrorKind::Reject, doing, older));
        }
        let limits = QueueLimits::default();
        Ok(Self::with(connection, limits, directory, None))
    }

    fn with(
        connection: Connection,
        limits: QueueLimits,
        directory: &Path,
        lock: Option<File>,
    ) -> Self {
        let inner = Inner {
            database: Database::new(connection),
            in_unit: false,
            sent: BTreeMap::new(),
            known_groups: BTreeMap::new(),
            seen_segments: journal::SeenSegments::default(),
            forget_from: Timestamp::MIN,
            forget_locks_from: Timestamp::MIN,
            durable: None,
        };
        let directory = directory.to_path_buf();
        Self {
            inner: Mutex::new(inner),
            limits,
            directory,
            _lock: lock,
        }
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Begins a unit of work: the calls until [`Embedded::commit`] take effect together, then.
    ///
    /// # Errors
    /// Another connection is writing, or a unit is open already.
    pub fn begin(&self) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.begin().map_err(|error| self.locate(error))?;
        inner.in_unit = true;
        Ok(())
    }

    /// Ends the unit of work; when this returns, its effects are durable.
    ///
    /// # Errors
    /// The disk did not take it; nothing of the unit took effect.
    pub fn commit(&self) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.in_unit = false;
        inner.commit().map_err(|error| self.locate(error))
    }

    /// Gives the unit of work up; nothing of it takes effect.
    pub fn roll_back(&self) {
        let mut inner = self.lock();
        inner.in_unit = false;
        inner.roll_back();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in the open unit of work, or in a transaction of its own.
    fn unit<T, E: Into<Failure>>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T, E>,
    ) -> Result<T, Error> {
        let mut inner = self.lock();
        let locate = |error: E| self.locate(error.into());
        if inner.in_unit {
            return work(&mut inner).map_err(locate);
        }
        inner.begin().map_err(|error| self.locate(error))?;
        match work(&mut inner) {
            Ok(value) => match inner.commit() {
                Ok(()) => Ok(value),
                Err(error) => Err(self.locate(error)),
            },
            Err(error) => {
                inner.roll_back();
                Err(locate(error))
            }
        }
    }

    /// Runs `work`, which only reads.
    fn look<T, E: Into<Failure>>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T, E>,
    ) -> Result<T, Error> {
        work(&mut self.lock()).map_err(|error| self.locate(error.into()))
    }

    /// The failure, saying which data directory it is about.
    fn locate(&self, failure: Failure) -> Error {
        failure.0.within(self.directory.display())
    }
}

impl Inner {
    fn begin(&self) -> Result<(), Failure> {
        Ok(self.database.begin().map_err(failed("begin a change"))?)
    }

    /// Makes a unit of work durable; where that fails, nothing of it took effect.
    fn commit(&mut self) -> Result<(), Failure> {
        self.sent.clear();
        match self.database.commit() {
            Ok(()) => {
                if let Some(durable) = &mut self.durable {
                    durable.tell();
                }
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(failed("commit a change")(error).into())
            }
        }
    }

    fn roll_back(&mut self) {
        self.sent.clear();
        self.known_groups.clear();
        if let Some(durable) = &mut self.durable {
            durable.take_back();
        }
        // Nothing to roll back is no failure here: SQLite may have done it already.
        drop(self.database.roll_back());
    }
}

/// Another connection to the file, which writes nothing.
fn connect_to_read(directory: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(FILE_NAME), flags)?;
    schema::tune_to_read(&connection)?;
    Ok(connection)
}

/// Another connection to the file, which writes between the units of work of the one that owns it.
fn connect_beside(directory: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(FILE_NAME), flags)?;
    schema::tune_to_read(&connection)?;
    connection.busy_timeout(BESIDE_TIMEOUT)?;
    Ok(connection)
}

/// Takes the lock that says who writes. It goes with the process, however that ends.
fn take_lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK_NAME);
    let doing = || format!("lock {}", path.display());
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(of_file(doing()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let busy = "another foldback process writes to this data directory; wait for it, or \
                        give --data another one";
            Err(Error::new(ErrorKind::Retry, doing(), busy))
        }
        Err(TryLockError::Error(error)) => Err(of_file(doing())(error)),
    }
}
