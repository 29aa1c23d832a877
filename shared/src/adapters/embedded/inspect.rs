use rusqlite::params;

use crate::handlers::Table;
use crate::model::Group;
use crate::ports::Error;

use super::tables::number;
use super::{Embedded, Failure};

/// What only a store on one machine can be asked.
impl Embedded {
    /// How many rows each table has; of a temporal table, how many versions are in force.
    ///
    /// # Errors
    /// The store failed.
    pub fn row_counts(&self) -> Result<Vec<(Table, u64)>, Error> {
        self.look(|inner| {
            let mut counts = Vec::with_capacity(Table::COUNT);
            for table in Table::ALL {
                let sql = if table.is_temporal() {
                    "SELECT count(*) FROM history WHERE tbl = ? AND recorded_to IS NULL"
                } else {
                    "SELECT count(*) FROM rows WHERE tbl = ?"
                };
                let count: i64 = inner
                    .connection
                    .query_row(sql, [number(table)], |row| row.get(0))?;
                counts.push((table, u64::try_from(count).unwrap_or(0)));
            }
            Ok::<_, Failure>(counts)
        })
    }

    /// The groups of any tenant that have this key.
    ///
    /// # Errors
    /// The store failed.
    pub fn groups_named(&self, key: &str) -> Result<Vec<Group>, Error> {
        self.look(|inner| {
            let mut select = inner
                .connection
                .prepare_cached("SELECT tenant FROM groups WHERE key = ? ORDER BY tenant")?;
            let rows = select.query_map(params![key], |row| {
                Ok(Group {
                    tenant: row.get_ref(0)?.as_str()?.into(),
                    key: key.into(),
                })
            })?;
            Ok::<_, Failure>(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
