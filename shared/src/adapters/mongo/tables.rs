use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use smol_str::SmolStr;

use crate::flow::{RowKey, Stored, Write};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, Group, Timestamp};
use crate::ports::{
    Committed, ConversionPage, ConversionQuery, Error, ErrorKind, HistoryVersion, Partition,
    Reading, Tables,
};

use super::document::{self, moment, to_json};
use super::{Mongo, failed, keys, rows_of};

const DOING: &str = "read rows from MongoDB";
/// More documents than a read of one batch gives; the server answers as many as fit a message of
/// 16 MiB in one round trip.
const AT_ONCE: u32 = 100_000;
/// By this a document of an aggregation over several collections says where it is from.
const FROM: &str = "trail.from";
/// A document of a version rather than of a row.
const VERSION: i64 = -1;

impl Tables for Mongo {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        let mut parts = Vec::new();
        for table in Table::ALL {
            let of_table = keys.iter().filter(|key| key.table == table);
            let texts: Vec<String> = of_table.map(keys::of_row).collect();
            if texts.is_empty() {
                continue;
            }
            let wanted = Wanted::Keys(texts);
            if reading == Reading::WithHistory && table.is_temporal() {
                parts.push(Part::versions(table, &wanted));
            }
            parts.push(Part::rows(table, &wanted));
        }
        self.read_parts(parts, reading == Reading::WithHistory)
            .await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        let wanted = Wanted::Groups(groups.iter().map(keys::of_group).collect());
        let mut parts = Vec::new();
        for table in Table::ALL {
            if table.is_temporal() {
                parts.push(Part::versions(table, &wanted));
            }
            parts.push(Part::rows(table, &wanted));
        }
        let mut of_groups: BTreeMap<Group, Vec<Stored>> = BTreeMap::new();
        for row in self.read_parts(parts, true).await? {
            of_groups
                .entry(row.key.group.clone())
                .or_default()
                .push(row);
        }
        let rows = |group: &Group| of_groups.get(group).cloned().unwrap_or_default();
        Ok(groups.iter().map(rows).collect())
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.page_of_groups(partition, after, limit).await
    }

    async fn commit(
        &self,
        writes: &[Write],
        finished: &[ActionHierarchy],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.commit_all(writes, finished, now).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        let cursor = self
            .read_from(key.table.name())
            .find(doc! { "trail.key": keys::of_row(key) })
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let mut versions = documents
            .into_iter()
            .map(|document| history_version(key.table, document))
            .collect::<Result<Vec<_>, Error>>()?;
        versions.sort_by_key(|one| (one.recorded_from, one.version.n));
        Ok(versions)
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.page(query).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        let mut filters = Table::ALL.map(|table| {
            let mut filter = doc! { table.id_field(): id };
            if let Some(tenant) = tenant {
                filter.insert("tenant", tenant);
            }
            Part::of(rows_of(table), table, filter)
        });
        for part in &mut filters {
            part.project(doc! { "_id": 0, "trail.key": 1, FROM: 1 });
        }
        let documents = self.union(filters.into()).await?;
        let key = |document: &Document| {
            let trail = document.get_document(document::TRAIL).ok()?;
            keys::row(from(document)?.0, trail.get_str("key").ok()?)
        };
        Ok(documents.iter().filter_map(key).collect())
    }
}

/// Which rows are wanted.
enum Wanted {
    Keys(Vec<String>),
    Groups(Vec<String>),
}

/// One collection's part of an aggregation.
struct Part {
    collection: &'static str,
    pipeline: Vec<Document>,
}

impl Part {
    fn of(collection: &'static str, table: Table, filter: Document) -> Self {
        let from = i64::try_from(table.index()).unwrap_or(i64::MAX);
        Self {
            collection,
            pipeline: vec![doc! { "$match": filter }, doc! { "$set": { FROM: from } }],
        }
    }

    fn rows(table: Table, wanted: &Wanted) -> Self {
        Self::of(rows_of(table), table, wanted.filter())
    }

    /// The versions in force.
    fn versions(table: Table, wanted: &Wanted) -> Self {
        let mut filter = wanted.filter();
        filter.insert("trail.inForce", true);
        let mut part = Self::of(table.name(), table, filter);
        part.pipeline
            .push(doc! { "$set": { "trail.version": VERSION } });
        part
    }

    fn project(&mut self, fields: Document) {
        self.pipeline.push(doc! { "$project": fields });
    }
}

impl Wanted {
    fn filter(&self) -> Document {
        match self {
            Self::Keys(keys) => doc! { "trail.key": { "$in": keys } },
            Self::Groups(groups) => doc! { "trail.group": { "$in": groups } },
        }
    }
}

/// The table that a document of an aggregation belongs to, and whether it is a version.
fn from(document: &Document) -> Option<(Table, bool)> {
    let trail = document.get_document(document::TRAIL).ok()?;
    let index = usize::try_from(trail.get_i64("from").ok()?).ok()?;
    let version = trail
        .get_i64("version")
        .is_ok_and(|version| version == VERSION);
    Some((*Table::ALL.get(index)?, version))
}

impl Mongo {
    /// The documents of all parts, in one round trip.
    async fn union(&self, parts: Vec<Part>) -> Result<Vec<Document>, Error> {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else {
            return Ok(Vec::new());
        };
        let mut pipeline = first.pipeline;
        pipeline.extend(parts.map(|part| {
            let (coll, pipeline) = (part.collection, part.pipeline);
            doc! { "$unionWith": { "coll": coll, "pipeline": pipeline } }
        }));
        let cursor = self
            .read_from(first.collection)
            .aggregate(pipeline)
            .batch_size(AT_ONCE)
            .await
            .map_err(failed(DOING))?;
        cursor.try_collect().await.map_err(failed(DOING))
    }

    async fn read_parts(&self, parts: Vec<Part>, histories: bool) -> Result<Vec<Stored>, Error> {
        let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        let mut rows = Vec::new();
        for document in self.union(parts).await? {
            match from(&document) {
                Some((table, true)) => {
                    let trail = document.get_document(document::TRAIL).ok();
                    let key = trail.and_then(|trail| trail.get_str("key").ok());
                    let key = key.unwrap_or_default().to_owned();
                    let one = history_version(table, document)?;
                    versions.entry(key).or_default().push(one.version);
                }
                Some((table, false)) => rows.extend(document::stored(table, document)),
                None => {}
            }
        }
        for row in rows
            .iter_mut()
            .filter(|row| histories && row.key.table.is_temporal())
        {
            let mut history = versions.remove(&keys::of_row(&row.key)).unwrap_or_default();
            history.sort_by_key(|version| version.n);
            row.history = Some(history);
        }
        Ok(rows)
    }

    /// Groups that have rows, by their hashes. Each collection gives its next few; what lies beyond
    /// the last of a collection that has more waits for the next page.
    async fn page_of_groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        let hashes = partition.hashes();
        // '$' comes right after the separator '#', '~' after every hexadecimal digit.
        let mut from = match after {
            Some(group) => format!("{}$", keys::of_group(group)),
            None => format!("{:016x}", hashes.start()),
        };
        let to = format!("{:016x}~", hashes.end());
        let at_once = limit.saturating_mul(2).max(64);
        let mut groups: Vec<String> = Vec::new();
        while groups.len() < limit {
            let mut found: Vec<String> = Vec::new();
            let mut horizon: Option<String> = None;
            for table in Table::ALL {
                let page = self
                    .group_texts(rows_of(table), (&from, &to), at_once)
                    .await?;
                if page.len() >= at_once
                    && let Some(last) = page.last()
                    && horizon.as_ref().is_none_or(|horizon| last < horizon)
                {
                    horizon = Some(last.clone());
                }
                found.extend(page);
            }
            found.sort_unstable();
            found.dedup();
            if let Some(horizon) = &horizon {
                found.retain(|text| text <= horizon);
            }
            groups.append(&mut found);
            match horizon {
                Some(horizon) => from = format!("{horizon}$"),
                None => break,
            }
        }
        groups.truncate(limit);
        Ok(groups.iter().filter_map(|text| keys::group(text)).collect())
    }

    async fn group_texts(
        &self,
        collection: &str,
        (from, to): (&str, &str),
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let cursor = self
            .read_from(collection)
            .find(doc! { "trail.group": { "$gte": from, "$lt": to } })
            .projection(doc! { "_id": 0, "trail.group": 1 })
            .sort(doc! { "trail.group": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let text = |document: &Document| {
            let trail = document.get_document(document::TRAIL).ok()?;
            trail.get_str("group").ok().map(str::to_owned)
        };
        Ok(documents.iter().filter_map(text).collect())
    }
}

/// Reads a version back.
fn history_version(table: Table, mut document: Document) -> Result<HistoryVersion, Error> {
    let id = document
        .get("_id")
        .map(ToString::to_string)
        .unwrap_or_default();
    read_version(table, &mut document).ok_or_else(|| {
        let why = format!("{} {id} is no version of a history", table.name());
        Error::new(ErrorKind::Corrupt, DOING, why)
    })
}

fn read_version(table: Table, document: &mut Document) -> Option<HistoryVersion> {
    let mut at = |name: &str| match document.remove(name) {
        Some(Bson::DateTime(at)) => Some(moment(at)),
        Some(_) | None => None,
    };
    let valid_from = at("validFrom")?;
    let valid_to = at("validTo");
    let recorded_from = at("recordedFrom")?;
    let recorded_to = at("recordedTo");
    let n = u32::try_from(document.get_i64("n").ok()?).ok()?;
    let caused_by = SmolStr::from(document.get_str("causedBy").ok()?);
    for known in [
        "_id",
        "n",
        "causedBy",
        "tenant",
        document::TRAIL,
        table.id_field(),
    ] {
        document.remove(known);
    }
    let mut own: Vec<(String, Bson)> = std::mem::take(document).into_iter().collect();
    own.sort_by(|(a, _), (b, _)| a.cmp(b));
    let fields: serde_json::Map<String, serde_json::Value> = own
        .into_iter()
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    Some(HistoryVersion {
        version: Version {
            n,
            valid_from,
            valid_to,
            caused_by,
            fields: serde_json::Value::Object(fields).to_string().into(),
        },
        recorded_from,
        recorded_to,
    })
}
