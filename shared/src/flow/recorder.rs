use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{Entry, Order, Timestamp};

use super::fold::Before;
use super::image::{Imaging, ROWS_MAX};
use super::{Fold, Image, RowImage};

/// Takes images while events are folded, at places ever closer to each other towards the end.
pub(super) struct Recorder<'j> {
    least: u64,
    /// How many events are yet to come.
    left: u64,
    open: Option<Open<'j>>,
    taken: Vec<Taken>,
}

/// The events since the last place.
struct Open<'j> {
    first: &'j Entry,
    last: &'j Entry,
    events: u64,
    recorded: Timestamp,
}

/// An image without the versions of its rows, which are known at the end.
pub(super) struct Taken {
    pub(super) from: Order,
    pub(super) until: Order,
    pub(super) events: u64,
    pub(super) recorded: Timestamp,
    pub(super) before: Before,
}

/// The versions of a row: the one that its first image replaces, and the one that it has in the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    pub(super) replaced: u64,
    pub(super) version: u64,
}

impl<'j> Recorder<'j> {
    /// For so many events.
    pub(super) fn new(imaging: Imaging, events: usize) -> Self {
        Self {
            least: imaging.least.max(1),
            left: events as u64,
            open: None,
            taken: Vec::new(),
        }
    }

    /// To be called before each event is applied.
    pub(super) fn next(&mut self, fold: &mut Fold<'_>, entry: &'j Entry) {
        let coarse = self.left / self.least;
        let place = self.left.is_multiple_of(self.least) && coarse.is_power_of_two();
        if self.open.is_none() || place || fold.touched() >= ROWS_MAX {
            self.close(fold);
        }
        self.left = self.left.saturating_sub(1);
        let open = self.open.get_or_insert(Open {
            first: entry,
            last: entry,
            events: 0,
            recorded: entry.recorded,
        });
        open.last = entry;
        open.events += 1;
        open.recorded = open.recorded.min(entry.recorded);
    }

    fn close(&mut self, fold: &mut Fold<'_>) {
        let before = fold.take_before();
        if let Some(open) = self.open.take() {
            self.taken.push(Taken {
                from: open.first.event.order(),
                until: open.last.event.order(),
                events: open.events,
                recorded: open.recorded,
                before,
            });
        }
    }

    /// The images in order.
    pub(super) fn end(mut self, fold: &mut Fold<'_>) -> Vec<Taken> {
        self.close(fold);
        self.taken
    }
}

/// The images with the versions of their rows.
pub(super) fn images(
    taken: Vec<Taken>,
    settings: u32,
    versions: impl Fn(Table, &SmolStr) -> Versions,
) -> Vec<Image> {
    let mut seen = BTreeSet::new();
    let mut images = Vec::with_capacity(taken.len());
    for one in taken {
        let rows = one.before.into_iter().map(|((table, id), was)| {
            let Versions { replaced, version } = versions(table, &id);
            let first = seen.insert((table, id.clone()));
            let row = RowImage {
                was,
                handler: table.handler_version(),
                replaced: if first { replaced } else { version },
                version,
            };
            ((table, id), row)
        });
        images.push(Image {
            rows: rows.collect(),
            from: one.from,
            until: one.until,
            events: one.events,
            recorded: one.recorded,
            settings,
        });
    }
    images
}
