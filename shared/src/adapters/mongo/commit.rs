use std::collections::BTreeSet;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{
    Error as MongoError, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};
use mongodb::options::{
    DeleteManyModel, DeleteOneModel, InsertOneModel, UpdateManyModel, UpdateOneModel, WriteModel,
};
use mongodb::results::VerboseBulkWriteResult;
use mongodb::{ClientSession, Namespace};

use crate::flow::{HistoryWrite, Put, RowKey, Write};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, Timestamp};
use crate::ports::{Committed, Error, ErrorKind};

use super::document::{self, TRAIL, date};
use super::{HIERARCHIES, Mongo, PLACES, conversions, failed, keys, rows_of};

/// The most rows that one transaction writes. The server advises a thousand documents or so; groups
/// are not divided.
const ROWS_MAX: usize = 1_000;
/// How often a transaction that another one disturbed is made again.
pub(super) const ATTEMPTS_MAX: u32 = 12;
/// How often the outcome of a transaction is asked for again.
const OUTCOME_ATTEMPTS_MAX: u32 = 4;
/// The longest pause before an attempt, in milliseconds.
const PAUSE_MS_MAX: u64 = 400;

const DOING: &str = "write rows to MongoDB";

/// Some writes and hierarchies that are to go together.
#[derive(Clone, Copy)]
struct Share<'a> {
    writes: &'a [Write],
    finished: &'a [ActionHierarchy],
    now: Timestamp,
}

/// How an attempt to write a share ended.
pub(super) enum Attempt {
    Done,
    /// Nothing was written, because these writes lost.
    Lost(BTreeSet<usize>),
}

impl Mongo {
    pub(super) async fn commit_all(
        &self,
        writes: &[Write],
        finished: &[ActionHierarchy],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let mut committed = Vec::with_capacity(writes.len());
        let mut rest = Share {
            writes,
            finished,
            now,
        };
        while !rest.writes.is_empty() || !rest.finished.is_empty() {
            let (share, after) = rest.split();
            committed.extend(self.commit_share(share).await?);
            rest = after;
        }
        Ok(committed)
    }

    async fn commit_share(&self, share: Share<'_>) -> Result<Vec<Committed>, Error> {
        let mut lost = BTreeSet::new();
        let mut attempts = 0;
        loop {
            let plan = Plan::new(self, share, &lost);
            let attempt = self.attempt(plan).await;
            match attempt {
                Ok(Attempt::Done) => break,
                Ok(Attempt::Lost(more)) => lost.extend(more),
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                    attempts += 1;
                    if attempts >= ATTEMPTS_MAX {
                        return Err(Error::new(ErrorKind::Retry, DOING, error));
                    }
                    pause(attempts).await;
                }
                Err(error) => return Err(failed(DOING)(error)),
            }
        }
        let became = |place: usize| {
            if lost.contains(&place) {
                Committed::Conflict
            } else {
                Committed::Done
            }
        };
        Ok((0..share.writes.len()).map(became).collect())
    }

    /// One transaction: one bulk write, and its end.
    pub(super) async fn attempt(&self, plan: Plan) -> Result<Attempt, MongoError> {
        if plan.models.is_empty() {
            return Ok(Attempt::Done);
        }
        let mut session = self
            .client
            .start_session()
            .causal_consistency(false)
            .await?;
        session.start_transaction().await?;
        let lost = self.decide(plan, &mut session).await?;
        if lost.is_empty() {
            settle(&mut session).await?;
            return Ok(Attempt::Done);
        }
        // A transaction that is not ended here ends by itself; its outcome is no secret.
        drop(session.abort_transaction().await);
        Ok(Attempt::Lost(lost))
    }

    /// Runs a plan's operations and returns what lost.
    pub(super) async fn decide(
        &self,
        plan: Plan,
        session: &mut ClientSession,
    ) -> Result<BTreeSet<usize>, MongoError> {
        let result = self
            .client
            .bulk_write(plan.models)
            .session(session)
            .verbose_results()
            .await?;
        let lost = plan.deciding.iter().filter(|one| !one.won(&result));
        Ok(lost.map(|one| one.write).collect())
    }
}

/// Ends a transaction and makes sure of how it ended: to ask again does no harm.
pub(super) async fn settle(session: &mut ClientSession) -> Result<(), MongoError> {
    let mut attempt = 1;
    loop {
        match session.commit_transaction().await {
            Err(error)
                if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                    && attempt < OUTCOME_ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// Waits until whoever disturbed a transaction is likely to be done, each time a little longer, and
/// not as long as others that were disturbed.
pub(super) async fn pause(attempt: u32) {
    let most = (1_u64 << attempt.min(16)).min(PAUSE_MS_MAX);
    #[expect(
        clippy::disallowed_methods,
        reason = "the other transaction ends in milliseconds; a redelivery would wait for seconds"
    )]
    let sleep = tokio::time::sleep;
    sleep(Duration::from_millis(fastrand::u64(0..=most))).await;
}

impl<'a> Share<'a> {
    /// As many whole groups as one transaction takes, and the rest.
    fn split(self) -> (Self, Self) {
        let mut count = 0;
        for group in self.writes.chunk_by(|a, b| a.key.group == b.key.group) {
            if count > 0 && count + group.len() > ROWS_MAX {
                break;
            }
            count += group.len();
        }
        let (writes, later) = self.writes.split_at(count);
        // Hierarchies stand in the order of the groups; one goes with its group's last row.
        let ends = match later.first() {
            Some(next) => self
                .finished
                .iter()
                .position(|one| one.group == next.key.group)
                .unwrap_or(self.finished.len()),
            None => self.finished.len(),
        };
        let (finished, unfinished) = self.finished.split_at(ends);
        let now = self.now;
        let share = Self {
            writes,
            finished,
            now,
        };
        let rest = Self {
            writes: later,
            finished: unfinished,
            now,
        };
        (share, rest)
    }
}

/// The operations of a transaction, and which of them say whether a row was written.
pub(super) struct Plan {
    models: Vec<WriteModel>,
    deciding: Vec<Deciding>,
    database: String,
}

struct Deciding {
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

    fn decide(&mut self, write: usize, how: How, model: WriteModel) {
        self.deciding.push(Deciding {
            write,
            operation: self.models.len(),
            how,
        });
        self.models.push(model);
    }

    /// All operations of a share but those of writes that are `lost`, and of their groups' hierarchies.
    fn new(store: &Mongo, share: Share<'_>, lost: &BTreeSet<usize>) -> Self {
        let mut plan = Self::empty(store);
        let mut losers = BTreeSet::new();
        for (place, write) in share.writes.iter().enumerate() {
            if lost.contains(&place) {
                losers.insert(&write.key.group);
            } else {
                plan.row(place, write);
                plan.beside(write, share.now);
            }
        }
        for one in share.finished {
            if !losers.contains(&one.group) {
                let document = store.hierarchy(one, share.now);
                plan.insert(HIERARCHIES, document);
            }
        }
        plan
    }

    pub(super) fn namespace(&self, collection: &str) -> Namespace {
        Namespace::new(self.database.as_str(), collection)
    }

    /// The conditional write of the row itself.
    fn row(&mut self, place: usize, write: &Write) {
        let namespace = self.namespace(rows_of(write.key.table));
        let key = keys::of_row(&write.key);
        let (how, model) = match (&write.put, write.expected) {
            (Some(put), None) => (How::Insert, insert_row(namespace, key, &write.key, put)),
            (Some(put), Some(expected)) => {
                let filter = of_version(&key, document::int(expected));
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
                if let Some(history) = &put.history {
                    self.history(&write.key, put, history, now);
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
            let namespace = self.namespace(PLACES);
            let of_row = doc! { "key": key.as_str() };
            let delete = DeleteManyModel::builder()
                .namespace(namespace)
                .filter(of_row);
            self.models.push(delete.build().into());
            for (name, last_at) in write.put.iter().flat_map(|put| put.row.places()) {
                self.insert(PLACES, conversions::place(&write.key, name, last_at));
            }
        }
    }

    /// Ends the versions that a write supersedes and adds those it brings.
    fn history(&mut self, key: &RowKey, put: &Put, history: &HistoryWrite, now: Timestamp) {
        let (collection, row) = (key.table.name(), keys::of_row(key));
        if history.supersede {
            let after = in_force(&row, doc! { "n": { "$gt": i64::from(history.keep) } });
            self.update_many(collection, after, superseded(now));
        }
        if history.keep > 0 {
            let last = in_force(&row, doc! { "n": i64::from(history.keep) });
            let end = match history.versions.first() {
                Some(next) => doc! { "$set": { "validTo": date(next.valid_from) } },
                None => doc! { "$unset": { "validTo": "" } },
            };
            self.update_many(collection, last, end);
        }
        for version in &history.versions {
            self.insert(collection, version_document(key, put, version, now));
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

fn version_document(key: &RowKey, put: &Put, version: &Version, now: Timestamp) -> Document {
    let mut fields = document::version_fields(version);
    fields.insert(key.table.id_field(), key.id.as_str());
    fields.insert("tenant", key.group.tenant.as_str());
    fields.insert("n", i64::from(version.n));
    fields.insert("validFrom", date(version.valid_from));
    if let Some(end) = version.valid_to {
        fields.insert("validTo", date(end));
    }
    fields.insert("causedBy", version.caused_by.as_str());
    fields.insert("recordedFrom", date(now));
    fields.insert(
        TRAIL,
        doc! {
            "key": keys::of_row(key),
            "group": keys::of_group(&key.group),
            "inForce": true,
            "made": document::int(put.trail.version),
        },
    );
    fields
}
