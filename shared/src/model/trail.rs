use serde::{Deserialize, Serialize};

use super::{Amended, EventHash, Fingerprint, Order, Timestamp};

/// Which events a row holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub events: u64,
    /// Exactly which, whatever the order.
    pub fingerprint: Fingerprint,
    /// The last of them in the total order; `None` only in a row that holds none.
    pub last: Option<Order>,
    /// The event taken in last; with the row's key it gives the last action's id.
    pub taken: Option<EventHash>,
}

impl Held {
    /// Takes in one more event. Several actions of one event on one row count once.
    pub fn add(&mut self, hash: EventHash, order: &Order) {
        if self.taken == Some(hash) {
            return;
        }
        self.events += 1;
        self.fingerprint = self.fingerprint.with(hash);
        self.taken = Some(hash);
        if self.last.as_ref().is_none_or(|last| last < order) {
            self.last = Some(order.clone());
        }
    }

    /// Whether the same set of events is held.
    #[must_use]
    pub fn same_events(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.events == other.events
    }
}

/// The three moments a row carries, so that anyone can see which write overtook which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamps {
    /// External event: the event time of the event that caused the write.
    pub event: Timestamp,
    /// Read start: when the state that the write builds on was read.
    pub read_start: Timestamp,
    /// Write start: when the write was sent.
    pub write_start: Timestamp,
}

/// What a row carries about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trail {
    /// Which events it holds.
    pub held: Held,
    /// How many of them were applied out of order and never refolded (policy `detect`).
    pub out_of_order: u32,
    /// Grows by one with every write; a write names the version it replaces.
    pub version: u64,
    /// The fence of the last lease that it was written under; 0 where there was none. A write under a
    /// smaller one is refused.
    pub fence: u64,
    /// The settings version it was made under.
    pub settings: u32,
    /// The handler version that made it.
    pub handler: u32,
    /// CRC-32 of the row's canonical JSON as we wrote it: another value is another writer's. 0 in a
    /// row that was added to since ([`Addition`](crate::flow::Addition)): nobody read its whole body.
    pub checksum: u32,
    /// When.
    pub stamps: Stamps,
    /// Set where an event of the row's group was amended: one that comes may then be one that no longer
    /// counts, which only the journal can tell.
    #[serde(skip)]
    pub amended: Option<Amended>,
}

impl Trail {
    /// Whether it is all that is left of a row: no event leads to the row any more. It stays so that
    /// every write is conditional on the version that was there before.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.held.events == 0
    }
}
