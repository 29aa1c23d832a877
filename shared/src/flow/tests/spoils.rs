//! What other writers, operators and broken disks do to rows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::world::{Kept, Recorded, World};
use crate::flow::RowKey;
use crate::handlers::Version;
use crate::model::{Fingerprint, Timestamp};

/// Something done to one row, with the versions in force that it may be done to.
#[derive(Debug, Clone)]
pub(super) struct Spoil {
    row: Index,
    version: Index,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    RemoveRow,
    /// The row goes, and its history with it.
    RemoveAll,
    CopyTo(&'static str),
    /// The journal forgets an event.
    Forget,
    Row(fn(&RowKey, &mut Kept)),
    Version(fn(&mut Version)),
    RemoveVersion,
    AddVersion,
}

const HOW: [How; 17] = [
    How::RemoveRow,
    How::RemoveAll,
    How::CopyTo("a1"),
    How::CopyTo("a9"),
    How::Forget,
    How::Row(|_, kept| kept.body.truncate(9)),
    How::Row(|key, kept| kept.body = key.table.new_row(&key.group, &key.id).body()),
    How::Row(|_, kept| kept.trail.held.last = None),
    How::Row(|_, kept| kept.trail.held.fingerprint = Fingerprint(7)),
    How::Row(|_, kept| kept.trail.held.events += 1),
    How::Row(|_, kept| kept.trail.version += 7),
    How::Row(|_, kept| (kept.trail.out_of_order, kept.trail.settings) = (3, 0)),
    How::Version(|version| version.valid_to = Some(Timestamp::MIN)),
    How::Version(|version| version.valid_from = Timestamp::MIN),
    How::Version(|version| version.caused_by = "x".into()),
    How::RemoveVersion,
    How::AddVersion,
];

pub(super) fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let spoil = (any::<Index>(), any::<Index>(), select(&HOW[..]));
    vec(
        spoil.prop_map(|(row, version, how)| Spoil { row, version, how }),
        0..6,
    )
}

impl Spoil {
    /// Does it, where there is something to do it to.
    pub(super) fn spoil(&self, world: &mut World) {
        let keys: Vec<RowKey> = world.rows.keys().cloned().collect();
        if keys.is_empty() {
            return;
        }
        let key = self.row.get(&keys);
        match self.how {
            How::RemoveRow => drop(world.rows.remove(key)),
            How::RemoveAll => {
                let now = world.now;
                world.rows.remove(key);
                for one in in_force(world, key) {
                    one.to = Some(now);
                }
            }
            How::CopyTo(id) => {
                let copy = RowKey {
                    id: id.into(),
                    ..key.clone()
                };
                let row = world.rows[key].clone();
                world.rows.entry(copy).or_insert(row);
            }
            How::Forget => {
                let journal = world.journal.entry(key.group.clone()).or_default();
                if !journal.is_empty() {
                    journal.remove(self.version.index(journal.len()));
                }
            }
            How::Row(change) => drop(world.rows.get_mut(key).map(|kept| change(key, kept))),
            How::Version(change) => {
                let mut versions = in_force(world, key);
                if !versions.is_empty() {
                    change(&mut self.version.get_mut(&mut versions).version);
                }
            }
            How::RemoveVersion => {
                let n = in_force(world, key).first().map(|one| one.version.n);
                let history = world.histories.entry(key.clone()).or_default();
                history.retain(|one| one.to.is_some() || Some(one.version.n) != n);
            }
            How::AddVersion => {
                let last = in_force(world, key).pop().map(|one| one.clone());
                let more = last.map(|mut one| {
                    one.version.n += 1;
                    one
                });
                world.histories.entry(key.clone()).or_default().extend(more);
            }
        }
    }
}

fn in_force<'w>(world: &'w mut World, key: &RowKey) -> Vec<&'w mut Recorded> {
    let history = world.histories.get_mut(key).into_iter().flatten();
    let mut versions: Vec<&mut Recorded> = history.filter(|one| one.to.is_none()).collect();
    versions.sort_by_key(|one| one.version.n);
    versions
}
