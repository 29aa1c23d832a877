//! Ports of a worker that dies.

use std::slice::from_ref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored, Write};
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
    written: Mutex<Vec<Written>>,
}

/// A row that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which.
    pub key: RowKey,
    /// The version that it replaced.
    pub expected: Option<u64>,
    /// Its version.
    pub version: u64,
    /// How many events it holds.
    pub events: u64,
}

impl<'a, P: AllPorts> Mortal<'a, P> {
    /// One that dies at its call of that number, from 0.
    pub fn new(ports: &'a P, dies_at: u32, deed: Deed) -> Self {
        Self {
            ports,
            calls: AtomicU32::new(0),
            dies_at,
            deed,
            written: Mutex::default(),
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

    /// The rows that were written, the fellow's edits of [`Mortal::meddle`] included.
    pub fn written(&self) -> Vec<Written> {
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A row and its trail, read past the worker.
    pub async fn read_row(&self, key: &RowKey) -> Option<Stored> {
        let read = self.ports.read(from_ref(key), Reading::Row).await;
        read.ok()?.into_iter().find(|row| !row.is_gone())
    }

    /// What somebody else writes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn meddle(&self, write: &Write, now: Timestamp) -> Result<Committed, Error> {
        let committed = self.ports.commit(from_ref(write), &[], now).await?;
        self.note(from_ref(write), &committed);
        let mut committed = committed.into_iter();
        let nothing = || Error::new(ErrorKind::Corrupt, "write a row", "no answer");
        committed.next().ok_or_else(nothing)
    }

    fn note(&self, writes: &[Write], committed: &[Committed]) {
        let done = writes.iter().zip(committed);
        let done = done.filter(|(_, one)| **one == Committed::Done);
        let done = done.filter_map(|(write, _)| {
            let put = write.put.as_ref()?;
            Some(Written {
                key: write.key.clone(),
                expected: write.expected,
                version: put.trail.version,
                events: put.trail.held.events,
            })
        });
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).extend(done);
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

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.ports.homes(events).await
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
        let writes = commit.writes;
        let committed = self.call(self.ports.commit_all(commit, now)).await?;
        self.note(writes, &committed);
        Ok(committed)
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
