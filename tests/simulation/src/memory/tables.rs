use std::collections::{BTreeMap, BTreeSet};

use shared::flow::{
    Addition, Gone, HistoryWrite, Image, ImageHead, ImagesWrite, KeptImage, Put, RowKey, Stored,
    Write,
};
use shared::handlers::{Conversion, Row, Table, Version};
use shared::model::{ActionHierarchy, ActionId, Group, Timestamp, Trail};
use shared::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Cursor, Error, Found,
    HistoryVersion, Look, Partition, Reading, Tables,
};
use smol_str::{SmolStr, ToSmolStr};

use super::journal::page;
use super::{Memory, Store};
use crate::gate::{Call, Gate};

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// Canonical JSON; empty where the row is gone.
    pub(crate) body: String,
    pub(crate) trail: Trail,
}

/// A version of a history, and the row's version that wrote it.
#[derive(Debug, Clone)]
struct Recorded {
    made: u64,
    one: HistoryVersion,
}

type Place = (Table, SmolStr);

/// What a group has.
#[derive(Debug, Default)]
pub(super) struct OfGroup {
    pub(super) rows: BTreeMap<Place, Kept>,
    histories: BTreeMap<Place, Vec<Recorded>>,
    images: BTreeMap<u64, Image>,
    /// Actions that were taken in.
    pub(super) actions: BTreeSet<ActionId>,
    hierarchies: Vec<ActionHierarchy>,
}

/// The rows of all groups.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(super) groups: BTreeMap<Group, OfGroup>,
    last_image: u64,
    /// Of all groups, in the order in which they were saved.
    finished: Vec<ActionHierarchy>,
}

impl Rows {
    fn stored(&self, key: &RowKey, with_history: bool) -> Option<Stored> {
        let of_group = self.groups.get(&key.group)?;
        let place = (key.table, key.id.clone());
        let kept = of_group.rows.get(&place)?;
        let read = key.table.read_row(&kept.body);
        let gone = kept.body.is_empty() && kept.trail.is_gone();
        let history = with_history && key.table.is_temporal();
        Some(Stored {
            readable: read.is_ok() || gone,
            row: read.unwrap_or_else(|_unreadable| key.table.new_row(&key.group, &key.id)),
            trail: kept.trail.clone(),
            history: history.then(|| of_group.in_force(&place)),
            key: key.clone(),
        })
    }

    /// Everything that is stored of a group, those rows included that are gone.
    pub(crate) fn of_group(&self, group: &Group) -> Vec<Stored> {
        let Some(of_group) = self.groups.get(group) else {
            return Vec::new();
        };
        let keys = of_group.rows.keys().map(|(table, id)| RowKey {
            group: group.clone(),
            table: *table,
            id: id.clone(),
        });
        keys.filter_map(|key| self.stored(&key, true)).collect()
    }

    /// Every row with the text of its body.
    pub(crate) fn all(&self) -> impl Iterator<Item = (RowKey, &Kept)> {
        self.groups.iter().flat_map(|(group, of_group)| {
            of_group.rows.iter().map(|((table, id), kept)| {
                let key = RowKey {
                    group: group.clone(),
                    table: *table,
                    id: id.clone(),
                };
                (key, kept)
            })
        })
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.keys()
    }

    pub(crate) fn kept(&self, key: &RowKey) -> Option<&Kept> {
        let place = (key.table, key.id.clone());
        self.groups.get(&key.group)?.rows.get(&place)
    }

    pub(crate) fn image_count(&self) -> usize {
        self.groups.values().map(|one| one.images.len()).sum()
    }

    /// Those saved last, the newest first.
    pub(crate) fn finished(&self, look: &Look) -> Found<ActionHierarchy> {
        let mut found = Found::default();
        let from = look.from.unwrap_or(u64::MAX);
        let newest = (1_u64..).zip(&self.finished).collect::<Vec<_>>();
        let newest = newest.into_iter().rev().filter(|(place, _)| *place < from);
        for (place, one) in newest {
            found.examined += 1;
            if look
                .tenant
                .as_ref()
                .is_none_or(|tenant| one.group.tenant == *tenant)
            {
                found.items.push(one.clone());
            }
            if found.items.len() >= look.limit || found.examined >= look.examine as u64 {
                found.next = Some(place).filter(|place| *place > 1);
                break;
            }
        }
        found
    }

    pub(crate) fn hierarchies(&self, group: &Group) -> Vec<ActionHierarchy> {
        let of_group = self.groups.get(group);
        of_group.map_or_else(Vec::new, |one| one.hierarchies.clone())
    }

    pub(crate) fn history(&self, key: &RowKey) -> Vec<HistoryVersion> {
        let place = (key.table, key.id.clone());
        let of_group = self.groups.get(&key.group);
        let recorded = of_group.and_then(|one| one.histories.get(&place));
        let recorded = recorded.into_iter().flatten();
        let mut all: Vec<HistoryVersion> = recorded.map(|one| one.one.clone()).collect();
        all.sort_by_key(|one| (one.recorded_from, one.version.n));
        all
    }

    fn write(&mut self, write: &Write, now: Timestamp) -> Committed {
        let of_group = self.groups.entry(write.key.group.clone()).or_default();
        let place = (write.key.table, write.key.id.clone());
        let before = of_group.rows.get(&place);
        if before.map(|row| row.trail.version) != write.expected {
            return Committed::Conflict;
        }
        let Some(put) = &write.put else {
            if before.is_none() {
                return Committed::Conflict;
            }
            of_group.rows.remove(&place);
            of_group.supersede(&place, 0, now);
            return Committed::Done;
        };
        if before.is_some_and(|row| put.trail.fence < row.trail.fence) {
            return Committed::Conflict;
        }
        of_group.put(place, put, now);
        Committed::Done
    }

    fn has_images(&self, change: &ImagesWrite) -> bool {
        let images = self.groups.get(&change.group).map(|one| &one.images);
        let is_there = |handle: &SmolStr| {
            let number = handle.parse().ok();
            number.is_some_and(|number: u64| images.is_some_and(|all| all.contains_key(&number)))
        };
        match &change.gone {
            Gone::These(handles) => handles.iter().all(is_there),
            Gone::All => true,
        }
    }

    fn change_images(&mut self, change: &ImagesWrite) {
        let of_group = self.groups.entry(change.group.clone()).or_default();
        match &change.gone {
            Gone::All => of_group.images.clear(),
            Gone::These(handles) => {
                for number in handles.iter().filter_map(|handle| handle.parse().ok()) {
                    let _gone: Option<Image> = of_group.images.remove(&number);
                }
            }
        }
        for image in &change.add {
            self.last_image += 1;
            of_group.images.insert(self.last_image, image.clone());
        }
    }

    fn commit(&mut self, commit: Commit<'_>, now: Timestamp) -> Vec<Committed> {
        let outdated: BTreeSet<&Group> = commit
            .images
            .iter()
            .filter(|change| !self.has_images(change))
            .map(|change| &change.group)
            .collect();
        let mut lost = outdated.clone();
        let mut committed = Vec::with_capacity(commit.writes.len());
        for write in commit.writes {
            let became = if outdated.contains(&write.key.group) {
                Committed::Conflict
            } else {
                self.write(write, now)
            };
            if became == Committed::Conflict {
                lost.insert(&write.key.group);
            }
            committed.push(became);
        }
        for hierarchy in commit.finished {
            if !lost.contains(&hierarchy.group) {
                let of_group = self.groups.entry(hierarchy.group.clone()).or_default();
                of_group.hierarchies.push(hierarchy.clone());
                self.finished.push(hierarchy.clone());
            }
        }
        for change in commit.images {
            if !lost.contains(&change.group) {
                self.change_images(change);
            }
        }
        committed
    }

    fn conversions(&self, query: &ConversionQuery) -> ConversionPage {
        let table = Table::RSLeadGlobalConversions;
        let mut found: Vec<(Timestamp, SmolStr)> = Vec::new();
        for (key, kept) in self.all().filter(|(key, _)| key.table == table) {
            if let Ok(Row::RSLeadGlobalConversions(row)) = table.read_row(&kept.body)
                && row.tenant == query.tenant
            {
                let conversion: Option<&Conversion> = row.conversions.get(&query.name);
                found.extend(conversion.map(|one| (one.last_at, key.id.clone())));
            }
        }
        let to = match &query.after {
            Some(cursor) => (cursor.last_at, cursor.lead_id.clone()),
            None => (query.to, SmolStr::default()),
        };
        found.retain(|place| place.0 >= query.from && *place < to);
        found.sort();
        found.reverse();
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more);
        let next = next.map(|(last_at, lead_id)| Cursor {
            last_at: *last_at,
            lead_id: lead_id.clone(),
        });
        let keys = found
            .iter()
            .map(|(_, lead)| RowKey::conversions(&query.tenant, lead));
        let rows = keys.filter_map(|key| self.stored(&key, false)).collect();
        ConversionPage { rows, next }
    }
}

impl OfGroup {
    fn in_force(&self, place: &Place) -> Vec<Version> {
        let recorded = self.histories.get(place).into_iter().flatten();
        let in_force = recorded.filter(|one| one.one.recorded_to.is_none());
        let mut versions: Vec<Version> = in_force.map(|one| one.one.version.clone()).collect();
        versions.sort_by_key(|version| version.n);
        versions
    }

    fn supersede(&mut self, place: &Place, keep: u32, now: Timestamp) {
        for recorded in self.histories.get_mut(place).into_iter().flatten() {
            let one = &mut recorded.one;
            if one.recorded_to.is_none() && one.version.n > keep {
                one.recorded_to = Some(now);
            }
        }
    }

    fn put(&mut self, place: Place, put: &Put, now: Timestamp) {
        let kept = Kept {
            body: put.body.clone(),
            trail: put.trail.clone(),
        };
        self.actions.extend(put.actions.iter().copied());
        if let Some(history) = &put.history {
            self.rewrite(&place, history, put.trail.version, now);
        }
        self.rows.insert(place, kept);
    }

    fn rewrite(&mut self, place: &Place, history: &HistoryWrite, made: u64, now: Timestamp) {
        if history.supersede {
            self.supersede(place, history.keep, now);
        }
        let all = self.histories.entry(place.clone()).or_default();
        let end = history.versions.first().map(|version| version.valid_from);
        for recorded in all.iter_mut() {
            if recorded.one.recorded_to.is_none() && recorded.one.version.n == history.keep {
                recorded.one.version.valid_to = end;
            }
        }
        for version in &history.versions {
            let known = all.iter_mut().find(|one| {
                (one.one.version.n, one.made, one.one.recorded_from) == (version.n, made, now)
            });
            match known {
                Some(known) => {
                    known.one.version = version.clone();
                    known.one.recorded_to = None;
                }
                None => all.push(Recorded {
                    made,
                    one: HistoryVersion {
                        version: version.clone(),
                        recorded_from: now,
                        recorded_to: None,
                    },
                }),
            }
        }
    }
}

impl<G: Gate> Tables for Memory<G> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.call(Call::Read, |store: &mut Store, _| {
            let with_history = reading == Reading::WithHistory;
            let keys = keys.iter();
            let stored = keys.filter_map(|key| store.tables.stored(key, with_history));
            Ok(stored.collect())
        })
        .await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.call(Call::ReadGroups, |store, _| {
            let of = |group| store.tables.of_group(group);
            Ok(groups.iter().map(of).collect())
        })
        .await
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.call(Call::GroupsWithRows, |store, _| {
            let groups = store.tables.groups.iter();
            let groups = groups.filter(|(_, of_group)| !of_group.rows.is_empty());
            let groups = groups.map(|(group, _)| group);
            Ok(page(groups, partition, after, limit))
        })
        .await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.call(Call::Commit, |store, _| {
            let before: Vec<Option<Kept>> = match &store.audit {
                Some(_) => {
                    let writes = commit.writes.iter();
                    writes
                        .map(|write| store.tables.kept(&write.key).cloned())
                        .collect()
                }
                None => Vec::new(),
            };
            let committed = store.tables.commit(commit, now);
            if let Some(audit) = &mut store.audit {
                let done = commit.writes.iter().zip(&committed).zip(&before);
                for ((write, became), before) in done {
                    if *became == Committed::Done {
                        let after = store.tables.kept(&write.key);
                        audit.written(&store.journal, &write.key, before.as_ref(), after);
                    } else {
                        audit.lost_race();
                    }
                }
                for hierarchy in commit.finished {
                    audit.finished(&store.journal, hierarchy);
                }
            }
            Ok(committed)
        })
        .await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.call(Call::Images, |store, _| {
            let images = store.tables.groups.get(group).map(|one| &one.images);
            let images = images.into_iter().flatten();
            let kept = images.filter(|(_, image)| image.until.time >= since);
            Ok(kept
                .map(|(number, image)| KeptImage {
                    handle: number.to_smolstr(),
                    image: Some(image.clone()),
                })
                .collect())
        })
        .await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.call(Call::ImageHeads, |store, _| {
            let images = store.tables.groups.get(group).map(|one| &one.images);
            let images = images.into_iter().flatten();
            Ok(images.map(|(_, image)| image.head()).collect())
        })
        .await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.call(Call::VersionsAfter, |store, _| {
            let after = |(key, n): &(RowKey, u32)| {
                let of_group = store.tables.groups.get(&key.group);
                let place = (key.table, key.id.clone());
                let versions = of_group.map(|one| one.in_force(&place));
                let mut versions = versions.unwrap_or_default();
                versions.retain(|version| version.n > *n);
                versions
            };
            Ok(rows.iter().map(after).collect())
        })
        .await
    }

    async fn add(&self, additions: &[Addition], _now: Timestamp) -> Result<Vec<Added>, Error> {
        self.call(Call::Add, |store, _| {
            let added = store.tables.add(additions)?;
            if let Some(audit) = &mut store.audit {
                for addition in additions {
                    audit.added(&store.journal, addition);
                }
            }
            Ok(added)
        })
        .await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.call(Call::History, |store, _| Ok(store.tables.history(key)))
            .await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.call(Call::Conversions, |store, _| {
            Ok(store.tables.conversions(query))
        })
        .await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.call(Call::Find, |store, _| {
            let rows = store.tables.all();
            let named = rows.filter(|(key, kept)| {
                key.id == id
                    && !kept.body.is_empty()
                    && tenant.is_none_or(|tenant| key.group.tenant == tenant)
            });
            Ok(named.map(|(key, _)| key).collect())
        })
        .await
    }
}
