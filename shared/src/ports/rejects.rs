use std::future::Future;

use crate::model::Reject;

use super::Error;

/// Input that could not be accepted, kept so that nothing is lost.
pub trait Rejects: Send + Sync {
    /// Keeps rejects. One that is kept already (same input, line and text) is kept once.
    fn keep(&self, rejects: &[Reject]) -> impl Future<Output = Result<(), Error>> + Send;

    /// The rejects after place `after`, at most `limit`, each with its place.
    fn list(
        &self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, Reject)>, Error>> + Send;
}
