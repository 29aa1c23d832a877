use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::fingerprint::first_128_bits;
use super::{Event, EventHash, Group, Order, Timestamp};
use crate::handlers::Table;

/// The id of one small step, "apply this event to that row": derived, never random.
///
/// A redelivered event gives the same ids, so what was done once can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u128);

impl ActionId {
    /// The action that applies `event` to the row `id` of `table`, whoever asked for it.
    #[must_use]
    pub fn of(event: EventHash, table: Table, id: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&event.0.to_le_bytes());
        hasher.update(table.name().as_bytes());
        hasher.update(b"#");
        hasher.update(id.as_bytes());
        Self(first_128_bits(&hasher))
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How late an event was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Milliseconds of event time between it and the event that overtook it.
    pub ms: i64,
    /// The id of the later-ordered event that its row held already.
    pub overtaken_by: SmolStr,
    /// That event's source; `None` in what was kept before sources were.
    pub source: Option<SmolStr>,
    /// That event's time; `None` in what was kept before times were.
    pub at: Option<Timestamp>,
    /// The rows that it came late for: those that it acts on, then those that observers feed because of it.
    pub rows: Vec<(Table, SmolStr)>,
}

impl Late {
    /// An event behind one that was applied; no row is named yet.
    #[must_use]
    pub fn behind(event: &Event, last: &Order) -> Self {
        Self {
            ms: last.time.ms_since(event.time),
            overtaken_by: last.id.clone(),
            source: Some(last.source.clone()),
            at: Some(last.time),
            rows: Vec::new(),
        }
    }

    /// Goes by another row's last event where the event is further behind that.
    pub fn also(&mut self, event: &Event, last: &Order) {
        let other = Self::behind(event, last);
        if self.ms < other.ms {
            let rows = std::mem::take(&mut self.rows);
            *self = Self { rows, ..other };
        }
    }
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The row's content changed.
    Changed,
    /// The row took note of the event; its content stayed.
    Unchanged,
    /// The row held the event already: a redelivery.
    Held,
}

/// One action and the child actions that observers asked for because of it.
///
/// Its id is not kept: [`ActionId::of`] the event and the row gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionNode {
    /// The table of the row.
    pub table: Table,
    /// The row's id within tenant and table.
    pub id: SmolStr,
    /// What became of it.
    pub outcome: Outcome,
    /// What it led to.
    #[serde(deserialize_with = "children")]
    pub children: Vec<ActionNode>,
}

/// No action has more generations below it: one that claims to would exhaust the stack of who reads it.
const GENERATIONS_MAX: u8 = 64;

/// Reads what an action led to, no deeper than it can be.
fn children<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ActionNode>, D::Error> {
    thread_local! {
        static GENERATION: Cell<u8> = const { Cell::new(0) };
    }
    let generation = GENERATION.get();
    if generation >= GENERATIONS_MAX {
        let deep = format_args!("actions go deeper than {GENERATIONS_MAX} generations");
        return Err(serde::de::Error::custom(deep));
    }
    GENERATION.set(generation + 1);
    let read = Vec::deserialize(deserializer);
    GENERATION.set(generation);
    read
}

impl ActionNode {
    /// The action's id, given the event that it applies.
    #[must_use]
    pub fn action_id(&self, event: EventHash) -> ActionId {
        ActionId::of(event, self.table, &self.id)
    }

    /// How many actions this one and those below it are.
    #[must_use]
    pub fn count(&self) -> u64 {
        1 + self.children.iter().map(Self::count).sum::<u64>()
    }
}

/// All that one event led to, kept when done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionHierarchy {
    /// The event's group.
    pub group: Group,
    /// The event's source.
    pub source: SmolStr,
    /// The event's id.
    pub event_id: SmolStr,
    /// How often its message had been received when it was done, 1 at the first try.
    pub attempt: u32,
    /// When its rows were read.
    pub read_start: Timestamp,
    /// When its rows were written.
    pub write_start: Timestamp,
    /// How late it was; `None` where it came in order.
    pub late: Option<Late>,
    /// Whether no rule of the tenant's settings maps its type.
    pub unmapped: bool,
    /// Its actions, in the order they were run.
    pub actions: Vec<ActionNode>,
}
