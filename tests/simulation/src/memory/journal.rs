use std::collections::BTreeMap;
use std::sync::Arc;

use shared::model::{Entry, EventHash, Group};
use shared::ports::{Appended, Error, Journal, Partition, Since};
use smol_str::SmolStr;

use super::{Memory, Store};
use crate::gate::{Call, Gate};

/// Journals, by group.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    pub(crate) groups: BTreeMap<Group, Vec<Entry>>,
    /// Where each event of a tenant stands.
    places: BTreeMap<(SmolStr, EventHash), (Group, usize)>,
    /// By identity, in which group an event's tellings stand.
    homes: BTreeMap<(SmolStr, EventHash), Group>,
}

impl Journals {
    fn append(&mut self, entry: &Entry) -> Appended {
        let tenant = &entry.group.tenant;
        let identity = (tenant.clone(), entry.event.identity());
        let home = self.homes.get(&identity);
        let elsewhere = home.is_some_and(|home| *home != entry.group);
        if elsewhere && entry.event.revision() > 0 {
            return Appended::Elsewhere;
        }
        let telling = (tenant.clone(), entry.hash);
        if let Some((group, place)) = self.places.get(&telling) {
            let known = self.groups.get(group).and_then(|all| all.get(*place));
            let same = known.is_some_and(|known| known.event.same_content(&entry.event));
            return if !same {
                Appended::Conflict
            } else if *group == entry.group {
                Appended::Duplicate
            } else {
                Appended::Elsewhere
            };
        }
        if elsewhere {
            return Appended::Elsewhere;
        }
        if !entry.event.is_copy() {
            self.homes.insert(identity, entry.group.clone());
        }
        let journal = self.groups.entry(entry.group.clone()).or_default();
        self.places
            .insert(telling, (entry.group.clone(), journal.len()));
        journal.push(entry.clone());
        Appended::New
    }

    pub(crate) fn of(&self, group: &Group) -> &[Entry] {
        self.groups.get(group).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, tenant: &SmolStr, hash: EventHash) -> Option<&Group> {
        let place = self.places.get(&(tenant.clone(), hash));
        place.map(|(group, _)| group)
    }
}

/// Groups of a partition after one, in the order of their hashes.
pub(super) fn page<'g>(
    groups: impl Iterator<Item = &'g Group>,
    partition: Partition,
    after: Option<&Group>,
    limit: usize,
) -> Vec<Group> {
    let after = after.map(|group| (group.hash(), group));
    let mut groups: Vec<(i64, &Group)> = groups
        .filter(|group| partition.has(group))
        .map(|group| (group.hash(), group))
        .filter(|place| after.is_none_or(|after| after < *place))
        .collect();
    groups.sort();
    groups.truncate(limit);
    groups.into_iter().map(|(_, group)| group.clone()).collect()
}

impl<G: Gate> Journal for Memory<G> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.call(Call::Append, |store: &mut Store, share| {
            let entries = share.of(entries).iter();
            Ok(entries.map(|entry| store.journal.append(entry)).collect())
        })
        .await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.call(Call::Entries, |store, _| {
            let of = |group| store.journal.of(group).to_vec();
            Ok(groups.iter().map(of).collect())
        })
        .await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.call(Call::EntriesSince, |store, _| {
            // Those recorded earlier are left out, as they may be.
            let of = |since: &Since| {
                let late = |entry: &&Entry| {
                    entry.event.time >= since.time && entry.recorded >= since.recorded
                };
                let journal = store.journal.of(&since.group).iter();
                journal.filter(late).cloned().collect()
            };
            Ok(groups.iter().map(of).collect())
        })
        .await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.call(Call::Whereabouts, |store, _| {
            let events = events.iter();
            let of =
                |(tenant, hash): &(SmolStr, EventHash)| store.journal.has(tenant, *hash).cloned();
            Ok(events.map(of).collect())
        })
        .await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.call(Call::Homes, |store, _| {
            let events = events.iter();
            let home = |event| store.journal.homes.get(event).cloned();
            Ok(events.map(home).collect())
        })
        .await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.call(Call::Groups, |store, _| {
            Ok(page(store.journal.groups.keys(), partition, after, limit))
        })
        .await
    }
}
