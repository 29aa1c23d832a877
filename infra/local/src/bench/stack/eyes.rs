//! Looks which events are done: what each led to is kept with its rows, in the same transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::adapters::mongo::Mongo;
use shared::handlers::Table;
use shared::model::{ActionHierarchy, Timestamp};
use shared::ports::{Error, Hierarchies, Look};
use smol_str::SmolStr;
use tokio::sync::mpsc::Sender;

use super::drive::Heard;
use crate::stopwatch::{Stopwatch, rest_for};

/// So often: a latency is known no closer.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many are asked for at once.
const PAGE: usize = 200;
/// Once in so many looks it looks further back: what was written first may be seen last.
const DEEP_EVERY: u64 = 100;
const DEEP_PAGES: u32 = 5;

/// By what an event is known: tenant, source, id.
pub(super) type EventKey = (SmolStr, SmolStr, SmolStr);

/// An event that is done.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) event: EventKey,
    pub(super) read_start: Timestamp,
    pub(super) write_start: Timestamp,
    /// Deliveries before the one that it was done with.
    pub(super) redelivered: u64,
    pub(super) actions: u64,
    /// The tables of the rows that it came late for; `None` where it came in order.
    pub(super) late_for: Option<Vec<Table>>,
}

/// What a look found, and when that was.
pub(super) type Sight = Result<(Duration, Vec<Seen>), Error>;

/// Looks until nobody listens any more, or a look fails.
pub(super) async fn watch(rows: Mongo, clock: Stopwatch, tell: Sender<Heard>) {
    let mut eyes = Eyes {
        rows,
        known: BTreeSet::new(),
    };
    for look in 1_u64.. {
        let seen = eyes.look(look.is_multiple_of(DEEP_EVERY)).await;
        let failed = seen.is_err();
        let sight = seen.map(|seen| (clock.elapsed(), seen));
        if tell.send(Heard::Sight(sight)).await.is_err() || failed {
            return;
        }
        rest_for(LOOK_EVERY).await;
    }
}

struct Eyes {
    rows: Mongo,
    known: BTreeSet<(EventKey, u32)>,
}

impl Eyes {
    /// What was not known, looked for from the newest on until a page holds nothing new.
    async fn look(&mut self, deep: bool) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        let mut look = Look {
            limit: PAGE,
            examine: PAGE,
            ..Look::default()
        };
        let mut pages = 0;
        loop {
            let found = self.rows.finished(&look).await?;
            let before = seen.len();
            for one in found.items {
                let event = (
                    one.group.tenant.clone(),
                    one.source.clone(),
                    one.event_id.clone(),
                );
                if self.known.insert((event.clone(), one.attempt)) {
                    seen.push(Seen::of(event, &one));
                }
            }
            pages += 1;
            let done = seen.len() == before && !(deep && pages < DEEP_PAGES);
            match found.next {
                Some(next) if !done => look.from = Some(next),
                Some(_) | None => return Ok(seen),
            }
        }
    }
}

impl Seen {
    fn of(event: EventKey, one: &ActionHierarchy) -> Self {
        Self {
            event,
            read_start: one.read_start,
            write_start: one.write_start,
            redelivered: u64::from(one.attempt.saturating_sub(1)),
            actions: one.actions.iter().map(|node| node.count()).sum(),
            late_for: one
                .late
                .as_ref()
                .map(|late| late.rows.iter().map(|(table, _)| *table).collect()),
        }
    }
}
