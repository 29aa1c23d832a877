use smol_str::SmolStr;

use crate::model::Timestamp;

use super::{Message, Receipt};

/// A look through something long, from its newest end or on from where the last look stopped. It is bounded
/// twice: what it does not find it does not look for without end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Of this tenant alone; of all where it is `None`.
    pub tenant: Option<SmolStr>,
    /// Where the last look stopped; from the end where it is `None`.
    pub from: Option<u64>,
    /// At least so many are looked for; a few more may come, if they are kept together.
    pub limit: usize,
    /// The most that are looked at.
    pub examine: usize,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What was looked for.
    pub items: Vec<T>,
    /// How many were looked at.
    pub examined: u64,
    /// Where the next look goes on; `None` at the other end.
    pub next: Option<u64>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            examined: 0,
            next: None,
        }
    }
}

/// A message as it stands in a queue that can be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The message.
    pub message: Message,
    /// The handle that its last receive gave.
    pub receipt: Receipt,
    /// How often it has been received.
    pub receives: u32,
    /// When it was sent.
    pub sent: Timestamp,
    /// Until when nobody else receives it.
    pub hidden_until: Timestamp,
}
