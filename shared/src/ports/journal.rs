use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::model::{Entry, EventHash, Group, Timestamp};

use super::Error;

/// Every event ever accepted, per group. Append-only, idempotent by identity within a tenant.
///
/// ```
/// use shared::ports::{Appended, Error, Journal};
/// # use shared::model::Entry;
/// # use std::sync::Arc;
/// async fn accept(journal: &impl Journal, entries: &[Arc<Entry>]) -> Result<usize, Error> {
///     let appended = journal.append(entries).await?;
///     Ok(appended.iter().filter(|one| **one == Appended::New).count())
/// }
/// ```
pub trait Journal: Send + Sync {
    /// Appends entries and says of each what became of it. Of a failed call some may be accepted; to append
    /// the same again says which.
    ///
    /// The group of the first telling of an event that comes, whatever its revision, is the event's home for
    /// good: none of another group is taken.
    fn append(
        &self,
        entries: &[Arc<Entry>],
    ) -> impl Future<Output = Result<Vec<Appended>, Error>> + Send;

    /// All entries of each group, in the order of arrival.
    fn entries(
        &self,
        groups: &[Group],
    ) -> impl Future<Output = Result<Vec<Vec<Entry>>, Error>> + Send;

    /// Of each group the entries whose event time is not before a moment, in the order of arrival. The cost
    /// grows with these, not with the journal.
    ///
    /// Entries that were recorded before the other moment may be left out.
    fn entries_since(
        &self,
        groups: &[Since],
    ) -> impl Future<Output = Result<Vec<Vec<Entry>>, Error>> + Send;

    /// In which group the event of each tenant and hash ([`Entry::hash`]) is journaled, or will be once an
    /// append that claimed it is done; `None` where nobody sent it. For one look-up an event.
    fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> impl Future<Output = Result<Vec<Option<Group>>, Error>> + Send;

    /// In which group's journal the tellings of the event of each tenant and identity
    /// ([`Event::identity`](crate::model::Event::identity)) stand, or will; `None` where none came. Copies
    /// have no home: their identity names their group.
    fn homes(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> impl Future<Output = Result<Vec<Option<Group>>, Error>> + Send;

    /// Groups of a partition that have entries, after `after`, in a fixed order of the store's own;
    /// fewer than `limit` only at the end.
    fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Group>, Error>> + Send;
}

/// Which of a group's entries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The group.
    pub group: Group,
    /// Those of this event time and later ones.
    pub time: Timestamp,
    /// They were recorded at this moment or later.
    pub recorded: Timestamp,
}

/// How many bits of a hash [`Group::hash`] gives.
const HASH_BITS: u32 = 63;

/// What became of an entry that was to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is journaled now.
    New,
    /// It was journaled before, with the same content.
    Duplicate,
    /// An event of the same identity and revision is journaled with other content; this one is not.
    Conflict,
    /// The event's [home](Journal::homes) is another group; this entry is not journaled. It belongs there,
    /// as [`Entry::at_home`] makes it.
    Elsewhere,
}

/// Partition `index` of `count`: the groups whose hash lies in one of `count` equal ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl Partition {
    /// The one partition that holds every group.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether the group belongs to this partition.
    #[must_use]
    pub fn has(self, group: &Group) -> bool {
        self.hashes().contains(&group.hash())
    }

    /// The hashes of the partition's groups, for a store that keeps them in order.
    #[must_use]
    pub fn hashes(self) -> RangeInclusive<i64> {
        let count = u128::from(self.count.max(1));
        // The first hash of a partition; past the last one, the first that no hash reaches.
        let first = |index: u128| (index << HASH_BITS).div_ceil(count);
        let index = u128::from(self.index);
        let bound = |hash: u128| i64::try_from(hash).unwrap_or(i64::MAX);
        bound(first(index))..=bound(first(index + 1) - 1)
    }
}
