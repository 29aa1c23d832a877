use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::{DeleteManyModel, UpdateOneModel};
use smol_str::SmolStr;

use crate::flow::RowKey;
use crate::handlers::Table;
use crate::model::{DerivedIndex, Timestamp};
use crate::ports::{ConversionPage, ConversionQuery, Cursor, Error, Reading, Tables};

use super::document::{self, date};
use super::indexes::{Index, Kind, Query, Samples};
use super::plan::{self, Plan};
use super::{Mongo, PLACES, failed, keys, rows_of};

const DOING: &str = "read conversions from MongoDB";

const BY_ROW: &str = "by_row";
const BY_NAME: &str = "by_name";
/// Names the index of conversions as a whole.
const INDEX: &str = "RSLeadGlobalConversions.places";

pub(super) fn indexes() -> Vec<Index> {
    let of = |name, keys| Index {
        collection: PLACES,
        name,
        keys,
        kind: Kind::Plain,
    };
    vec![
        of(BY_ROW, doc! { "key": 1 }),
        of(BY_NAME, doc! { "tenant": 1, "name": 1, "place": 1 }),
    ]
}

pub(super) fn queries(collection: &'static str, samples: &Samples) -> Vec<Query> {
    if collection != PLACES {
        return Vec::new();
    }
    let text = |name: &str| SmolStr::from(samples.first.get_str(name).unwrap_or_default());
    let page = ConversionQuery {
        tenant: text("tenant"),
        name: text("name"),
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        limit: 1,
        after: None,
    };
    let query = |name: &str, needs, filter, sort| Query {
        name: name.to_owned(),
        collection,
        needs: Some(needs),
        filter,
        sort,
    };
    let newest = doc! { "place": -1 };
    vec![
        query(
            "Tables::conversions, page",
            BY_NAME,
            page_filter(&page),
            newest,
        ),
        query(
            "Tables::commit, places",
            BY_ROW,
            doc! { "key": text("key").as_str() },
            doc! {},
        ),
    ]
}

/// An entry of the index of conversions. An index over the rows themselves cannot sort by the time of
/// one of many conversions.
pub(super) fn place(row: &RowKey, name: &str, last_at: Timestamp) -> Document {
    doc! {
        "key": keys::of_row(row),
        "tenant": row.group.tenant.as_str(),
        "name": name,
        "place": position(last_at, &row.id),
        "lastAt": date(last_at),
        "leadId": row.id.as_str(),
    }
}

/// A moment as a text that sorts like it.
fn sortable(at: Timestamp) -> String {
    format!("{:016x}", at.ms().cast_unsigned() ^ (1 << 63))
}

/// A moment and a lead as one text that sorts by the moment first.
fn position(last_at: Timestamp, lead: &str) -> String {
    format!("{}#{lead}", sortable(last_at))
}

/// What a page looks for; one range of the index.
pub(super) fn page_filter(query: &ConversionQuery) -> Document {
    let before = match &query.after {
        Some(cursor) => position(cursor.last_at, &cursor.lead_id),
        None => sortable(query.to),
    };
    doc! {
        "tenant": query.tenant.as_str(),
        "name": query.name.as_str(),
        "place": { "$gte": sortable(query.from), "$lt": before },
    }
}

impl Mongo {
    pub(super) async fn page(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let cursor = self
            .read_from(PLACES)
            .find(page_filter(query))
            .sort(doc! { "place": -1 })
            .limit(limit.saturating_add(1))
            .await
            .map_err(failed(DOING))?;
        let places: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let mut cursors: Vec<Cursor> = places.iter().filter_map(read_place).collect();
        let more = cursors.len() > query.limit;
        cursors.truncate(query.limit);
        let keys: Vec<RowKey> = cursors
            .iter()
            .map(|cursor| RowKey::conversions(&query.tenant, &cursor.lead_id))
            .collect();
        let mut rows = self.read(&keys, Reading::Row).await?;
        // The rows come in no order; there are no more of them than a page holds.
        let place = |id: &SmolStr| keys.iter().position(|key| key.id == *id);
        rows.sort_by_cached_key(|row| place(&row.key.id));
        let next = if more { cursors.pop() } else { None };
        Ok(ConversionPage { rows, next })
    }
}

impl Mongo {
    /// Compares the index of conversions with the rows that it follows from.
    pub(super) async fn check_places(&self) -> Result<DerivedIndex, Error> {
        let (mut lacking, mut stray) = (0, 0);
        for Astray { wanted, there, .. } in self.astray().await? {
            let both = wanted.iter().filter(|entry| there.contains(entry)).count();
            lacking += (wanted.len() - both) as u64;
            stray += (there.len() - both) as u64;
        }
        Ok(DerivedIndex {
            index: INDEX.into(),
            lacking,
            stray,
        })
    }

    /// Brings the entries of rows that have others to what the rows say.
    pub(super) async fn mend_places(&self) -> Result<Option<SmolStr>, Error> {
        let astray = self.astray().await?;
        for Astray { key, .. } in &astray {
            self.place_anew(key).await?;
        }
        Ok((!astray.is_empty()).then(|| INDEX.into()))
    }

    /// Keys whose entries are not what they should be.
    async fn astray(&self) -> Result<Vec<Astray>, Error> {
        let mut rows = self
            .read_from(rows_of(Table::RSLeadGlobalConversions))
            .find(doc! { "trail.key": { "$exists": true } })
            .await
            .map_err(failed(DOING))?;
        let mut wanted: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        while let Some(document) = rows.try_next().await.map_err(failed(DOING))? {
            let stored = document::stored(Table::RSLeadGlobalConversions, document);
            let Some(stored) = stored.filter(|stored| stored.readable) else {
                continue;
            };
            let entry = |(name, at): (&SmolStr, Timestamp)| place(&stored.key, name, at);
            let entries: Vec<Document> = stored.row.places().map(entry).collect();
            if !entries.is_empty() {
                wanted.insert(keys::of_row(&stored.key), entries);
            }
        }
        let mut there: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        let mut places = self
            .read_from(PLACES)
            .find(doc! {})
            .await
            .map_err(failed(DOING))?;
        while let Some(mut place) = places.try_next().await.map_err(failed(DOING))? {
            place.remove("_id");
            let key = place.get_str("key").unwrap_or_default().to_owned();
            there.entry(key).or_default().push(place);
        }
        let keys: BTreeSet<String> = wanted.keys().chain(there.keys()).cloned().collect();
        let astray = keys.into_iter().map(|key| Astray {
            wanted: wanted.remove(&key).unwrap_or_default(),
            there: there.remove(&key).unwrap_or_default(),
            key,
        });
        Ok(astray.filter(|one| !one.is_right()).collect())
    }

    /// Writes a key's entries anew, unless somebody writes the row meanwhile: that write does it too.
    async fn place_anew(&self, key: &str) -> Result<(), Error> {
        // Other code may have put there what is no key of ours; no row leads to that.
        let row = keys::row(Table::RSLeadGlobalConversions, key);
        let row = row.filter(|row| keys::of_row(row) == key);
        let rows = self.read(row.as_slice(), Reading::Row).await?;
        let mut plan = Plan::empty(self);
        let all = DeleteManyModel::builder()
            .namespace(plan.namespace(PLACES))
            .filter(of_key(key));
        plan.push(all.build().into());
        if let Some(row) = rows.first() {
            let version = document::int(row.trail.version);
            let same = UpdateOneModel::builder()
                .namespace(plan.namespace(rows_of(row.key.table)))
                .filter(plan::of_version(key, version))
                .update(doc! { "$set": { "trail.version": version } });
            plan.decide_by_update(0, same.build().into());
            for (name, at) in row.row.places() {
                plan.insert(PLACES, place(&row.key, name, at));
            }
        }
        let attempt = self.attempt(plan).await;
        attempt.map(|_ended| ()).map_err(failed(DOING))
    }
}

/// The entries of a key.
fn of_key(key: &str) -> Document {
    if key.is_empty() {
        // And those without one: nothing but a text is greater than a text.
        return doc! { "key": { "$not": { "$gt": "" } } };
    }
    doc! { "key": key }
}

/// A key, the entries that should be there, and those that are.
struct Astray {
    key: String,
    wanted: Vec<Document>,
    there: Vec<Document>,
}

impl Astray {
    fn is_right(&self) -> bool {
        self.wanted.len() == self.there.len()
            && self.wanted.iter().all(|entry| self.there.contains(entry))
    }
}

fn read_place(place: &Document) -> Option<Cursor> {
    Some(Cursor {
        last_at: document::moment(*place.get_datetime("lastAt").ok()?),
        lead_id: place.get_str("leadId").ok()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_sort_by_time_then_lead() {
        let mut positions = Vec::new();
        for ms in [Timestamp::MIN.ms(), -1, 0, 1, Timestamp::MAX.ms()] {
            for lead in ["", "a", "b", "é"] {
                positions.push(position(Timestamp::from_ms(ms), lead));
            }
        }
        assert!(positions.is_sorted());
    }
}
