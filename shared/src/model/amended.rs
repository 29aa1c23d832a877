use std::collections::BTreeSet;

use super::{Event, EventHash, Timestamp};

/// What is known of those events of a row's group that were amended: enough to tell that another event is
/// none of them, without the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amended {
    /// No telling of them that the journal has is of later than this.
    pub until: Timestamp,
    /// The identities of those of which a telling may come yet that another has taken the place of already:
    /// it is of any time.
    pub open: BTreeSet<EventHash>,
}

impl Amended {
    /// The most identities that are named; where there are more, nothing is known.
    pub const OPEN_MAX: usize = 64;

    /// That there are some, and nothing else.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            until: Timestamp::MAX,
            open: BTreeSet::new(),
        }
    }

    /// Whether an event is certainly none of them: what the rows say is all that it needs.
    #[must_use]
    pub fn spares(&self, event: &Event) -> bool {
        self.is_before(event.time) && !self.open.contains(&event.identity())
    }

    /// Whether none of their tellings that the journal has is of this time, or of a later one.
    #[must_use]
    pub fn is_before(&self, time: Timestamp) -> bool {
        self.until < time
    }
}
