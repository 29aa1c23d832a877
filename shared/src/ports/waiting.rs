use std::future::Future;

use crate::model::{Entry, Group};

use super::Error;

/// What is still under way, for a replay to tell it from what is lost.
///
/// Not every queue can be looked into: SQS cannot. There nothing is known to wait, and a replay goes by
/// the age of an event alone (its grace period).
pub trait Waiting: Send + Sync {
    /// The events of each group whose messages are known to wait or to be in flight.
    fn waiting(
        &self,
        groups: &[Group],
    ) -> impl Future<Output = Result<Vec<Vec<Entry>>, Error>> + Send;
}
