use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;

use crate::ports::Error;

use super::{Mongo, Retention};

/// How many requests a store has sent to its server.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<AtomicU64>);

impl Requests {
    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Mongo {
    /// Connects as [`Mongo::open`] does, and counts requests.
    ///
    /// # Errors
    /// As [`Mongo::connect`].
    pub async fn counted(uri: &str, retention: Retention) -> Result<(Self, Requests), Error> {
        let requests = Requests::default();
        let counter = Arc::clone(&requests.0);
        let events = EventHandler::callback(move |event| {
            if matches!(event, CommandEvent::Started(_)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let store = Self::listened_to(uri, retention, Some(events)).await?;
        Ok((store, requests))
    }
}
