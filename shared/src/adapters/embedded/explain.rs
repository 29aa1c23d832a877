//! How `SQLite` runs a query: what its plan says, and what a trial counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use smol_str::SmolStr;

use super::connect_to_read;
use super::query::Query;

/// The name that plans of queries by a primary key are given.
pub(super) const PRIMARY_KEY: &str = "primary key";

/// Explains queries over connections of its own, so that nobody waits for it.
pub(super) struct Explainer {
    /// For plans and parameters.
    plain: Connection,
    /// For trials: each table hides behind a view of itself that passes every row it is asked for
    /// through a function. The planner sees through the view; the function sees what is looked at.
    counting: Connection,
    looks: Looks,
}

/// How many rows were looked at, by table.
type Looks = Arc<Mutex<BTreeMap<SmolStr, u64>>>;

/// A part of a plan: the way through one table.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) table: SmolStr,
    /// The index that is searched; `None` where all of the table, or of an index, is gone through.
    pub(super) index: Option<SmolStr>,
    /// In `SQLite`'s words.
    pub(super) detail: String,
}

/// What running a query showed.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pub(super) examined: BTreeMap<SmolStr, u64>,
    pub(super) returned: u64,
}

impl Explainer {
    /// An explainer of queries over these tables of the store in a directory.
    pub(super) fn open<'t>(
        directory: &Path,
        tables: impl Iterator<Item = &'t str>,
    ) -> rusqlite::Result<Self> {
        let (plain, counting) = (connect_to_read(directory)?, connect_to_read(directory)?);
        let looks = Looks::default();
        let counted = Arc::clone(&looks);
        counting.create_scalar_function(
            "looked_at",
            2,
            FunctionFlags::SQLITE_UTF8,
            move |call| {
                let mut looks = counted.lock().unwrap_or_else(PoisonError::into_inner);
                *looks.entry(call.get_raw(0).as_str()?.into()).or_default() += 1;
                Ok(true)
            },
        )?;
        for table in tables {
            // The function takes a column, so that it cannot be called but for a row.
            let column: String = counting.query_row(
                "SELECT name FROM pragma_table_info(?) LIMIT 1",
                [table],
                |row| row.get(0),
            )?;
            counting.execute_batch(&format!(
                "CREATE TEMP VIEW {table} AS
                 SELECT * FROM main.{table} WHERE looked_at('{table}', {column})"
            ))?;
        }
        Ok(Self {
            plain,
            counting,
            looks,
        })
    }

    /// The query's way through each table, in the plan's order.
    pub(super) fn steps(&self, query: &Query) -> rusqlite::Result<Vec<Step>> {
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
        let mut explain = self.plain.prepare(&sql)?;
        let details = explain.raw_query().mapped(|row| row.get::<_, String>(3));
        let steps = details.filter_map(|detail| detail.map(step).transpose());
        steps.collect()
    }

    /// Runs the query with parameters from the store's data; `None` where it has none, or the query
    /// is not to be tried.
    pub(super) fn trial(&self, query: &Query) -> rusqlite::Result<Option<Trial>> {
        let Some(given) = query.trial else {
            return Ok(None);
        };
        let mut tried = self.counting.prepare(query.sql)?;
        {
            let mut select = self.plain.prepare(given)?;
            let mut rows = select.query([])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            for place in 0..tried.parameter_count() {
                tried.raw_bind_parameter(place + 1, row.get::<_, Value>(place)?)?;
            }
        }
        self.looks().clear();
        let mut returned = 0;
        let mut rows = tried.raw_query();
        while rows.next()?.is_some() {
            returned += 1;
        }
        let examined = std::mem::take(&mut *self.looks());
        Ok(Some(Trial { examined, returned }))
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, BTreeMap<SmolStr, u64>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a line of a plan; `None` where it is about no table.
/// Source: <https://sqlite.org/eqp.html>, "SEARCH and SCAN".
fn step(detail: String) -> Option<Step> {
    let mut words = detail.split(' ');
    let searched = match words.next()? {
        "SEARCH" => true,
        "SCAN" => false,
        _other => return None,
    };
    let table = SmolStr::from(words.next()?);
    let how: Vec<&str> = words
        .skip_while(|word| *word != "USING")
        .skip(1)
        .filter(|word| *word != "COVERING")
        .collect();
    let index = match how.as_slice() {
        // The first or the last of the table, by its key.
        [] if searched => Some(PRIMARY_KEY.into()),
        ["PRIMARY", ..] | ["INTEGER", "PRIMARY", ..] if searched => Some(PRIMARY_KEY.into()),
        ["INDEX", name, ..] if searched => Some((*name).into()),
        // An automatic index is made for the one query: the table is gone through for it.
        [..] => None,
    };
    Some(Step {
        table,
        index,
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        for (detail, expect) in [
            ("SEARCH journal", Some(("journal", Some(PRIMARY_KEY)))),
            (
                "SEARCH groups USING INTEGER PRIMARY KEY (rowid>?)",
                Some(("groups", Some(PRIMARY_KEY))),
            ),
            (
                "SEARCH rows USING PRIMARY KEY (gid=? AND tbl=? AND id=?)",
                Some(("rows", Some(PRIMARY_KEY))),
            ),
            (
                "SEARCH journal USING INDEX journal_by_group (gid=?)",
                Some(("journal", Some("journal_by_group"))),
            ),
            (
                "SEARCH rows USING COVERING INDEX rows_by_id (id=?)",
                Some(("rows", Some("rows_by_id"))),
            ),
            (
                "SEARCH rows USING AUTOMATIC COVERING INDEX (id=?)",
                Some(("rows", None)),
            ),
            (
                "SEARCH rows USING AUTOMATIC PARTIAL COVERING INDEX (id=?)",
                Some(("rows", None)),
            ),
            (
                "SEARCH rows EXISTS USING PRIMARY KEY (gid=?)",
                Some(("rows", Some(PRIMARY_KEY))),
            ),
            ("SCAN messages", Some(("messages", None))),
            (
                "SCAN messages USING COVERING INDEX messages_by_group",
                Some(("messages", None)),
            ),
            ("USE TEMP B-TREE FOR ORDER BY", None),
            ("CORRELATED SCALAR SUBQUERY 1", None),
        ] {
            let step = step(detail.to_owned());
            let read = step
                .as_ref()
                .map(|step| (step.table.as_str(), step.index.as_deref()));
            assert_eq!(read, expect, "{detail}");
        }
    }
}
