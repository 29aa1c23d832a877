//! The same tables as they are kept by hand: each event a transaction, each document a request.
//!
//! What a benchmark holds [`Mongo`] against; the product does not carry it (cargo feature `bench`). It
//! takes the rules from [`Fold`], so that its rows are right as long as events come once and in
//! order, and promises nothing else: no trail, no late event, no duplicate, no index of conversions.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{ClientSession, Collection, IndexModel};
use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::flow::{Cell, Fold, RowKey, Stored, reach};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, ActionNode, Entry, Timestamp, Trail};
use crate::ports::{Error, ErrorKind};
use crate::settings::{Mapping, Meaning, Tenant};

use super::document::{self, date};
use super::export::canonical;
use super::{HIERARCHIES, Mongo, Requests, Retention, failed};

const DOING: &str = "handle an event by hand";

/// The tables, kept by hand.
#[derive(Debug)]
pub struct Naive {
    /// For its client; none of its collections are used.
    store: Mongo,
    requests: Requests,
}

/// The documents that an event's rows stand in now.
type Places = BTreeMap<(Table, SmolStr), Bson>;

impl Naive {
    /// Connects as [`Mongo`] does and makes the indexes that the look-ups need.
    ///
    /// # Errors
    /// As [`Mongo::connect`].
    pub async fn connect(uri: &str) -> Result<Self, Error> {
        let (store, requests) = Mongo::counted(uri, Retention::default()).await?;
        let naive = Self { store, requests };
        for table in Table::ALL {
            let mut keys = doc! { "tenant": 1, table.id_field(): 1 };
            if table.is_temporal() {
                keys.insert("n", -1);
            }
            let options = IndexOptions::builder().unique(true).build();
            let index = IndexModel::builder().keys(keys).options(options).build();
            naive.create_index(table.name(), index).await?;
        }
        let log = IndexModel::builder()
            .keys(doc! { "group": 1, "savedAt": 1 })
            .build();
        naive.create_index(HIERARCHIES, log).await?;
        Ok(naive)
    }

    async fn create_index(&self, collection: &str, index: IndexModel) -> Result<(), Error> {
        let created = self.collection(collection).create_index(index).await;
        created.map(drop).map_err(failed("make indexes in MongoDB"))
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.store.database.collection(name)
    }

    /// How many requests were sent to the server.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.count()
    }

    /// Handles one event: reads its rows one by one, applies it, writes them one by one, saves what it
    /// led to, commits.
    ///
    /// # Errors
    /// A request failed, or the settings do not read the event.
    pub async fn handle(
        &self,
        tenant: &Tenant,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mapped = match tenant.map(&entry.event) {
            Mapping::Mapped(mapped) => Some(mapped),
            Mapping::Unmapped => None,
            Mapping::Fault(why) => return Err(Error::new(ErrorKind::Reject, DOING, why)),
        };
        let session = self.store.client.start_session();
        let mut session = session
            .causal_consistency(false)
            .await
            .map_err(failed(DOING))?;
        session.start_transaction().await.map_err(failed(DOING))?;
        let actions = match &mapped {
            Some(mapped) => self.apply(&mut session, entry, mapped, now).await?,
            None => Vec::new(),
        };
        let log = ActionHierarchy {
            group: entry.group.clone(),
            source: entry.event.source.clone(),
            event_id: entry.event.id.clone(),
            attempt: 1,
            read_start: now,
            write_start: now,
            late: None,
            unmapped: mapped.is_none(),
            actions,
        };
        let log = self.store.hierarchy(&log, now);
        self.insert(&mut session, HIERARCHIES, log).await?;
        session.commit_transaction().await.map_err(failed(DOING))
    }

    async fn apply(
        &self,
        session: &mut ClientSession,
        entry: &Entry,
        mapped: &Meaning,
        now: Timestamp,
    ) -> Result<Vec<ActionNode>, Error> {
        let mut stored = Vec::new();
        let mut places = Places::new();
        for (table, id) in reach(mapped, &entry.group) {
            let key = RowKey {
                group: entry.group.clone(),
                table,
                id,
            };
            if let Some(document) = self.find(session, &key).await? {
                let place = document.get("_id").cloned().unwrap_or_default();
                places.insert((table, key.id.clone()), place);
                stored.push(read(key, document)?);
            }
        }
        let mut fold = Fold::from_stored(&entry.group, &stored);
        let actions = fold.apply(entry, mapped);
        for ((table, id), cell) in fold.into_cells() {
            if cell.touched {
                let key = RowKey {
                    group: entry.group.clone(),
                    table,
                    id: id.clone(),
                };
                let place = places.remove(&(table, id));
                self.write(session, (&key, place), &cell, now).await?;
            }
        }
        Ok(actions)
    }

    /// A row's document; of a history, the version that holds.
    async fn find(
        &self,
        session: &mut ClientSession,
        key: &RowKey,
    ) -> Result<Option<Document>, Error> {
        let tenant = key.group.tenant.as_str();
        let mut filter = doc! { "tenant": tenant, key.table.id_field(): key.id.as_str() };
        if key.table.is_temporal() {
            filter.insert("validTo", doc! { "$exists": false });
        }
        let collection = self.collection(key.table.name());
        let found = collection.find_one(filter).session(session).await;
        found.map_err(failed(DOING))
    }

    async fn write(
        &self,
        session: &mut ClientSession,
        (key, place): (&RowKey, Option<Bson>),
        cell: &Cell,
        now: Timestamp,
    ) -> Result<(), Error> {
        let collection = key.table.name();
        if let Some(versions) = cell.row.versions() {
            // One event brings one version at most.
            let Some(version) = versions.last() else {
                return Ok(());
            };
            if let Some(place) = place {
                let end = doc! { "$set": { "validTo": date(version.valid_from) } };
                let collection = self.collection(collection);
                let update = collection.update_one(doc! { "_id": place }, end);
                update.session(&mut *session).await.map_err(failed(DOING))?;
            }
            let document = version_document(key, version, now);
            return self.insert(session, collection, document).await;
        }
        let content = content(&cell.row.body());
        let Some(place) = place else {
            return self.insert(session, collection, content).await;
        };
        let collection = self.collection(collection);
        let replace = collection.replace_one(doc! { "_id": place }, content);
        let replaced = replace.session(session).await;
        replaced.map(drop).map_err(failed(DOING))
    }

    async fn insert(
        &self,
        session: &mut ClientSession,
        collection: &str,
        document: Document,
    ) -> Result<(), Error> {
        let collection = self.collection(collection);
        let inserted = collection.insert_one(document).session(session).await;
        inserted.map(drop).map_err(failed(DOING))
    }

    /// A table's rows as [`Mongo::export`] gives them.
    ///
    /// # Errors
    /// A request failed.
    pub async fn export(&self, table: Table) -> Result<Vec<String>, Error> {
        let documents = self
            .collection(table.name())
            .find(doc! {})
            .sort(doc! { "tenant": 1, table.id_field(): 1, "n": 1 })
            .await
            .map_err(failed(DOING))?;
        let rows = documents.map_ok(|document| canonical(table, document));
        rows.try_collect().await.map_err(failed(DOING))
    }

    /// The version that the server says it is.
    ///
    /// # Errors
    /// The request failed.
    pub async fn server_version(&self) -> Result<String, Error> {
        let asked = self.store.database.run_command(doc! { "buildInfo": 1 });
        let answer = asked
            .await
            .map_err(failed("ask for the server's version"))?;
        Ok(answer.get_str("version").unwrap_or("unknown").to_owned())
    }
}

/// Takes a store's whole database away.
///
/// # Errors
/// The request failed.
pub async fn drop_database(uri: &str) -> Result<(), Error> {
    let store = Mongo::open(uri, Retention::default()).await?;
    let dropped = store.database.drop().await;
    dropped.map_err(failed("drop a database"))
}

fn read(key: RowKey, document: Document) -> Result<Stored, Error> {
    let row = key.table.read_row(&document::body(document));
    let row = row.map_err(|error| Error::new(ErrorKind::Corrupt, DOING, error))?;
    Ok(Stored {
        key,
        row,
        readable: true,
        trail: Trail::default(),
        history: None,
    })
}

/// A row's canonical JSON as a document.
fn content(body: &str) -> Document {
    let fields: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let own = fields.into_iter().map(|(name, value)| {
        let value = document::to_bson(&name, value);
        (name, value)
    });
    own.collect()
}

fn version_document(key: &RowKey, version: &Version, now: Timestamp) -> Document {
    let mut fields = document::version_fields(version);
    fields.insert(key.table.id_field(), key.id.as_str());
    fields.insert("tenant", key.group.tenant.as_str());
    fields.insert("n", i64::from(version.n));
    fields.insert("validFrom", date(version.valid_from));
    fields.insert("causedBy", version.caused_by.as_str());
    fields.insert("recordedFrom", date(now));
    fields
}
