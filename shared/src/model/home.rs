//! Homes: all tellings of an event stand in the journal of one group, that of the first one to come, whatever
//! groups they name. What one names instead is stated to.

use smol_str::SmolStr;

use super::{Entry, Event, Group};

/// The attribute of a telling that names another group than its event's home: that group's key.
const MEANT_FOR: &str = "foldbackmeantfor";
/// The attribute of the copy by which the home tells that group.
const MOVED: &str = "foldbackmoved";

impl Event {
    /// The key of the group that the telling is meant for, where its event stands in another's journal.
    #[must_use]
    pub fn meant_for(&self) -> Option<SmolStr> {
        serde_json::from_str(self.extensions.get(MEANT_FOR)?).ok()
    }

    /// Whether other tellings of the event may be known: only the journal says what this one comes to.
    #[must_use]
    pub fn is_told_again(&self) -> bool {
        self.revision() > 0 || self.extensions.contains_key(MEANT_FOR)
    }

    /// Whether the telling acts on rows of the group in whose journal it stands, should it count.
    #[must_use]
    pub fn acts_here(&self) -> bool {
        !self.extensions.contains_key(MEANT_FOR) && !self.is_withdrawn()
    }

    /// Gives an event that named its group, and was stored without saying which, the name again.
    #[cfg(any(feature = "embedded", feature = "aws"))]
    pub(crate) fn name_group(&mut self, stands_in: &Group) {
        let key = self.meant_for();
        self.partition_key = Some(key.unwrap_or_else(|| stands_in.key.clone()));
    }

    /// Of a copy, whether it states an event that is none of its own group's.
    pub(super) fn is_moved(&self) -> bool {
        self.extensions.contains_key(MOVED)
    }

    /// Makes a telling that is meant for the group of this key what that group is told.
    pub(super) fn move_to(&mut self, key: &str) {
        let moves = self.meant_for().as_deref() == Some(key);
        self.extensions.remove(MEANT_FOR);
        self.extensions.remove(MOVED);
        if moves {
            self.extensions.insert(MOVED.into(), "true".into());
        }
    }
}

impl Entry {
    /// The same as an entry of the group that holds its event.
    #[must_use]
    pub fn at_home(&self, home: &Group) -> Self {
        let mut event = self.event.clone();
        if self.group != *home {
            let key = serde_json::Value::from(self.group.key.as_str());
            event
                .extensions
                .insert(MEANT_FOR.into(), key.to_string().into());
        }
        Self {
            group: home.clone(),
            event,
            ..self.clone()
        }
    }
}

/// Whether an attribute says where an event stands and nothing of what it says.
pub(super) fn is_of_home(attribute: &str) -> bool {
    attribute == MEANT_FOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cloud_event;

    fn group(key: &str) -> Group {
        Group {
            tenant: "acme".into(),
            key: key.into(),
        }
    }

    fn entry(revision: u32) -> Entry {
        let text = format!(
            r#"{{"specversion":"1.0","id":"7","source":"//crm","type":"t","revision":{revision},
                "time":"2026-03-01T09:30:00Z","partitionkey":"b"}}"#
        );
        let event = cloud_event::parse(text.as_bytes()).expect("an event");
        Entry {
            group: group("b"),
            hash: event.hash(),
            recorded: event.time,
            event,
        }
    }

    #[test]
    fn a_telling_at_home_is_the_same_event() {
        let told = entry(1);
        assert_eq!(told.at_home(&told.group), told);
        let home = told.at_home(&group("a"));
        assert_eq!(home.group, group("a"));
        assert_eq!(home.event.meant_for().as_deref(), Some("b"));
        assert!(told.event.acts_here() && !home.event.acts_here());
        assert_eq!((home.hash, home.event.hash()), (told.hash, told.hash));
        assert!(home.event.same_content(&told.event));
        assert_eq!(home.event.content_hash(), told.event.content_hash());
    }

    #[test]
    fn the_group_that_it_names_is_told_of_it_as_of_its_own() {
        let home = entry(1).at_home(&group("a"));
        let copy = home.copy_to(&group("b"), home.recorded);
        assert!(copy.event.acts_here() && copy.event.is_copy());
        assert_eq!(copy.hash, home.event.hash_of_copy("a", "b", 1));
        // What the home states about events of its own is another statement.
        let own = entry(1).at_home(&group("b"));
        let own = Entry {
            group: group("a"),
            ..own
        };
        assert_ne!(own.copy_to(&group("b"), own.recorded).hash, copy.hash);
        // What that group states of it in turn is of its own.
        let next = copy.copy_to(&group("c"), copy.recorded);
        assert_eq!(next.hash, copy.event.hash_of_copy("b", "c", 1));
        // To others than the one it names, it is one of the home's own.
        let other = home.copy_to(&group("c"), home.recorded);
        assert_eq!(other.hash, own.event.hash_of_copy("a", "c", 1));
    }
}
