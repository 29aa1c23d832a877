use std::collections::{BTreeMap, BTreeSet};

use smol_str::{SmolStr, format_smolstr};

use crate::flow::Write;
use crate::model::Timestamp;
use crate::ports::{Clock, Error, Lease, LockKey, Locks, Received};

/// How long a lease lasts, in milliseconds: many times what a batch takes. So long, and
/// [`Lease::CLOCKS_DIFFER_MS`] more, others wait for a holder that died.
const LEASE_MS: i64 = 30_000;
/// A lease that lasts for less than so many milliseconds is renewed before anything is written under it.
const LEFT_MS_MIN: i64 = LEASE_MS / 2;

/// The leases of one invocation, on the ids of rows that other code writes too.
///
/// All that a batch needs are taken in the order of their keys, and nobody waits for one while holding
/// others, so no two can wait for each other.
#[derive(Debug)]
pub(super) struct Leases {
    owner: SmolStr,
    held: BTreeMap<LockKey, Lease>,
}

impl Leases {
    /// None yet. The owner is this delivery of these messages: no other has its first receipt as often
    /// received at the same moment.
    pub(super) fn new(received: &[Received], now: Timestamp) -> Self {
        let owner = received.first().map_or_else(SmolStr::default, |first| {
            let Received {
                receipt, receives, ..
            } = first;
            format_smolstr!("process {}/{receives} at {}", receipt.0, now.ms())
        });
        Self::of(&owner)
    }

    /// None yet, of an owner whose name is of this attempt alone.
    pub(super) fn of(owner: &str) -> Self {
        Self {
            owner: owner.into(),
            held: BTreeMap::new(),
        }
    }

    /// Whether all of these are held.
    pub(super) fn has(&self, keys: &BTreeSet<LockKey>) -> bool {
        keys.iter().all(|key| self.held.contains_key(key))
    }

    /// Acquires what is wanted and not held yet, and renews what is, if that is due or `anew`. Returns the
    /// keys that somebody else has.
    pub(super) async fn hold(
        &mut self,
        ports: &impl Locks,
        clock: &impl Clock,
        wanted: BTreeSet<LockKey>,
        anew: bool,
    ) -> Result<BTreeSet<LockKey>, Error> {
        let mut refused = BTreeSet::new();
        for key in wanted {
            let now = clock.now();
            let lease = match self.held.remove(&key) {
                Some(lease) if !anew && lease.lasts_at(now.plus_ms(LEFT_MS_MIN)) => Some(lease),
                Some(lease) => ports.renew(&lease, LEASE_MS, now).await?,
                None => ports.acquire(&key, &self.owner, LEASE_MS, now).await?,
            };
            match lease {
                Some(lease) => drop(self.held.insert(key, lease)),
                None => drop(refused.insert(key)),
            }
        }
        Ok(refused)
    }

    /// Makes sure, before a write, that all last long enough for it. Returns the keys that were lost.
    pub(super) async fn keep(
        &mut self,
        ports: &impl Locks,
        clock: &impl Clock,
    ) -> Result<BTreeSet<LockKey>, Error> {
        let held = self.held.keys().cloned().collect();
        self.hold(ports, clock, held, false).await
    }

    /// Puts the fences of the leases on the writes of their rows.
    pub(super) fn fence(&self, writes: &mut [Write]) {
        if self.held.is_empty() {
            return;
        }
        for write in writes {
            let lease = self.held.get(&LockKey::of_row(&write.key));
            if let (Some(lease), Some(put)) = (lease, &mut write.put) {
                put.trail.fence = lease.fence;
            }
        }
    }

    /// Gives all back. One that cannot be given back runs out by itself.
    pub(super) async fn release(self, ports: &impl Locks) {
        for lease in self.held.values() {
            drop(ports.release(lease).await);
        }
    }
}
