use rusqlite::{Row as SqlRow, params};
use serde_json::{Map, Value};

use crate::handlers::Table;
use crate::model::Timestamp;
use crate::ports::Error;

use super::query::{Need, queries};
use super::tables::number;
use super::{Embedded, Failure};

queries! {
    EXPORT_ROWS {
        name: "Embedded::export, rows",
        needs: [Need::WholePass("rows"), Need::Key("groups")],
        sql: "SELECT rows.body FROM rows JOIN groups USING (gid)
              WHERE rows.tbl = ?1 AND rows.body <> '' AND (?2 IS NULL OR groups.tenant = ?2)
              ORDER BY groups.tenant, rows.id, groups.key",
    }
    EXPORT_VERSIONS {
        name: "Embedded::export, versions",
        needs: [Need::WholePass("history"), Need::Key("groups")],
        sql: "SELECT groups.tenant, history.id, history.n, history.valid_from, history.valid_to,
                     history.caused_by, history.fields
              FROM history JOIN groups USING (gid)
              WHERE history.tbl = ?1 AND (?2 IS NULL OR groups.tenant = ?2)
              AND history.recorded_to IS NULL
              ORDER BY groups.tenant, history.id, groups.key, history.n",
    }
}

impl Embedded {
    /// Gives every row of a table in its canonical form, sorted by tenant and id in byte order, to
    /// `take`; of a temporal table, the versions in force. `take` may stop it with an error.
    ///
    /// # Errors
    /// The store failed, or what `take` returned.
    pub fn export<E: From<Error>>(
        &self,
        table: Table,
        tenant: Option<&str>,
        mut take: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let inner = self.lock();
        let failed = |error: rusqlite::Error| E::from(self.locate(error.into()));
        let temporal = table.is_temporal();
        let query = if temporal {
            &EXPORT_VERSIONS
        } else {
            &EXPORT_ROWS
        };
        let mut select = inner.database.prepare(query).map_err(failed)?;
        let mut rows = select
            .query(params![number(table), tenant])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if temporal {
                take(&version(row, table).map_err(|failure| E::from(self.locate(failure)))?)?;
            } else {
                let body = row
                    .get_ref(0)
                    .and_then(|body| Ok(body.as_str()?))
                    .map_err(failed)?;
                take(body)?;
            }
        }
        Ok(())
    }
}

/// A version of a history as a canonical row: the table's own fields and the common ones, sorted.
fn version(row: &SqlRow<'_>, table: Table) -> Result<String, Failure> {
    let text =
        |column: usize| -> rusqlite::Result<Value> { Ok(row.get::<_, String>(column)?.into()) };
    let time = |ms: i64| Value::from(Timestamp::from_ms(ms).to_string());
    let fields: String = row.get(6)?;
    let mut canonical: Map<String, Value> = serde_json::from_str(&fields).unwrap_or_default();
    canonical.insert(table.id_field().to_owned(), text(1)?);
    canonical.insert("tenant".to_owned(), text(0)?);
    canonical.insert("n".to_owned(), Value::from(row.get::<_, u32>(2)?));
    canonical.insert("validFrom".to_owned(), time(row.get(3)?));
    if let Some(end) = row.get::<_, Option<i64>>(4)? {
        canonical.insert("validTo".to_owned(), time(end));
    }
    canonical.insert("causedBy".to_owned(), text(5)?);
    let mut canonical = Value::Object(canonical);
    canonical.sort_all_objects();
    Ok(canonical.to_string())
}
