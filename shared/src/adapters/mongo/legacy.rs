use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{
    Error as MongoError, ErrorKind as MongoErrorKind, TRANSIENT_TRANSACTION_ERROR,
};
use mongodb::options::UpdateOneModel;
use serde_json::{Map, Value};

use crate::flow::{Put, Write};
use crate::handlers::{Table, known_fields};
use crate::model::Timestamp;
use crate::ports::{Committed, Error, ErrorKind, LegacyRow, LegacyTables};

use super::commit::{ATTEMPTS_MAX, pause, settle};
use super::document::{self, TRAIL, to_bson, to_json};
use super::plan::Plan;
use super::{Mongo, failed, rows_of};

const READING: &str = "read rows of other code from MongoDB";
const ADOPTING: &str = "adopt rows in MongoDB";
/// `DuplicateKey`: there is a row of that key already.
const DUPLICATE_KEY: i32 = 11_000;

impl LegacyTables for Mongo {
    async fn untracked(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LegacyRow>, Error> {
        let mut filter = doc! { "trail.key": { "$exists": false } };
        if let Some(after) = after {
            // As an expression it compares ids of whatever type, as the sort does.
            let id = handle_id(after)?;
            filter.insert("$expr", doc! { "$gt": ["$_id", { "$literal": id }] });
        }
        let cursor = self
            .read_from(rows_of(table))
            .find(filter)
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .await
            .map_err(failed(READING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(READING))?;
        Ok(documents.iter().map(|one| legacy_row(table, one)).collect())
    }

    async fn adopt(
        &self,
        adoptions: &[(LegacyRow, Write)],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let mut committed = Vec::with_capacity(adoptions.len());
        // A page of rows is of one table.
        for part in adoptions.chunk_by(|(a, _), (b, _)| a.table == b.table) {
            committed.extend(self.adopt_part(part, now).await?);
        }
        Ok(committed)
    }
}

impl Mongo {
    async fn adopt_part(
        &self,
        part: &[(LegacyRow, Write)],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let mut taken = BTreeSet::new();
        let mut attempts = 0;
        let lost = loop {
            match self.adopt_once(part, &taken, now).await {
                Ok(Once::Done(lost)) => break lost,
                Ok(Once::Taken(place)) => drop(taken.insert(place)),
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                    attempts += 1;
                    if attempts >= ATTEMPTS_MAX {
                        return Err(Error::new(ErrorKind::Retry, ADOPTING, error));
                    }
                    pause(attempts).await;
                }
                Err(error) => return Err(failed(ADOPTING)(error)),
            }
        };
        let became = |place: usize| {
            if lost.contains(&place) {
                Committed::Conflict
            } else {
                Committed::Done
            }
        };
        Ok((0..part.len()).map(became).collect())
    }

    /// One transaction: reads the rows again, and gives those their trails that are what they were.
    /// Whoever changes one of them in between disturbs the transaction.
    async fn adopt_once(
        &self,
        part: &[(LegacyRow, Write)],
        taken: &BTreeSet<usize>,
        now: Timestamp,
    ) -> Result<Once, MongoError> {
        let mut session = self
            .client
            .start_session()
            .causal_consistency(false)
            .await?;
        session.start_transaction().await?;
        let present = self.present(part, &mut session).await?;
        let mut lost = BTreeSet::new();
        let mut plan = Plan::empty(self);
        for (place, (row, write)) in part.iter().enumerate() {
            let document = present.get(&row.handle);
            let same = document.filter(|known| legacy_row(row.table, known).body == row.body);
            match (same, &write.put) {
                (Some(document), Some(put)) if !taken.contains(&place) => {
                    let id = document.get("_id").cloned().unwrap_or(Bson::Null);
                    let update = UpdateOneModel::builder()
                        .namespace(plan.namespace(rows_of(row.table)))
                        .filter(doc! { "_id": id })
                        .update(first_trail(document, write, put))
                        .build();
                    plan.decide_by_update(place, update.into());
                    plan.beside(write, now);
                }
                _changed => {
                    lost.insert(place);
                }
            }
        }
        if lost.len() == part.len() {
            drop(session.abort_transaction().await);
            return Ok(Once::Done(lost));
        }
        let operations = plan.operations();
        match self.decide(plan, &mut session).await {
            Ok(more) => lost.extend(more),
            Err(error) => return taken_by(&error, &operations).map(Once::Taken).ok_or(error),
        }
        settle(&mut session).await?;
        Ok(Once::Done(lost))
    }

    /// The documents as they are now, but for those that have a trail by now.
    async fn present(
        &self,
        part: &[(LegacyRow, Write)],
        session: &mut ClientSession,
    ) -> Result<BTreeMap<String, Document>, MongoError> {
        let Some((first, _)) = part.first() else {
            return Ok(BTreeMap::new());
        };
        let ids = part
            .iter()
            .filter_map(|(row, _)| handle_id(&row.handle).ok());
        let ids: Vec<Bson> = ids.collect();
        let collection = rows_of(first.table);
        let mut cursor = self
            .database
            .collection::<Document>(collection)
            .find(doc! { "_id": { "$in": ids }, "trail.key": { "$exists": false } })
            .session(&mut *session)
            .await?;
        let documents: Vec<Document> = cursor.stream(session).try_collect().await?;
        let by_handle = |one: Document| (handle(&one), one);
        Ok(documents.into_iter().map(by_handle).collect())
    }
}

/// How an attempt to adopt rows ended.
enum Once {
    /// All but these have their trails.
    Done(BTreeSet<usize>),
    /// None has: there is a row already of the key of this one.
    Taken(usize),
}

/// The place of the row that another row's key stopped; `operations` are the places by operation.
fn taken_by(error: &MongoError, operations: &[(usize, usize)]) -> Option<usize> {
    let MongoErrorKind::BulkWrite(bulk) = error.kind.as_ref() else {
        return None;
    };
    let is_taken = |(operation, _): &&(usize, usize)| {
        let error = bulk.write_errors.get(operation);
        error.is_some_and(|error| error.code == DUPLICATE_KEY)
    };
    operations.iter().find(is_taken).map(|(_, place)| *place)
}

/// Sets the trail, and of the fields those that fold to something else than what stands there.
fn first_trail(document: &Document, write: &Write, put: &Put) -> Document {
    let table = write.key.table;
    let there = fields(document);
    let there = known_fields(table, &there).and_then(|body| object(&body));
    let there = there.unwrap_or_default();
    let wanted = object(&put.body).unwrap_or_default();
    let mut set = Document::new();
    let trail = document::row(&write.key, put).remove(TRAIL);
    set.insert(TRAIL, trail.unwrap_or(Bson::Null));
    for (name, value) in &wanted {
        if there.get(name) != Some(value) {
            set.insert(name.as_str(), to_bson(name, value.clone()));
        }
    }
    let gone = there.keys().filter(|name| !wanted.contains_key(*name));
    let unset: Document = gone
        .map(|name| (name.clone(), Bson::String(String::new())))
        .collect();
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    update
}

fn object(body: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(body).map_err(|error| error.to_string())
}

fn legacy_row(table: Table, document: &Document) -> LegacyRow {
    LegacyRow {
        table,
        handle: handle(document),
        body: known_fields(table, &fields(document)),
        tenant: document.get_str("tenant").ok().map(Into::into),
    }
}

fn fields(document: &Document) -> Map<String, Value> {
    document
        .iter()
        .filter(|(name, _)| *name != "_id" && *name != TRAIL)
        .map(|(name, value)| (name.clone(), to_json(value.clone())))
        .collect()
}

/// An id of whatever type, as MongoDB Extended JSON.
fn handle(document: &Document) -> String {
    let id = document.get("_id").cloned().unwrap_or(Bson::Null);
    serde_json::to_string(&id).unwrap_or_default()
}

fn handle_id(handle: &str) -> Result<Bson, Error> {
    serde_json::from_str(handle).map_err(|error| Error::new(ErrorKind::Reject, READING, error))
}
