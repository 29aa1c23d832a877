use std::future::Future;

use crate::model::{ActionHierarchy, Group};

use super::{Error, Found, Look};

/// What each event led to, kept when done: [`Tables::commit`](super::Tables::commit) saves it with
/// the rows.
pub trait Hierarchies: Send + Sync {
    /// The hierarchies of a group, in the order in which they were finished.
    fn of_group(
        &self,
        group: &Group,
    ) -> impl Future<Output = Result<Vec<ActionHierarchy>, Error>> + Send;

    /// The hierarchies that were finished last, the newest first. The cost grows with how many are looked
    /// at.
    fn finished(
        &self,
        look: &Look,
    ) -> impl Future<Output = Result<Found<ActionHierarchy>, Error>> + Send;
}
