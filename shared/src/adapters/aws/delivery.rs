use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use smol_str::SmolStr;

use crate::model::{Depth, Entry, EventHash, Group, Timestamp};
use crate::ports::{
    Appended, Error, Journal, Lease, Letter, LockKey, Locks, Message, Partition, Queue, Receipt,
    Received, Since,
};

use super::{Aws, body, chain};

/// The least pause before a message's second try; it doubles with each. Ten tries so take twenty to forty
/// minutes: an outage that is shorter parks nothing. (Five would take more than a minute, which is the least:
/// a worker that was killed leaves a transaction open, and `MongoDB` ends it after
/// `transactionLifetimeLimitSeconds`, by default 60; until then its rows can be written by nobody.)
const FIRST_PAUSE_MS: i64 = 5_000;
const LONGEST_PAUSE_MS: i64 = 300_000;

/// A message as Lambda hands it to a function.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Its id, by which the function answers.
    pub id: String,
    /// The handle of this receive.
    pub receipt: String,
    /// What it says.
    pub body: String,
    /// How often it has been received, this time included.
    pub receives: u32,
    /// When it was sent.
    pub sent: Timestamp,
}

/// The queue as a function sees it: Lambda has received a batch, and deletes what the function does not
/// name as failed. So to delete is to remember, and there is nothing to receive.
#[derive(Debug)]
pub struct Delivery<'a> {
    aws: &'a Aws,
    received: Vec<Received>,
    /// The handles of this receive, by the messages' ids.
    all: BTreeMap<SmolStr, Receipt>,
    done: Mutex<BTreeSet<SmolStr>>,
}

impl<'a> Delivery<'a> {
    /// A batch. Messages that say nothing to us are parked at once: left in the queue, they would hold
    /// their groups up until their receives are spent.
    ///
    /// # Errors
    /// The dead-letter queue failed.
    pub async fn new(aws: &'a Aws, batch: Vec<Delivered>) -> Result<Self, Error> {
        let handle =
            |one: &Delivered| (SmolStr::from(&one.id), Receipt(SmolStr::from(&one.receipt)));
        let all = batch.iter().map(handle).collect();
        let mut received = Vec::with_capacity(batch.len());
        let mut done = BTreeSet::new();
        let mut unreadable = Vec::new();
        for one in batch {
            match body::decode(&one.body) {
                Ok(message) => received.push(Received {
                    message,
                    receipt: Receipt(SmolStr::from(&one.id)),
                    receives: one.receives,
                    sent: one.sent,
                }),
                Err(why) => {
                    done.insert(SmolStr::from(&one.id));
                    unreadable.push((one.body, chain(&why)));
                }
            }
        }
        if !unreadable.is_empty() {
            aws.park_texts(unreadable).await?;
        }
        Ok(Self {
            aws,
            received,
            all,
            done: Mutex::new(done),
        })
    }

    /// The messages that can be read.
    #[must_use]
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// How many messages the batch has, those that cannot be read among them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all.len() as u64
    }

    /// The ids of those that are not done, for Lambda to leave in the queue.
    #[must_use]
    pub fn failed(&self) -> Vec<SmolStr> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.all.keys();
        all.filter(|id| !done.contains(*id)).cloned().collect()
    }

    /// Lets those that are not done come again sooner than the visibility timeout ends: each group after
    /// a pause that doubles with its receives, and up to as much again.
    ///
    /// # Errors
    /// The queue failed; they come when the visibility timeout ends.
    pub async fn release_failed(&self, now: Timestamp) -> Result<(), Error> {
        let failed: BTreeSet<SmolStr> = self.failed().into_iter().collect();
        let mut groups: BTreeMap<&Group, (u32, Vec<Receipt>)> = BTreeMap::new();
        for one in &self.received {
            if failed.contains(&one.receipt.0) {
                let (receives, receipts) = groups.entry(&one.message.group).or_default();
                *receives = one.receives.max(*receives);
                receipts.push(one.receipt.clone());
            }
        }
        for (receives, receipts) in groups.values() {
            let doublings = receives.saturating_sub(1).min(16);
            let least_ms = FIRST_PAUSE_MS
                .saturating_mul(1 << doublings)
                .min(LONGEST_PAUSE_MS);
            let pause_ms = fastrand::i64(least_ms..=2 * least_ms);
            self.hide_until(receipts, now.plus_ms(pause_ms)).await?;
        }
        Ok(())
    }
}

impl Queue for Delivery<'_> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.aws.send(messages, now).await
    }

    async fn receive(&self, _limit: usize, _now: Timestamp) -> Result<Vec<Received>, Error> {
        Ok(Vec::new())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.extend(receipts.iter().map(|receipt| receipt.0.clone()));
        Ok(())
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        let handles = receipts.iter().filter_map(|one| self.all.get(&one.0));
        let handles: Vec<Receipt> = handles.cloned().collect();
        self.aws.hide_until(&handles, at).await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.aws.park(letters, now).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.aws.dead_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.aws.redrive(letters, now).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.aws.discard(letters).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.aws.depth(now).await
    }
}

impl Locks for Delivery<'_> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.aws.acquire(key, owner, lease_ms, now).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.aws.renew(lease, lease_ms, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.aws.release(lease).await
    }
}

impl Journal for Delivery<'_> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.aws.append(entries).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.aws.entries(groups).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.aws.entries_since(groups).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.aws.whereabouts(events).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.aws.homes(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.aws.groups(partition, after, limit).await
    }
}
