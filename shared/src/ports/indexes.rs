use std::future::Future;

use smol_str::SmolStr;

use crate::model::IndexCheck;

use super::Error;

/// The indexes that the store's queries need: each is declared beside its query.
pub trait Indexes: Send + Sync {
    /// Creates those that are missing and names them ("table.index"). An index whose entries the
    /// store keeps itself is named too where it had to be mended.
    fn create_indexes(&self) -> impl Future<Output = Result<Vec<SmolStr>, Error>> + Send;

    /// Explains every declared query over the store as it is.
    fn check_indexes(&self) -> impl Future<Output = Result<IndexCheck, Error>> + Send;
}
