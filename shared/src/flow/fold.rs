use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use smol_str::SmolStr;

use crate::handlers::{Action, Ask, Row, Table};
use crate::model::{ActionNode, Entry, Group, Held, Order, Outcome};
use crate::observers::{Cause, Watch};
use crate::settings::Meaning;

use super::Stored;
use super::image::Was;

/// Rows as they were, by table and id; `None` where there was none.
pub(super) type Before = BTreeMap<(Table, SmolStr), Option<Was>>;

/// Some of a group's rows, and the one way in which an event changes them.
#[derive(Debug, Clone)]
pub struct Fold<'g> {
    group: &'g Group,
    cells: BTreeMap<(Table, SmolStr), Cell>,
    behind: bool,
    /// What rows were before the first event since [`Fold::take_before`], where that is kept.
    before: Option<Before>,
}

/// A row under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its content.
    pub row: Row,
    /// Which events it holds.
    pub held: Held,
    /// Whether an event was taken in since it was read.
    pub touched: bool,
}

/// What is the same for all actions of one event.
struct Turn<'a> {
    entry: &'a Entry,
    order: Order,
    meaning: &'a Meaning,
}

impl<'g> Fold<'g> {
    /// Starts from nothing, as a refold does.
    #[must_use]
    pub fn new(group: &'g Group) -> Self {
        Self::from_cells(group, BTreeMap::new())
    }

    /// The group.
    pub(super) fn group(&self) -> &'g Group {
        self.group
    }

    /// Starts from rows as they were at some point.
    pub(super) fn from_cells(group: &'g Group, cells: BTreeMap<(Table, SmolStr), Cell>) -> Self {
        Self {
            group,
            cells,
            behind: false,
            before: None,
        }
    }

    /// Starts from stored rows, as live handling does.
    #[must_use]
    pub fn from_stored(group: &'g Group, stored: &[Stored]) -> Self {
        let cell = |stored: &Stored| Cell {
            row: stored.row.clone(),
            held: stored.trail.held.clone(),
            touched: false,
        };
        let cells = stored
            .iter()
            .filter(|row| !row.is_gone())
            .map(|row| ((row.key.table, row.key.id.clone()), cell(row)));
        Self::from_cells(group, cells.collect())
    }

    /// Applies one event to the rows it acts on and to those that observers feed because of it.
    pub fn apply(&mut self, entry: &Entry, meaning: &Meaning) -> Vec<ActionNode> {
        self.apply_where(entry, meaning, |_table, _id| true)
    }

    /// Applies one event to those of the rows it acts on that are `wanted`.
    pub fn apply_where(
        &mut self,
        entry: &Entry,
        meaning: &Meaning,
        wanted: impl Fn(Table, &SmolStr) -> bool,
    ) -> Vec<ActionNode> {
        let turn = Turn {
            entry,
            order: entry.event.order(),
            meaning,
        };
        let ask = match meaning {
            Meaning::Event(mapped) => Ask::Event(mapped),
            Meaning::Baseline(baseline) => Ask::Baseline(baseline.row()),
        };
        let mut nodes = Vec::with_capacity(Table::COUNT);
        for table in Table::ALL {
            if let Some(id) = table
                .route(meaning, self.group)
                .filter(|id| wanted(table, id))
            {
                nodes.push(self.act(&turn, table, id, ask));
            }
        }
        nodes
    }

    fn act(&mut self, turn: &Turn<'_>, table: Table, id: SmolStr, ask: Ask<'_>) -> ActionNode {
        let Turn {
            entry,
            order,
            meaning,
        } = turn;
        let group = self.group;
        self.remember(table, &id);
        let cell = self
            .cells
            .entry((table, id.clone()))
            .or_insert_with(|| Cell {
                row: table.new_row(group, &id),
                held: Held::default(),
                touched: false,
            });
        // Several actions of one event may act on one row; a stored row that took it last is no such
        // case, but a redelivery.
        let in_hand = cell.touched && cell.held.taken == Some(entry.hash);
        let came_before = !in_hand && cell.held.last.as_ref().is_some_and(|last| last >= order);
        self.behind |= came_before;
        let watch = Watch::look(&cell.row);
        let changed = cell.row.apply(&Action {
            event: &entry.event,
            ask,
        });
        cell.held.add(entry.hash, order);
        cell.touched = true;
        let cause = Cause {
            event: &entry.event,
            meaning,
            group,
        };
        let asked = watch.notice(&cell.row, &cause);
        let children = asked
            .into_iter()
            .map(|child| {
                self.act(
                    turn,
                    child.table,
                    child.id,
                    Ask::Contribution(&child.contribution),
                )
            })
            .collect();
        let outcome = if changed {
            Outcome::Changed
        } else {
            Outcome::Unchanged
        };
        ActionNode {
            table,
            id,
            outcome,
            children,
        }
    }

    /// Keeps what a row is, if it was not touched since the last [`Fold::take_before`].
    fn remember(&mut self, table: Table, id: &SmolStr) {
        let Some(before) = &mut self.before else {
            return;
        };
        let key = (table, id.clone());
        if let Place::Vacant(first) = before.entry(key) {
            let was = self.cells.get(first.key()).map(Was::of);
            first.insert(was);
        }
    }

    /// What the rows touched since the last call were then; from now on that is kept.
    pub(super) fn take_before(&mut self) -> Before {
        self.before.replace(Before::new()).unwrap_or_default()
    }

    /// How many rows were touched since the last [`Fold::take_before`].
    pub(super) fn touched(&self) -> usize {
        self.before.as_ref().map_or(0, Before::len)
    }

    /// Whether some event was applied to a row that already held the same or a later one: the
    /// result is then not that of the events in order.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// One row.
    #[must_use]
    pub fn cell(&self, table: Table, id: &SmolStr) -> Option<&Cell> {
        self.cells.get(&(table, id.clone()))
    }

    /// All rows, by table and id.
    #[must_use]
    pub fn into_cells(self) -> BTreeMap<(Table, SmolStr), Cell> {
        self.cells
    }
}
