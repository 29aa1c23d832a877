use std::future::Future;

use crate::model::{Finding, ReplayRun, Report};

use super::Error;

/// The number that findings of live handling are kept under. No run has it, and none is kept with them.
pub const LIVE_RUN: u64 = 0;

/// The most runs that are kept; a newer one takes the place of the oldest, with its findings.
pub const RUNS_KEPT_MAX: u64 = 200;
/// The most reports that are kept; a newer one takes the place of the oldest.
pub const REPORTS_KEPT_MAX: u64 = 200;

/// What replay found and what reports said, kept to be looked up.
pub trait Reports: Send + Sync {
    /// Keeps a run and its findings, and returns the run's number: from 1, and greater than that of
    /// any run kept before. Of more than [`RUNS_KEPT_MAX`] the oldest are forgotten.
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

    /// Keeps findings of live handling, one a row: a newer one takes the place of the row's last. They are
    /// read as the findings of the run [`LIVE_RUN`], in no particular order of places.
    fn keep_live(&self, findings: &[Finding]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets findings of live handling; one that a newer one took the place of stays.
    fn forget_live(&self, findings: &[Finding]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keeps a report. Of more than [`REPORTS_KEPT_MAX`] the oldest are forgotten.
    fn keep_report(&self, report: &Report) -> impl Future<Output = Result<(), Error>> + Send;

    /// The reports kept last, the newest first, at most `limit`.
    fn reports(&self, limit: usize) -> impl Future<Output = Result<Vec<Report>, Error>> + Send;
}
