//! The console's world on AWS: events and messages in DynamoDB and SQS, rows in MongoDB.
//!
//! SQS cannot be looked into, and the journal is read by key: what would need that is told to be not known.

use std::sync::Arc;

use foldback_console::{Act, Acted, Activity, Chosen, Deed, Mending, Slot, Source, Within};
use foldback_replay::{Answer, Request, RequestMode};
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::{
    ActionHierarchy, AuditRecord, Depth, Entry, Finding, Group, ReplayRun, Timestamp, Traffic,
};
use shared::ports::{
    Clock, ConversionPage, ConversionQuery, Error, ErrorKind, Found, Hierarchies, Journal, Letter,
    Look, Queue, Queued, Reports, SettingsVersions, Tables,
};
use shared::service::{self, EntityQuery, EntityView};
use shared::settings::{Settings, SettingsVersion, StoredSettings};
use smol_str::SmolStr;
use tokio::sync::watch;

const SLOT_SECONDS: u32 = 3_600;
const SLOT_MS: i64 = 3_600_000;
/// How many hours the overview looks back.
const HOURS: i64 = 48;
/// How many letters are moved at once.
const LETTERS_PAGE: usize = 1_000;

/// A stack.
#[derive(Clone)]
pub(crate) struct World(Arc<Stack>);

impl World {
    pub(crate) fn new(stack: Arc<Stack>) -> Self {
        Self(stack)
    }
}

impl foldback_console::World for World {
    type Source = Self;

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn settings(&self) -> Result<Arc<Settings>, Error> {
        self.0.settings().await
    }

    async fn source(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }

    async fn activity(&self) -> Result<Activity, Error> {
        let now = SystemClock.now();
        let hour = now.ms() - now.ms().rem_euclid(SLOT_MS);
        let first = Timestamp::from_ms(hour - SLOT_MS * (HOURS - 1));
        let traffic = self.0.aws.traffic(first).await?;
        let slots = (0..HOURS).map(|place| slot(&traffic, first.plus_ms(SLOT_MS * place)));
        Ok(Activity {
            slot_seconds: SLOT_SECONDS,
            slots: slots.collect(),
        })
    }

    async fn act(&self, act: Act) -> Result<Acted, Error> {
        let acted = match &act.deed {
            Deed::Redrive(chosen) => Acted::of(self.each(&act, chosen, true).await?),
            Deed::Discard(chosen) => Acted::of(self.each(&act, chosen, false).await?),
            Deed::PutSettings(text, format) => {
                let put = self.0.aws.put(text, *format, SystemClock.now());
                Acted::of(u64::from(put.await?))
            }
            Deed::Replay(mending, within) => self.replay(*mending, within).await?,
            Deed::Retry(_) => {
                let why = "SQS shows nobody a message that waits: it comes again by itself";
                return Err(Error::new(ErrorKind::Reject, "do this on AWS", why));
            }
        };
        let record = act.record(acted.count, SystemClock.now());
        lambda_http::tracing::info!(
            by = record.by.as_str(),
            deed = record.deed.as_str(),
            about = record.about,
            tenant = record.tenant.as_deref(),
            count = record.count,
            "done through the console"
        );
        Ok(acted)
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

fn slot(traffic: &[Traffic], at: Timestamp) -> Slot {
    let begins = at.to_string();
    let hour = traffic
        .iter()
        .find(|one| begins.starts_with(one.hour.as_str()));
    Slot {
        at,
        events: hour.map_or(0, |hour| hour.events),
        late: hour.map_or(0, |hour| hour.late),
        parked: hour.map_or(0, |hour| hour.parked),
        p50_ms: None,
        p99_ms: None,
    }
}

impl World {
    /// An id's rows at once; more is gone through by the function `replay`, partition by partition.
    async fn replay(&self, mending: Mending, within: &Within) -> Result<Acted, Error> {
        let (tenant, id) = match within {
            Within::Id(tenant, id) => (Some(tenant), Some(id)),
            Within::Tenant(tenant) => (Some(tenant), None),
            Within::All => (None, None),
        };
        let request = Request {
            mode: match mending {
                Mending::Report => RequestMode::Report,
                Mending::Update => RequestMode::Update,
            },
            tenant: tenant.cloned(),
            id: id.cloned(),
            partitions: None,
        };
        Ok(match foldback_replay::answer(&self.0, request).await? {
            Answer::Begun { partitions, .. } => Acted {
                partitions: Some(partitions),
                ..Acted::default()
            },
            Answer::Replayed { kept, replayed, .. } => Acted {
                run: Some(kept),
                ..Acted::of(match mending {
                    Mending::Report => replayed.findings,
                    Mending::Update => replayed.mended,
                })
            },
        })
    }

    /// Sends back, or throws away, the letters that are chosen and may be touched.
    async fn each(&self, act: &Act, chosen: &Chosen, back: bool) -> Result<u64, Error> {
        let aws = &self.0.aws;
        let is_chosen = |letter: &Letter| {
            let own = act
                .tenant
                .as_ref()
                .is_none_or(|own| letter.message.group.tenant == *own);
            own && match chosen {
                Chosen::All => true,
                Chosen::These(letters) => letters.contains(&letter.id),
            }
        };
        let (mut after, mut count) = (0, 0);
        loop {
            let page = aws.dead_letters(after, LETTERS_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = last.id;
            let chosen = page.iter().filter(|one| is_chosen(one)).map(|one| one.id);
            let chosen: Vec<u128> = chosen.collect();
            count += if back {
                aws.redrive(&chosen, SystemClock.now()).await?
            } else {
                aws.discard(&chosen).await?
            };
        }
    }
}

impl Source for World {
    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.0.aws.depth(now).await
    }

    async fn queued(&self, _look: &Look) -> Result<Option<Found<Queued>>, Error> {
        Ok(None)
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.0.aws.dead_letters(after, limit).await
    }

    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.0.tables().await?.finished(look).await
    }

    async fn search(&self, _text: &str, _look: &Look) -> Result<Option<Found<Entry>>, Error> {
        Ok(None)
    }

    async fn groups_of(&self, tenant: Option<&SmolStr>, id: &SmolStr) -> Result<Vec<Group>, Error> {
        let keys = self
            .0
            .tables()
            .await?
            .find(tenant.map(SmolStr::as_str), id)
            .await?;
        let mut groups: Vec<Group> = keys.into_iter().map(|key| key.group).collect();
        if let Some(tenant) = tenant {
            // One whose rows are gone is still in the journal.
            groups.extend(Group::of_subject(tenant, id));
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.0.aws.entries(groups).await
    }

    async fn hierarchies(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.0.tables().await?.of_group(group).await
    }

    async fn entity(
        &self,
        settings: &Settings,
        groups: &[Group],
        query: &EntityQuery,
    ) -> Result<Vec<EntityView>, Error> {
        let ports = Joined {
            events: &self.0.aws,
            tables: self.0.tables().await?,
        };
        service::entity(&ports, settings, groups, query).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.0.tables().await?.conversions(query).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.0.tables().await?.runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.0.tables().await?.findings(run, after, limit).await
    }

    async fn settings_versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        self.0.aws.versions(limit).await
    }

    async fn settings_version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        self.0.aws.version(version).await
    }

    async fn audited(&self, _limit: usize) -> Result<Option<Vec<AuditRecord>>, Error> {
        Ok(None)
    }
}
