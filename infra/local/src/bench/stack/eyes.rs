//! Looks which events are done: what each led to is kept with its rows, in the same transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::adapters::mongo::Mongo;
use shared::handlers::Table;
use shared::model::{ActionHierarchy, Timestamp};
use shared::ports::{Error, ErrorKind, Hierarchies, Look};
use tokio::sync::mpsc::Sender;

use super::super::workload::EventKey;
use super::drive::Heard;
use crate::stopwatch::{Stopwatch, rest_for};

/// So often: a latency is known no closer.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many are asked for at once. What was saved at one moment comes together, so at first twice as many may come.
const PAGE: usize = 64;
/// What was written first may be seen last, behind pages of newer ones: so often all is looked through that the level
/// has led to, and so soon where nothing new was seen.
const WHOLE_EVERY: Duration = Duration::from_secs(5);
const WHOLE_AFTER: Duration = Duration::from_secs(1);
/// By so much the functions' clock may be behind this machine's.
const CLOCKS_APART_MS: i64 = 60_000;
/// So many looks in a row may fail, if the store asks to try again.
const FAILURES_MAX: u32 = 100;

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

/// What a look found, the oldest first, and when that was.
pub(super) type Sight = Result<(Duration, Vec<Seen>), Error>;

/// Looks, from a level's beginning on, until nobody listens any more or the store cannot be looked at.
pub(super) async fn watch(
    rows: Mongo,
    (clock, begun): (Stopwatch, Timestamp),
    tell: Sender<Heard>,
) {
    let mut eyes = Eyes {
        rows,
        begun: begun.plus_ms(-CLOCKS_APART_MS),
        known: BTreeSet::new(),
    };
    let (mut new, mut whole) = (Duration::ZERO, Duration::ZERO);
    let mut failures = 0;
    loop {
        let now = clock.elapsed();
        let is_whole = now.saturating_sub(whole) > WHOLE_EVERY
            || now.saturating_sub(new.max(whole)) > WHOLE_AFTER;
        let sight = match eyes.look(is_whole).await {
            Ok(seen) => {
                failures = 0;
                let now = clock.elapsed();
                if is_whole {
                    whole = now;
                }
                if !seen.is_empty() {
                    new = now;
                }
                Ok((now, seen))
            }
            Err(error) if error.kind() == ErrorKind::Retry && failures < FAILURES_MAX => {
                failures += 1;
                Ok((clock.elapsed(), Vec::new()))
            }
            Err(error) => Err(error),
        };
        let failed = sight.is_err();
        if tell.send(Heard::Sight(sight)).await.is_err() || failed {
            return;
        }
        rest_for(LOOK_EVERY).await;
    }
}

struct Eyes {
    rows: Mongo,
    begun: Timestamp,
    known: BTreeSet<(EventKey, u32)>,
}

impl Eyes {
    /// What was not known, from the newest on: to where a page holds nothing new, or to the beginning.
    async fn look(&mut self, whole: bool) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        let mut look = Look {
            limit: PAGE,
            examine: 2 * PAGE,
            ..Look::default()
        };
        loop {
            let found = self.rows.finished(&look).await?;
            if found.items.len() >= look.examine {
                // A moment may have been cut in two, and the next page would begin after it.
                look.examine *= 2;
                continue;
            }
            let before = seen.len();
            let last = found.items.last().map(|one| one.write_start);
            for one in found.items {
                let event = EventKey {
                    group: one.group.clone(),
                    source: one.source.clone(),
                    id: one.event_id.clone(),
                };
                if one.write_start >= self.begun && self.known.insert((event.clone(), one.attempt))
                {
                    seen.push(Seen::of(event, &one));
                }
            }
            let is_over = last.is_none_or(|last| last < self.begun);
            let goes_on = !is_over && (whole || seen.len() > before);
            match found.next {
                Some(next) if goes_on => look.from = Some(next),
                Some(_) | None => break,
            }
        }
        seen.reverse();
        Ok(seen)
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
