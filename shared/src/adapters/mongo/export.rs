use futures_util::TryStreamExt;
use mongodb::Cursor;
use mongodb::bson::{Document, doc};
use serde_json::{Map, Value};

use crate::handlers::Table;
use crate::ports::Error;

use super::document::{self, TRAIL, to_json};
use super::indexes::{Query, Samples};
use super::{Mongo, failed};

const DOING: &str = "export from MongoDB";

impl Mongo {
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
        let mut filter = ours(table);
        if let Some(tenant) = tenant {
            filter.insert("tenant", tenant);
        }
        self.read_from(table.name())
            .find(filter)
            .sort(canonical_order(table))
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
            let count = self
                .read_from(table.name())
                .count_documents(ours(table))
                .await;
            counts.push((table, count.map_err(failed("count rows in MongoDB"))?));
        }
        Ok(counts)
    }
}

/// The documents that are rows; of a history, its versions in force. Rows of other code that nobody
/// adopted are not ours to show, nor are rows that are gone, unless somebody has written into one.
fn ours(table: Table) -> Document {
    if table.is_temporal() {
        return doc! { "trail.inForce": true };
    }
    let mut there = vec![doc! { "trail.events": { "$ne": 0_i64 } }];
    if !table.is_commutative() {
        let content = document::content_fields(table);
        there.extend(content.map(|field| doc! { field: { "$exists": true } }));
    }
    doc! { "trail.key": { "$exists": true }, "$or": there }
}

fn canonical_order(table: Table) -> Document {
    doc! { "tenant": 1, table.id_field(): 1, "trail.group": 1, "n": 1 }
}

pub(super) fn queries(collection: &'static str, _samples: &Samples) -> Vec<Query> {
    let Some(table) = Table::named(collection) else {
        return Vec::new();
    };
    let query = |name: &str, sort: Document| Query {
        name: format!("{name}, {collection}"),
        collection,
        needs: None,
        filter: ours(table),
        sort,
    };
    vec![
        query("Mongo::export", canonical_order(table)),
        query("Mongo::row_counts", doc! {}),
    ]
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
    let fields: Map<String, Value> = document
        .into_iter()
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    let mut canonical = Value::Object(fields);
    canonical.sort_all_objects();
    canonical.to_string()
}
