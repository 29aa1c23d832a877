use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Timestamp;

/// How a store runs one declared query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryPlan {
    /// The query's name, as the code that runs it is named: "`Tables::conversions`, page".
    pub query: SmolStr,
    /// The table or collection.
    pub table: SmolStr,
    /// The index it needs; [`QueryPlan::WHOLE_PASS`] where the whole table is what it is for.
    pub needs: SmolStr,
    /// The index that the store uses; `None` where it scans.
    pub uses: Option<SmolStr>,
    /// Index keys and rows the store looked at in the trial; `None` where the store does not say or
    /// nothing was tried.
    pub examined: Option<u64>,
    /// Rows it returned in the trial; `None` as above.
    pub returned: Option<u64>,
    /// What the store says of its plan, in its own words, short.
    pub explained: String,
}

/// What is wrong with the way a store runs a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through the whole table.
    Scan,
    /// It uses an index, and not the one that was made for it.
    OtherIndex,
    /// It looks at far more than it returns.
    Examined {
        /// Index keys and rows looked at.
        examined: u64,
        /// Rows returned.
        returned: u64,
    },
}

impl QueryPlan {
    /// What a query needs that is for the whole of a table: no index would help it.
    pub const WHOLE_PASS: &'static str = "whole pass";
    /// A row may cost so many looks: at its key in the index, and at the row.
    pub const EXAMINED_PER_ROW_MAX: u64 = 2;
    /// So many looks are free: beginnings, ends, and trials that return next to nothing.
    pub const EXAMINED_FREE: u64 = 10;

    /// Whether the whole table is what the query is for.
    #[must_use]
    pub fn is_whole_pass(&self) -> bool {
        self.needs == Self::WHOLE_PASS
    }

    /// What is wrong with the plan, the worst first; `None` where nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        if self.is_whole_pass() {
            return None;
        }
        match &self.uses {
            None => return Some(Fault::Scan),
            Some(index) if *index != self.needs => return Some(Fault::OtherIndex),
            Some(_) => {}
        }
        let (examined, returned) = self.examined.zip(self.returned)?;
        let most = returned
            .saturating_mul(Self::EXAMINED_PER_ROW_MAX)
            .saturating_add(Self::EXAMINED_FREE);
        (examined > most).then_some(Fault::Examined { examined, returned })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan => f.pad("scans the table"),
            Self::OtherIndex => f.pad("uses another index"),
            Self::Examined { examined, returned } => {
                write!(f, "looks at {examined} to return {returned}")
            }
        }
    }
}

/// What a check of the declared queries and the indexes that exist came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexCheck {
    /// How the store runs each declared query.
    pub plans: Vec<QueryPlan>,
    /// Declared indexes that do not exist, or not as they are declared.
    pub missing: Vec<MissingIndex>,
    /// Indexes that exist and no declared query needs.
    pub unused: Vec<UnusedIndex>,
    /// Indexes that the store keeps as tables of its own, compared with the rows they follow from.
    pub derived: Vec<DerivedIndex>,
    /// How often each index was used, as the server that was asked counts; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Vec<IndexUse>>,
}

/// A declared index that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingIndex {
    /// The table or collection.
    pub table: SmolStr,
    /// The index.
    pub index: SmolStr,
    /// The queries that miss it, by name.
    pub queries: Vec<SmolStr>,
}

/// An index that no declared query needs. It costs every write and serves nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnusedIndex {
    /// The table or collection.
    pub table: SmolStr,
    /// The index.
    pub index: SmolStr,
}

/// An index whose entries the store keeps itself, and how far they are from what the rows say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DerivedIndex {
    /// The index.
    pub index: SmolStr,
    /// Entries that should be there and are not: rows that no query finds.
    pub lacking: u64,
    /// Entries that no row leads to.
    pub stray: u64,
}

impl DerivedIndex {
    /// Whether it holds what the rows say, and nothing else.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lacking == 0 && self.stray == 0
    }
}

/// How often the store itself has used an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexUse {
    /// The table or collection.
    pub table: SmolStr,
    /// The index.
    pub index: SmolStr,
    /// So many operations used it.
    pub operations: u64,
    /// Since then: the server was started, or the index was made.
    pub since: Timestamp,
}

impl IndexCheck {
    /// How many queries do not run as declared, and indexes are not as they should be. An unused index is
    /// worth a look and no fault.
    #[must_use]
    pub fn faults(&self) -> u64 {
        let plans = self.plans.iter().filter(|plan| plan.fault().is_some());
        let derived = self.derived.iter().filter(|index| !index.is_clean());
        (plans.count() + self.missing.len() + derived.count()) as u64
    }

    /// Whether every query runs as declared and every index is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(uses: Option<&str>, trial: Option<(u64, u64)>) -> QueryPlan {
        QueryPlan {
            query: "Tables::conversions, page".into(),
            table: "conversions".into(),
            needs: "by_name".into(),
            uses: uses.map(SmolStr::from),
            examined: trial.map(|(examined, _)| examined),
            returned: trial.map(|(_, returned)| returned),
            explained: String::new(),
        }
    }

    #[test]
    fn the_worst_fault_is_told() {
        let (examined, returned) = (31, 10);
        for (uses, trial, expect) in [
            (None, Some((1_000, 1)), Some(Fault::Scan)),
            (Some("other"), Some((1, 1)), Some(Fault::OtherIndex)),
            (Some("by_name"), None, None),
            (Some("by_name"), Some((30, 10)), None),
            (
                Some("by_name"),
                Some((examined, returned)),
                Some(Fault::Examined { examined, returned }),
            ),
        ] {
            assert_eq!(plan(uses, trial).fault(), expect, "{uses:?} {trial:?}");
        }
        let whole = QueryPlan {
            needs: QueryPlan::WHOLE_PASS.into(),
            ..plan(None, Some((1_000, 1)))
        };
        assert_eq!(whole.fault(), None);
    }

    #[test]
    fn unused_indexes_are_no_fault_and_all_else_is() {
        let unused = UnusedIndex {
            table: "rows".into(),
            index: "extra".into(),
        };
        let clean = IndexCheck {
            plans: vec![plan(Some("by_name"), None)],
            unused: vec![unused],
            ..IndexCheck::default()
        };
        assert!(clean.is_clean());
        let scan = vec![plan(None, None)];
        let missing = MissingIndex {
            table: "rows".into(),
            index: "by_name".into(),
            queries: vec![],
        };
        let derived = |lacking, stray| DerivedIndex {
            index: "conversions".into(),
            lacking,
            stray,
        };
        assert_eq!(clean.faults(), 0);
        let with = |derived| IndexCheck {
            derived: vec![derived],
            ..clean.clone()
        };
        for wrong in [
            IndexCheck {
                plans: scan,
                ..clean.clone()
            },
            IndexCheck {
                missing: vec![missing],
                ..clean.clone()
            },
            with(derived(1, 0)),
            with(derived(0, 1)),
        ] {
            assert!(!wrong.is_clean(), "{wrong:?}");
            assert_eq!(wrong.faults(), 1, "{wrong:?}");
        }
        assert!(with(derived(0, 0)).is_clean());
    }
}
