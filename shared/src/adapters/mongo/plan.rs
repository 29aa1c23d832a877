use std::collections::BTreeSet;

use mongodb::Namespace;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{
    DeleteManyModel, DeleteOneModel, InsertOneModel, UpdateManyModel, UpdateOneModel, WriteModel,
};
use mongodb::results::VerboseBulkWriteResult;

use crate::flow::{HistoryWrite, Put, RowKey, Write};
use crate::handlers::Table;
use crate::model::Timestamp;

use super::document::{self, date};
use super::{Mongo, PLACES, conversions, history, keys, rows_of};

/// The operations of a transaction, and which of them say whether a row was written.
pub(super) struct Plan {
    pub(super) models: Vec<WriteModel>,
    pub(super) deciding: Vec<Deciding>,
    database: String,
}

pub(super) struct Deciding {
    /// The write's place in the share.
    write: usize,
    /// The operation's place in the bulk.
    operation: usize,
    how: How,
}

enum How {
    Insert,
    Update,
    Delete,
}

impl Deciding {
    fn won(&self, result: &VerboseBulkWriteResult) -> bool {
        let updated = || result.update_results.get(&self.operation);
        match self.how {
            How::Insert => updated().is_some_and(|one| one.upserted_id.is_some()),
            How::Update => updated().is_some_and(|one| one.matched_count == 1),
            How::Delete => {
                let deleted = result.delete_results.get(&self.operation);
                deleted.is_some_and(|one| one.deleted_count == 1)
            }
        }
    }
}

impl Plan {
    pub(super) fn empty(store: &Mongo) -> Self {
        Self {
            models: Vec::new(),
            deciding: Vec::new(),
            database: store.database.name().to_owned(),
        }
    }

    /// What lost, by the results of all operations.
    pub(super) fn lost(deciding: &[Deciding], result: &VerboseBulkWriteResult) -> BTreeSet<usize> {
        let lost = deciding.iter().filter(|one| !one.won(result));
        lost.map(|one| one.write).collect()
    }

    /// The operations that decide, each with the place of what it decides about.
    pub(super) fn operations(&self) -> Vec<(usize, usize)> {
        let place = |one: &Deciding| (one.operation, one.write);
        self.deciding.iter().map(place).collect()
    }

    /// Adds an operation that decides nothing.
    pub(super) fn push(&mut self, model: WriteModel) {
        self.models.push(model);
    }

    /// Adds an upsert that decides about what stands at `place`: it must insert.
    pub(super) fn decide_by_insert(&mut self, place: usize, upsert: WriteModel) {
        self.decide(place, How::Insert, upsert);
    }

    /// Adds an update that decides about what stands at `place`: it must match.
    pub(super) fn decide_by_update(&mut self, place: usize, update: WriteModel) {
        self.decide(place, How::Update, update);
    }

    /// Adds a deletion that decides about what stands at `place`: it must delete.
    pub(super) fn decide_by_delete(&mut self, place: usize, delete: WriteModel) {
        self.decide(place, How::Delete, delete);
    }

    fn decide(&mut self, write: usize, how: How, model: WriteModel) {
        self.deciding.push(Deciding {
            write,
            operation: self.models.len(),
            how,
        });
        self.models.push(model);
    }

    pub(super) fn namespace(&self, collection: &str) -> Namespace {
        Namespace::new(self.database.as_str(), collection)
    }

    /// The conditional write of the row itself.
    pub(super) fn row(&mut self, place: usize, write: &Write) {
        let namespace = self.namespace(rows_of(write.key.table));
        let key = keys::of_row(&write.key);
        let (how, model) = match (&write.put, write.expected) {
            (Some(put), None) => (How::Insert, insert_row(namespace, key, &write.key, put)),
            (Some(put), Some(expected)) => {
                let mut filter = of_version(&key, document::int(expected));
                // A document without one has seen none.
                let greater = doc! { "$gt": document::int(put.trail.fence) };
                filter.insert("trail.fence", doc! { "$not": greater });
                (How::Update, update_row(namespace, filter, &write.key, put))
            }
            (None, expected) => {
                // Nothing carries a negative version: what was not there cannot be taken away.
                let expected = expected.map_or(-1, document::int);
                let filter = of_version(&key, expected);
                let delete = DeleteOneModel::builder()
                    .namespace(namespace)
                    .filter(filter);
                (How::Delete, delete.build().into())
            }
        };
        self.decide(place, how, model);
    }

    /// What goes with a row: its history, its places in the index of conversions.
    pub(super) fn beside(&mut self, write: &Write, now: Timestamp) {
        let key = keys::of_row(&write.key);
        match &write.put {
            Some(put) => {
                if let Some(change) = &put.history {
                    self.rewrite(&write.key, put, change, now);
                }
                for action in &put.actions {
                    self.push(self.mark(&write.key.group, *action, now));
                }
            }
            None if write.key.table.is_temporal() => {
                let all = in_force(&key, doc! {});
                self.update_many(write.key.table.name(), all, superseded(now));
            }
            None => {}
        }
        let moved = write.put.as_ref().is_none_or(|put| put.moved);
        if moved && write.key.table == Table::RSLeadGlobalConversions {
            // A row that is new has none: taking one away takes its places with it.
            if write.expected.is_some() {
                let delete = DeleteManyModel::builder()
                    .namespace(self.namespace(PLACES))
                    .filter(doc! { "key": key.as_str() });
                self.models.push(delete.build().into());
            }
            for (name, last_at) in write.put.iter().flat_map(|put| put.row.places()) {
                self.insert(PLACES, conversions::place(&write.key, name, last_at));
            }
        }
    }

    /// Ends the versions that a write supersedes and adds those it brings.
    fn rewrite(&mut self, key: &RowKey, put: &Put, change: &HistoryWrite, now: Timestamp) {
        let (collection, row) = (key.table.name(), keys::of_row(key));
        if change.supersede {
            let after = in_force(&row, doc! { "n": { "$gt": i64::from(change.keep) } });
            self.update_many(collection, after, superseded(now));
        }
        if change.keep > 0 {
            let last = in_force(&row, doc! { "n": i64::from(change.keep) });
            let end = match change.versions.first() {
                Some(next) => doc! { "$set": { "validTo": date(next.valid_from) } },
                None => doc! { "$unset": { "validTo": "" } },
            };
            self.update_many(collection, last, end);
        }
        for version in &change.versions {
            self.insert(collection, history::document(key, put, version, now));
        }
    }

    pub(super) fn insert(&mut self, collection: &str, document: Document) {
        let namespace = self.namespace(collection);
        let insert = InsertOneModel::builder()
            .namespace(namespace)
            .document(document);
        self.models.push(insert.build().into());
    }

    fn update_many(&mut self, collection: &str, filter: Document, update: Document) {
        let namespace = self.namespace(collection);
        let update = UpdateManyModel::builder()
            .namespace(namespace)
            .filter(filter)
            .update(update);
        self.models.push(update.build().into());
    }
}

/// Makes a row where there is none. Where there is one, nothing is changed and nothing inserted.
fn insert_row(namespace: Namespace, key: String, row: &RowKey, put: &Put) -> WriteModel {
    UpdateOneModel::builder()
        .namespace(namespace)
        .filter(doc! { "trail.key": key })
        .update(doc! { "$setOnInsert": document::row(row, put) })
        .upsert(true)
        .build()
        .into()
}

/// Replaces the fields that are the table's; what other code keeps beside them stays.
fn update_row(namespace: Namespace, filter: Document, row: &RowKey, put: &Put) -> WriteModel {
    let set = document::row(row, put);
    let absent: Document = row
        .table
        .fields()
        .iter()
        .filter(|field| !set.contains_key(**field))
        .map(|field| ((*field).to_owned(), Bson::String(String::new())))
        .collect();
    let mut update = doc! { "$set": set };
    if !absent.is_empty() {
        update.insert("$unset", absent);
    }
    UpdateOneModel::builder()
        .namespace(namespace)
        .filter(filter)
        .update(update)
        .build()
        .into()
}

/// A row, if it is of that version.
pub(super) fn of_version(key: &str, version: i64) -> Document {
    doc! { "trail.key": key, "trail.version": version }
}

/// Versions of a row that are in force, and `more`.
pub(super) fn in_force(row: &str, more: Document) -> Document {
    let mut filter = doc! { "trail.key": row, "trail.inForce": true };
    filter.extend(more);
    filter
}

fn superseded(now: Timestamp) -> Document {
    doc! { "$set": { "recordedTo": date(now), "trail.inForce": false } }
}
