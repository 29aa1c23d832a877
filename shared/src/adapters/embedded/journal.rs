use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use smol_str::SmolStr;

use crate::model::{Entry, EventHash, Group};
use crate::ports::{Appended, Error, Journal, Partition, Since};
use crate::side_by_side;

use super::groups::GROUPS_WITH_ENTRIES;
use super::query::{Index, Need, Query, queries};
use super::queue::bind;
use super::suffix::APPEND_SEGMENT;
use super::{Embedded, Failure, Inner, codec};

pub(super) const JOURNAL_BY_GROUP: Index = Index {
    name: "journal_by_group",
    table: "journal",
    on: "(gid)",
};

/// The most events in one segment: who needs a few late ones of a group reads no more than these.
const SEGMENT_ENTRIES_MAX: usize = 64;

queries! {
    LAST_POSITION {
        name: "Journal::append, the last position",
        needs: [Need::Key("journal")],
        sql: "SELECT max(position) FROM journal",
        trial: "SELECT 1 FROM journal LIMIT 1",
    }
    CLAIM_IDENTITY {
        name: "Journal::append, claim an identity",
        needs: [],
        sql: "INSERT INTO identities (hash, position) VALUES (?, ?) ON CONFLICT DO NOTHING",
    }
    PLACE_OF_IDENTITY {
        name: "Journal::append, who has an identity",
        needs: [Need::Key("identities")],
        sql: "SELECT position FROM identities WHERE hash = ?",
        trial: "SELECT hash FROM identities LIMIT 1",
    }
    SEGMENT {
        name: "Journal::append, the segment of a duplicate",
        needs: [Need::Key("journal")],
        sql: "SELECT gid, body FROM journal WHERE position = ?",
        trial: "SELECT position FROM journal LIMIT 1",
    }
    ENTRIES {
        name: "Journal::entries",
        needs: [Need::Index(&JOURNAL_BY_GROUP)],
        sql: "SELECT body FROM journal WHERE gid = ? ORDER BY position",
        trial: "SELECT gid FROM journal LIMIT 1",
    }
}

impl Journal for Embedded {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.unit(|inner| inner.append(entries))
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.look(|inner| groups.iter().map(|group| inner.entries(group)).collect())
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.look(|inner| {
            groups
                .iter()
                .map(|since| inner.entries_since(since))
                .collect()
        })
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.look(|inner| {
            let find = |(tenant, hash): &(SmolStr, EventHash)| inner.whereabouts(tenant, *hash);
            events.iter().map(find).collect()
        })
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.look(|inner| {
            let mut segments = Segments::after(i64::MAX);
            let find = |(tenant, identity): &(SmolStr, EventHash)| {
                inner.home(tenant, *identity, &mut segments)
            };
            events.iter().map(find).collect()
        })
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.look(|inner| inner.page_of_groups(&GROUPS_WITH_ENTRIES, partition, after, limit))
    }
}

/// The events of one group that are being appended together.
struct Segment<'e> {
    gid: i64,
    entries: Vec<&'e Entry>,
}

/// The most events of segments that are kept in mind.
const SEEN_EVENTS_MAX: usize = 250_000;

/// Which events stand in segments that were looked at. What is committed of a journal never changes.
#[derive(Debug, Default)]
pub(super) struct SeenSegments {
    by_position: BTreeMap<i64, SeenSegment>,
    events: usize,
}

/// A segment's group, and its events' hashes, sorted.
#[derive(Debug)]
struct SeenSegment {
    group: Group,
    events: Vec<EventHash>,
}

impl SeenSegments {
    fn get(&self, position: i64) -> Option<&SeenSegment> {
        self.by_position.get(&position)
    }

    fn note(
        &mut self,
        position: i64,
        group: Group,
        events: impl Iterator<Item = EventHash>,
    ) -> &SeenSegment {
        if self.events >= SEEN_EVENTS_MAX {
            self.by_position.clear();
            self.events = 0;
        }
        let mut events: Vec<EventHash> = events.collect();
        events.sort_unstable();
        self.events += events.len();
        let seen = SeenSegment { group, events };
        self.by_position.entry(position).or_insert(seen)
    }
}

impl SeenSegment {
    fn has(&self, tenant: &SmolStr, hash: EventHash) -> Option<Group> {
        let has = self.group.tenant == *tenant && self.events.binary_search(&hash).is_ok();
        has.then(|| self.group.clone())
    }
}

/// What an append knows of the segments that identities point to.
struct Segments<'e> {
    /// The position of the first new one.
    first: i64,
    /// The new ones, by position from `first` on.
    new: Vec<Segment<'e>>,
    /// Stored ones that duplicates made us look at.
    stored: BTreeMap<i64, Vec<Entry>>,
}

impl Segments<'_> {
    fn after(first: i64) -> Self {
        Self {
            first,
            new: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    fn has_room(&self, place: usize) -> bool {
        let segment = self.new.get(place);
        segment.is_some_and(|segment| segment.entries.len() < SEGMENT_ENTRIES_MAX)
    }
}

impl Inner {
    fn append(&mut self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Failure> {
        let last: Option<i64> = self
            .database
            .prepare(&LAST_POSITION)?
            .query_row([], |row| row.get(0))?;
        let last = last.unwrap_or(0);
        if let Some(durable) = &self.durable {
            durable.compare(last)?;
        }
        let first = last + 1;
        let mut segments = Segments::after(first);
        let mut places: BTreeMap<i64, usize> = BTreeMap::new();
        let mut appended = Vec::with_capacity(entries.len());
        for entry in entries {
            let gid = self.gid(&entry.group)?;
            let place = places.get(&gid).copied();
            let place = place.filter(|&place| segments.has_room(place));
            let place = place.unwrap_or(segments.new.len());
            let position = first + i64::try_from(place).unwrap_or(i64::MAX);
            let became = self.identify(entry, position, &mut segments)?;
            if became == Appended::New {
                match segments.new.get_mut(place) {
                    Some(segment) => segment.entries.push(entry),
                    None => {
                        places.insert(gid, place);
                        segments.new.push(Segment {
                            gid,
                            entries: vec![entry],
                        });
                    }
                }
            }
            appended.push(became);
        }
        if let Some(durable) = &mut self.durable {
            durable.appends_to(last + bind(segments.new.len()));
        }
        let bodies = side_by_side::map(&segments.new, |segment| {
            codec::encode_entries(segment.entries.iter().copied())
        });
        let mut insert = self.database.prepare(&APPEND_SEGMENT)?;
        for ((position, segment), body) in (first..).zip(&segments.new).zip(bodies) {
            let times = segment.entries.iter().map(|entry| entry.event.time.ms());
            let until = times.max().unwrap_or(i64::MAX);
            insert.execute(params![position, segment.gid, body?, until])?;
        }
        Ok(appended)
    }

    /// Claims the entry's identity and revision for `position`, or says who has it.
    ///
    /// The first telling of an event claims its identity too, so that those that come later find their home.
    fn identify<'e>(
        &self,
        entry: &'e Entry,
        position: i64,
        segments: &mut Segments<'e>,
    ) -> Result<Appended, Failure> {
        let is_told_again = entry.event.revision() > 0 && !entry.event.is_copy();
        if !is_told_again {
            return self.claim(entry, position, segments);
        }
        let (tenant, identity) = (&entry.group.tenant, entry.event.identity());
        let home = self.home(tenant, identity, segments)?;
        if home.as_ref().is_some_and(|home| *home != entry.group) {
            return Ok(Appended::Elsewhere);
        }
        let became = self.claim(entry, position, segments)?;
        if home.is_none() && became == Appended::New {
            let mut claim = self.database.prepare(&CLAIM_IDENTITY)?;
            let mut key = identity_key(tenant, identity);
            while claim.execute(params![key, position])? == 0 {
                key = key.wrapping_add(1);
            }
        }
        Ok(became)
    }

    /// Claims the entry's hash for `position`, or says who has it.
    ///
    /// The key is 64 bits of the hash; another event of the same key moves one number on. So does, under the
    /// key of an identity, an amendment that came first.
    fn claim<'e>(
        &self,
        entry: &'e Entry,
        position: i64,
        segments: &mut Segments<'e>,
    ) -> Result<Appended, Failure> {
        let mut claim = self.database.prepare(&CLAIM_IDENTITY)?;
        let tenant = &entry.group.tenant;
        let mut key = identity_key(tenant, entry.hash);
        while claim.execute(params![key, position])? == 0 {
            let taken: i64 = self
                .database
                .prepare(&PLACE_OF_IDENTITY)?
                .query_row([key], |row| row.get(0))?;
            let known = |known: &Entry| known.hash == entry.hash;
            if let Some(known) = self.find_at(taken, tenant, segments, known)? {
                return Ok(if !known.event.same_content(&entry.event) {
                    Appended::Conflict
                } else if known.group == entry.group {
                    Appended::Duplicate
                } else {
                    Appended::Elsewhere
                });
            }
            let told = |known: &Entry| known.event.identity() == entry.hash;
            let home = self.find_at(taken, tenant, segments, told)?;
            if home.is_some_and(|known| known.group != entry.group) {
                return Ok(Appended::Elsewhere);
            }
            key = key.wrapping_add(1);
        }
        Ok(Appended::New)
    }

    /// The group in whose journal the tellings of an event stand.
    fn home<'e>(
        &self,
        tenant: &SmolStr,
        identity: EventHash,
        segments: &mut Segments<'e>,
    ) -> Result<Option<Group>, Failure> {
        let mut place = self.database.prepare(&PLACE_OF_IDENTITY)?;
        let mut key = identity_key(tenant, identity);
        loop {
            let position: Option<i64> = place.query_row([key], |row| row.get(0)).optional()?;
            let Some(position) = position else {
                return Ok(None);
            };
            let told = |known: &Entry| known.event.identity() == identity;
            if let Some(known) = self.find_at(position, tenant, segments, told)? {
                return Ok(Some(known.group.clone()));
            }
            key = key.wrapping_add(1);
        }
    }

    /// The entry of a tenant's that fits among those that stand, or will, at a position.
    fn find_at<'s>(
        &self,
        position: i64,
        tenant: &SmolStr,
        segments: &'s mut Segments<'_>,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Option<&'s Entry>, Failure> {
        let fits = |known: &&Entry| known.group.tenant == *tenant && fits(known);
        let under_way = usize::try_from(position - segments.first).ok();
        if let Some(segment) = under_way.and_then(|place| segments.new.get(place)) {
            return Ok(segment.entries.iter().copied().find(|known| fits(known)));
        }
        let stored = match segments.stored.entry(position) {
            MapEntry::Occupied(known) => known.into_mut(),
            MapEntry::Vacant(place) => place.insert(self.segment(position)?),
        };
        Ok(stored.iter().find(fits))
    }

    /// The group whose journal has the event.
    fn whereabouts(&mut self, tenant: &SmolStr, hash: EventHash) -> Result<Option<Group>, Failure> {
        let mut key = identity_key(tenant, hash);
        loop {
            let position: Option<i64> = self
                .database
                .prepare(&PLACE_OF_IDENTITY)?
                .query_row([key], |row| row.get(0))
                .optional()?;
            let Some(position) = position else {
                return Ok(None);
            };
            if let Some(group) = self.has_at(position, tenant, hash)? {
                return Ok(Some(group));
            }
            key = key.wrapping_add(1);
        }
    }

    /// The group of the segment at a position, if it is that tenant's and has the event.
    ///
    /// Copies of many groups stand in one segment of a day: it is decoded for the first that is asked for.
    fn has_at(
        &mut self,
        position: i64,
        tenant: &SmolStr,
        hash: EventHash,
    ) -> Result<Option<Group>, Failure> {
        let seen = match self.seen_segments.get(position) {
            Some(seen) => seen,
            None => {
                let entries = self.segment(position)?;
                let Some(first) = entries.first() else {
                    return Ok(None);
                };
                let group = first.group.clone();
                if self.in_unit {
                    // It may be gone again, and another stand in its place.
                    let known = same_identity(entries.iter(), tenant, hash);
                    return Ok(known.map(|known| known.group.clone()));
                }
                let events = entries.iter().map(|entry| entry.hash);
                self.seen_segments.note(position, group, events)
            }
        };
        Ok(seen.has(tenant, hash))
    }

    /// The entries that stand at a position.
    fn segment(&self, position: i64) -> Result<Vec<Entry>, Failure> {
        let found: Option<(i64, Vec<u8>)> = self
            .database
            .prepare(&SEGMENT)?
            .query_row([position], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((gid, body)) = found else {
            return Ok(Vec::new());
        };
        Ok(codec::decode_entries(&self.group(gid)?, &body)?)
    }

    fn entries(&mut self, group: &Group) -> Result<Vec<Entry>, Failure> {
        self.entries_by(group, &ENTRIES)
    }

    /// The entries of the records that a query by the group's number gives, in its order.
    pub(super) fn entries_by(
        &mut self,
        group: &Group,
        query: &Query,
    ) -> Result<Vec<Entry>, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(query)?;
        let mut rows = select.query([gid])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            codec::decode_entries_into(group, body, &mut entries)?;
        }
        Ok(entries)
    }
}

fn same_identity<'e>(
    mut among: impl Iterator<Item = &'e Entry>,
    tenant: &SmolStr,
    hash: EventHash,
) -> Option<&'e Entry> {
    among.find(|known| known.group.tenant == *tenant && known.hash == hash)
}

/// Identities are a tenant's own: no tenant can take another's.
pub(super) fn identity_key(tenant: &SmolStr, hash: EventHash) -> i64 {
    let tenant = EventHash::of(tenant, "").short();
    i64::from_le_bytes((tenant ^ hash.short()).to_le_bytes())
}
