use std::collections::BTreeMap;

use shared::model::Timestamp;
use shared::ports::{Error, Lease, LockKey, Locks};
use smol_str::SmolStr;

use super::Memory;
use crate::gate::{Call, Gate};

/// What is known of the locks that were acquired once.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<LockKey, Known>);

#[derive(Debug)]
struct Known {
    fence: u64,
    holder: Option<SmolStr>,
    until: Timestamp,
}

impl Known {
    fn is(&self, lease: &Lease) -> bool {
        self.fence == lease.fence && self.holder.as_ref() == Some(&lease.owner)
    }
}

impl<G: Gate> Locks for Memory<G> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.call(Call::Acquire, |store, _| {
            let last = store.locks.0.get(key);
            let free = last.is_none_or(|known| match &known.holder {
                None => true,
                Some(holder) => holder == owner || known.until <= Lease::over_before(now),
            });
            if !free {
                return Ok(None);
            }
            let lease = Lease {
                key: key.clone(),
                owner: owner.into(),
                fence: Lease::next_fence(last.map(|last| last.fence), now),
                until: now.plus_ms(lease_ms),
            };
            let known = Known {
                fence: lease.fence,
                holder: Some(owner.into()),
                until: lease.until,
            };
            store.locks.0.insert(key.clone(), known);
            if let Some(audit) = &mut store.audit {
                audit.acquired(&lease);
            }
            Ok(Some(lease))
        })
        .await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.call(Call::Renew, |store, _| {
            let known = store.locks.0.get_mut(&lease.key);
            let Some(known) = known.filter(|known| known.is(lease)) else {
                return Ok(None);
            };
            known.until = now.plus_ms(lease_ms);
            let renewed = Lease {
                until: known.until,
                ..lease.clone()
            };
            if let Some(audit) = &mut store.audit {
                audit.acquired(&renewed);
            }
            Ok(Some(renewed))
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.call(Call::Release, |store, _| {
            let known = store.locks.0.get_mut(&lease.key);
            if let Some(known) = known.filter(|known| known.is(lease)) {
                known.holder = None;
                if let Some(audit) = &mut store.audit {
                    audit.given_back(lease);
                }
            }
            Ok(())
        })
        .await
    }
}
