//! Copies: what one group states to another stands in the other's journal as an event of its own.

use super::{Entry, Event, EventHash, Group, Timestamp};

/// The attribute that a copy has: the partition key of the group that states it.
const STATED_BY: &str = "foldbackstatedby";

impl Event {
    /// Whether it is a copy that one group states to another, rather than what a system sent.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.extensions.contains_key(STATED_BY)
    }

    /// The hash of (`source`, `id`), which all revisions of the event share. A copy's differs from the
    /// event's, and from that of any copy that another group states or that is stated to another.
    #[must_use]
    pub fn identity(&self) -> EventHash {
        let hash = EventHash::of(&self.source, &self.id);
        match self.extensions.get(STATED_BY) {
            Some(by) => hash.of_copy(by, self.partition_key.as_deref().unwrap_or_default()),
            None => hash,
        }
    }
}

impl Entry {
    /// What this entry's group states to another: the event itself, as an entry of that group.
    ///
    /// Its identity is derived, so that to state it again is no news.
    #[must_use]
    pub fn copy_to(&self, group: &Group, recorded: Timestamp) -> Self {
        let mut event = self.event.clone();
        let by = serde_json::Value::from(self.group.key.as_str()).to_string();
        event.extensions.insert(STATED_BY.into(), by.into());
        event.tenant = Some(group.tenant.clone());
        event.partition_key = Some(group.key.clone());
        Self {
            group: group.clone(),
            hash: event.hash(),
            event,
            recorded,
        }
    }
}
