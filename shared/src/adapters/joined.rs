use std::sync::Arc;

use smol_str::SmolStr;

use crate::flow::{Addition, ImageHead, KeptImage, RowKey, Stored, Write};
use crate::handlers::{Table, Version};
use crate::model::{
    ActionHierarchy, Entry, EventHash, Finding, Group, ReplayRun, Report, Timestamp,
};
use crate::ports::{
    Added, Appended, Commit, Committed, ConversionPage, ConversionQuery, Depth, Error, Found,
    Hierarchies, HistoryVersion, Journal, Lease, LegacyRow, LegacyTables, Letter, LockKey, Locks,
    Look, Message, Partition, Queue, Reading, Receipt, Received, Reports, Since, Tables, Waiting,
};

/// All ports over two stores: events and messages in one, rows and hierarchies in the other.
///
/// Nothing spans the two. Rows are written before their messages are deleted, so that a death between
/// the two brings the messages again, to rows that hold their events.
#[derive(Debug)]
pub struct Joined<'a, E, T> {
    /// Journal, queue and locks.
    pub events: &'a E,
    /// Rows and finished hierarchies.
    pub tables: &'a T,
}

impl<E: Journal, T: Send + Sync> Journal for Joined<'_, E, T> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.events.append(entries).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.events.entries(groups).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.events.entries_since(groups).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.events.whereabouts(events).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.events.homes(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.events.groups(partition, after, limit).await
    }
}

impl<E: Queue, T: Send + Sync> Queue for Joined<'_, E, T> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.events.send(messages, now).await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.events.receive(limit, now).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.events.delete(receipts).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.events.hide_until(receipts, at).await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.events.park(letters, now).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.events.dead_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.events.redrive(letters, now).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.events.discard(letters).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.events.depth(now).await
    }
}

impl<E: Locks, T: Send + Sync> Locks for Joined<'_, E, T> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.events.acquire(key, owner, lease_ms, now).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.events.renew(lease, lease_ms, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.events.release(lease).await
    }
}

impl<E: Waiting, T: Send + Sync> Waiting for Joined<'_, E, T> {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.events.waiting(groups).await
    }
}

impl<E: Send + Sync, T: Tables> Tables for Joined<'_, E, T> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.tables.read(keys, reading).await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.tables.read_groups(groups).await
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.tables.groups_with_rows(partition, after, limit).await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.tables.commit_all(commit, now).await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.tables.images(group, since).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.tables.image_heads(group).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.tables.versions_after(rows).await
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.tables.add(additions, now).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.tables.history(key).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.tables.conversions(query).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.tables.find(tenant, id).await
    }
}

impl<E: Send + Sync, T: Hierarchies> Hierarchies for Joined<'_, E, T> {
    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.tables.finished(look).await
    }

    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.tables.of_group(group).await
    }
}

impl<E: Send + Sync, T: Reports> Reports for Joined<'_, E, T> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.tables.keep_run(run, findings).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.tables.runs(limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.tables.findings(run, after, limit).await
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.tables.keep_live(findings).await
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.tables.forget_live(findings).await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.tables.keep_report(report).await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.tables.reports(limit).await
    }
}

impl<E: Send + Sync, T: LegacyTables> LegacyTables for Joined<'_, E, T> {
    async fn untracked(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LegacyRow>, Error> {
        self.tables.untracked(table, after, limit).await
    }

    async fn adopt(
        &self,
        adoptions: &[(LegacyRow, Write)],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.tables.adopt(adoptions, now).await
    }
}
