//! Tables that measure how long they take.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use shared::handlers::Version;
use shared::model::{Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Error, HistoryVersion, Partition,
    Reading, Reports, Tables,
};

/// Another store's tables, with the time spent in them.
#[derive(Debug)]
pub(crate) struct Timed<'a, T> {
    tables: &'a T,
    reading: AtomicU64,
    writing: AtomicU64,
}

impl<'a, T> Timed<'a, T> {
    pub(crate) fn new(tables: &'a T) -> Self {
        Self {
            tables,
            reading: AtomicU64::new(0),
            writing: AtomicU64::new(0),
        }
    }

    /// Time spent reading and writing so far.
    pub(crate) fn spent(&self) -> (Duration, Duration) {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (time(&self.reading), time(&self.writing))
    }
}

async fn timed<T>(spent: &AtomicU64, work: impl Future<Output = T>) -> T {
    let started = now();
    let done = work.await;
    let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    spent.fetch_add(nanos, Ordering::Relaxed);
    done
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl<T: Tables> Tables for Timed<'_, T> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        timed(&self.reading, self.tables.read(keys, reading)).await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        timed(&self.writing, self.tables.commit_all(commit, now)).await
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
        timed(&self.writing, self.tables.add(additions, now)).await
    }

    // The process step needs no more than these.

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

impl<T: Reports> Reports for Timed<'_, T> {
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
