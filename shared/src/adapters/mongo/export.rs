use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Cursor, IndexModel};
use serde_json::{Map, Value};
use std::time::Duration;

use crate::handlers::Table;
use crate::ports::Error;

use super::document::{self, TRAIL, to_json};
use super::{HIERARCHIES, Mongo, PLACES, failed, rows_of};

const DOING: &str = "export from MongoDB";

impl Mongo {
    /// Makes the collections and indexes that are missing.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        let unique = |keys: Document| {
            let options = IndexOptions::builder().unique(true).sparse(true).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        let mut all: Vec<(&str, Vec<IndexModel>)> = Vec::new();
        for table in Table::ALL {
            all.push((
                rows_of(table),
                vec![
                    unique(doc! { "trail.key": 1 }),
                    index(doc! { "trail.group": 1 }),
                    index(doc! { table.id_field(): 1, "tenant": 1 }),
                ],
            ));
            if table.is_temporal() {
                all.push((
                    table.name(),
                    vec![
                        index(doc! { "trail.key": 1, "trail.inForce": 1, "n": 1 }),
                        index(doc! { "trail.group": 1, "trail.inForce": 1 }),
                    ],
                ));
            }
        }
        all.push((
            PLACES,
            vec![
                index(doc! { "key": 1 }),
                index(doc! { "tenant": 1, "name": 1, "place": 1 }),
            ],
        ));
        let ttl = IndexOptions::builder().expire_after(Duration::ZERO).build();
        all.push((
            HIERARCHIES,
            vec![
                index(doc! { "group": 1, "savedAt": 1, "_id": 1 }),
                IndexModel::builder()
                    .keys(doc! { "expireAt": 1 })
                    .options(ttl)
                    .build(),
            ],
        ));
        for (collection, indexes) in all {
            self.database
                .collection::<Document>(collection)
                .create_indexes(indexes)
                .await
                .map_err(failed("make indexes in MongoDB"))?;
        }
        Ok(())
    }

    /// Gives every row of a table in its canonical form, sorted by tenant and id in byte order, to
    /// `take`; of a temporal table, the versions in force. `take` may stop it with an error.
    ///
    /// # Errors
    /// The store failed, or what `take` returned.
    pub async fn export<E: From<Error>>(
        &self,
        table: Table,
        tenant: Option<&str>,
        mut take: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = self.sorted(table, tenant).await?;
        while let Some(document) = cursor.try_next().await.map_err(failed(DOING))? {
            take(&canonical(table, document))?;
        }
        Ok(())
    }

    async fn sorted(&self, table: Table, tenant: Option<&str>) -> Result<Cursor<Document>, Error> {
        let mut filter = match tenant {
            Some(tenant) => doc! { "tenant": tenant },
            None => doc! {},
        };
        if table.is_temporal() {
            filter.insert("trail.inForce", true);
        } else {
            // Rows of other code that nobody adopted are not ours to show.
            filter.insert("trail.key", doc! { "$exists": true });
        }
        self.read_from(table.name())
            .find(filter)
            .sort(doc! { "tenant": 1, table.id_field(): 1, "trail.group": 1, "n": 1 })
            .allow_disk_use(true)
            .await
            .map_err(failed(DOING))
    }

    /// How many rows each table has; of a temporal table, how many versions are in force.
    ///
    /// # Errors
    /// The store failed.
    pub async fn row_counts(&self) -> Result<Vec<(Table, u64)>, Error> {
        let mut counts = Vec::with_capacity(Table::COUNT);
        for table in Table::ALL {
            let filter = if table.is_temporal() {
                doc! { "trail.inForce": true }
            } else {
                doc! { "trail.key": { "$exists": true } }
            };
            let count = self.read_from(table.name()).count_documents(filter).await;
            counts.push((table, count.map_err(failed("count rows in MongoDB"))?));
        }
        Ok(counts)
    }
}

/// A document as a canonical row.
pub(super) fn canonical(table: Table, mut document: Document) -> String {
    if !table.is_temporal() {
        let body = document::body(document);
        return table.read_row(&body).map_or(body, |row| row.body());
    }
    for ours in ["_id", TRAIL, "recordedFrom", "recordedTo"] {
        document.remove(ours);
    }
    // Keys of a JSON object of this kind are sorted.
    let fields: Map<String, Value> = document
        .into_iter()
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    Value::Object(fields).to_string()
}
