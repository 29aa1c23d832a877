//! A world for the console: one store in a scratch directory, and a clock that stands still.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use foldback_console::{
    Access, Act, Acted, Activity, Chosen, Deed, Door, Source, Token, World, router,
};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{
    ActionHierarchy, AuditRecord, Depth, Entry, Finding, Group, ReplayRun, Secret, Timestamp,
};
use shared::ports::{
    Clock, ConversionPage, ConversionQuery, Error, Found, Hierarchies, Journal, Letter, Look,
    Queue, Queued, Reports, SettingsVersions, Tables,
};
use shared::service::{self, Duplicates, EntityQuery, EntityView};
use shared::settings::{Format, Settings, SettingsVersion, StoredSettings};
use smol_str::SmolStr;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// When it is: after all events.
pub(crate) const NOW: &str = "2026-04-01T12:00:00Z";
pub(crate) const ALL: &str = "a token that may see all of it";
pub(crate) const ACME: &str = "a token that may see acme alone";
pub(crate) const READER: &str = "a token that may change nothing";

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
[[tenant.conversion]]
name = "created"
on = "lead.created"
"#;

#[derive(Clone)]
pub(crate) struct Here {
    store: Arc<Embedded>,
    pub(crate) acts: Arc<Mutex<Vec<Act>>>,
    _scratch: Arc<TempDir>,
}

/// One reads the store itself.
pub(crate) struct Reading(Arc<Embedded>);

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::parse(NOW).expect("a moment")
    }
}

impl Here {
    /// One that knows the settings and nothing else.
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let store = Embedded::open(scratch.path(), QueueLimits::default()).expect("a store");
        store
            .put_settings(SETTINGS, Format::Toml, Still.now())
            .expect("put");
        Self {
            store: Arc::new(store),
            acts: Arc::default(),
            _scratch: Arc::new(scratch),
        }
    }

    fn compiled() -> Settings {
        Settings::compile(SETTINGS, Format::Toml, 1).expect("settings")
    }

    /// Takes events in; they wait in the queue.
    pub(crate) fn take_in(&self, events: &[serde_json::Value]) {
        let settings = Self::compiled();
        let accept = |event: &serde_json::Value| {
            let text = event.to_string();
            let entry = service::accept(&settings, None, text.as_bytes(), Still.now());
            Arc::new(entry.expect("an event that is taken"))
        };
        let entries: Vec<_> = events.iter().map(accept).collect();
        let store = &*self.store;
        block_on(service::ingest(
            store,
            &entries,
            Duplicates::Skip,
            Still.now(),
        ))
        .expect("taken in");
    }

    /// Processes what waits.
    pub(crate) fn process(&self) {
        let store = &*self.store;
        let received = block_on(store.receive(1_000, Still.now())).expect("received");
        block_on(service::process(
            store,
            &Still,
            &Self::compiled(),
            &received,
        ))
        .expect("processed");
    }

    pub(crate) fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> u64 {
        block_on(self.store.keep_run(run, findings)).expect("kept")
    }

    /// The console over it, for who has one of the tokens.
    pub(crate) fn console(&self, door: Door) -> Router {
        let token = |name: &str, secret: &str, tenant: Option<&str>, read_only| Token {
            name: name.into(),
            secret: Secret::new(secret.to_owned()),
            tenant: tenant.map(Into::into),
            read_only,
        };
        let tokens = match door {
            Door::Loopback => Vec::new(),
            Door::Tokens | Door::Guarded => vec![
                token("ops", ALL, None, false),
                token("acme", ACME, Some("acme"), false),
                token("reader", READER, None, true),
            ],
        };
        let access = Access::new(tokens, door, [7; 32]).expect("good tokens");
        router(self.clone(), Arc::new(access))
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Response<()>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

pub(crate) fn send(console: &Router, request: Request<Body>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let answer = console.clone().oneshot(request).await.expect("it answers");
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        Answer {
            status: head.status.as_u16(),
            head: Response::from_parts(head, ()),
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    })
}

/// Asks for a page with a token.
pub(crate) fn get(console: &Router, path: &str, token: &str) -> Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    send(console, request.body(Body::empty()).expect("a request"))
}

impl World for Here {
    type Source = Reading;

    fn now(&self) -> Timestamp {
        Still.now()
    }

    async fn settings(&self) -> Result<Arc<Settings>, Error> {
        Ok(Arc::new(Self::compiled()))
    }

    async fn source(&self) -> Result<Reading, Error> {
        Ok(Reading(Arc::clone(&self.store)))
    }

    async fn activity(&self) -> Result<Activity, Error> {
        Ok(Activity::default())
    }

    async fn act(&self, act: Act) -> Result<Acted, Error> {
        let count = match &act.deed {
            Deed::Redrive(Chosen::These(letters)) => {
                self.store.redrive(letters, self.now()).await?
            }
            Deed::Redrive(Chosen::All)
            | Deed::Discard(_)
            | Deed::Retry(_)
            | Deed::PutSettings(..)
            | Deed::Replay(..) => 0,
        };
        self.store.note(&act.record(count, self.now()))?;
        self.acts.lock().expect("a lock").push(act);
        Ok(Acted::of(count))
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
