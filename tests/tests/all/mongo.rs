//! The contract suites over rows in MongoDB, and what only that store promises.
//!
//! Tested against SecantusDB, a server of the same wire protocol.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::at;
use foldback_tests::servers::{Durability, Secantus};
use shared::adapters::Joined;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::{Mongo, Retention};
use shared::model::Timestamp;
use tempfile::TempDir;

/// One server for all tests of this binary; a database for each.
pub(crate) fn server() -> &'static Secantus {
    static SERVER: OnceLock<Secantus> = OnceLock::new();
    SERVER.get_or_init(|| Secantus::start(Durability::Relaxed))
}

/// The name of a database that no other test uses.
pub(crate) fn fresh_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test{number}")
}

/// A database of its own.
pub(crate) fn fresh_uri() -> String {
    server().uri(&fresh_database())
}

/// Rows in MongoDB.
pub(crate) struct Rows {
    store: Mongo,
    uri: String,
    now: Timestamp,
}

pub(crate) async fn connect(uri: &str) -> Mongo {
    let connected = Mongo::connect(uri, Retention::default()).await;
    connected.expect("connect")
}

impl Fixture for Rows {
    type Ports = Mongo;

    const VISIBILITY_MS: i64 = 30_000;
    const RECEIVES_MAX: u32 = 3;

    async fn fresh() -> Self {
        let uri = fresh_uri();
        Self {
            store: connect(&uri).await,
            uri,
            now: at(0),
        }
    }

    fn ports(&self) -> &Mongo {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    async fn reopen(&mut self) {
        self.store = connect(&self.uri).await;
    }

    fn run(check: impl Future<Output = ()>) {
        run(check);
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Events and messages on this machine, rows in MongoDB.
pub(crate) struct Apart {
    ports: Joined<'static, Embedded, Mongo>,
    uri: String,
    now: Timestamp,
    _directory: TempDir,
}

impl Fixture for Apart {
    type Ports = Joined<'static, Embedded, Mongo>;

    const VISIBILITY_MS: i64 = 30_000;
    const RECEIVES_MAX: u32 = 3;
    const DIES_IN_EVERY_WAY: bool = false;

    async fn fresh() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = QueueLimits {
            visibility_ms: Self::VISIBILITY_MS,
            receives_max: Self::RECEIVES_MAX,
        };
        let events = Embedded::open(directory.path(), limits).expect("open");
        let uri = fresh_uri();
        let tables = connect(&uri).await;
        // They live as long as the test does.
        let ports = Joined {
            events: Box::leak(Box::new(events)),
            tables: Box::leak(Box::new(tables)),
        };
        Self {
            ports,
            uri,
            now: at(0),
            _directory: directory,
        }
    }

    fn ports(&self) -> &Self::Ports {
        &self.ports
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    async fn reopen(&mut self) {
        // The embedded store is reopened in suites of its own.
        self.ports.tables = Box::leak(Box::new(connect(&self.uri).await));
    }

    fn run(check: impl Future<Output = ()>) {
        run(check);
    }
}

mod apart {
    foldback_tests::apart_suite!(super::Apart);
}

mod across {
    foldback_tests::across_suite!(super::Apart);
}

mod amended {
    foldback_tests::amended_suite!(super::Apart);
}

mod unlinked {
    foldback_tests::unlinked_suite!(super::Apart);
}

mod locked {
    foldback_tests::locked_suite!(super::Apart);
}

mod together {
    foldback_tests::together_suite!(super::Apart);
}

mod tables {
    foldback_tests::tables_suite!(super::Rows);
}

mod tables_reading {
    foldback_tests::tables_reading_suite!(super::Rows);
}

mod images {
    foldback_tests::images_suite!(super::Rows);
}

mod tables_history {
    foldback_tests::tables_history_suite!(super::Rows);
}

mod gone {
    foldback_tests::gone_suite!(super::Rows);
}

mod additions {
    foldback_tests::additions_suite!(super::Rows);
}

mod additions_and_commits {
    foldback_tests::additions_and_commits_suite!(super::Rows);
}

mod conversions {
    foldback_tests::conversions_suite!(super::Rows);
}

mod hierarchies {
    foldback_tests::hierarchies_suite!(super::Rows);
}

mod indexes {
    foldback_tests::indexes_suite!(super::Rows);
}

mod reports {
    foldback_tests::reports_suite!(super::Rows);
}
