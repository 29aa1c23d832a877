use std::future::Future;

use smol_str::SmolStr;

use crate::flow::{
    Addition, AdditionError, ImageHead, ImagesWrite, KeptImage, RowKey, Stored, Write,
};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, Group, Timestamp};

use super::{Error, ErrorKind, Partition};

/// The rows with their trails and histories. Every write is conditional on the row's version, or
/// guarded by the id of its action.
pub trait Tables: Send + Sync {
    /// The rows of these keys that exist, in no particular order; also those that
    /// [are gone](Stored::is_gone), of which nothing but the trail is left.
    fn read(
        &self,
        keys: &[RowKey],
        reading: Reading,
    ) -> impl Future<Output = Result<Vec<Stored>, Error>> + Send;

    /// All rows of each group, with their histories; also those that are gone.
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

    /// Writes rows, says of each whether it was written, and, of those groups none of whose writes lost,
    /// saves the finished hierarchies and changes the images. Losing a race is an answer.
    ///
    /// All writes of a group lose if an image is gone that its [`ImagesWrite`] takes away by name.
    fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, Error>> + Send;

    /// The same, and leaves images as they are.
    fn commit(
        &self,
        writes: &[Write],
        finished: &[ActionHierarchy],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, Error>> + Send {
        async move {
            let commit = Commit {
                writes,
                finished,
                images: &[],
            };
            self.commit_all(commit, now).await
        }
    }

    /// A group's images that end at this event time or later, in no particular order.
    fn images(
        &self,
        group: &Group,
        since: Timestamp,
    ) -> impl Future<Output = Result<Vec<KeptImage>, Error>> + Send;

    /// What can be told of all of a group's images without reading them.
    fn image_heads(
        &self,
        group: &Group,
    ) -> impl Future<Output = Result<Vec<ImageHead>, Error>> + Send;

    /// Of the histories of these rows the versions in force after a number, in order. The cost grows with
    /// these.
    fn versions_after(
        &self,
        rows: &[(RowKey, u32)],
    ) -> impl Future<Output = Result<Vec<Vec<Version>>, Error>> + Send;

    /// Takes additions in, in one go, without reading rows first; says of each whether it was new.
    ///
    /// What was taken in is remembered for good, per group: at any later time the same action of the
    /// group is [`Added::Held`], and so is the second of two within one call. Additions of one row
    /// are taken in as they come, each a version of the row, so additions and conditional writes go
    /// together: a commit replaces the version that an addition left, and an addition goes on from
    /// what a commit left. A commit remembers the actions that its writes name. Where a commit takes a row
    /// away, or leaves nothing but its trail, the next addition makes a new one, over that trail; what the
    /// old one had taken in stays held.
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

    /// The keys of all rows with this id, whatever the table; of none that is gone.
    fn find(
        &self,
        tenant: Option<&str>,
        id: &str,
    ) -> impl Future<Output = Result<Vec<RowKey>, Error>> + Send;
}

/// What is to be written together. Each part stands in the order of the groups of `writes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Commit<'a> {
    /// Rows.
    pub writes: &'a [Write],
    /// Finished hierarchies.
    pub finished: &'a [ActionHierarchy],
    /// Changes of images, at most one a group.
    pub images: &'a [ImagesWrite],
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

impl HistoryVersion {
    /// The versions that were believed at the recorded time `known_at`, in order; now where it is `None`.
    ///
    /// A version ends where the next one that was believed then begins, whatever has become of that
    /// since.
    #[must_use]
    pub fn believed(all: &[Self], known_at: Option<Timestamp>) -> Vec<Self> {
        let believed = |one: &&Self| match known_at {
            Some(at) => one.recorded_from <= at && one.recorded_to.is_none_or(|end| at < end),
            None => one.recorded_to.is_none(),
        };
        let mut versions: Vec<Self> = all.iter().filter(believed).cloned().collect();
        versions.sort_by_key(|one| one.version.n);
        let begins: Vec<Timestamp> = versions.iter().map(|one| one.version.valid_from).collect();
        let ends = begins.into_iter().skip(1).map(Some).chain([None]);
        for (one, end) in versions.iter_mut().zip(ends) {
            one.version.valid_to = end;
        }
        versions
    }

    /// Whether it held at the event time `as_of`.
    #[must_use]
    pub fn held_at(&self, as_of: Timestamp) -> bool {
        let Version {
            valid_from,
            valid_to,
            ..
        } = self.version;
        valid_from <= as_of && valid_to.is_none_or(|end| as_of < end)
    }
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

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.last_at, self.lead_id)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor that a page has given")]
pub struct CursorError(String);

/// Reads what [`Cursor`]'s text is: the time of the last row's conversion, then its lead. It names no tenant:
/// that is the query's, so another tenant's cursor shows nothing of that tenant.
impl std::str::FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CursorError(text.chars().take(64).collect());
        let (time, lead) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            last_at: Timestamp::parse(time).map_err(|_no_time| wrong())?,
            lead_id: lead.into(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn one(n: u32, from: i64, recorded: (i64, Option<i64>)) -> HistoryVersion {
        HistoryVersion {
            version: Version {
                n,
                valid_from: Timestamp::from_ms(from),
                // What a later write left there.
                valid_to: Some(Timestamp::from_ms(999)),
                caused_by: format!("{n}@{from}").into(),
                fields: "{}".into(),
            },
            recorded_from: Timestamp::from_ms(recorded.0),
            recorded_to: recorded.1.map(Timestamp::from_ms),
        }
    }

    /// Version 2 began at 20 as far as was known from 100 to 200; then a late event put one at 15 before.
    #[test]
    fn what_was_believed_when() {
        let all = [
            one(1, 10, (100, None)),
            one(2, 20, (100, Some(200))),
            one(2, 15, (200, None)),
            one(3, 20, (200, None)),
        ];
        let check = |known_at: Option<i64>, expect: &[(u32, i64, Option<i64>)]| {
            let believed = HistoryVersion::believed(&all, known_at.map(Timestamp::from_ms));
            let seen: Vec<_> = believed
                .iter()
                .map(|one| &one.version)
                .map(|v| (v.n, v.valid_from.ms(), v.valid_to.map(Timestamp::ms)))
                .collect();
            assert_eq!(seen, expect, "{known_at:?}");
        };
        check(Some(99), &[]);
        check(Some(100), &[(1, 10, Some(20)), (2, 20, None)]);
        check(Some(199), &[(1, 10, Some(20)), (2, 20, None)]);
        check(
            Some(200),
            &[(1, 10, Some(15)), (2, 15, Some(20)), (3, 20, None)],
        );
        check(None, &[(1, 10, Some(15)), (2, 15, Some(20)), (3, 20, None)]);
        let now = HistoryVersion::believed(&all, None);
        for (as_of, expect) in [
            (9, None),
            (10, Some(1)),
            (19, Some(2)),
            (20, Some(3)),
            (500, Some(3)),
        ] {
            let at = Timestamp::from_ms(as_of);
            let held = now.iter().find(|one| one.held_at(at));
            assert_eq!(held.map(|one| one.version.n), expect, "{as_of}");
        }
    }
}
