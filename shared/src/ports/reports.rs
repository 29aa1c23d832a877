use std::future::Future;

use crate::model::{Finding, ReplayRun, Report};

use super::Error;

/// What replay found and what reports said, kept to be looked up.
pub trait Reports: Send + Sync {
    /// Keeps a run and its findings, and returns the run's number: from 1, and greater than that of
    /// any run kept before.
    fn keep_run(
        &self,
        run: &ReplayRun,
        findings: &[Finding],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// The runs kept last, the newest first, at most `limit`, each with its number.
    fn runs(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, ReplayRun)>, Error>> + Send;

    /// The findings of a run in the order kept, after place `after` (0: from the start), at most
    /// `limit`, each with its place, from 1. A run that is not kept has none.
    fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, Finding)>, Error>> + Send;

    /// Keeps a report.
    fn keep_report(&self, report: &Report) -> impl Future<Output = Result<(), Error>> + Send;

    /// The reports kept last, the newest first, at most `limit`.
    fn reports(&self, limit: usize) -> impl Future<Output = Result<Vec<Report>, Error>> + Send;
}
