use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::Mongo;
use shared::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use shared::handlers::{Table, Version};
use shared::model::{ActionHierarchy, Finding, Group, IndexCheck, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Error, Found, Hierarchies,
    HistoryVersion, Indexes, Look, Partition, Reading, Reports, Tables,
};
use smol_str::SmolStr;

/// The rows, wherever this data directory keeps them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HostTables<'a> {
    /// In the data directory.
    Local(&'a Embedded),
    /// In MongoDB.
    Remote(&'a Mongo),
}

impl HostTables<'_> {
    /// Gives every row of a table in its canonical form, sorted by tenant and id, to `take`.
    pub(crate) async fn export<E: From<Error>>(
        self,
        table: Table,
        tenant: Option<&str>,
        take: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Local(store) => store.export(table, tenant, take),
            Self::Remote(store) => store.export(table, tenant, take).await,
        }
    }

    /// How many rows each table has; of a temporal table, how many versions are in force.
    pub(crate) async fn row_counts(self) -> Result<Vec<(Table, u64)>, Error> {
        match self {
            Self::Local(store) => store.row_counts(),
            Self::Remote(store) => store.row_counts().await,
        }
    }
}

impl Tables for HostTables<'_> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        match self {
            Self::Local(store) => store.read(keys, reading).await,
            Self::Remote(store) => store.read(keys, reading).await,
        }
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        match self {
            Self::Local(store) => store.read_groups(groups).await,
            Self::Remote(store) => store.read_groups(groups).await,
        }
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        match self {
            Self::Local(store) => store.groups_with_rows(partition, after, limit).await,
            Self::Remote(store) => store.groups_with_rows(partition, after, limit).await,
        }
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        match self {
            Self::Local(store) => store.commit_all(commit, now).await,
            Self::Remote(store) => store.commit_all(commit, now).await,
        }
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        match self {
            Self::Local(store) => store.images(group, since).await,
            Self::Remote(store) => store.images(group, since).await,
        }
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        match self {
            Self::Local(store) => store.image_heads(group).await,
            Self::Remote(store) => store.image_heads(group).await,
        }
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        match self {
            Self::Local(store) => store.versions_after(rows).await,
            Self::Remote(store) => store.versions_after(rows).await,
        }
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        match self {
            Self::Local(store) => store.add(additions, now).await,
            Self::Remote(store) => store.add(additions, now).await,
        }
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        match self {
            Self::Local(store) => store.history(key).await,
            Self::Remote(store) => store.history(key).await,
        }
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        match self {
            Self::Local(store) => store.conversions(query).await,
            Self::Remote(store) => store.conversions(query).await,
        }
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        match self {
            Self::Local(store) => store.find(tenant, id).await,
            Self::Remote(store) => store.find(tenant, id).await,
        }
    }
}

impl Hierarchies for HostTables<'_> {
    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        match self {
            Self::Local(store) => store.finished(look).await,
            Self::Remote(store) => store.finished(look).await,
        }
    }

    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        match self {
            Self::Local(store) => store.of_group(group).await,
            Self::Remote(store) => store.of_group(group).await,
        }
    }
}

impl Reports for HostTables<'_> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        match self {
            Self::Local(store) => store.keep_run(run, findings).await,
            Self::Remote(store) => store.keep_run(run, findings).await,
        }
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        match self {
            Self::Local(store) => store.runs(limit).await,
            Self::Remote(store) => store.runs(limit).await,
        }
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        match self {
            Self::Local(store) => store.findings(run, after, limit).await,
            Self::Remote(store) => store.findings(run, after, limit).await,
        }
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.keep_live(findings).await,
            Self::Remote(store) => store.keep_live(findings).await,
        }
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.forget_live(findings).await,
            Self::Remote(store) => store.forget_live(findings).await,
        }
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.keep_report(report).await,
            Self::Remote(store) => store.keep_report(report).await,
        }
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        match self {
            Self::Local(store) => store.reports(limit).await,
            Self::Remote(store) => store.reports(limit).await,
        }
    }
}

impl Indexes for HostTables<'_> {
    async fn create_indexes(&self) -> Result<Vec<SmolStr>, Error> {
        match self {
            Self::Local(store) => store.create_indexes().await,
            Self::Remote(store) => store.create_indexes().await,
        }
    }

    async fn check_indexes(&self) -> Result<IndexCheck, Error> {
        match self {
            Self::Local(store) => store.check_indexes().await,
            Self::Remote(store) => store.check_indexes().await,
        }
    }
}
