use std::future::Future;

use smol_str::SmolStr;

use crate::flow::{Addition, AdditionError, RowKey, Stored, Write};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, Group, Timestamp};

use super::{Error, ErrorKind, Partition};

/// The rows with their trails and histories. Every write is conditional on the row's version, or
/// guarded by the id of its action.
pub trait Tables: Send + Sync {
    /// The rows of these keys that exist, in no particular order.
    fn read(
        &self,
        keys: &[RowKey],
        reading: Reading,
    ) -> impl Future<Output = Result<Vec<Stored>, Error>> + Send;

    /// All rows of each group, with their histories.
    fn read_groups(
        &self,
        groups: &[Group],
    ) -> impl Future<Output = Result<Vec<Vec<Stored>>, Error>> + Send;

    /// Groups of a partition that have rows, after `after`, in a fixed order of the store's own;
    /// fewer than `limit` only at the end.
    fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Group>, Error>> + Send;

    /// Writes rows, says of each whether it was written, and saves the finished hierarchies of those
    /// groups none of whose writes lost. Losing a race is an answer.
    fn commit(
        &self,
        writes: &[Write],
        finished: &[ActionHierarchy],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, Error>> + Send;

    /// Takes additions in, in one go, without reading rows first; says of each whether it was new.
    ///
    /// What was taken in is remembered for good, per group: at any later time the same action of the
    /// group is [`Added::Held`], and so is the second of two within one call. Additions of one row
    /// are taken in as they come, each a version of the row, so additions and conditional writes go
    /// together: a commit replaces the version that an addition left, and an addition goes on from
    /// what a commit left. A commit itself remembers no action. Where a commit takes a row away, the
    /// next addition makes a new one; what the old one had taken in stays held.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where a field that is to be changed holds something else (see
    /// [`How`](crate::flow::How)), [`ErrorKind::Reject`] where an addition fails its own
    /// [check](Addition::check). Nothing of a failed call is written.
    fn add(
        &self,
        additions: &[Addition],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Added>, Error>> + Send;

    /// A row's history: every version there ever was, by the time it was recorded.
    fn history(
        &self,
        key: &RowKey,
    ) -> impl Future<Output = Result<Vec<HistoryVersion>, Error>> + Send;

    /// Leads by conversion, newest first, through an index.
    fn conversions(
        &self,
        query: &ConversionQuery,
    ) -> impl Future<Output = Result<ConversionPage, Error>> + Send;

    /// The keys of all rows with this id, whatever the table.
    fn find(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> impl Future<Output = Result<Vec<RowKey>, Error>> + Send;
}

/// How much of a row to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The row; enough to go on from.
    Row,
    /// The row and its versions in force.
    WithHistory,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It was written.
    Done,
    /// The row's version was not the expected one; nothing was written.
    Conflict,
}

/// What became of an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was taken in.
    Done,
    /// It had been taken in before; nothing changed.
    Held,
}

impl Error {
    /// The refusal of an addition.
    #[must_use]
    pub fn refused(addition: &Addition, why: AdditionError) -> Self {
        let kind = match why {
            AdditionError::NoNumber(_)
            | AdditionError::NoMoment(_)
            | AdditionError::NoObject(_)
            | AdditionError::TooMuch(_) => ErrorKind::Corrupt,
            AdditionError::Overlap(_)
            | AdditionError::OtherTable(_)
            | AdditionError::Temporal(_) => ErrorKind::Reject,
        };
        let RowKey { group, table, id } = &addition.key;
        Self::new(
            kind,
            format!("add to {} {id} of {group}", table.name()),
            why,
        )
    }
}

/// A version of a history and since when, until when it was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryVersion {
    /// The version.
    pub version: Version,
    /// When it was recorded.
    pub recorded_from: Timestamp,
    /// When it was superseded; `None` while it is in force.
    pub recorded_to: Option<Timestamp>,
}

/// A page of leads that have a conversion, by the event time of its last occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionQuery {
    /// The tenant.
    pub tenant: SmolStr,
    /// The conversion's name.
    pub name: SmolStr,
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// At most so many.
    pub limit: usize,
    /// From after this place on.
    pub after: Option<Cursor>,
}

/// The last row of a page: where the next one goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its `lastAt`.
    pub last_at: Timestamp,
    /// Its lead.
    pub lead_id: SmolStr,
}

/// A page of rows, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversionPage {
    /// The rows of [`Table::RSLeadGlobalConversions`].
    pub rows: Vec<Stored>,
    /// Where the next page goes on; `None` on the last page.
    pub next: Option<Cursor>,
}

impl RowKey {
    /// The key of a lead's conversions.
    #[must_use]
    pub fn conversions(tenant: &str, lead: &str) -> Self {
        let group = Group {
            tenant: tenant.into(),
            key: lead.into(),
        };
        Self {
            id: group.key.clone(),
            group,
            table: Table::RSLeadGlobalConversions,
        }
    }
}
