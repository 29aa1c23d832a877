//! The ways of handling the events.

use std::num::NonZeroUsize;
use std::sync::Arc;

use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::naive::{Naive, drop_database};
use shared::adapters::mongo::{Mongo, Retention};
use shared::adapters::{Joined, SystemClock};
use shared::handlers::Table;
use shared::model::Entry;
use shared::ports::{Clock, Error, Indexes, Journal, Queue, Received};
use shared::service;

use crate::events::Events;
use crate::figures::{Call, Figures, cpu_time};
use crate::server::Server;
use crate::timed::{Timed, now};

/// Every table's rows in their canonical form.
type Exports = Vec<Vec<String>>;

/// What all passes share.
pub(crate) struct Bench<'a> {
    server: &'a Server,
    events: &'a Events,
    /// The tables that the events of a pass must lead to.
    expected: Option<Exports>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(server: &'a Server, events: &'a Events) -> Self {
        Self {
            server,
            events,
            expected: None,
        }
    }

    /// The first so many events, or as many as there are.
    pub(crate) fn first(&self, count: NonZeroUsize) -> &'a [Arc<Entry>] {
        let all = &self.events.entries;
        all.get(..count.get()).unwrap_or(all)
    }

    /// Which server, and which version it says it is.
    pub(crate) async fn describe_server(&self) -> String {
        let uri = self.server.fresh_uri();
        let naive = Naive::connect(&uri).await.expect("connect");
        let version = naive.server_version().await.expect("a version");
        drop_database(&uri).await.expect("drop");
        format!("against {}; it says it is {version}", self.server.name())
    }

    /// Each event a transaction, as [`Naive`] has it.
    pub(crate) async fn by_hand(&mut self, entries: &[Arc<Entry>]) -> Figures {
        let uri = self.server.fresh_uri();
        let naive = Naive::connect(&uri).await.expect("connect");
        let mut figures = Figures::default();
        for entry in entries {
            let tenant = self.events.settings.tenant(&entry.group.tenant);
            let tenant = tenant.expect("a known tenant");
            let (requests, cpu, started) = (naive.requests(), cpu_time(), now());
            let handled = naive.handle(tenant, entry, SystemClock.now()).await;
            let elapsed = started.elapsed();
            handled.expect("handle an event");
            figures.add_cpu(cpu);
            figures.calls.push(Call {
                elapsed,
                requests: naive.requests() - requests,
                events: 1,
                rows: 0,
            });
        }
        let mut got = Vec::new();
        for table in Table::ALL {
            got.push(naive.export(table).await.expect("an export"));
        }
        drop_database(&uri).await.expect("drop");
        self.check(entries, &got).await;
        figures
    }

    /// The process step, so many events at once. Journal and queue are embedded.
    pub(crate) async fn in_batches(
        &mut self,
        entries: &[Arc<Entry>],
        batch: NonZeroUsize,
    ) -> Figures {
        let uri = self.server.fresh_uri();
        let connected = Mongo::counted(&uri, Retention::default()).await;
        let (mongo, sent) = connected.expect("connect");
        mongo.create_indexes().await.expect("indexes");
        let directory = tempfile::tempdir().expect("a directory");
        let events = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
        let tables = Timed::new(&mongo);
        let ports = Joined {
            events: &events,
            tables: &tables,
        };
        let settings = &self.events.settings;
        let mut figures = Figures::default();
        for entries in entries.chunks(batch.get()) {
            let received = queued(&events, entries).await;
            let (requests, cpu, started) = (sent.count(), cpu_time(), now());
            let done = service::process(&ports, &SystemClock, settings, &received).await;
            let elapsed = started.elapsed();
            let done = done.expect("process a batch");
            figures.add_cpu(cpu);
            assert_eq!(done.messages, received.len() as u64, "not all was done");
            figures.calls.push(Call {
                elapsed,
                requests: sent.count() - requests,
                events: entries.len(),
                rows: done.rows,
            });
        }
        (figures.reading, figures.writing) = tables.spent();
        let mut got = Vec::new();
        for table in Table::ALL {
            let mut rows = Vec::new();
            let taken = mongo.export(table, None, |row| {
                rows.push(row.to_owned());
                Ok::<(), Error>(())
            });
            taken.await.expect("an export");
            got.push(rows);
        }
        drop_database(&uri).await.expect("drop");
        self.check(entries, &got).await;
        figures
    }

    /// Asserts that the tables are those of the embedded store after the same events in order.
    async fn check(&mut self, entries: &[Arc<Entry>], got: &Exports) {
        // All passes have the same events, and the first has them in order.
        if self.expected.is_none() {
            self.expected = Some(self.embedded(entries).await);
        }
        let expected = self.expected.as_ref().expect("just made");
        for ((table, got), expected) in Table::ALL.iter().zip(got).zip(expected) {
            let differs = got.iter().zip(expected).find(|(got, want)| got != want);
            let rows = (got.len(), expected.len());
            assert!(
                got == expected,
                "{table:?} is wrong: {rows:?} rows, first difference {differs:#?}"
            );
        }
    }

    async fn embedded(&self, entries: &[Arc<Entry>]) -> Exports {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
        let received = queued(&store, entries).await;
        let settings = &self.events.settings;
        let done = service::process(&store, &SystemClock, settings, &received).await;
        assert_eq!(done.expect("process").parked, [], "all can be read");
        let mut exports = Vec::new();
        for table in Table::ALL {
            let mut rows = Vec::new();
            let taken = store.export(table, None, |row| {
                rows.push(row.to_owned());
                Ok::<(), Error>(())
            });
            taken.expect("an export");
            exports.push(rows);
        }
        exports
    }
}

/// Journals events, puts them on the queue and takes them off again.
async fn queued<P: Journal + Queue>(ports: &P, entries: &[Arc<Entry>]) -> Vec<Received> {
    let now = SystemClock.now();
    let ingested = service::ingest(ports, entries, service::Duplicates::Skip, now)
        .await
        .expect("ingest");
    let received = ports.receive(entries.len(), now).await.expect("receive");
    assert_eq!(ingested.messages, received.len() as u64, "all come at once");
    received
}
