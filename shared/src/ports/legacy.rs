use std::future::Future;

use smol_str::SmolStr;

use crate::flow::Write;
use crate::handlers::Table;
use crate::model::Timestamp;

use super::{Committed, Error};

/// Rows that other code wrote and that carry no trail yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyRow {
    /// The table.
    pub table: Table,
    /// The store's own handle on the document, opaque; unique within the table and stable.
    pub handle: String,
    /// As far as they are the table's; others are left alone. Canonical JSON of the fields the table
    /// knows, `Err` text where they are no row.
    pub body: Result<String, String>,
    /// The tenant that the document names, if it names one.
    pub tenant: Option<SmolStr>,
}

/// Tables that other code writes too, as far as Foldback has not taken their rows over.
pub trait LegacyTables: Send + Sync {
    /// Rows without a trail after handle `after`, in a fixed order, at most `limit`.
    fn untracked(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<LegacyRow>, Error>> + Send;

    /// Gives legacy rows their first trail, in place. A row whose fields are no longer what was read, or
    /// that has a trail by now, is answered with Conflict and left alone.
    fn adopt(
        &self,
        adoptions: &[(LegacyRow, Write)],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, Error>> + Send;
}
