//! Where a command's events, messages and settings are.

use std::sync::Arc;

use pollster::block_on;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{Depth, Entry, EventHash, Group, Timestamp};
use shared::ports::{
    Appended, Error, Journal, Lease, Letter, LockKey, Locks, Message, Partition, Queue, Receipt,
    Received, SettingsVersions, Since, Waiting,
};
use shared::settings::{Format, SettingsVersion, StoredSettings};

use smol_str::SmolStr;

use crate::aws::Stack;
use crate::cli::{Data, Target};
use crate::error::Failure;

/// Events, messages and settings, wherever they are.
#[derive(Debug)]
pub(crate) enum HostEvents {
    /// In a data directory.
    Local(Embedded),
    /// In a stack on AWS.
    Aws(Stack),
}

impl HostEvents {
    /// Opens them for writing.
    pub(crate) fn open(data: &Data) -> Result<Self, Failure> {
        match data.target()? {
            Target::Local => {
                let store = Embedded::open(&data.directory, QueueLimits::default())?;
                Ok(Self::Local(store))
            }
            Target::Aws => Ok(Self::Aws(Stack::find(&data.aws)?)),
        }
    }

    /// When the oldest message that waits was sent; nobody but AWS knows that of a stack's.
    pub(crate) fn oldest_message(&self) -> Result<Option<Timestamp>, Error> {
        match self {
            Self::Local(store) => store.oldest_message(),
            Self::Aws(_) => Ok(None),
        }
    }

    /// Opens them for reading, as they are; another process may write meanwhile.
    pub(crate) fn open_to_read(data: &Data) -> Result<Self, Failure> {
        match data.target()? {
            Target::Local => Ok(Self::Local(Embedded::open_to_read(&data.directory)?)),
            Target::Aws => Ok(Self::Aws(Stack::find(&data.aws)?)),
        }
    }

    /// The same once more, to be read by another thread.
    pub(crate) fn again(&self) -> Result<Self, Failure> {
        Ok(match self {
            Self::Local(store) => Self::Local(Embedded::open_to_read(store.directory())?),
            Self::Aws(stack) => Self::Aws(stack.clone()),
        })
    }

    /// The same, for writing.
    pub(crate) fn into_writing(self) -> Result<Self, Failure> {
        match self {
            Self::Local(store) => {
                let directory = store.directory().to_path_buf();
                drop(store);
                let store = Embedded::open(&directory, QueueLimits::default())?;
                Ok(Self::Local(store))
            }
            Self::Aws(stack) => Ok(Self::Aws(stack)),
        }
    }

    /// Begins a unit of work, where there is such a thing.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.begin(),
            Self::Aws(_) => Ok(()),
        }
    }

    /// Makes a unit of work durable; on AWS every write is by itself.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.commit(),
            Self::Aws(_) => Ok(()),
        }
    }

    /// Gives a unit of work up, where there is such a thing.
    pub(crate) fn roll_back(&self) {
        match self {
            Self::Local(store) => store.roll_back(),
            Self::Aws(_) => {}
        }
    }

    /// Runs `work` on these alone to its end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        match self {
            Self::Local(_) => block_on(work),
            Self::Aws(stack) => stack.runtime.block_on(work),
        }
    }

    /// The dead letters, a page at a time.
    pub(crate) fn each_letter(
        &self,
        mut take: impl FnMut(Vec<Letter>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after = 0;
        loop {
            let page = self.wait(self.dead_letters(after, LETTERS_PAGE))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            let is_last = page.len() < LETTERS_PAGE;
            take(page)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// How many letters are read at once.
const LETTERS_PAGE: usize = 1_000;

impl Journal for HostEvents {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        match self {
            Self::Local(store) => store.append(entries).await,
            Self::Aws(stack) => stack.aws.append(entries).await,
        }
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        match self {
            Self::Local(store) => store.entries(groups).await,
            Self::Aws(stack) => stack.aws.entries(groups).await,
        }
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        match self {
            Self::Local(store) => store.entries_since(groups).await,
            Self::Aws(stack) => stack.aws.entries_since(groups).await,
        }
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        match self {
            Self::Local(store) => store.whereabouts(events).await,
            Self::Aws(stack) => stack.aws.whereabouts(events).await,
        }
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        match self {
            Self::Local(store) => store.homes(events).await,
            Self::Aws(stack) => stack.aws.homes(events).await,
        }
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        match self {
            Self::Local(store) => store.groups(partition, after, limit).await,
            Self::Aws(stack) => stack.aws.groups(partition, after, limit).await,
        }
    }
}

impl Queue for HostEvents {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Local(store) => Queue::send(store, messages, now).await,
            Self::Aws(stack) => stack.aws.send(messages, now).await,
        }
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        match self {
            Self::Local(store) => store.receive(limit, now).await,
            Self::Aws(stack) => stack.aws.receive(limit, now).await,
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.delete(receipts).await,
            Self::Aws(stack) => stack.aws.delete(receipts).await,
        }
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.hide_until(receipts, at).await,
            Self::Aws(stack) => stack.aws.hide_until(receipts, at).await,
        }
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.park(letters, now).await,
            Self::Aws(stack) => stack.aws.park(letters, now).await,
        }
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        match self {
            Self::Local(store) => store.dead_letters(after, limit).await,
            Self::Aws(stack) => stack.aws.dead_letters(after, limit).await,
        }
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        match self {
            Self::Local(store) => store.redrive(letters, now).await,
            Self::Aws(stack) => stack.aws.redrive(letters, now).await,
        }
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        match self {
            Self::Local(store) => store.discard(letters).await,
            Self::Aws(stack) => stack.aws.discard(letters).await,
        }
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        match self {
            Self::Local(store) => store.depth(now).await,
            Self::Aws(stack) => stack.aws.depth(now).await,
        }
    }
}

impl Locks for HostEvents {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        match self {
            Self::Local(store) => store.acquire(key, owner, lease_ms, now).await,
            Self::Aws(stack) => stack.aws.acquire(key, owner, lease_ms, now).await,
        }
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        match self {
            Self::Local(store) => store.renew(lease, lease_ms, now).await,
            Self::Aws(stack) => stack.aws.renew(lease, lease_ms, now).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.release(lease).await,
            Self::Aws(stack) => stack.aws.release(lease).await,
        }
    }
}

impl Waiting for HostEvents {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        match self {
            Self::Local(store) => store.waiting(groups).await,
            Self::Aws(stack) => stack.aws.waiting(groups).await,
        }
    }
}

impl SettingsVersions for HostEvents {
    async fn latest(&self) -> Result<Option<StoredSettings>, Error> {
        match self {
            Self::Local(store) => store.latest().await,
            Self::Aws(stack) => stack.aws.latest().await,
        }
    }

    async fn versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        match self {
            Self::Local(store) => store.versions(limit).await,
            Self::Aws(stack) => stack.aws.versions(limit).await,
        }
    }

    async fn version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        match self {
            Self::Local(store) => store.version(version).await,
            Self::Aws(stack) => stack.aws.version(version).await,
        }
    }

    async fn put(&self, text: &str, format: Format, now: Timestamp) -> Result<u32, Error> {
        match self {
            Self::Local(store) => store.put(text, format, now).await,
            Self::Aws(stack) => stack.aws.put(text, format, now).await,
        }
    }
}
