use std::future::Future;

use smol_str::SmolStr;

use crate::flow::RowKey;
use crate::model::Timestamp;

use super::Error;

/// Leases on names, for work that must not be done by two at once.
///
/// A lease ends by itself, so a holder that died keeps nobody out for good; a holder that was only slow may
/// therefore wake up after its lease went to another. Whoever writes under a lease writes its fence too, and
/// what is written to refuses a smaller fence than it has seen
/// (M. Kleppmann, "How to do distributed locking", 2016).
pub trait Locks: Send + Sync {
    /// Acquires a lock until `lease_ms` milliseconds after `now`; `None` where somebody else holds it.
    ///
    /// A lease that ran out goes to another only [`Lease::CLOCKS_DIFFER_MS`] later.
    ///
    /// An owner is one holder, say an invocation. Acquiring what it holds already is an acquisition like any
    /// other: it gets a new lease with a greater fence, and the one that it had is lost. So an owner whose
    /// answer was lost, or that was started again, need not wait for itself; two that share a name would
    /// take the lock from each other.
    fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Lease>, Error>> + Send;

    /// Makes a lease last until `lease_ms` milliseconds after `now`, under the fence that it has; `None`
    /// where it is lost: released, or acquired again by anybody. One that ran out and that nobody has
    /// acquired since is renewed.
    fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Lease>, Error>> + Send;

    /// Gives a lease back. One that is lost releases nothing.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What is locked: a name of a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockKey {
    /// The tenant.
    pub tenant: SmolStr,
    /// The name, which says what it is a name of: `RSLead lead-1`.
    pub name: SmolStr,
}

impl LockKey {
    /// The lock of a row, which goes by the table and the row's own id: `RSLead lead-1`.
    #[must_use]
    pub fn of_row(row: &RowKey) -> Self {
        let name = format!("{} {}", row.table.name(), row.id);
        Self {
            tenant: row.group.tenant.clone(),
            name: name.into(),
        }
    }
}

/// A lock that was acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is locked.
    pub key: LockKey,
    /// Who holds it.
    pub owner: SmolStr,
    /// Greater than that of any lease on the same key before, whatever became of those.
    pub fence: u64,
    /// The holder must be done by then, by its own clock.
    pub until: Timestamp,
}

impl Lease {
    /// How far two clocks may differ, in milliseconds. A holder goes by `until` on its own clock; another
    /// one's must show so much more before it takes the lock, so that two never hold it at once.
    pub const CLOCKS_DIFFER_MS: i64 = 1_000;
    /// How long what is known of a lock is kept at least, in milliseconds, after its lease ran out and after
    /// the moment that its fence stands for.
    pub const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

    /// Whether its holder may still go on.
    #[must_use]
    pub fn lasts_at(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// A lease that lasted until `until` may be another's if it ended at or before this moment.
    #[must_use]
    pub fn over_before(now: Timestamp) -> Timestamp {
        now.plus_ms(-Self::CLOCKS_DIFFER_MS)
    }

    /// The fence after `last`, the greatest one known: the present in microseconds where that is greater.
    /// So fences also grow once the last one was forgotten, as that is done only when it is long past.
    #[must_use]
    pub fn next_fence(last: Option<u64>, now: Timestamp) -> u64 {
        let present = u64::try_from(now.ms()).unwrap_or(0).saturating_mul(1_000);
        let after_last = last.map_or(1, |last| last.saturating_add(1));
        present.max(after_last)
    }

    /// From when on a lock may be forgotten: its lease is over, and every fence to come is greater even on
    /// a clock that is behind by hours.
    #[must_use]
    pub fn forget_from(fence: u64, until: Timestamp) -> Timestamp {
        let fence_ms = i64::try_from(fence.div_ceil(1_000)).unwrap_or(i64::MAX);
        until
            .max(Timestamp::from_ms(fence_ms))
            .plus_ms(Self::KEPT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn fences_grow_whatever_the_clock_says() {
        for (last, now, expect) in [
            (None, at(5), 5_000),
            (None, at(-5), 1),
            (None, at(0), 1),
            (Some(4_999), at(5), 5_000),
            (Some(5_000), at(5), 5_001),
            (Some(5_001), at(5), 5_002),
            (Some(9_000), at(5), 9_001),
            (Some(9_000), Timestamp::MIN, 9_001),
        ] {
            assert_eq!(Lease::next_fence(last, now), expect, "{last:?} at {now}");
        }
    }

    /// Once forgotten, the next fence is greater even on a clock that is nearly a day behind.
    #[test]
    fn what_is_forgotten_is_past() {
        for (fence, until) in [(5_000, at(5)), (1, at(90_000)), (7_000_000_001, at(5))] {
            let from = Lease::forget_from(fence, until);
            assert!(from >= until.plus_ms(Lease::KEPT_MS));
            let behind = from.plus_ms(-Lease::KEPT_MS + 1);
            assert!(Lease::next_fence(None, behind) > fence, "{fence}");
        }
    }

    #[test]
    fn a_lease_lasts_until_its_end() {
        let lease = Lease {
            key: LockKey {
                tenant: "acme".into(),
                name: "lead-1".into(),
            },
            owner: "one".into(),
            fence: 1,
            until: at(10),
        };
        assert!(lease.lasts_at(at(9)));
        assert!(!lease.lasts_at(at(10)));
    }
}
