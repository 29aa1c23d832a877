use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::handlers::{Row, Table};
use crate::model::{Entry, FieldChange, Group};
use crate::settings::Tenant;

use super::{blame, correct, diff};

/// A row as some of a group's events make it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The row's table.
    pub table: Table,
    /// The row's id.
    pub id: SmolStr,
    /// Its content; `None` where these events lead to no such row.
    pub row: Option<Row>,
    /// Every field that is not as the other events make it, from what to what, and the event that set it.
    pub changes: Vec<FieldChange>,
}

/// The rows that some of a group's events fold to, and how they differ from those of other events of the
/// group (of none: every field does), each field with the event that set it last.
///
/// Events may be given in any order. Rows that differ in nothing are given too.
#[must_use]
pub fn explain(
    tenant: &Tenant,
    group: &Group,
    before: &[&Entry],
    after: &[&Entry],
) -> Vec<Explained> {
    let nothing = BTreeSet::new();
    let mut was = correct::refold(tenant, group, before, &nothing).cells;
    let is = correct::refold(tenant, group, after, &nothing);
    let keys: BTreeSet<(Table, SmolStr)> = was.keys().chain(is.cells.keys()).cloned().collect();
    let mut causes = blame::set_by(keys.iter().cloned(), group, &is.events);
    let mut cells = is.cells;
    let explained = keys.into_iter().map(|key| {
        let (before, after) = (was.remove(&key), cells.remove(&key));
        let causes = causes.remove(&key).unwrap_or_default();
        let row = |cell: &Option<super::Cell>| cell.as_ref().map(|cell| cell.row.clone());
        let mut changes = diff::rows(row(&before).as_ref(), row(&after).as_ref());
        for change in &mut changes {
            change.caused_by = causes.get(&change.field).cloned();
        }
        Explained {
            table: key.0,
            id: key.1,
            row: row(&after),
            changes,
        }
    });
    explained.collect()
}

/// A row's fields, nested ones by their path: each as it is, and nothing before.
#[must_use]
pub fn fields_of(row: &Row) -> Vec<FieldChange> {
    diff::rows(None, Some(row))
}
