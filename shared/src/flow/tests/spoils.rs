//! What other writers, operators and broken disks do to rows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{Recorded, World};
use crate::flow::RowKey;
use crate::model::{Fingerprint, Timestamp};

/// Something done to one row.
#[derive(Debug, Clone)]
pub(super) struct Spoil {
    pub(super) row: Index,
    pub(super) how: How,
}

#[derive(Debug, Clone)]
pub(super) enum How {
    RemoveRow,
    /// The row goes, and its history with it.
    RemoveAll,
    Garble,
    /// The text is that of a row that holds nothing yet.
    Reset,
    CopyTo(&'static str),
    OtherLast,
    OtherEvents,
    OtherVersion(u64),
    LateAndStale,
    RemoveVersion(Index),
    OtherEnd(Index),
    OtherStart(Index),
    OtherCause(Index),
    MoreVersions,
    /// The journal forgets an event.
    Forget(Index),
}

pub(super) fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let index = any::<Index>;
    let how = prop_oneof![
        Just(How::RemoveRow),
        Just(How::RemoveAll),
        Just(How::Garble),
        Just(How::Reset),
        prop_oneof![Just("a1"), Just("a9")].prop_map(How::CopyTo),
        Just(How::OtherLast),
        Just(How::OtherEvents),
        (0_u64..9).prop_map(How::OtherVersion),
        Just(How::LateAndStale),
        index().prop_map(How::RemoveVersion),
        index().prop_map(How::OtherEnd),
        index().prop_map(How::OtherStart),
        index().prop_map(How::OtherCause),
        Just(How::MoreVersions),
        index().prop_map(How::Forget),
    ];
    vec(
        (index(), how).prop_map(|(row, how)| Spoil { row, how }),
        0..6,
    )
}

impl How {
    /// Does it, where there is something to do it to.
    pub(super) fn spoil(&self, world: &mut World, row: &Index) {
        let keys: Vec<RowKey> = world.rows.keys().cloned().collect();
        if keys.is_empty() {
            return;
        }
        let key = row.get(&keys);
        match self {
            Self::RemoveRow => drop(world.rows.remove(key)),
            Self::RemoveAll => {
                world.rows.remove(key);
                end(world, key);
            }
            Self::CopyTo(id) => {
                let copy = RowKey {
                    id: (*id).into(),
                    ..key.clone()
                };
                if !world.rows.contains_key(&copy) {
                    world.rows.insert(copy, world.rows[key].clone());
                }
            }
            Self::Forget(event) => {
                let journal = world.journal.entry(key.group.clone()).or_default();
                if !journal.is_empty() {
                    journal.remove(event.index(journal.len()));
                }
            }
            Self::Garble
            | Self::Reset
            | Self::OtherLast
            | Self::OtherEvents
            | Self::OtherVersion(_)
            | Self::LateAndStale => self.spoil_row(world, key),
            Self::RemoveVersion(_)
            | Self::OtherEnd(_)
            | Self::OtherStart(_)
            | Self::OtherCause(_)
            | Self::MoreVersions => self.spoil_history(world, key),
        }
    }

    fn spoil_row(&self, world: &mut World, key: &RowKey) {
        let Some(kept) = world.rows.get_mut(key) else {
            return;
        };
        let trail = &mut kept.trail;
        match self {
            Self::Garble => kept.body.truncate(9),
            Self::Reset => kept.body = key.table.new_row(&key.group, &key.id).body(),
            Self::OtherLast => trail.held.last = None,
            Self::OtherEvents => trail.held.fingerprint = Fingerprint(7),
            Self::OtherVersion(version) => trail.version = *version,
            _ => (trail.out_of_order, trail.settings) = (3, 0),
        }
    }

    fn spoil_history(&self, world: &mut World, key: &RowKey) {
        let Some(history) = world.histories.get_mut(key) else {
            return;
        };
        let mut in_force: Vec<&mut Recorded> =
            history.iter_mut().filter(|one| one.to.is_none()).collect();
        if in_force.is_empty() {
            return;
        }
        let count = in_force.len();
        let mut version = |index: &Index| &mut in_force.swap_remove(index.index(count)).version;
        match self {
            Self::RemoveVersion(index) => {
                let n = version(index).n;
                history.retain(|one| one.to.is_some() || one.version.n != n);
            }
            Self::OtherEnd(index) => version(index).valid_to = Some(Timestamp::MIN),
            Self::OtherStart(index) => version(index).valid_from = Timestamp::MIN,
            Self::OtherCause(index) => version(index).caused_by = "x".into(),
            _ => {
                let mut more = history.last().expect("some are in force").clone();
                (more.version.n, more.to) = (1_000, None);
                history.push(more);
            }
        }
    }
}

fn end(world: &mut World, key: &RowKey) {
    let now = world.now;
    for one in world.histories.get_mut(key).into_iter().flatten() {
        one.to = one.to.or(Some(now));
    }
}
