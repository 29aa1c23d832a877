//! Reports, runs of replay, hierarchies and settings.

use std::collections::BTreeMap;

use shared::flow::RowKey;
use shared::model::{ActionHierarchy, Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Error, Found, Hierarchies, LIVE_RUN, Look, REPORTS_KEPT_MAX, RUNS_KEPT_MAX, Reports,
    SettingsVersions,
};
use shared::settings::{Format, SettingsVersion, StoredSettings, since};

use super::Memory;
use crate::gate::{Call, Gate};

/// Documents that are read whole.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    runs: BTreeMap<u64, (ReplayRun, Vec<Finding>)>,
    last_run: u64,
    live: BTreeMap<RowKey, (u64, Finding)>,
    last_live: u64,
    reports: BTreeMap<u64, Report>,
    last_report: u64,
    pub(crate) settings: Vec<StoredSettings>,
    /// When each version was put; of those that a world begins with nothing.
    put_at: BTreeMap<u32, Timestamp>,
}

fn row_of(finding: &Finding) -> RowKey {
    RowKey {
        group: finding.group.clone(),
        table: finding.table,
        id: finding.id.clone(),
    }
}

fn places(count: usize) -> impl Iterator<Item = u64> {
    1..=(count as u64)
}

impl<G: Gate> Hierarchies for Memory<G> {
    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.call(Call::OfGroup, |store, _| Ok(store.tables.finished(look)))
            .await
    }

    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.call(Call::OfGroup, |store, _| {
            Ok(store.tables.hierarchies(group))
        })
        .await
    }
}

impl<G: Gate> Reports for Memory<G> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.call(Call::KeepRun, |store, _| {
            let papers = &mut store.keeping;
            papers.last_run += 1;
            let kept = (run.clone(), findings.to_vec());
            papers.runs.insert(papers.last_run, kept);
            let too_old = papers.last_run.saturating_sub(RUNS_KEPT_MAX);
            papers.runs.retain(|number, _| *number > too_old);
            Ok(papers.last_run)
        })
        .await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.call(Call::Runs, |store, _| {
            let newest = store.keeping.runs.iter().rev().take(limit);
            Ok(newest
                .map(|(number, (run, _))| (*number, run.clone()))
                .collect())
        })
        .await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.call(Call::Findings, |store, _| {
            let papers = &store.keeping;
            let mut found: Vec<(u64, Finding)> = if run == LIVE_RUN {
                papers.live.values().cloned().collect()
            } else {
                let kept = papers.runs.get(&run).map(|(_, findings)| findings);
                let kept = kept.into_iter().flatten().cloned();
                places(usize::MAX).zip(kept).collect()
            };
            found.sort_by_key(|(place, _)| *place);
            found.retain(|(place, _)| *place > after);
            found.truncate(limit);
            Ok(found)
        })
        .await
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.call(Call::KeepLive, |store, _| {
            let papers = &mut store.keeping;
            for finding in findings {
                papers.last_live += 1;
                let place = papers.last_live;
                let kept = papers.live.entry(row_of(finding));
                kept.or_insert((place, finding.clone())).1 = finding.clone();
            }
            Ok(())
        })
        .await
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.call(Call::ForgetLive, |store, _| {
            for finding in findings {
                let row = row_of(finding);
                let known = store.keeping.live.get(&row);
                if known.is_some_and(|(_, known)| known == finding) {
                    store.keeping.live.remove(&row);
                }
            }
            Ok(())
        })
        .await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.call(Call::KeepReport, |store, _| {
            let papers = &mut store.keeping;
            papers.last_report += 1;
            papers.reports.insert(papers.last_report, report.clone());
            let too_old = papers.last_report.saturating_sub(REPORTS_KEPT_MAX);
            papers.reports.retain(|number, _| *number > too_old);
            Ok(())
        })
        .await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.call(Call::Reports, |store, _| {
            let newest = store.keeping.reports.values().rev();
            Ok(newest.take(limit).cloned().collect())
        })
        .await
    }
}

impl<G: Gate> SettingsVersions for Memory<G> {
    async fn latest(&self) -> Result<Option<StoredSettings>, Error> {
        self.call(Call::Latest, |store, _| {
            Ok(store.keeping.settings.last().cloned())
        })
        .await
    }

    async fn versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        self.call(Call::Latest, |store, _| {
            let newest = store.keeping.settings.iter().rev().take(limit);
            let told = newest.map(|stored| SettingsVersion {
                version: stored.version,
                at: store.keeping.put_at.get(&stored.version).copied(),
                format: stored.format,
                bytes: stored.text.len() as u64,
            });
            Ok(told.collect())
        })
        .await
    }

    async fn version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        self.call(Call::Latest, |store, _| {
            let mut all = store.keeping.settings.iter();
            Ok(all.find(|stored| stored.version == version).cloned())
        })
        .await
    }

    async fn put(&self, text: &str, format: Format, now: Timestamp) -> Result<u32, Error> {
        self.call(Call::Put, |store, _| {
            let all = &mut store.keeping.settings;
            let latest = all.last();
            if let Some(latest) = latest
                && latest.text == text
                && latest.format == format
            {
                return Ok(latest.version);
            }
            let version = latest.map_or(1, |latest| latest.version + 1);
            let since = since(latest, text, format, version);
            all.push(StoredSettings {
                since,
                version,
                format,
                text: text.to_owned(),
            });
            store.keeping.put_at.insert(version, now);
            Ok(version)
        })
        .await
    }
}
