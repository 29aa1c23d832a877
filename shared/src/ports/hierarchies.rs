use std::future::Future;

use crate::model::{ActionHierarchy, Group};

use super::Error;

/// What each event led to, kept when done.
pub trait Hierarchies: Send + Sync {
    /// Saves finished hierarchies; those of one group must stand together.
    fn save(
        &self,
        hierarchies: &[ActionHierarchy],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The hierarchies of a group, in the order in which they were finished.
    fn of_group(
        &self,
        group: &Group,
    ) -> impl Future<Output = Result<Vec<ActionHierarchy>, Error>> + Send;
}
