use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Entry, EventRef, Finding, Group};
use crate::settings::Meaning;

use super::correct::acted_on;
use super::{Fold, diff};

/// What is known of one row while its events are folded again.
#[derive(Default)]
struct Known {
    leaves: BTreeMap<String, Value>,
    set_by: BTreeMap<String, EventRef>,
}

/// Says of each field that differs which event set it last, in the fold of these events, which come in
/// their order; of a version of a history, from which source the event is that brought it about.
pub(super) fn fill(findings: &mut [Finding], group: &Group, events: &[(usize, &Entry, Meaning)]) {
    if findings.is_empty() {
        return;
    }
    let rows = findings.iter().map(|one| (one.table, one.id.clone()));
    let set_by = set_by(rows, group, events);
    for finding in findings {
        let known = set_by.get(&(finding.table, finding.id.clone()));
        for change in &mut finding.changes {
            match (&mut change.caused_by, known) {
                (Some(cause), _) => name_source(cause, events),
                (None, known) => {
                    change.caused_by = known.and_then(|known| known.get(&change.field).cloned());
                }
            }
        }
    }
}

/// Which event set which field of these rows last, in the fold of these events, which come in their order.
pub(super) fn set_by(
    rows: impl Iterator<Item = (Table, SmolStr)>,
    group: &Group,
    events: &[(usize, &Entry, Meaning)],
) -> BTreeMap<(Table, SmolStr), BTreeMap<String, EventRef>> {
    let mut rows: BTreeMap<(Table, SmolStr), Known> =
        rows.map(|row| (row, Known::default())).collect();
    let mut fold = Fold::new(group);
    for (_, entry, meaning) in events {
        if rows.is_empty() {
            break;
        }
        let mut touched = BTreeSet::new();
        acted_on(&fold.apply(entry, meaning), &mut touched);
        for key in touched {
            let cell = fold.cell(key.0, &key.1);
            if let (Some(known), Some(cell)) = (rows.get_mut(&key), cell) {
                known.note(diff::leaves(&cell.row), entry);
            }
        }
    }
    let rows = rows.into_iter();
    rows.map(|(row, known)| (row, known.set_by)).collect()
}

impl Known {
    /// Takes down which fields the event changed, those that it took away included.
    fn note(&mut self, leaves: BTreeMap<String, Value>, entry: &Entry) {
        let gone = self
            .leaves
            .keys()
            .filter(|path| !leaves.contains_key(*path));
        let set = leaves
            .iter()
            .filter(|(path, value)| self.leaves.get(*path) != Some(value));
        let changed: Vec<String> = gone.chain(set.map(|(path, _)| path)).cloned().collect();
        for path in changed {
            self.set_by.insert(path, EventRef::from(&entry.event));
        }
        self.leaves = leaves;
    }
}

fn name_source(cause: &mut EventRef, events: &[(usize, &Entry, Meaning)]) {
    let of = |one: &&(usize, &Entry, Meaning)| {
        let event = &one.1.event;
        event.id == cause.id && Some(event.time) == cause.time
    };
    if let Some((_, entry, _)) = events.iter().find(of) {
        cause.source = entry.event.source.clone();
    }
}
