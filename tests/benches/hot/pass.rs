//! One pass: leads, then what they state to their days, over a store of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use foldback_tests::contract::together::AllPorts;
use foldback_tests::fixtures::{Standing, at, conversion_days, conversions, daily_settings};
use pollster::block_on;
use serde_json::Value;
use shared::adapters::Joined;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::naive::drop_database;
use shared::adapters::mongo::{Mongo, Retention};
use shared::model::{Entry, GroupKind};
use shared::ports::{Clock, Indexes, Queue};
use shared::service::{Duplicates, ingest, process};

use crate::server::Server;

/// What is done.
pub(crate) struct Pass {
    pub(crate) leads: u32,
    pub(crate) days: u32,
    pub(crate) policy: &'static str,
    pub(crate) shuffled: bool,
    pub(crate) batch: usize,
}

/// Contributions a second: by the days' work alone, and with that of the leads.
pub(crate) struct Rates {
    pub(crate) days: f64,
    pub(crate) all: f64,
}

/// All in one file, each batch with its sync.
pub(crate) fn embedded(pass: &Pass) -> Rates {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    block_on(pass.run(&store, &store))
}

/// Rows in MongoDB.
pub(crate) fn in_mongo(pass: &Pass, server: &Server) -> Rates {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let events = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    runtime.block_on(async {
        let uri = server.fresh_uri();
        let rows = Mongo::connect(&uri, Retention::default()).await;
        let rows = rows.expect("connect");
        rows.create_indexes().await.expect("indexes");
        let ports = Joined {
            events: &events,
            tables: &rows,
        };
        let rates = pass.run(&ports, &events).await;
        drop_database(&uri).await.expect("drop");
        rates
    })
}

impl Pass {
    async fn run(&self, ports: &impl AllPorts, store: &Embedded) -> Rates {
        let clock = Standing(at(60_000_000));
        let settings = daily_settings(self.policy);
        let mut events: Vec<Arc<Entry>> = conversions(self.leads, self.days);
        if self.shuffled {
            Rng::with_seed(7).shuffle(&mut events);
        }
        for part in events.chunks(self.batch) {
            let told = ingest(ports, part, Duplicates::Skip, clock.now()).await;
            told.expect("ingest");
        }
        let (mut of_days, mut of_leads) = (Duration::ZERO, Duration::ZERO);
        loop {
            let started = now();
            store.begin().expect("begin");
            let received = store.receive(self.batch, clock.now()).await;
            let received = received.expect("receive");
            let done = process(ports, &clock, &settings, &received).await;
            store.commit().expect("commit");
            let elapsed = started.elapsed();
            done.expect("processed");
            let Some(first) = received.first() else {
                break;
            };
            match first.message.group.kind() {
                GroupKind::Day => of_days += elapsed,
                GroupKind::Lead | GroupKind::Appointment | GroupKind::Event => of_leads += elapsed,
            }
        }
        self.check(ports).await;
        let leads = f64::from(self.leads);
        Rates {
            days: leads / of_days.as_secs_f64(),
            all: leads / (of_days + of_leads).as_secs_f64(),
        }
    }

    /// Every lead counts once.
    async fn check(&self, ports: &impl AllPorts) {
        let rows = ports.read_groups(&conversion_days(self.days)).await;
        let rows = rows.expect("rows").concat();
        let count = |body: String| {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            body.pointer("/conversions/sale/count")
                .and_then(Value::as_u64)
                .expect("a count")
        };
        let counted: u64 = rows.iter().map(|row| count(row.row.body())).sum();
        assert_eq!(counted, u64::from(self.leads), "each counts once");
        assert_eq!(rows.len(), usize::try_from(self.days).expect("few"));
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
