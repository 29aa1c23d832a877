//! Ports that tell a probe of what they do.

use std::sync::Arc;

use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use shared::handlers::Version;
use shared::model::{Depth, Entry, EventHash, Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Appended, Commit, Committed, ConversionPage, ConversionQuery, Error, HistoryVersion,
    Journal, Lease, Letter, LockKey, Locks, Message, Partition, Queue, Reading, Receipt, Received,
    Reports, Since, Tables,
};
use smol_str::SmolStr;

use super::{Probe, Step};

/// Another store, with the time spent in it.
#[derive(Debug)]
pub(crate) struct Probed<'a, P> {
    inner: &'a P,
    probe: &'a Probe,
}

impl<'a, P> Probed<'a, P> {
    pub(crate) fn new(inner: &'a P, probe: &'a Probe) -> Self {
        Self { inner, probe }
    }
}

impl<P: Journal> Journal for Probed<'_, P> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        let work = self.inner.append(entries);
        self.probe.step(Step::Append, work).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        let work = self.inner.entries(groups);
        self.probe.step(Step::ReadJournal, work).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        let work = self.inner.entries_since(groups);
        self.probe.step(Step::ReadJournal, work).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        let work = self.inner.whereabouts(events);
        self.probe.step(Step::ReadJournal, work).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        let work = self.inner.homes(events);
        self.probe.step(Step::ReadJournal, work).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.inner.groups(partition, after, limit).await
    }
}

impl<P: Queue> Queue for Probed<'_, P> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        let work = self.inner.send(messages, now);
        self.probe.step(Step::Queue, work).await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        let work = self.inner.receive(limit, now);
        self.probe.step(Step::Queue, work).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        let work = self.inner.delete(receipts);
        self.probe.step(Step::Queue, work).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.inner.hide_until(receipts, at).await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        let work = self.inner.park(letters, now);
        self.probe.step(Step::Queue, work).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.inner.dead_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.inner.redrive(letters, now).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.inner.discard(letters).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.inner.depth(now).await
    }
}

impl<P: Locks> Locks for Probed<'_, P> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let work = self.inner.acquire(key, owner, lease_ms, now);
        self.probe.step(Step::Locks, work).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let work = self.inner.renew(lease, lease_ms, now);
        self.probe.step(Step::Locks, work).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let work = self.inner.release(lease);
        self.probe.step(Step::Locks, work).await
    }
}

impl<P: Tables> Tables for Probed<'_, P> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        let work = self.inner.read(keys, reading);
        self.probe.step(Step::ReadRows, work).await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        let work = self.inner.read_groups(groups);
        self.probe.step(Step::ReadRows, work).await
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.inner.groups_with_rows(partition, after, limit).await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let work = self.inner.commit_all(commit, now);
        self.probe.step(Step::WriteRows, work).await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        let work = self.inner.images(group, since);
        self.probe.step(Step::ReadRows, work).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        let work = self.inner.image_heads(group);
        self.probe.step(Step::ReadRows, work).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        let work = self.inner.versions_after(rows);
        self.probe.step(Step::ReadRows, work).await
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        let work = self.inner.add(additions, now);
        self.probe.step(Step::WriteRows, work).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.inner.history(key).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.inner.conversions(query).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.inner.find(tenant, id).await
    }
}

impl<P: Reports> Reports for Probed<'_, P> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.inner.keep_run(run, findings).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.inner.runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.inner.findings(run, after, limit).await
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        let work = self.inner.keep_live(findings);
        self.probe.step(Step::WriteRows, work).await
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.inner.forget_live(findings).await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.inner.keep_report(report).await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.inner.reports(limit).await
    }
}
