//! What the tables must hold at the end, and whether those in MongoDB do.

use std::collections::{BTreeMap, BTreeSet};

use foldback_tests::fixtures::{Lives, entries};
use foldback_tests::worker::LIMITS;
use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::Mongo;
use shared::adapters::{Joined, SystemClock};
use shared::flow::RowKey;
use shared::handlers::{Table, Version};
use shared::model::{EventHash, Group, GroupKind, Timestamp};
use shared::ports::{
    Clock, ConversionPage, ConversionQuery, Error, Hierarchies, HistoryVersion, Journal, Partition,
    Queue, Tables,
};
use shared::service::{Duplicates, Mode, Replay, Scope, ingest, parked_events, process};
use shared::settings::Settings;
use tempfile::TempDir;

/// One process that handled all events in order, in a store of its own.
pub(super) struct InOrder {
    store: Embedded,
    settings: Settings,
    _directory: TempDir,
}

impl InOrder {
    pub(super) async fn of(lives: &Lives) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Embedded::open(directory.path(), LIMITS).expect("a store");
        let settings = Lives::settings();
        for part in entries(&settings, &lives.in_order).chunks(512) {
            let now = SystemClock.now();
            ingest(&store, part, Duplicates::Skip, now)
                .await
                .expect("ingest");
            loop {
                let received = store.receive(usize::MAX, now).await.expect("receive");
                if received.is_empty() {
                    break;
                }
                let done = process(&store, &SystemClock, &settings, &received).await;
                let done = done.expect("process");
                assert_eq!((done.late.len(), done.parked.len()), (0, 0), "in order");
            }
        }
        Self {
            store,
            settings,
            _directory: directory,
        }
    }

    async fn groups(&self) -> Vec<Group> {
        let groups = self.store.groups(Partition::WHOLE, None, usize::MAX).await;
        groups.expect("groups")
    }

    /// Asserts that the rows in MongoDB are the same byte for byte, that a replay of them finds
    /// nothing, that their histories and their index of conversions agree with them.
    pub(super) async fn check(&self, rows: &Mongo) {
        for table in Table::ALL {
            let (mut wanted, mut got) = (Vec::new(), Vec::new());
            let mut take = |line: &str| {
                wanted.push(line.to_owned());
                Ok::<_, Error>(())
            };
            self.store.export(table, None, &mut take).expect("export");
            let mut take = |line: &str| {
                got.push(line.to_owned());
                Ok::<_, Error>(())
            };
            rows.export(table, None, &mut take).await.expect("export");
            let differs = wanted.iter().zip(&got).find(|(wanted, got)| wanted != got);
            let counts = (wanted.len(), got.len());
            assert!(wanted == got, "{table:?} {counts:?}: {differs:#?}");
            assert!(!wanted.is_empty(), "{table:?} shows nothing");
        }
        self.replay(rows).await;
        self.check_histories(rows).await;
        self.check_conversions(rows).await;
    }

    async fn replay(&self, rows: &Mongo) {
        let ports = Joined {
            events: &self.store,
            tables: rows,
        };
        let parked = parked_events(&ports).await.expect("parked");
        let replay = Replay {
            ports: &ports,
            clock: &SystemClock,
            settings: &self.settings,
            parked: &parked,
            grace_ms: 0,
        };
        let scope = Scope::Partition(Partition::WHOLE, None);
        let mut findings = Vec::new();
        let replayed = replay
            .run(
                &scope,
                Mode::Report,
                |finding| findings.push(finding),
                |_| {},
            )
            .await
            .expect("replay");
        assert_eq!((replayed.findings, findings), (0, vec![]));
        assert_eq!(replayed.groups, self.groups().await.len() as u64);
    }

    async fn check_histories(&self, rows: &Mongo) {
        let mut rewritten = 0;
        let of_groups = rows.read_groups(&self.groups().await).await.expect("rows");
        for row in of_groups.iter().flatten() {
            if row.key.table.is_temporal() {
                let history = rows.history(&row.key).await.expect("a history");
                rewritten += history
                    .iter()
                    .filter(|one| one.recorded_to.is_some())
                    .count();
                check_history(&row.key, &history);
            }
        }
        assert!(rewritten > 0, "no late event rewrote a history");
    }

    async fn check_conversions(&self, rows: &Mongo) {
        for tenant in ["acme", "globex"] {
            for name in ["created", "met", "sale"] {
                let query = ConversionQuery {
                    tenant: tenant.into(),
                    name: name.into(),
                    from: Timestamp::MIN,
                    to: Timestamp::MAX,
                    limit: 10_000,
                    after: None,
                };
                let wanted = self.store.conversions(&query).await.expect("conversions");
                let got = rows.conversions(&query).await.expect("conversions");
                let ids = |page: &ConversionPage| {
                    let ids = page.rows.iter().map(|row| row.key.id.clone());
                    ids.collect::<Vec<_>>()
                };
                assert_eq!(ids(&wanted), ids(&got), "{tenant} {name}");
                assert!(!wanted.rows.is_empty(), "{tenant} {name}");
            }
        }
    }

    /// Asserts that each event has its action hierarchy, and returns how many there are beyond one for
    /// each time that the event was delivered.
    pub(super) async fn spare_hierarchies(
        &self,
        rows: &Mongo,
        deliveries: &BTreeMap<EventHash, usize>,
    ) -> usize {
        let mut spare = 0;
        let told = |group: &Group| group.kind() == GroupKind::Lead;
        for group in self.groups().await.into_iter().filter(told) {
            let mut saved: BTreeMap<EventHash, usize> = BTreeMap::new();
            for one in rows.of_group(&group).await.expect("hierarchies") {
                let event = EventHash::of(&one.source, &one.event_id);
                *saved.entry(event).or_default() += 1;
            }
            let journal = self.store.entries(&[group]).await.expect("entries");
            for entry in journal.iter().flatten() {
                let saved = saved.remove(&entry.hash).unwrap_or_default();
                assert!(saved > 0, "{} has no hierarchy", entry.event.id);
                spare += saved.saturating_sub(deliveries[&entry.hash]);
            }
            assert!(saved.is_empty(), "hierarchies of unknown events");
        }
        spare
    }
}

/// At every moment each number was believed of one version; those in force follow on one another.
fn check_history(key: &RowKey, history: &[HistoryVersion]) {
    let mut moments: BTreeSet<Timestamp> = history.iter().map(|one| one.recorded_from).collect();
    moments.insert(Timestamp::MAX);
    for moment in moments {
        let believed = history.iter().filter(|one| {
            one.recorded_from <= moment && one.recorded_to.is_none_or(|end| end > moment)
        });
        let mut numbers: Vec<u32> = believed.map(|one| one.version.n).collect();
        numbers.sort_unstable();
        assert!(
            numbers
                .iter()
                .zip(1..)
                .all(|(number, place)| *number == place),
            "{key:?} at {moment}: {numbers:?}"
        );
    }
    let in_force = history.iter().filter(|one| one.recorded_to.is_none());
    let mut in_force: Vec<&Version> = in_force.map(|one| &one.version).collect();
    in_force.sort_by_key(|version| version.n);
    let begins = in_force.iter().map(|version| Some(version.valid_from));
    let next = begins.skip(1).chain([None]);
    for (version, next) in in_force.iter().zip(next) {
        assert_eq!(version.valid_to, next, "{key:?} version {}", version.n);
    }
    for one in history {
        let ends = one.recorded_to.unwrap_or(Timestamp::MAX);
        assert!(one.recorded_from <= ends, "{key:?}: {one:?}");
    }
}
