use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use mongodb::bson::{Document, doc};

use crate::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use crate::handlers::{Table, Version};
use crate::model::{Group, Timestamp};
use crate::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Error, HistoryVersion, Partition,
    Reading, Tables,
};

use super::document;
use super::indexes::{Index, Kind, Query, Samples};
use super::{Mongo, failed, groups, history, keys, plan, rows_of};

const DOING: &str = "read rows from MongoDB";
/// More documents than a read of one batch gives: the server answers as many as fit a message of
/// 16 MiB at once.
const AT_ONCE: u32 = 100_000;

const BY_KEY: &str = "by_key";
const BY_GROUP: &str = "by_group";
const BY_ID: &str = "by_id";
const IN_FORCE_BY_KEY: &str = "in_force_by_key";
const IN_FORCE_BY_GROUP: &str = "in_force_by_group";

pub(super) fn indexes() -> Vec<Index> {
    let mut all = Vec::new();
    for table in Table::ALL {
        let of = |collection, name, keys, kind| Index {
            collection,
            name,
            keys,
            kind,
        };
        let (rows, id) = (rows_of(table), table.id_field());
        all.push(of(rows, BY_KEY, doc! { "trail.key": 1 }, Kind::Unique));
        all.push(of(rows, BY_GROUP, doc! { "trail.group": 1 }, Kind::Plain));
        all.push(of(rows, BY_ID, doc! { id: 1, "tenant": 1 }, Kind::Plain));
        if table.is_temporal() {
            let versions = table.name();
            let by_key = doc! { "trail.key": 1, "trail.inForce": 1, "n": 1 };
            let by_group = doc! { "trail.group": 1, "trail.inForce": 1 };
            all.push(of(versions, IN_FORCE_BY_KEY, by_key, Kind::Plain));
            all.push(of(versions, IN_FORCE_BY_GROUP, by_group, Kind::Plain));
        }
    }
    all
}

/// The condition of a commit on the version is left out, and versions in force are asked for of one row
/// or group: SecantusDB, which the tests run against, uses the index of such a query all the same, and
/// explains none but those whose whole filter is one range of an index.
pub(super) fn queries(collection: &'static str, samples: &Samples) -> Vec<Query> {
    let mut all = Vec::new();
    for table in Table::ALL {
        let query = |name: &str, needs: &'static str, filter: Document| Query {
            name: format!("{name}, {collection}"),
            collection,
            needs: Some(needs),
            filter,
            sort: Document::new(),
        };
        let key = samples.keys.first().map_or("", String::as_str);
        let group = samples.groups.first().map_or("", String::as_str);
        if collection == rows_of(table) {
            let id = samples.first.get_str(table.id_field()).unwrap_or_default();
            let tenant = samples.first.get_str("tenant").ok();
            let page = groups::between(group, &format!("{group}$"));
            all.extend([
                query("Tables::read", BY_KEY, of_keys(&samples.keys)),
                query("Tables::commit", BY_KEY, of_row(key)),
                query("Tables::read_groups", BY_GROUP, of_groups(&samples.groups)),
                Query {
                    sort: doc! { "trail.group": 1 },
                    ..query("Tables::groups_with_rows", BY_GROUP, page)
                },
                query("Tables::find", BY_ID, of_id(table, tenant, id)),
                query("Tables::find, any tenant", BY_ID, of_id(table, None, id)),
            ]);
        } else if collection == table.name() {
            let in_force = |filter| Part::versions(table, filter).filter;
            let of_group = doc! { "trail.group": group };
            let later = plan::in_force(key, doc! { "n": { "$gt": 0 } });
            all.extend([
                query(
                    "Tables::read, histories",
                    IN_FORCE_BY_KEY,
                    in_force(of_row(key)),
                ),
                query(
                    "Tables::read_groups, histories",
                    IN_FORCE_BY_GROUP,
                    in_force(of_group),
                ),
                query("Tables::history", IN_FORCE_BY_KEY, of_row(key)),
                query("Tables::commit, histories", IN_FORCE_BY_KEY, later),
            ]);
        }
    }
    all
}

fn of_id(table: Table, tenant: Option<&str>, id: &str) -> Document {
    let mut filter = doc! { table.id_field(): id };
    if let Some(tenant) = tenant {
        filter.insert("tenant", tenant);
    }
    filter
}

impl Tables for Mongo {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        let (mut rows, mut versions) = (Vec::new(), Vec::new());
        for table in Table::ALL {
            let of_table = keys.iter().filter(|key| key.table == table);
            let texts: Vec<String> = of_table.map(keys::of_row).collect();
            if texts.is_empty() {
                continue;
            }
            rows.push(Part::rows(table, of_keys(&texts)));
            if reading == Reading::WithHistory && table.is_temporal() {
                versions.push(Part::versions(table, of_keys(&texts)));
            }
        }
        self.read_rows(&rows, &versions).await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = groups.iter().map(keys::of_group).collect();
        let rows = Table::ALL.map(|table| Part::rows(table, of_groups(&texts)));
        let temporal = Table::ALL.into_iter().filter(|table| table.is_temporal());
        let versions: Vec<Part> = temporal
            .map(|table| Part::versions(table, of_groups(&texts)))
            .collect();
        let mut stored: BTreeMap<Group, Vec<Stored>> = BTreeMap::new();
        for row in self.read_rows(&rows, &versions).await? {
            stored.entry(row.key.group.clone()).or_default().push(row);
        }
        let of_group = |group: &Group| stored.get(group).cloned().unwrap_or_default();
        Ok(groups.iter().map(of_group).collect())
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.page_of_groups(partition, after, limit).await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.commit_shares(commit, now).await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.read_images(group, since).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.read_image_heads(group).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        let parts: Vec<Part> = rows
            .iter()
            .map(|(key, n)| {
                let mut filter = of_row(&keys::of_row(key));
                filter.insert("n", doc! { "$gt": i64::from(*n) });
                Part::versions(key.table, filter)
            })
            .collect();
        let mut all = Vec::with_capacity(rows.len());
        for (part, documents) in parts.iter().zip(self.read_all(&parts).await?) {
            let mut versions = Vec::with_capacity(documents.len());
            for document in documents {
                versions.push(history::read(part.table, document)?.version);
            }
            versions.sort_by_key(|version| version.n);
            all.push(versions);
        }
        Ok(all)
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.add_all(additions, now).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        let cursor = self
            .read_from(key.table.name())
            .find(of_row(&keys::of_row(key)))
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let mut versions = documents
            .into_iter()
            .map(|document| history::read(key.table, document))
            .collect::<Result<Vec<_>, Error>>()?;
        versions.sort_by_key(|one| (one.recorded_from, one.version.n));
        Ok(versions)
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.page(query).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        let parts = Table::ALL.map(|table| {
            let filter = of_id(table, tenant, id);
            Part {
                fields: doc! { "_id": 0, "trail.key": 1, "trail.events": 1 },
                ..Part::rows(table, filter)
            }
        });
        let mut found = Vec::new();
        for (part, documents) in parts.iter().zip(self.read_all(&parts).await?) {
            let key = |document: &Document| keys::row(part.table, key_of(document)?);
            let there = documents.iter().filter(|document| !is_gone(document));
            found.extend(there.filter_map(key));
        }
        Ok(found)
    }
}

/// One collection's part of a read.
struct Part {
    collection: &'static str,
    table: Table,
    filter: Document,
    /// The fields that are wanted; all where it is empty.
    fields: Document,
}

impl Part {
    fn rows(table: Table, filter: Document) -> Self {
        Self {
            collection: rows_of(table),
            table,
            filter,
            fields: Document::new(),
        }
    }

    /// The versions in force.
    fn versions(table: Table, mut filter: Document) -> Self {
        filter.insert("trail.inForce", true);
        Self {
            collection: table.name(),
            ..Self::rows(table, filter)
        }
    }
}

fn of_row(key: &str) -> Document {
    doc! { "trail.key": key }
}

fn of_keys(keys: &[String]) -> Document {
    doc! { "trail.key": { "$in": keys } }
}

fn of_groups(groups: &[String]) -> Document {
    doc! { "trail.group": { "$in": groups } }
}

impl Mongo {
    /// The documents of all parts: one request a collection, all at once.
    async fn read_all(&self, parts: &[Part]) -> Result<Vec<Vec<Document>>, Error> {
        try_join_all(parts.iter().map(|part| self.read_part(part))).await
    }

    async fn read_part(&self, part: &Part) -> Result<Vec<Document>, Error> {
        let cursor = self
            .read_from(part.collection)
            .find(part.filter.clone())
            .projection(part.fields.clone())
            .batch_size(AT_ONCE)
            .await
            .map_err(failed(DOING))?;
        cursor.try_collect().await.map_err(failed(DOING))
    }

    /// Rows first, versions once they are here: the server does not read all collections at one moment.
    /// Versions that are newer than their row make the next write of it lose; ones that are older would
    /// let it win, and leave in force what is superseded.
    async fn read_rows(&self, rows: &[Part], versions: &[Part]) -> Result<Vec<Stored>, Error> {
        let mut stored = Vec::new();
        for (part, documents) in rows.iter().zip(self.read_all(rows).await?) {
            let of_table = |document| document::stored(part.table, document);
            stored.extend(documents.into_iter().filter_map(of_table));
        }
        let mut histories: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for (part, documents) in versions.iter().zip(self.read_all(versions).await?) {
            for document in documents {
                let key = key_of(&document).unwrap_or_default().to_owned();
                let one = history::read(part.table, document)?;
                histories.entry(key).or_default().push(one.version);
            }
        }
        let with_history = |row: &&mut Stored| {
            let table = row.key.table;
            versions.iter().any(|part| part.table == table)
        };
        for row in stored.iter_mut().filter(with_history) {
            let mut history = histories
                .remove(&keys::of_row(&row.key))
                .unwrap_or_default();
            history.sort_by_key(|version| version.n);
            row.history = Some(history);
        }
        Ok(stored)
    }
}

/// Whether nothing but the trail of a row is left.
fn is_gone(document: &Document) -> bool {
    let trail = document.get_document(document::TRAIL);
    trail.is_ok_and(|trail| trail.get_i64("events").is_ok_and(|events| events == 0))
}

/// The key that a document of ours carries.
fn key_of(document: &Document) -> Option<&str> {
    let trail = document.get_document(document::TRAIL).ok()?;
    trail.get_str("key").ok()
}
