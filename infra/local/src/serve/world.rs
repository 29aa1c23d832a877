//! The console's world on one machine.

use std::sync::{Arc, Mutex, PoisonError};

use foldback_console::{Act, Acted, Activity, Deed, Mending, Source, Within, World};
use shared::adapters::SystemClock;
use shared::model::{
    ActionHierarchy, AuditRecord, Depth, Entry, Finding, Group, ReplayRun, Timestamp,
};
use shared::ports::{
    Clock, ConversionPage, ConversionQuery, Error, ErrorKind, Found, Hierarchies, Journal, Letter,
    Look, Partition, Queue, Queued, Reports, SettingsVersions, Tables,
};
use shared::service::{self, EntityQuery, EntityView, Scope};
use shared::settings::{Settings, SettingsVersion, StoredSettings};
use smol_str::SmolStr;
use tokio::sync::{oneshot, watch};

use super::recent::Recent;
use super::writer::{Desk, Order};
use crate::error::Failure;
use crate::replay;
use crate::settings::InForce;
use crate::stores::Stores;

/// How many connections that nobody reads over are kept open.
const IDLE_MAX: usize = 8;

/// Readers have a connection each, as many as there are; what changes something is left at the desk.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) readers: Arc<Readers>,
    pub(crate) desk: Desk,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) changes: watch::Receiver<u64>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Connections to read over.
pub(crate) struct Readers {
    first: Mutex<Stores>,
    idle: Mutex<Vec<Stores>>,
}

/// One of them, in use.
pub(crate) struct Reader {
    stores: Option<Stores>,
    readers: Arc<Readers>,
}

impl Readers {
    /// Connections to the same stores.
    pub(crate) fn new(stores: &Stores) -> Result<Self, Failure> {
        Ok(Self {
            first: Mutex::new(stores.again()?),
            idle: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>) -> Result<Reader, Failure> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let stores = match idle {
            Some(stores) => stores,
            None => self
                .first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .again()?,
        };
        Ok(Reader {
            stores: Some(stores),
            readers: Arc::clone(self),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut idle = self
            .readers
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.extend(self.stores.take());
        }
    }
}

impl Reader {
    fn stores(&self) -> Result<&Stores, Error> {
        self.stores.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Retry,
                "read the stores",
                "the connection was given back",
            )
        })
    }
}

/// What a command's failure is to the console.
fn failed(failure: &Failure) -> Error {
    let kind = if failure.is_busy() {
        ErrorKind::Retry
    } else {
        ErrorKind::Reject
    };
    Error::new(kind, "use the stores", failure.to_string())
}

impl Source for Reader {
    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.stores()?.events().depth(now).await
    }

    async fn queued(&self, look: &Look) -> Result<Option<Found<Queued>>, Error> {
        let local = self.stores()?.local().map_err(|failure| failed(&failure))?;
        local.queued(look).map(Some)
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.stores()?.events().dead_letters(after, limit).await
    }

    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.stores()?.tables().finished(look).await
    }

    async fn search(&self, text: &str, look: &Look) -> Result<Option<Found<Entry>>, Error> {
        let local = self.stores()?.local().map_err(|failure| failed(&failure))?;
        local.search(text, look).map(Some)
    }

    async fn groups_of(&self, tenant: Option<&SmolStr>, id: &SmolStr) -> Result<Vec<Group>, Error> {
        replay::known_groups_of(self.stores()?, tenant, id).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.stores()?.events().entries(groups).await
    }

    async fn hierarchies(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.stores()?.tables().of_group(group).await
    }

    async fn entity(
        &self,
        settings: &Settings,
        groups: &[Group],
        query: &EntityQuery,
    ) -> Result<Vec<EntityView>, Error> {
        let stores = self.stores()?;
        let tables = stores.tables();
        service::entity(&stores.ports(&tables), settings, groups, query).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.stores()?.tables().conversions(query).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.stores()?.tables().runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.stores()?.tables().findings(run, after, limit).await
    }

    async fn settings_versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        self.stores()?.events().versions(limit).await
    }

    async fn settings_version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        self.stores()?.events().version(version).await
    }

    async fn audited(&self, limit: usize) -> Result<Option<Vec<AuditRecord>>, Error> {
        let local = self.stores()?.local().map_err(|failure| failed(&failure))?;
        local.audited(limit).map(Some)
    }
}

impl World for Local {
    type Source = Reader;

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn settings(&self) -> Result<Arc<Settings>, Error> {
        Ok(self.in_force.get())
    }

    async fn source(&self) -> Result<Reader, Error> {
        self.readers.take().map_err(|failure| failed(&failure))
    }

    async fn activity(&self) -> Result<Activity, Error> {
        Ok(self.recent.activity(SystemClock.now()))
    }

    async fn act(&self, act: Act) -> Result<Acted, Error> {
        let (to, answer) = oneshot::channel();
        let order = match &act.deed {
            Deed::Replay(Mending::Report, within) => {
                let looked = self.look(within.clone()).await?;
                let record = act.record(looked.run.findings, self.now());
                let (run, findings) = (Box::new(looked.run), looked.findings);
                Order::KeepRun(run, findings, Some((record, to)))
            }
            Deed::Replay(Mending::Update, _)
            | Deed::Redrive(_)
            | Deed::Discard(_)
            | Deed::Retry(_)
            | Deed::PutSettings(..) => Order::Act(act, to),
        };
        let busy = || Error::new(ErrorKind::Retry, "do it", "too much waits to be done");
        if !self.desk.leave(order) {
            return Err(busy());
        }
        answer.await.map_err(|_gone| busy())?
    }

    fn takes_events(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changes.clone())
    }

    fn stopping(&self) -> Option<watch::Receiver<bool>> {
        Some(self.stopping.clone())
    }
}

impl Local {
    /// Compares and changes nothing, on a thread of its own: it may take long.
    async fn look(&self, within: Within) -> Result<replay::Looked, Error> {
        let (readers, settings) = (Arc::clone(&self.readers), self.in_force.get());
        let look = move || {
            let reader = readers.take()?;
            let Some(stores) = &reader.stores else {
                return Err(Failure::Input("the connection was given back".to_owned()));
            };
            let scope = stores.wait(scope_of(stores, &within))?;
            replay::look(stores, &settings, &scope)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let died = |_panic| Error::new(ErrorKind::Reject, "replay", "the thread died");
        looked.map_err(died)?.map_err(|failure| failed(&failure))
    }
}

/// What a replay looks at.
pub(super) async fn scope_of(stores: &Stores, within: &Within) -> Result<Scope, Error> {
    Ok(match within {
        Within::All => Scope::Partition(Partition::WHOLE, None),
        Within::Tenant(tenant) => Scope::Partition(Partition::WHOLE, Some(tenant.clone())),
        Within::Id(tenant, id) => {
            Scope::Groups(replay::known_groups_of(stores, Some(tenant), id).await?)
        }
    })
}
