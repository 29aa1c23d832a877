use std::collections::{BTreeMap, BTreeSet};

use smol_str::{SmolStr, format_smolstr};

use crate::model::{IndexCheck, MissingIndex, QueryPlan, UnusedIndex};
use crate::ports::{Error, Indexes};

use super::explain::{Explainer, PRIMARY_KEY, Step, Trial};
use super::query::{Index, Need, Query, queries};
use super::schema::FORMAT;
use super::{Embedded, Failure, Inner, failed};

queries! {
    EXISTING {
        name: "Indexes, those that exist",
        needs: [Need::WholePass("sqlite_schema")],
        sql: "SELECT tbl_name, name, sql FROM sqlite_schema
              WHERE type = 'index' AND sql IS NOT NULL",
    }
}

/// What a part of a plan needs that no declaration names.
const UNDECLARED: &str = "undeclared";

/// Plans are what `SQLite` says. What a query examines is counted, where its declaration tells how it
/// can be tried: on one row's worth of parameters from the store's own data.
impl Indexes for Embedded {
    async fn create_indexes(&self) -> Result<Vec<SmolStr>, Error> {
        self.unit(|inner| {
            let existing = inner.existing_indexes()?;
            let mut made = Vec::new();
            for index in declared(FORMAT).filter(|index| !existing.have(index)) {
                inner.database.create(index)?;
                made.push(format_smolstr!("{}.{}", index.table, index.name));
            }
            let conversions = inner.check_conversions()?;
            if !conversions.is_clean() {
                inner.rebuild_conversions()?;
                made.push(format_smolstr!(
                    "RSLeadGlobalConversions.{}",
                    conversions.index
                ));
            }
            Ok::<_, Failure>(made)
        })
    }

    async fn check_indexes(&self) -> Result<IndexCheck, Error> {
        let failed = failed("explain the queries");
        // A file of an older format is checked as it is, where it is only read.
        let format = self.look(|inner| inner.database.format())?;
        let tables: BTreeSet<&str> = queries(format).flat_map(Query::tables).collect();
        let counted = tables.iter().copied().filter(|table| !is_internal(table));
        let explainer = Explainer::open(&self.directory, counted).map_err(&failed)?;
        let mut plans = Vec::new();
        for query in queries(format) {
            let steps = explainer.steps(query).map_err(&failed)?;
            let trial = explainer.trial(query).map_err(&failed)?;
            plans.extend(query.plans(steps, trial.as_ref()));
        }
        self.look(|inner| {
            let existing = inner.existing_indexes()?;
            let conversions = inner.database.at_one_moment(|| inner.check_conversions())?;
            Ok::<_, Failure>(IndexCheck {
                plans,
                missing: existing.missing(format),
                unused: existing.unused(format, &tables),
                derived: vec![conversions],
                usage: None,
            })
        })
    }
}

/// The queries of each file of this module, with the format of the store that first has their tables.
const QUERIES_SINCE: [(i32, &[&Query]); 23] = [
    (1, super::check::QUERIES),
    (1, super::check_tables::QUERIES),
    (1, super::conversions::QUERIES),
    (1, super::dead_letters::QUERIES),
    (1, super::export::QUERIES),
    (1, super::groups::QUERIES),
    (1, super::hierarchies::QUERIES),
    (1, QUERIES),
    (1, super::inspect::QUERIES),
    (1, super::journal::QUERIES),
    (1, super::look::QUERIES),
    (1, super::queue::QUERIES),
    (1, super::rejects::QUERIES),
    (1, super::settings::QUERIES),
    (1, super::tables::QUERIES),
    (1, super::write::QUERIES),
    (2, super::additions::QUERIES),
    (2, super::reports::QUERIES),
    (3, super::locks::QUERIES),
    (4, super::images::QUERIES),
    (4, super::suffix::QUERIES),
    (5, super::settings_since::QUERIES),
    (5, super::audit::QUERIES),
];

/// Every query that this store runs over a file of that format.
fn queries(format: i32) -> impl Iterator<Item = &'static Query> {
    QUERIES_SINCE
        .into_iter()
        .filter(move |(since, _)| *since <= format)
        .flat_map(|(_, queries)| queries)
        .copied()
}

/// The indexes that the queries over a file of that format need besides those of the tables' own
/// constraints, each once.
pub(super) fn declared(format: i32) -> impl Iterator<Item = &'static Index> {
    let indexes: BTreeMap<&str, &Index> = queries(format)
        .flat_map(Query::indexes)
        .map(|index| (index.name, index))
        .collect();
    indexes.into_values()
}

/// Whether the table is `SQLite`'s own.
fn is_internal(table: &str) -> bool {
    table.starts_with("sqlite_")
}

/// The indexes of the file, besides those of constraints: tables and statements by name.
pub(super) struct Existing(BTreeMap<SmolStr, (SmolStr, String)>);

impl Inner {
    pub(super) fn existing_indexes(&self) -> Result<Existing, Failure> {
        let mut select = self.database.prepare(&EXISTING)?;
        let indexes = select.query_map([], |row| {
            let text = |i| Ok::<_, rusqlite::Error>(SmolStr::from(row.get_ref(i)?.as_str()?));
            Ok((text(1)?, (text(0)?, row.get(2)?)))
        })?;
        Ok(Existing(indexes.collect::<rusqlite::Result<_>>()?))
    }
}

impl Existing {
    /// Whether the index exists as it is declared.
    pub(super) fn have(&self, index: &Index) -> bool {
        let statement = self.0.get(index.name).map(|(_, sql)| sql);
        statement.is_some_and(|sql| canonical(sql) == canonical(&index.sql()))
    }

    fn missing(&self, format: i32) -> Vec<MissingIndex> {
        let missing = declared(format).filter(|index| !self.have(index));
        let missing = missing.map(|index| MissingIndex {
            table: index.table.into(),
            index: index.name.into(),
            queries: queries(format)
                .filter(|query| query.indexes().any(|needed| needed.name == index.name))
                .map(|query| query.name.into())
                .collect(),
        });
        missing.collect()
    }

    fn unused(&self, format: i32, tables: &BTreeSet<&str>) -> Vec<UnusedIndex> {
        let needed: BTreeSet<&str> = declared(format).map(|index| index.name).collect();
        let unused = self.0.iter().filter(|(name, (table, _))| {
            tables.contains(table.as_str()) && !needed.contains(name.as_str())
        });
        let unused = unused.map(|(name, (table, _))| UnusedIndex {
            table: table.clone(),
            index: name.clone(),
        });
        unused.collect()
    }
}

/// A statement without what makes no difference.
fn canonical(sql: &str) -> String {
    let words = sql.split_whitespace().collect::<String>();
    words.to_ascii_lowercase()
}

impl Need {
    fn table(&self) -> &'static str {
        match self {
            Self::Key(table) | Self::Unique(table, _) | Self::WholePass(table) => table,
            Self::Index(index) => index.table,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => PRIMARY_KEY,
            Self::Unique(_, name) => name,
            Self::WholePass(_) => QueryPlan::WHOLE_PASS,
            Self::Index(index) => index.name,
        }
    }
}

impl Query {
    fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().map(Need::table)
    }

    fn indexes(&self) -> impl Iterator<Item = &'static Index> {
        self.needs.iter().filter_map(|need| match need {
            Need::Index(index) => Some(*index),
            Need::Key(_) | Need::Unique(..) | Need::WholePass(_) => None,
        })
    }

    /// Holds the plan against the declaration: a part for each table that is needed, and one for
    /// each way through a table of which the declaration says nothing.
    fn plans(&self, mut steps: Vec<Step>, trial: Option<&Trial>) -> Vec<QueryPlan> {
        let mut parts = Vec::new();
        for need in self.needs {
            let place = steps.iter().position(|step| step.table == need.table());
            let step = place.map(|place| steps.remove(place));
            parts.push((need.table().into(), need.name(), step));
        }
        for step in steps {
            parts.push((step.table.clone(), UNDECLARED, Some(step)));
        }
        let part =
            |(place, (table, needs, step)): (usize, (SmolStr, &'static str, Option<Step>))| {
                let query = match place {
                    0 => self.name.into(),
                    _more => format_smolstr!("{} → {table}", self.name),
                };
                let examined =
                    trial.map(|trial| trial.examined.get(&table).copied().unwrap_or_default());
                let (uses, explained) = match step {
                    Some(step) => (step.index, step.detail),
                    None => (None, "the plan does not name the table".to_owned()),
                };
                QueryPlan {
                    query,
                    table,
                    needs: needs.into(),
                    uses,
                    examined,
                    returned: trial.map(|trial| trial.returned),
                    explained,
                }
            };
        parts.into_iter().enumerate().map(part).collect()
    }
}
