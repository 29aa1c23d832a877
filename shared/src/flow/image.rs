use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Group, Held, Order, Timestamp};

use super::Cell;

/// The most rows that images are merged up to, and that one is begun anew at.
pub(super) const ROWS_MAX: usize = 2_000;
/// A version that no row has: what was imaged before is not what was imaged after.
const TORN: u64 = u64::MAX;

/// Which groups keep images, and how fine.
///
/// A short group keeps none: to fold its journal costs no more than to look after images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imaging {
    /// A group is long once one of its rows holds so many events.
    pub long_from: u64,
    /// Images of fewer events than this together are merged.
    pub least: u64,
    /// About once in so many images, by the hash of a batch's last event, the group's are merged.
    pub thin_every: u64,
}

impl Imaging {
    /// What live handling uses.
    pub const LIVE: Self = Self {
        long_from: 256,
        least: 16,
        thin_every: 64,
    };
    /// No images.
    pub const NEVER: Self = Self {
        long_from: u64::MAX,
        ..Self::LIVE
    };
}

/// What the rows that some of a group's events touched were before them: an undo record.
///
/// A row as it was at the beginning of an image is what the earliest image from there on says; a row of
/// which none says anything is as it is stored. So to read the images that end after a moment is to know all
/// rows as they were then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The first of the events.
    pub from: Order,
    /// The last of them.
    pub until: Order,
    /// How many they are.
    pub events: u64,
    /// None of them was recorded before this.
    pub recorded: Timestamp,
    /// The settings version under which they were folded.
    pub settings: u32,
    /// The rows that they touched, by table and id.
    pub rows: BTreeMap<(Table, SmolStr), RowImage>,
}

/// A row as it was before the events of an image.
///
/// Versions chain the images of a row up to the stored one. A write that left no image breaks the chain,
/// whoever made it, and the images before it are used no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowImage {
    /// What it was; `None` where there was none.
    pub was: Option<Was>,
    /// The version of the handler that folded it.
    pub handler: u32,
    /// The row's version before, 0 where there was none.
    pub replaced: u64,
    /// The row's version after, 0 where there is none.
    pub version: u64,
}

/// What a row was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Was {
    /// Its content as canonical JSON.
    pub body: String,
    /// Which events it held.
    pub held: Held,
}

impl Was {
    pub(super) fn of(cell: &Cell) -> Self {
        Self {
            body: cell.row.body(),
            held: cell.held.clone(),
        }
    }

    /// The row to go on from, of this table; `None` where it cannot be read.
    pub(super) fn cell(&self, table: Table) -> Option<Cell> {
        Some(Cell {
            row: table.read_row(&self.body).ok()?,
            held: self.held.clone(),
            touched: false,
        })
    }
}

/// An image in a store. It never changes there: what is to change is put anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptImage {
    /// How the store knows it.
    pub handle: SmolStr,
    /// The image; `None` where it cannot be read.
    pub image: Option<Image>,
}

/// What can be told of an image without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHead {
    /// The event time of its last event.
    pub until: Timestamp,
    /// How many events it is of.
    pub events: u64,
    /// How many rows they touched.
    pub rows: u64,
}

/// A change of a group's images. It goes with the group's writes, and only if none of them loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesWrite {
    /// The group.
    pub group: Group,
    /// Which images to take away.
    pub gone: Gone,
    /// Images to put.
    pub add: Vec<Image>,
}

/// Images to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// These, by their handles. If one of them is not there any more, all of the group's writes lose.
    These(Vec<SmolStr>),
    /// All of the group's.
    All,
}

impl ImagesWrite {
    /// Takes all images of a group away.
    #[must_use]
    pub fn none(group: &Group) -> Self {
        Self {
            group: group.clone(),
            gone: Gone::All,
            add: Vec::new(),
        }
    }
}

impl Image {
    /// One image of the events of both, of which `self` holds the earlier ones.
    #[must_use]
    pub fn merge(mut self, later: Self) -> Self {
        for (key, row) in later.rows {
            match self.rows.get_mut(&key) {
                Some(known) => {
                    let linked = known.version == row.replaced;
                    known.version = if linked { row.version } else { TORN };
                }
                None => drop(self.rows.insert(key, row)),
            }
        }
        if self.settings != later.settings {
            self.rows.values_mut().for_each(|row| row.version = TORN);
        }
        Self {
            until: self.until.max(later.until),
            events: self.events + later.events,
            recorded: self.recorded.min(later.recorded),
            ..self
        }
    }
}

impl Image {
    /// What can be told of it without reading it.
    #[must_use]
    pub fn head(&self) -> ImageHead {
        ImageHead {
            until: self.until.time,
            events: self.events,
            rows: self.rows.len() as u64,
        }
    }
}

/// Whether images of neighbouring events, so many of which come after both, are to be one.
fn joins(later: (u64, u64), earlier: (u64, u64), after: u64, imaging: Imaging) -> bool {
    let (events, rows) = (later.0 + earlier.0, later.1 + earlier.1);
    events <= imaging.least.max(after) && rows <= ROWS_MAX as u64
}

/// Since when the images end that [`thin`] would merge; `None` where there is nothing to merge.
///
/// Those before need not be read: what becomes of an image depends on later ones alone.
#[must_use]
pub fn thins_since(mut heads: Vec<ImageHead>, imaging: Imaging) -> Option<Timestamp> {
    heads.sort_by_key(|head| std::cmp::Reverse(head.until));
    let mut since = None;
    let mut after = 0;
    let mut merged: Option<(u64, u64)> = None;
    for head in heads {
        let one = (head.events, head.rows);
        merged = match merged {
            Some(later) if joins(later, one, after, imaging) => {
                since = Some(head.until);
                Some((later.0 + one.0, later.1 + one.1))
            }
            Some(later) => {
                after += later.0;
                Some(one)
            }
            None => Some(one),
        };
    }
    since
}

/// Merges images of neighbouring events; `None` where there is nothing to merge.
///
/// Each holds about as many events as come after it then, and not more: as many images are left as the
/// logarithm of their events.
#[must_use]
pub fn thin(group: &Group, kept: &[KeptImage], imaging: Imaging) -> Option<ImagesWrite> {
    let mut images: Vec<(&SmolStr, &Image)> = Vec::with_capacity(kept.len());
    for one in kept {
        images.push((&one.handle, one.image.as_ref()?));
    }
    images.sort_by(|(_, a), (_, b)| b.from.cmp(&a.from));
    let (mut gone, mut add) = (Vec::new(), Vec::new());
    let mut after = 0;
    let mut rest = images.into_iter().peekable();
    while let Some((handle, newest)) = rest.next() {
        let mut handles = vec![handle];
        let mut merged = newest.clone();
        // Rows that both touched count twice, so that it can be told from the heads.
        let mut size = (newest.events, newest.rows.len() as u64);
        let of = |image: &Image| (image.events, image.rows.len() as u64);
        while let Some((handle, older)) =
            rest.next_if(|(_, older)| joins(size, of(older), after, imaging))
        {
            handles.push(handle);
            size = (size.0 + older.events, size.1 + older.rows.len() as u64);
            merged = older.clone().merge(merged);
        }
        after += merged.events;
        if handles.len() > 1 {
            gone.extend(handles.into_iter().cloned());
            add.push(merged);
        }
    }
    (!gone.is_empty()).then(|| ImagesWrite {
        group: group.clone(),
        gone: Gone::These(gone),
        add,
    })
}
