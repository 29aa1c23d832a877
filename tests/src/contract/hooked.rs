//! Tables with something that happens around each read and each write.

use std::future::Future;

use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use shared::handlers::Version;
use shared::model::{Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Error, HistoryVersion, Partition,
    Reading, Reports, Tables,
};

use super::together::AllPorts;

/// What happens around the calls of tables; a failure of it is the call's.
pub(super) trait Hook: Send + Sync {
    fn after_read(&self, keys: &[RowKey]) -> impl Future<Output = Result<(), Error>> + Send;

    fn before_commit(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Tables around whose calls something happens.
pub(super) struct Hooked<'a, P, H> {
    pub(super) ports: &'a P,
    pub(super) hook: &'a H,
}

impl<P: AllPorts, H: Hook> Tables for Hooked<'_, P, H> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        let read = self.ports.read(keys, reading).await;
        self.hook.after_read(keys).await?;
        read
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
        self.hook.before_commit().await?;
        self.ports.commit_all(commit, now).await
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
        self.ports.add(additions, now).await
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

impl<P: AllPorts, H: Hook> Reports for Hooked<'_, P, H> {
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
