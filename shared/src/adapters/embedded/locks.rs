use rusqlite::{OptionalExtension, params};
use smol_str::SmolStr;

use crate::model::Timestamp;
use crate::ports::{Error, Lease, LockKey, Locks};

use super::query::{Need, queries};
use super::queue::bind;
use super::{Embedded, Failure, Inner};

queries! {
    LOCK {
        name: "Locks::acquire",
        needs: [Need::Key("locks")],
        sql: "SELECT fence, holder, held_until FROM locks WHERE tenant = ? AND name = ?",
        trial: "SELECT tenant, name FROM locks LIMIT 1",
    }
    TAKE {
        name: "Locks::acquire, take",
        needs: [],
        sql: "INSERT INTO locks (tenant, name, fence, holder, held_until, forget_from)
              VALUES (?, ?, ?, ?, ?, ?)
              ON CONFLICT (tenant, name) DO UPDATE
              SET fence = excluded.fence, holder = excluded.holder,
                  held_until = excluded.held_until, forget_from = excluded.forget_from",
    }
    /// Most locks are young: an index by time would cost every lock more than a pass once an hour.
    FORGET_LOCKS {
        name: "Locks::acquire, forget",
        needs: [Need::WholePass("locks")],
        sql: "DELETE FROM locks WHERE forget_from <= ?",
    }
    RENEW {
        name: "Locks::renew",
        needs: [Need::Key("locks")],
        sql: "UPDATE locks SET held_until = ?, forget_from = ?
              WHERE tenant = ? AND name = ? AND fence = ? AND holder = ?",
    }
    RELEASE {
        name: "Locks::release",
        needs: [Need::Key("locks")],
        sql: "UPDATE locks SET holder = NULL
              WHERE tenant = ? AND name = ? AND fence = ? AND holder = ?",
    }
}

const FORGET_EVERY_MS: i64 = 60 * 60 * 1_000;

impl Locks for Embedded {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.unit(|inner| {
            inner.forget_locks(now)?;
            let last = inner.lock(key)?;
            let free = |known: &Known| match &known.holder {
                None => true,
                Some(holder) => holder == owner || known.until <= Lease::over_before(now),
            };
            if !last.as_ref().is_none_or(free) {
                return Ok(None);
            }
            let lease = Lease {
                key: key.clone(),
                owner: owner.into(),
                fence: Lease::next_fence(last.map(|last| last.fence), now),
                until: now.plus_ms(lease_ms),
            };
            inner.take(&lease)?;
            Ok::<_, Failure>(Some(lease))
        })
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let until = now.plus_ms(lease_ms);
        let forget_from = Lease::forget_from(lease.fence, until);
        let renewed = self.unit(|inner| {
            inner.database.prepare(&RENEW)?.execute(params![
                until.ms(),
                forget_from.ms(),
                lease.key.tenant.as_str(),
                lease.key.name.as_str(),
                bind(lease.fence),
                lease.owner.as_str(),
            ])
        })?;
        let lease = lease.clone();
        Ok((renewed == 1).then_some(Lease { until, ..lease }))
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let released = self.unit(|inner| {
            inner.database.prepare(&RELEASE)?.execute(params![
                lease.key.tenant.as_str(),
                lease.key.name.as_str(),
                bind(lease.fence),
                lease.owner.as_str(),
            ])
        });
        released.map(drop)
    }
}

/// What is known of a lock that was acquired once.
struct Known {
    fence: u64,
    holder: Option<SmolStr>,
    until: Timestamp,
}

impl Inner {
    fn lock(&self, key: &LockKey) -> rusqlite::Result<Option<Known>> {
        let mut select = self.database.prepare(&LOCK)?;
        let known = select.query_row(params![key.tenant.as_str(), key.name.as_str()], |row| {
            let holder: Option<String> = row.get(1)?;
            Ok(Known {
                fence: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                holder: holder.map(SmolStr::from),
                until: Timestamp::from_ms(row.get(2)?),
            })
        });
        known.optional()
    }

    fn take(&self, lease: &Lease) -> rusqlite::Result<()> {
        let forget_from = Lease::forget_from(lease.fence, lease.until);
        let mut insert = self.database.prepare(&TAKE)?;
        insert.execute(params![
            lease.key.tenant.as_str(),
            lease.key.name.as_str(),
            bind(lease.fence),
            lease.owner.as_str(),
            lease.until.ms(),
            forget_from.ms(),
        ])?;
        Ok(())
    }

    /// Forgets locks that nobody has used for long, now and then: one that stays is taken all the same.
    fn forget_locks(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        if now < self.forget_locks_from {
            return Ok(());
        }
        self.database.prepare(&FORGET_LOCKS)?.execute([now.ms()])?;
        self.forget_locks_from = now.plus_ms(FORGET_EVERY_MS);
        Ok(())
    }
}
