//! Tells pages that something changed (server-sent events), at most once a second.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Telling {
    changes: watch::Receiver<u64>,
    stopping: Option<watch::Receiver<bool>>,
    pace: Interval,
}

/// The stream; where nobody tells, an answer after which a browser does not ask again.
pub(crate) fn live(
    changes: Option<watch::Receiver<u64>>,
    stopping: Option<watch::Receiver<bool>>,
) -> Response {
    let Some(changes) = changes else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut pace = interval(AT_MOST_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let telling = Telling {
        changes,
        stopping,
        pace,
    };
    let events = stream::unfold(telling, |mut telling| async {
        let number = telling.next().await?;
        let event = Event::default().event("changed").data(number.to_string());
        Some((Ok::<_, Infallible>(event), telling))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Telling {
    /// The next change; `None` when there will be none, or the process is to end.
    async fn next(&mut self) -> Option<u64> {
        let (changes, pace) = (&mut self.changes, &mut self.pace);
        let changed = async {
            pace.tick().await;
            changes.changed().await.ok()?;
            Some(*changes.borrow_and_update())
        };
        match &mut self.stopping {
            None => changed.await,
            Some(stopping) => tokio::select! {
                number = changed => number,
                _ = stopping.wait_for(|stop| *stop) => None,
            },
        }
    }
}
