//! The only way to the database: queries that are declared beside the code that runs them, each with
//! the indexes it needs. What is not declared cannot be prepared, so the check of the indexes sees
//! every query there is.

use rusqlite::{CachedStatement, Connection};

use super::{Failure, schema};

/// More than there are queries: none is ever prepared again.
const STATEMENTS_KEPT: usize = 128;

/// A query and what it needs to be fast.
#[derive(Debug)]
pub(super) struct Query {
    /// Its name, after the code that runs it.
    pub(super) name: &'static str,
    /// What each table's part of it needs; empty for one that only adds rows. Tables go by their own
    /// names in the text: the store explains its plan by them.
    pub(super) needs: &'static [Need],
    pub(super) sql: &'static str,
    /// Gives a row of parameters from the store's own data to try the query with, where that is told.
    pub(super) trial: Option<&'static str>,
}

/// What a query needs of one table.
#[derive(Debug)]
pub(super) enum Need {
    /// The primary key.
    Key(&'static str),
    /// The index of the table's unique constraint, by the name that `SQLite` gives it.
    Unique(&'static str, &'static str),
    Index(&'static Index),
    /// All of it: that is what the query is for.
    WholePass(&'static str),
}

/// An index besides those that the tables' own constraints make.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    /// The columns and, for a partial index, which rows.
    pub(super) on: &'static str,
}

impl Index {
    /// The statement that makes it.
    pub(super) fn sql(&self) -> String {
        self.statement("CREATE INDEX")
    }

    /// The same, for a file that may have something of its name: whether that is this index is for the
    /// check to say.
    pub(super) fn sql_where_missing(&self) -> String {
        self.statement("CREATE INDEX IF NOT EXISTS")
    }

    fn statement(&self, make: &str) -> String {
        format!("{make} {} ON {} {}", self.name, self.table, self.on)
    }
}

/// Declares the queries of a file and lists them for the check; a list that nobody gathers is dead
/// code, which the compiler reports.
macro_rules! queries {
    ($(
        $(#[$doc:meta])*
        $constant:ident {
            name: $name:literal,
            needs: [$($need:expr),*],
            sql: $sql:literal,
            $(trial: $trial:literal,)?
        }
    )+) => {
        $(
            $(#[$doc])*
            pub(super) const $constant: $crate::adapters::embedded::query::Query =
                $crate::adapters::embedded::query::Query {
                    name: $name,
                    needs: &[$($need),*],
                    sql: $sql,
                    trial: $crate::adapters::embedded::query::queries!(@ $($trial)?),
                };
        )+
        /// Every query of this file.
        pub(super) const QUERIES: &[&$crate::adapters::embedded::query::Query] =
            &[$(&$constant),+];
    };
    (@) => { None };
    (@ $trial:literal) => { Some($trial) };
}
pub(super) use queries;

/// The connection of a store.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    pub(super) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self { connection }
    }

    /// The statement of a query, prepared once.
    pub(super) fn prepare(&self, query: &Query) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(query.sql)
    }

    /// The format of the file: older than this code's where an old file is only read.
    pub(super) fn format(&self) -> rusqlite::Result<i32> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
    }

    /// As if the disk had no room for more than so many pages.
    #[cfg(test)]
    pub(super) fn leave_room_for(&self, pages: u32) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "max_page_count", pages)
    }

    /// What is wrong with the file's pages; at most so many faults.
    pub(super) fn integrity(&self, most: u32) -> rusqlite::Result<Vec<String>> {
        schema::integrity(&self.connection, most)
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("COMMIT")
    }

    pub(super) fn roll_back(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("ROLLBACK")
    }

    /// Runs `work`, which only reads, over the store as it is at one moment.
    pub(super) fn at_one_moment<T>(
        &self,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // A savepoint stands alone or within a unit of work.
        self.connection.execute_batch("SAVEPOINT look")?;
        let done = work();
        self.connection.execute_batch("RELEASE look")?;
        done
    }

    /// Makes an index, in place of what had its name.
    pub(super) fn create(&self, index: &Index) -> rusqlite::Result<()> {
        let (name, sql) = (index.name, index.sql());
        self.connection
            .execute_batch(&format!("DROP INDEX IF EXISTS {name}; {sql}"))
    }
}
