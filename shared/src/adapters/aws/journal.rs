//! Events in segments: those of one group that were appended together, as one item. A segment's sort key
//! is the moment it was written at, so a group's segments come in the order of arrival.
//!
//! An append claims identities, lists new groups, then writes segments. A claim whose segment was never
//! written, because its owner died between the two, is found by the next append of the same event, which
//! writes it. So an event may come to stand in two segments; a reader takes the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smol_str::SmolStr;

use crate::adapters::codec;
use crate::model::{Entry, EventHash, Group, Timestamp};
use crate::ports::{Appended, Error, ErrorKind, Journal, Partition, Since};

use super::identities::{Claim, Claimed};
use super::item::{Item, bytes, bytes_of, item, text};
use super::pause::pause;
use super::{Aws, failed, side_by_side};

/// How many requests are under way at once.
const AT_ONCE: usize = 32;
/// The most bytes of events in one segment, before compression. DynamoDB takes items of 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>).
const SEGMENT_BYTES_MAX: usize = 300_000;
const ENTRIES: &str = "entries";
/// A claim that is older is of an append that has died.
const YOUNG_US: u64 = 5_000_000;
/// How often an event is looked for whose claim is younger. With the pauses, a second or two.
const LOOKS_MAX: u32 = 8;

impl Journal for Aws {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        let contents: Vec<u128> = entries.iter().map(|one| one.event.content_hash()).collect();
        let mut firsts: BTreeMap<(SmolStr, EventHash), usize> = BTreeMap::new();
        for (place, entry) in entries.iter().enumerate() {
            let identity = (entry.group.tenant.clone(), entry.hash);
            firsts.entry(identity).or_insert(place);
        }
        let elsewhere = self.away_from_home(entries, firsts.values()).await?;
        let at_home = firsts.values().copied();
        let at_home = at_home.filter(|place| !elsewhere.contains(place));
        let segments = self.lay_out(entries, at_home.collect());
        let mut claims = Vec::with_capacity(firsts.len());
        for segment in &segments {
            for place in &segment.entries {
                if let (Some(entry), Some(content)) = (entries.get(*place), contents.get(*place)) {
                    let claim = Claim {
                        group: entry.group.clone(),
                        segment: segment.name.clone(),
                        content: *content,
                    };
                    claims.push(self.claim(*place, entry, claim));
                }
            }
        }
        let claimed = side_by_side(claims, AT_ONCE).await?;
        let mut known = self.settle(entries, &segments, &contents, claimed).await?;
        let away = |place| {
            (
                place,
                (
                    Appended::Elsewhere,
                    contents.get(place).copied().unwrap_or_default(),
                ),
            )
        };
        known.extend(elsewhere.into_iter().map(away));
        let answer = |(place, (entry, content)): (usize, (&Arc<Entry>, u128))| {
            let identity = (entry.group.tenant.clone(), entry.hash);
            let first = firsts.get(&identity).copied().unwrap_or(place);
            match known.get(&first) {
                Some((Appended::New, _)) if first == place => Appended::New,
                Some((Appended::Elsewhere, _)) => Appended::Elsewhere,
                Some((_, held)) if *held == content => Appended::Duplicate,
                Some(_) | None => Appended::Conflict,
            }
        };
        let all = entries.iter().zip(contents.iter().copied()).enumerate();
        Ok(all.map(answer).collect())
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            asked.push(self.read_entries(group, Which::All));
        }
        side_by_side(asked, AT_ONCE).await
    }

    /// By the moment of arrival, which no event's recorded time comes after: that needs no index, and costs
    /// the events that arrived since.
    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        let mut asked = Vec::with_capacity(groups.len());
        for since in groups {
            asked.push(async move {
                let from = name_at(moment_us(since.recorded));
                let mut entries = self.read_entries(&since.group, Which::From(&from)).await?;
                entries.retain(|entry| entry.event.time >= since.time);
                Ok(entries)
            });
        }
        side_by_side(asked, AT_ONCE).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.whereabouts_of(events).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.homes_of(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.page_of_groups(partition, after, limit).await
    }
}

/// Entries of one group that are to be written as one item: their places in the append.
struct Segment {
    name: String,
    entries: Vec<usize>,
    bytes: usize,
}

impl Aws {
    /// Those entries, of the places given, that amend an event whose home is another group.
    async fn away_from_home(
        &self,
        entries: &[Arc<Entry>],
        places: impl Iterator<Item = &usize>,
    ) -> Result<BTreeSet<usize>, Error> {
        let mut places: Vec<usize> = places.copied().collect();
        places.sort_unstable();
        let mut first_of: BTreeMap<(&SmolStr, EventHash), usize> = BTreeMap::new();
        let mut amending = Vec::new();
        for place in places {
            let Some(entry) = entries.get(place) else {
                continue;
            };
            if entry.event.revision() > 0 && !entry.event.is_copy() {
                let event = (&entry.group.tenant, entry.event.identity());
                amending.push((place, entry, *first_of.entry(event).or_insert(place)));
            }
        }
        let mut looks = Vec::with_capacity(first_of.len());
        for first in first_of.values() {
            if let Some(entry) = entries.get(*first) {
                looks.push(self.find_home(*first, entry));
            }
        }
        let homes: BTreeMap<usize, Group> =
            side_by_side(looks, AT_ONCE).await?.into_iter().collect();
        let away = amending
            .into_iter()
            .filter(|(_, entry, first)| homes.get(first) != Some(&entry.group));
        Ok(away.map(|(place, _, _)| place).collect())
    }

    /// Puts entries of a group together, as far as an item can hold them.
    fn lay_out(&self, entries: &[Arc<Entry>], mut places: Vec<usize>) -> Vec<Segment> {
        places.sort_unstable();
        let mut segments: Vec<Segment> = Vec::new();
        let mut open: BTreeMap<&Group, usize> = BTreeMap::new();
        for place in places {
            let Some(entry) = entries.get(place) else {
                continue;
            };
            let size = entry.event.size();
            let last = open.get(&entry.group).and_then(|at| segments.get_mut(*at));
            match last {
                Some(segment) if segment.bytes + size <= SEGMENT_BYTES_MAX => {
                    segment.entries.push(place);
                    segment.bytes += size;
                }
                Some(_) | None => {
                    open.insert(&entry.group, segments.len());
                    segments.push(Segment {
                        name: self.next_name(),
                        entries: vec![place],
                        bytes: size,
                    });
                }
            }
        }
        segments
    }

    /// A name that comes after those of segments written before, here or, as far as clocks agree,
    /// elsewhere.
    fn next_name(&self) -> String {
        let now = moment_us(self.clock.now());
        let next = |last: u64| Some(now.max(last + 1));
        let (relaxed, last) = (Ordering::Relaxed, &self.last_us);
        let before = last.fetch_update(relaxed, relaxed, next).unwrap_or(now);
        let name = name_at(now.max(before + 1));
        format!("{name}-{:08x}", fastrand::u32(..))
    }

    /// Writes what was won and looks after what was lost: whether each first entry of its identity is new,
    /// and what the event of that identity says.
    async fn settle(
        &self,
        entries: &[Arc<Entry>],
        segments: &[Segment],
        contents: &[u128],
        claimed: Vec<(usize, Claimed)>,
    ) -> Result<BTreeMap<usize, (Appended, u128)>, Error> {
        let mut known = BTreeMap::new();
        let mut won = BTreeSet::new();
        let mut lost = Vec::new();
        for (place, claimed) in claimed {
            let content = contents.get(place).copied().unwrap_or_default();
            match claimed {
                Claimed::Won => {
                    won.insert(place);
                    known.insert(place, (Appended::New, content));
                }
                Claimed::Lost(held) if held.content != content => {
                    known.insert(place, (Appended::Conflict, held.content));
                }
                Claimed::Lost(held)
                    if entries
                        .get(place)
                        .is_some_and(|one| one.group != held.group) =>
                {
                    known.insert(place, (Appended::Elsewhere, content));
                }
                Claimed::Elsewhere => {
                    known.insert(place, (Appended::Elsewhere, content));
                }
                Claimed::Lost(held) => lost.push((place, held)),
            }
        }
        let mut items = Vec::new();
        let mut groups = BTreeSet::new();
        for (place, claim, stands) in self.look_after(entries, lost).await? {
            let became = if stands {
                Appended::Duplicate
            } else {
                Appended::New
            };
            known.insert(place, (became, claim.content));
            if let (Appended::New, Some(entry)) = (became, entries.get(place)) {
                let mut late = Entry::clone(entry);
                late.group = claim.group.clone();
                let name = format!("{}+{}", claim.segment, entry.hash);
                items.push(segment_item(&claim.group, &name, &[&late])?);
                groups.insert(claim.group);
            }
        }
        for segment in segments {
            let own = segment.entries.iter().filter(|place| won.contains(place));
            let own = own.filter_map(|place| entries.get(*place).map(Arc::as_ref));
            let own: Vec<&Entry> = own.collect();
            if let Some(first) = own.first() {
                items.push(segment_item(&first.group, &segment.name, &own)?);
                groups.insert(first.group.clone());
            }
        }
        // A group that is listed and has no entries does no harm; one that is not listed is not replayed.
        self.list_groups(groups).await?;
        let table = &self.names.journal_table;
        self.put_all(table, items, "append to the journal in DynamoDB")
            .await?;
        Ok(known)
    }

    /// Whether each event whose identity was claimed before stands where its claim says.
    async fn look_after(
        &self,
        entries: &[Arc<Entry>],
        lost: Vec<(usize, Claim)>,
    ) -> Result<Vec<(usize, Claim, bool)>, Error> {
        let mut looks = Vec::with_capacity(lost.len());
        for (place, claim) in lost {
            let hash = entries.get(place).map(|entry| entry.hash);
            looks.push(async move {
                let stands = self.stands(&claim, hash).await?;
                Ok((place, claim, stands))
            });
        }
        side_by_side(looks, AT_ONCE).await
    }

    /// Whether an event stands where its claim says. Whoever made the claim a moment ago may be about to write
    /// the event: it is given some time, so that of two appends one alone calls it new.
    async fn stands(&self, claim: &Claim, hash: Option<EventHash>) -> Result<bool, Error> {
        for attempt in 0..LOOKS_MAX {
            let near = Which::Near(&claim.segment);
            let near = self.read_entries(&claim.group, near).await?;
            if near.iter().any(|one| Some(one.hash) == hash) {
                return Ok(true);
            }
            let claimed_us = claim.segment.get(..16);
            let claimed_us = claimed_us.and_then(|text| u64::from_str_radix(text, 16).ok());
            let age_us = moment_us(self.clock.now()).saturating_sub(claimed_us.unwrap_or(0));
            if age_us > YOUNG_US || attempt + 1 == LOOKS_MAX {
                break;
            }
            pause(attempt).await;
        }
        Ok(false)
    }

    /// Entries of a group, in the order of arrival.
    async fn read_entries(&self, group: &Group, which: Which<'_>) -> Result<Vec<Entry>, Error> {
        let doing = "read a group's journal in DynamoDB";
        let key = partition_of(group);
        let query = self
            .dynamo
            .query()
            .table_name(&self.names.journal_table)
            .consistent_read(true)
            .expression_attribute_values(":group", text(key));
        let query = match which {
            Which::All => query.key_condition_expression("pk = :group"),
            Which::From(name) => query
                .key_condition_expression("pk = :group AND sk >= :name")
                .expression_attribute_values(":name", text(name)),
            Which::Near(segment) => query
                .key_condition_expression("pk = :group AND begins_with(sk, :segment)")
                .expression_attribute_values(":segment", text(segment)),
        };
        let mut pages = query.into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed(doing))?;
            for item in page.items() {
                codec::decode_entries_into(group, bytes_of(item, ENTRIES)?, &mut entries)
                    .map_err(|error| Error::new(ErrorKind::Corrupt, doing, error))?;
            }
        }
        let mut seen = BTreeSet::new();
        entries.retain(|entry| seen.insert(entry.hash));
        Ok(entries)
    }
}

/// Which of a group's segments to read.
#[derive(Debug, Clone, Copy)]
enum Which<'a> {
    All,
    /// Those whose names do not come before this.
    From(&'a str),
    /// The one of this name, and what was written in its stead.
    Near(&'a str),
}

fn moment_us(at: Timestamp) -> u64 {
    u64::try_from(at.ms().max(0)).unwrap_or(0) * 1_000
}

/// How the names of segments begin that are written at a moment.
fn name_at(us: u64) -> String {
    format!("{us:016x}")
}

pub(super) fn partition_of(group: &Group) -> String {
    format!("group#{group}")
}

fn segment_item(group: &Group, name: &str, entries: &[&Entry]) -> Result<Item, Error> {
    let doing = "append to the journal in DynamoDB";
    let body = codec::encode_entries(entries.iter().copied())
        .map_err(|error| Error::new(ErrorKind::Reject, doing, error))?;
    let mut item = item(&partition_of(group), name);
    item.insert(ENTRIES.to_owned(), bytes(body));
    Ok(item)
}
