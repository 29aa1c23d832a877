use smol_str::SmolStr;

use crate::handlers::{Row, Table, Version};
use crate::model::{ActionId, Amended, Group, Held, Stamps, Trail};
use crate::settings::Tenant;

use super::Cell;

/// Which row. A row belongs to the group whose journal it is the fold of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The group.
    pub group: Group,
    /// The table.
    pub table: Table,
    /// The row's id, as the external system gives it.
    pub id: SmolStr,
}

/// A row as a store holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Which row.
    pub key: RowKey,
    /// Its content.
    pub row: Row,
    /// Whether the content could be read; if not, `row` is an empty one in its place.
    pub readable: bool,
    /// What it carries about itself.
    pub trail: Trail,
    /// A temporal row's versions in force, in order, where they were asked for: all, or those after the
    /// number that a correction begins with.
    pub history: Option<Vec<Version>>,
}

impl Stored {
    /// Whether no event leads to the row any more: it is none, and only its trail is left. One into which
    /// somebody else has written since is a row again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let RowKey { group, table, id } = &self.key;
        self.readable && self.trail.is_gone() && self.row == table.new_row(group, id)
    }

    /// Whether the row was made by the present handler under these settings. To one that was not,
    /// nothing can be added: the events it holds may mean something else now.
    #[must_use]
    pub fn is_made_under(&self, tenant: &Tenant) -> bool {
        self.trail.settings == tenant.version()
            && self.trail.handler == self.key.table.handler_version()
    }

    /// The id of the action that wrote the row last.
    #[must_use]
    pub fn last_action(&self) -> Option<ActionId> {
        self.trail
            .held
            .taken
            .map(|event| ActionId::of(event, self.key.table, &self.key.id))
    }
}

/// A conditional write of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which row.
    pub key: RowKey,
    /// The version that the write replaces; `None` where no row may exist yet.
    pub expected: Option<u64>,
    /// What to put there; `None` takes the row, its trail and its versions in force away, as if it had
    /// never been there. Of a row that no event leads to any more, the trail is put instead.
    pub put: Option<Put>,
}

/// A row to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// Its content.
    pub row: Row,
    /// The content as canonical JSON; empty where the row [is gone](Put::is_gone).
    pub body: String,
    /// What it will carry about itself.
    pub trail: Trail,
    /// What changes in its history; `None` where nothing does.
    pub history: Option<HistoryWrite>,
    /// What the row takes in by this write, where additions could take it in again; none of a table that
    /// takes no additions.
    pub actions: Vec<ActionId>,
    /// Whether what the row is found by, besides its key, may not be what it was.
    pub moved: bool,
}

/// A change of a temporal row's versions in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryWrite {
    /// Versions up to this number stay. The last of them ends where the first new one begins.
    pub keep: u32,
    /// Whether versions after `keep` are in force; their recorded time ends with this write.
    pub supersede: bool,
    /// The versions that follow.
    pub versions: Vec<Version>,
}

impl HistoryWrite {
    /// What leads from the versions in force to `wanted`; `None` where they are the same. Both may be
    /// those after some number, the same for both.
    ///
    /// A version's end is the beginning of the next, so of the versions that stay the last may end
    /// differently.
    #[must_use]
    pub fn between(stored: &[Version], wanted: &[Version]) -> Option<Self> {
        if stored == wanted {
            return None;
        }
        let same = |a: &Version, b: &Version| {
            (a.n, a.valid_from, &a.caused_by, &a.fields)
                == (b.n, b.valid_from, &b.caused_by, &b.fields)
        };
        let mut kept = 0;
        for (a, b) in stored.iter().zip(wanted) {
            if !same(a, b) {
                break;
            }
            kept += 1;
            if a.valid_to != b.valid_to {
                break;
            }
        }
        let first = stored.first().or(wanted.first());
        let before = first.map_or(0, |version| version.n.saturating_sub(1));
        let kept_new = u32::try_from(kept).unwrap_or(u32::MAX);
        Some(Self {
            keep: before.saturating_add(kept_new),
            supersede: kept < stored.len(),
            versions: wanted.iter().skip(kept).cloned().collect(),
        })
    }

    /// What makes a history of its own; versions that are in force without a row end.
    #[must_use]
    pub fn anew(wanted: &[Version]) -> Self {
        Self {
            keep: 0,
            supersede: true,
            versions: wanted.to_vec(),
        }
    }

    /// What a fold from a stored row adds; `None` where it added nothing.
    #[must_use]
    pub fn appended(versions: &[Version]) -> Option<Self> {
        let keep = versions.first()?.n.saturating_sub(1);
        Some(Self {
            keep,
            supersede: false,
            versions: versions.to_vec(),
        })
    }
}

/// What a row is made under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) settings: u32,
    pub(super) out_of_order: u32,
    pub(super) stamps: Stamps,
    /// What the group's whole journal tells of its amended events; `None` where there are none, or where
    /// what the row knows of them stays.
    pub(super) amended: Option<&'a Amended>,
}

impl Put {
    /// The row of a cell, ready to be written over the stored one.
    pub(super) fn new(
        cell: Cell,
        before: Option<&Stored>,
        making: Making<'_>,
        history: Option<HistoryWrite>,
    ) -> Self {
        let replaces = before.map(|row| row.trail.version);
        let moved =
            before.is_none_or(|row| !row.readable || !row.row.places().eq(cell.row.places()));
        let body = cell.row.body();
        let trail = Trail {
            held: cell.held,
            out_of_order: making.out_of_order,
            version: replaces.map_or(1, |version| version + 1),
            fence: before.map_or(0, |row| row.trail.fence),
            settings: making.settings,
            handler: cell.row.table().handler_version(),
            checksum: crc32fast::hash(body.as_bytes()),
            stamps: making.stamps,
            amended: making
                .amended
                .or(before.and_then(|row| row.trail.amended.as_ref()))
                .cloned(),
        };
        Self {
            row: cell.row,
            body,
            trail,
            history,
            actions: Vec::new(),
            moved,
        }
    }

    /// What is left of a row that no event leads to: a trail that holds none, over the stored version.
    pub(super) fn gone(key: &RowKey, before: Option<&Stored>, making: Making<'_>) -> Self {
        let row = key.table.new_row(&key.group, &key.id);
        let history = key.table.is_temporal().then(|| HistoryWrite::anew(&[]));
        let cell = Cell {
            row,
            held: Held::default(),
            touched: true,
        };
        Self {
            body: String::new(),
            ..Self::anew(cell, before, making, history)
        }
    }

    /// Whether it leaves of the row nothing but its trail.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.trail.is_gone()
    }

    /// The same where the stored row cannot be trusted to stand where it should.
    pub(super) fn anew(
        cell: Cell,
        before: Option<&Stored>,
        making: Making<'_>,
        history: Option<HistoryWrite>,
    ) -> Self {
        Self {
            moved: true,
            ..Self::new(cell, before, making, history)
        }
    }
}

impl Cell {
    /// Whether the stored row holds the same events and the same content.
    pub(super) fn equals(&self, stored: &Stored) -> bool {
        stored.readable
            && self.held.same_events(&stored.trail.held)
            && self.held.last == stored.trail.held.last
            && self.row == stored.row
            && stored
                .history
                .as_deref()
                .is_none_or(|history| Some(history) == self.row.versions())
    }
}
