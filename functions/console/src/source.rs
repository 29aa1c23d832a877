//! What the console needs of the world it stands in.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use shared::model::{
    ActionHierarchy, AuditRecord, Depth, Entry, Finding, Group, ReplayRun, Timestamp,
};
use shared::ports::{ConversionPage, ConversionQuery, Error, Found, Letter, Look, Queued, Receipt};
use shared::service::{EntityQuery, EntityView};
use shared::settings::{Format, Settings, SettingsVersion, StoredSettings};
use smol_str::SmolStr;
use tokio::sync::watch;

/// Stores to read from, as they were at about one moment. Nothing here changes anything.
pub trait Source: Send + Sync {
    /// How many messages there are.
    fn depth(&self, now: Timestamp) -> impl Future<Output = Result<Depth, Error>> + Send;

    /// Messages in the queue, the oldest first; `None` where the queue cannot be looked into.
    fn queued(
        &self,
        look: &Look,
    ) -> impl Future<Output = Result<Option<Found<Queued>>, Error>> + Send;

    /// The oldest dead letters after `after`, at most `limit`.
    fn dead_letters(
        &self,
        after: u128,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Letter>, Error>> + Send;

    /// Finished hierarchies, the newest first.
    fn finished(
        &self,
        look: &Look,
    ) -> impl Future<Output = Result<Found<ActionHierarchy>, Error>> + Send;

    /// Journaled events whose payload has a text in it, the newest first; `None` where the journal cannot
    /// be searched.
    fn search(
        &self,
        text: &str,
        look: &Look,
    ) -> impl Future<Output = Result<Option<Found<Entry>>, Error>> + Send;

    /// The groups that an id belongs to.
    fn groups_of(
        &self,
        tenant: Option<&SmolStr>,
        id: &SmolStr,
    ) -> impl Future<Output = Result<Vec<Group>, Error>> + Send;

    /// All entries of each group, in the order of arrival.
    fn entries(
        &self,
        groups: &[Group],
    ) -> impl Future<Output = Result<Vec<Vec<Entry>>, Error>> + Send;

    /// The finished hierarchies of a group.
    fn hierarchies(
        &self,
        group: &Group,
    ) -> impl Future<Output = Result<Vec<ActionHierarchy>, Error>> + Send;

    /// What is known of an entity, in each of the groups that know it.
    fn entity(
        &self,
        settings: &Settings,
        groups: &[Group],
        query: &EntityQuery,
    ) -> impl Future<Output = Result<Vec<EntityView>, Error>> + Send;

    /// Leads by conversion, the newest first.
    fn conversions(
        &self,
        query: &ConversionQuery,
    ) -> impl Future<Output = Result<ConversionPage, Error>> + Send;

    /// The runs of replay kept last, the newest first, each with its number.
    fn runs(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, ReplayRun)>, Error>> + Send;

    /// The findings of a run after a place.
    fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, Finding)>, Error>> + Send;

    /// The versions of the settings, the newest first.
    fn settings_versions(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SettingsVersion>, Error>> + Send;

    /// One version of the settings.
    fn settings_version(
        &self,
        version: u32,
    ) -> impl Future<Output = Result<Option<StoredSettings>, Error>> + Send;

    /// What was done through the console, the newest first; `None` where that is told elsewhere.
    fn audited(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<AuditRecord>>, Error>> + Send;
}

/// Where the console stands.
pub trait World: Clone + Send + Sync + 'static {
    /// What it reads from.
    type Source: Source;

    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The settings in force.
    fn settings(&self) -> impl Future<Output = Result<Arc<Settings>, Error>> + Send;

    /// Stores to read from.
    fn source(&self) -> impl Future<Output = Result<Self::Source, Error>> + Send;

    /// What went on lately.
    fn activity(&self) -> impl Future<Output = Result<Activity, Error>> + Send;

    /// Does something, and keeps the record of it; both are durable when this is ready.
    fn act(&self, act: Act) -> impl Future<Output = Result<Acted, Error>> + Send;

    /// Whether the same address takes events in.
    fn takes_events(&self) -> bool;

    /// Grows whenever something changed; `None` where nobody tells.
    fn changes(&self) -> Option<watch::Receiver<u64>>;

    /// Becomes `true` when the process is to end; `None` where that cannot be told.
    fn stopping(&self) -> Option<watch::Receiver<bool>>;
}

/// What is to be done, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Act {
    /// What.
    pub deed: Deed,
    /// Only this tenant's things may be touched; whatever else is named is passed over.
    pub tenant: Option<SmolStr>,
    /// The name in the audit record.
    pub by: SmolStr,
}

/// Something that can be done.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Send dead letters back to the queue.
    Redrive(Chosen),
    /// Throw dead letters away for good.
    Discard(Chosen),
    /// Let messages that failed be tried again now.
    Retry(Vec<Receipt>),
    /// Put settings in force.
    PutSettings(String, Format),
    /// Compare tables with the fold of the journal; mend them where so told.
    Replay(Mending, Within),
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// These.
    These(Vec<u128>),
    /// All that may be touched.
    All,
}

/// What a replay does about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mending {
    /// Lists them.
    Report,
    /// Mends them.
    Update,
}

/// What a replay looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// The groups of an id, of one tenant.
    Id(SmolStr, SmolStr),
    /// Everything of one tenant.
    Tenant(SmolStr),
    /// Everything.
    All,
}

/// What a deed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acted {
    /// How many letters, messages or rows; of settings, the version.
    pub count: u64,
    /// The run of replay that it was, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Over how many partitions a run of replay has begun, which others go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u64>,
}

impl Acted {
    /// So many.
    #[must_use]
    pub fn of(count: u64) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }
}

impl Act {
    /// The record of it.
    #[must_use]
    pub fn record(&self, count: u64, at: Timestamp) -> AuditRecord {
        AuditRecord {
            at,
            by: self.by.clone(),
            tenant: self.tenant.clone(),
            deed: self.deed.word().into(),
            about: self.deed.about(),
            count,
        }
    }
}

impl Deed {
    /// The word for it in audit records.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Redrive(_) => "redrive",
            Self::Discard(_) => "discard",
            Self::Retry(_) => "retry",
            Self::PutSettings(..) => "settings",
            Self::Replay(Mending::Report, _) => "replay",
            Self::Replay(Mending::Update, _) => "repair",
        }
    }

    /// What it is done to, for an audit record.
    #[must_use]
    pub fn about(&self) -> String {
        let chosen = |chosen: &Chosen| match chosen {
            Chosen::All => "all dead letters".to_owned(),
            Chosen::These(letters) => {
                let shown: Vec<String> = letters
                    .iter()
                    .take(SHOWN_MAX)
                    .map(u128::to_string)
                    .collect();
                let more = letters.len().saturating_sub(SHOWN_MAX);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!("dead letters {}{more}", shown.join(" "))
            }
        };
        match self {
            Self::Redrive(letters) | Self::Discard(letters) => chosen(letters),
            Self::Retry(receipts) => format!("{} messages", receipts.len()),
            Self::PutSettings(text, _) => format!("{} bytes", text.len()),
            Self::Replay(_, within) => within.to_string(),
        }
    }
}

/// How many letters an audit record names.
const SHOWN_MAX: usize = 16;

impl std::fmt::Display for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(tenant, id) => write!(f, "{id} of tenant {tenant}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::All => f.write_str("all tenants"),
        }
    }
}

/// What went on lately, the oldest first.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// How long a slot is, in seconds.
    pub slot_seconds: u32,
    /// Slots in a row up to the present one.
    pub slots: Vec<Slot>,
}

/// What went on within some time.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// When it began.
    pub at: Timestamp,
    /// Events that their rows took in.
    pub events: u64,
    /// Of these, late ones.
    pub late: u64,
    /// Events that were parked.
    pub parked: u64,
    /// The median from being sent to the queue to durable rows, in milliseconds; `None` where nothing was
    /// measured.
    pub p50_ms: Option<u64>,
    /// What one in a hundred took longer than.
    pub p99_ms: Option<u64>,
}
