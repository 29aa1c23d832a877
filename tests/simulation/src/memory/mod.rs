//! All ports in memory, with the semantics that the contract suites ask of every adapter.

mod additions;
mod journal;
mod keeping;
mod locks;
mod queue;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::ports::Error;

use crate::audit::Audit;
use crate::gate::{Call, Gate, Share};

pub(crate) use journal::Journals;
pub use queue::QueueLimits;
pub(crate) use tables::Kept;

/// What is stored.
#[derive(Debug, Default)]
pub struct Store {
    pub(crate) journal: Journals,
    pub(crate) queue: queue::Messages,
    pub(crate) tables: tables::Rows,
    pub(crate) locks: locks::Held,
    pub(crate) keeping: keeping::Papers,
    /// What looks at every write, where somebody does.
    pub(crate) audit: Option<Audit>,
}

/// The ports over a store, through a gate.
#[derive(Debug, Clone)]
pub struct Memory<G> {
    store: Arc<Mutex<Store>>,
    gate: G,
}

impl<G: Gate> Memory<G> {
    /// Ports over an empty store.
    #[must_use]
    pub fn new(limits: QueueLimits, gate: G) -> Self {
        let mut store = Store::default();
        store.queue.limits = limits;
        Self::over(Arc::new(Mutex::new(store)), gate)
    }

    /// Ports over a store that others may use too.
    pub(crate) fn over(store: Arc<Mutex<Store>>, gate: G) -> Self {
        Self { store, gate }
    }

    /// The gate.
    pub(crate) fn gate(&self) -> &G {
        &self.gate
    }

    /// Lets a call through the gate, has its effect, and lets it back.
    async fn call<R: Send>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Store, Share) -> Result<R, Error> + Send,
    ) -> Result<R, Error> {
        let passage = self.gate.enter(call).await?;
        let result = act(&mut lock(&self.store), passage.share);
        self.gate.leave(call, passage).await?;
        result
    }
}

/// The store, whatever became of those who had it before.
pub(crate) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
