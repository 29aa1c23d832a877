//! What the fuzzed console stands in: a store with events of two tenants, a clock that stands still, and deeds
//! that are looked at and not done.

use std::sync::Arc;

use foldback_console::{Act, Acted, Activity, Deed, Source, Within, World};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{
    ActionHierarchy, AuditRecord, Depth, Entry, Finding, Group, ReplayRun, Timestamp,
};
use shared::ports::{
    Clock, ConversionPage, ConversionQuery, Error, Found, Hierarchies as _, Journal as _, Letter,
    Look, Queue as _, Queued, Reports as _, SettingsVersions as _, Tables as _,
};
use shared::service::{self, Duplicates, EntityQuery, EntityView};
use shared::settings::{Format, Settings, SettingsVersion, StoredSettings};
use smol_str::SmolStr;
use tempfile::TempDir;
use tokio::sync::watch;

/// When it is: after all events.
pub(super) const NOW_MS: i64 = 1_775_044_800_000;

/// What stands in rows of the tenant globex, and nobody else may see.
pub(super) const OF_GLOBEX: &str = "7f3c1a9e52b8d604";

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme", "globex"]
[tenant.set]
stage = { pointer = "/stage" }
amount = { pointer = "/amount" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
"#;

/// A data directory with something of everything in it.
#[derive(Clone)]
pub(super) struct Shop {
    store: Arc<Embedded>,
    settings: Arc<Settings>,
    _scratch: Arc<TempDir>,
}

/// One reads the store itself.
pub(super) struct Reading(Arc<Embedded>);

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(NOW_MS)
    }
}

/// The embedded store makes nobody wait.
fn done<T>(future: impl Future<Output = Result<T, Error>>) -> T {
    let done = future.now_or_never().expect("nothing to wait for");
    done.expect("a store that works")
}

impl Shop {
    pub(super) fn open() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let store = Embedded::open(scratch.path(), QueueLimits::default()).expect("a store");
        let put = store.put_settings(SETTINGS, Format::Toml, Still.now());
        put.expect("settings");
        let settings = Settings::compile(SETTINGS, Format::Toml, 1).expect("settings");
        let shop = Self {
            store: Arc::new(store),
            settings: Arc::new(settings),
            _scratch: Arc::new(scratch),
        };
        for (tenant, stage) in [("acme", "new"), ("globex", OF_GLOBEX)] {
            let stage = json!({"stage": stage});
            shop.take_in(&event(tenant, "lead-1", 0, &stage));
            shop.take_in(&event(tenant, "lead-1", 30, &stage));
            shop.process();
            // One that comes late, one that cannot be handled, one that waits.
            shop.take_in(&event(tenant, "lead-1", 10, &stage));
            shop.take_in(&event(tenant, "lead-2", 0, &json!({"amount": "none"})));
            shop.process();
        }
        for tenant in ["acme", "globex"] {
            shop.take_in(&event(tenant, "lead-3", 0, &json!({})));
        }
        let run = ReplayRun {
            mode: "report".into(),
            scope: "all tenants".into(),
            ..ReplayRun::default()
        };
        done(shop.store.keep_run(&run, &[]));
        shop
    }

    fn take_in(&self, event: &Value) {
        let text = event.to_string();
        let entry = service::accept(&self.settings, None, text.as_bytes(), Still.now());
        let entries = [Arc::new(entry.expect("an event that is taken"))];
        let (store, now) = (&*self.store, Still.now());
        done(service::ingest(store, &entries, Duplicates::Skip, now));
    }

    fn process(&self) {
        let store = &*self.store;
        let received = done(store.receive(100, Still.now()));
        done(service::process(store, &Still, &self.settings, &received));
    }
}

fn event(tenant: &str, lead: &str, minute: u32, data: &Value) -> Value {
    let kind = if minute == 0 {
        "lead.created"
    } else {
        "lead.updated"
    };
    json!({
        "specversion": "1.0", "source": "//crm", "id": format!("{lead}-{minute}"), "type": kind,
        "time": format!("2026-03-01T09:{minute:02}:00Z"), "tenant": tenant, "partitionkey": lead, "data": data,
    })
}

/// Whoever it is, only what they may do is done.
fn check(act: &Act) {
    let by = act.by.as_str();
    // A session's deeds need what a form of ours brings along, and no input can know that.
    assert!(["ops", "acme"].contains(&by), "{act:?}");
    let own = (by == "acme").then_some("acme");
    assert_eq!(act.tenant.as_deref(), own, "{act:?}");
    match &act.deed {
        Deed::Redrive(_) | Deed::Discard(_) | Deed::Retry(_) => {}
        Deed::PutSettings(text, format) => {
            assert_eq!(own, None, "{act:?}");
            assert!(Settings::compile(text, *format, 1).is_ok(), "{act:?}");
        }
        Deed::Replay(_, Within::All) => assert_eq!(own, None, "{act:?}"),
        Deed::Replay(_, Within::Tenant(tenant) | Within::Id(tenant, _)) => {
            assert!(own.is_none_or(|own| own == tenant), "{act:?}");
        }
    }
}

impl World for Shop {
    type Source = Reading;

    fn now(&self) -> Timestamp {
        Still.now()
    }

    async fn settings(&self) -> Result<Arc<Settings>, Error> {
        Ok(Arc::clone(&self.settings))
    }

    async fn source(&self) -> Result<Reading, Error> {
        Ok(Reading(Arc::clone(&self.store)))
    }

    async fn activity(&self) -> Result<Activity, Error> {
        Ok(Activity::default())
    }

    async fn act(&self, act: Act) -> Result<Acted, Error> {
        check(&act);
        let record = act.record(1, self.now());
        assert!(!record.deed.is_empty() && !record.about.is_empty());
        Ok(Acted {
            run: Some(1),
            ..Acted::of(1)
        })
    }

    fn takes_events(&self) -> bool {
        false
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    fn stopping(&self) -> Option<watch::Receiver<bool>> {
        None
    }
}

impl Source for Reading {
    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.0.depth(now).await
    }

    async fn queued(&self, look: &Look) -> Result<Option<Found<Queued>>, Error> {
        self.0.queued(look).map(Some)
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.0.dead_letters(after, limit).await
    }

    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.0.finished(look).await
    }

    async fn search(&self, text: &str, look: &Look) -> Result<Option<Found<Entry>>, Error> {
        self.0.search(text, look).map(Some)
    }

    async fn groups_of(&self, tenant: Option<&SmolStr>, id: &SmolStr) -> Result<Vec<Group>, Error> {
        let keys = self.0.find(tenant.map(SmolStr::as_str), id).await?;
        let mut groups: Vec<Group> = keys.into_iter().map(|key| key.group).collect();
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.0.entries(groups).await
    }

    async fn hierarchies(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.0.of_group(group).await
    }

    async fn entity(
        &self,
        settings: &Settings,
        groups: &[Group],
        query: &EntityQuery,
    ) -> Result<Vec<EntityView>, Error> {
        service::entity(&*self.0, settings, groups, query).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.0.conversions(query).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.0.runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.0.findings(run, after, limit).await
    }

    async fn settings_versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        self.0.versions(limit).await
    }

    async fn settings_version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        self.0.version(version).await
    }

    async fn audited(&self, limit: usize) -> Result<Option<Vec<AuditRecord>>, Error> {
        self.0.audited(limit).map(Some)
    }
}
