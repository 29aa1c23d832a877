//! Ports of a worker that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use shared::handlers::Version;
use shared::model::{Depth, Entry, EventHash, Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Appended, Commit, Committed, ConversionPage, ConversionQuery, Error, ErrorKind,
    HistoryVersion, Journal, Lease, Letter, LockKey, Locks, Message, Partition, Queue, Reading,
    Receipt, Received, Reports, Since, Tables,
};
use smol_str::SmolStr;

use crate::contract::together::AllPorts;

/// Whether what a worker was doing when it died has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It died before.
    Undone,
    /// It died right after, and never learned.
    Done,
}

/// Ports of a worker that dies at one of its calls that change something.
#[derive(Debug)]
pub struct Mortal<'a, P> {
    ports: &'a P,
    calls: AtomicU32,
    dies_at: u32,
    deed: Deed,
}

impl<'a, P: AllPorts> Mortal<'a, P> {
    /// One that dies at its call of that number, from 0.
    pub fn new(ports: &'a P, dies_at: u32, deed: Deed) -> Self {
        Self {
            ports,
            calls: AtomicU32::new(0),
            dies_at,
            deed,
        }
    }

    /// One that lives.
    pub fn immortal(ports: &'a P) -> Self {
        Self::new(ports, u32::MAX, Deed::Done)
    }

    /// How many calls it has made that change something.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether it has died. What it does from then on is another's work in its place.
    pub fn has_died(&self) -> bool {
        self.calls() > self.dies_at
    }

    async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number != self.dies_at {
            return work.await;
        }
        if self.deed == Deed::Done {
            work.await?;
        }
        Err(Error::new(ErrorKind::Retry, "go on", "the worker has died"))
    }
}

impl<P: AllPorts> Journal for Mortal<'_, P> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.call(self.ports.append(entries)).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.ports.entries(groups).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.ports.entries_since(groups).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.ports.whereabouts(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.ports.groups(partition, after, limit).await
    }
}

impl<P: AllPorts> Queue for Mortal<'_, P> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.call(self.ports.send(messages, now)).await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.ports.receive(limit, now).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.call(self.ports.delete(receipts)).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.ports.hide_until(receipts, at).await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.call(self.ports.park(letters, now)).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.ports.dead_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.ports.redrive(letters, now).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.ports.discard(letters).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.ports.depth(now).await
    }
}

impl<P: AllPorts> Locks for Mortal<'_, P> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.ports.acquire(key, owner, lease_ms, now).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.ports.renew(lease, lease_ms, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.ports.release(lease).await
    }
}

impl<P: AllPorts> Tables for Mortal<'_, P> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.ports.read(keys, reading).await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.ports.read_groups(groups).await
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.ports.groups_with_rows(partition, after, limit).await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.call(self.ports.commit_all(commit, now)).await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.ports.images(group, since).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.ports.image_heads(group).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.ports.versions_after(rows).await
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.call(self.ports.add(additions, now)).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.ports.history(key).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.ports.conversions(query).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.ports.find(tenant, id).await
    }
}

impl<P: AllPorts> Reports for Mortal<'_, P> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.ports.keep_run(run, findings).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.ports.runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.ports.findings(run, after, limit).await
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.ports.keep_live(findings).await
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.ports.forget_live(findings).await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.ports.keep_report(report).await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.ports.reports(limit).await
    }
}
