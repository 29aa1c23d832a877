//! Copies: what one group states to another stands in the other's journal as an event of its own.

use smol_str::SmolStr;

use super::{Entry, Event, EventHash, Group, Timestamp};

/// The attribute that a copy has: the partition key of the group that states it.
const STATED_BY: &str = "foldbackstatedby";

impl Event {
    /// Whether it is a copy that one group states to another, rather than what a system sent.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.extensions.contains_key(STATED_BY)
    }

    /// Of a copy, the partition key of the group that states it.
    #[must_use]
    pub fn stated_by(&self) -> Option<SmolStr> {
        serde_json::from_str(self.extensions.get(STATED_BY)?).ok()
    }

    /// The hash of (`source`, `id`), which all revisions of the event share. A copy's differs from the
    /// event's, and from that of any copy that another group states or that is stated to another.
    #[must_use]
    pub fn identity(&self) -> EventHash {
        let hash = EventHash::of(&self.source, &self.id);
        match self.extensions.get(STATED_BY) {
            Some(by) => {
                let to = self.partition_key.as_deref().unwrap_or_default();
                hash.of_copy(by, to, self.is_moved())
            }
            None => hash,
        }
    }

    /// The [`hash`](Self::hash) that a copy of this revision has which the group of the first key states to
    /// that of the second.
    #[must_use]
    pub fn hash_of_copy(&self, by: &str, to: &str, revision: u32) -> EventHash {
        let moved = self.meant_for().as_deref() == Some(to);
        let identity = EventHash::of(&self.source, &self.id).of_copy(&json(by), to, moved);
        identity.revised(revision)
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Entry {
    /// What this entry's group states to another: the event itself, as an entry of that group.
    ///
    /// Its identity is derived, so that to state it again is no news.
    #[must_use]
    pub fn copy_to(&self, group: &Group, recorded: Timestamp) -> Self {
        self.statement_to(group, self.event.revision(), false, recorded)
    }

    /// The same under a revision of the statement's own: of all that is stated to one group about one event,
    /// the highest counts. One that is withdrawn is none of that group's.
    #[must_use]
    pub fn statement_to(
        &self,
        group: &Group,
        revision: u32,
        withdrawn: bool,
        recorded: Timestamp,
    ) -> Self {
        let mut event = self.event.clone();
        let by = json(&self.group.key);
        event.extensions.insert(STATED_BY.into(), by.into());
        event.move_to(&group.key);
        event.amend(revision, withdrawn);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cloud_event;

    fn entry(id: &str, revision: u32) -> Entry {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","revision":{revision},
                "time":"2026-03-01T09:30:00Z","data":{{"a":1}}}}"#
        );
        let event = cloud_event::parse(text.as_bytes()).expect("an event");
        Entry {
            group: group("lead \"7\""),
            hash: event.hash(),
            recorded: event.time,
            event,
        }
    }

    fn group(key: &str) -> Group {
        Group {
            tenant: "acme".into(),
            key: key.into(),
        }
    }

    #[test]
    fn a_copy_is_the_event_in_another_group() {
        let entry = entry("1", 0);
        let copy = entry.copy_to(&group("day"), Timestamp::from_ms(7));
        assert!(copy.event.is_copy() && !entry.event.is_copy());
        assert_eq!(copy.event.stated_by().as_deref(), Some("lead \"7\""));
        assert_eq!(
            (copy.group, copy.recorded),
            (group("day"), Timestamp::from_ms(7))
        );
        assert_eq!(copy.event.order(), entry.event.order());
        assert_eq!(copy.event.data, entry.event.data);
    }

    #[test]
    fn a_statement_has_a_revision_of_its_own() {
        let entry = entry("1", 3);
        let to = group("lead");
        let state = |revision, withdrawn| {
            entry
                .statement_to(&to, revision, withdrawn, entry.recorded)
                .event
        };
        for (revision, withdrawn) in [(0, false), (7, false), (7, true)] {
            let copy = state(revision, withdrawn);
            assert_eq!(
                (copy.revision(), copy.is_withdrawn()),
                (revision, withdrawn)
            );
            assert_eq!(copy.identity(), state(0, false).identity());
            let hash = entry.event.hash_of_copy(&entry.group.key, "lead", revision);
            assert_eq!(copy.hash(), hash);
        }
    }

    #[test]
    fn each_copy_has_an_identity_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for revision in 0..3 {
            for id in ["1", "2"] {
                let entry = entry(id, revision);
                assert!(seen.insert(entry.hash));
                for to in ["a", "b"] {
                    let copy = entry.copy_to(&group(to), entry.recorded);
                    let hash = entry.event.hash_of_copy(&entry.group.key, to, revision);
                    assert_eq!((copy.event.revision(), copy.hash), (revision, hash));
                    assert!(seen.insert(copy.hash));
                    let next = copy.copy_to(&group("c"), entry.recorded);
                    assert_eq!(next.hash, copy.event.hash_of_copy(to, "c", revision));
                    assert!(seen.insert(next.hash));
                }
            }
        }
    }
}
