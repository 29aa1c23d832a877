//! What stands between a service and the store: nothing, or all that can go wrong on the way.

use std::future::Future;

use shared::model::Timestamp;
use shared::ports::Error;

/// A call of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the methods of the ports")]
pub enum Call {
    Append,
    Entries,
    EntriesSince,
    Whereabouts,
    Homes,
    Groups,
    Send,
    Receive,
    Delete,
    HideUntil,
    Park,
    DeadLetters,
    Redrive,
    Discard,
    Depth,
    Waiting,
    Read,
    ReadGroups,
    GroupsWithRows,
    Commit,
    Images,
    ImageHeads,
    VersionsAfter,
    Add,
    History,
    Conversions,
    Find,
    Acquire,
    Renew,
    Release,
    OfGroup,
    KeepRun,
    Runs,
    Findings,
    KeepLive,
    ForgetLive,
    KeepReport,
    Reports,
    Latest,
    Put,
}

impl Call {
    /// Whether it changes what is stored.
    #[must_use]
    pub fn writes(self) -> bool {
        self.changes_events_or_rows()
            || [
                Self::Acquire,
                Self::Renew,
                Self::Release,
                Self::KeepRun,
                Self::KeepLive,
                Self::ForgetLive,
                Self::KeepReport,
                Self::Put,
            ]
            .contains(&self)
    }

    /// Whether it changes journal, queue or rows: what a replay that only reports must not do.
    #[must_use]
    pub fn changes_events_or_rows(self) -> bool {
        [
            Self::Append,
            Self::Send,
            Self::Receive,
            Self::Delete,
            Self::HideUntil,
            Self::Park,
            Self::Redrive,
            Self::Discard,
            Self::Commit,
            Self::Add,
        ]
        .contains(&self)
    }

    /// Whether it goes to the store of rows.
    #[must_use]
    pub fn is_of_rows(self) -> bool {
        [
            Self::Read,
            Self::ReadGroups,
            Self::GroupsWithRows,
            Self::Commit,
            Self::Images,
            Self::ImageHeads,
            Self::VersionsAfter,
        ]
        .contains(&self)
    }

    /// Whether of a failed call a part may have taken effect.
    #[must_use]
    pub fn tears(self) -> bool {
        [
            Self::Append,
            Self::Send,
            Self::Delete,
            Self::Park,
            Self::Redrive,
        ]
        .contains(&self)
    }
}

/// How much of a call takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    Whole,
    /// Its first items, so many in 1,000.
    First(u64),
    /// Nothing, and nobody is told.
    Nothing,
}

impl Share {
    /// Of so many items those that the call is for.
    #[must_use]
    pub fn of<T>(self, items: &[T]) -> &[T] {
        let count = match self {
            Self::Whole => items.len(),
            Self::First(permille) => {
                let permille = usize::try_from(permille).unwrap_or(0);
                items.len() * permille / 1_000
            }
            Self::Nothing => 0,
        };
        items.get(..count).unwrap_or(items)
    }
}

/// A way through the gate and back.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// How much of the call takes effect.
    pub share: Share,
    /// What happens on the way back, as the gate knows it; 0 for nothing.
    pub back: u64,
}

/// What every call of a port goes through.
pub trait Gate: Send + Sync {
    /// Before the call takes effect.
    ///
    /// # Errors
    /// It never does.
    fn enter(&self, call: Call) -> impl Future<Output = Result<Passage, Error>> + Send;

    /// After it took effect.
    ///
    /// # Errors
    /// The caller does not learn of it.
    fn leave(&self, call: Call, passage: Passage)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// What time it is where the queue is, given what the caller thinks.
    fn queue_time(&self, given: Timestamp) -> Timestamp;

    /// A message became a dead letter because it was received too often.
    fn buried(&self);
}

/// A gate at which nothing goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Gate for Open {
    async fn enter(&self, _call: Call) -> Result<Passage, Error> {
        Ok(Passage {
            share: Share::Whole,
            back: 0,
        })
    }

    async fn leave(&self, _call: Call, _passage: Passage) -> Result<(), Error> {
        Ok(())
    }

    fn queue_time(&self, given: Timestamp) -> Timestamp {
        given
    }

    fn buried(&self) {}
}
