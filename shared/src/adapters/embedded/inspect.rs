use crate::handlers::Table;
use crate::model::Group;
use crate::ports::Error;

use super::query::{Need, queries};
use super::tables::number;
use super::{Embedded, Failure};

queries! {
    COUNT_ROWS {
        name: "Embedded::row_counts, rows",
        needs: [Need::WholePass("rows")],
        sql: "SELECT count(*) FROM rows WHERE tbl = ? AND body <> ''",
    }
    COUNT_VERSIONS {
        name: "Embedded::row_counts, versions",
        needs: [Need::WholePass("history")],
        sql: "SELECT count(*) FROM history WHERE tbl = ? AND recorded_to IS NULL",
    }
}

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
                let query = if table.is_temporal() {
                    &COUNT_VERSIONS
                } else {
                    &COUNT_ROWS
                };
                let count: i64 = inner
                    .database
                    .prepare(query)?
                    .query_row([number(table)], |row| row.get(0))?;
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
            let groups = inner.groups_of_key(key)?;
            Ok::<_, Failure>(groups.into_iter().map(|(_, group)| group).collect())
        })
    }
}
