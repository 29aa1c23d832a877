use std::future::Future;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::model::{Depth, Entry, Group, Timestamp};

use super::Error;

/// A FIFO queue with the semantics of Amazon SQS.
///
/// Messages of one group come strictly in order, one batch of a group in flight at a time. A received
/// message stays hidden for the visibility timeout; if it is not deleted by then it comes again, and
/// after too many receives it goes to the dead-letter queue instead. A message whose deduplication
/// id was sent within the last five minutes is accepted and not delivered again.
/// Source: Amazon SQS Developer Guide, "FIFO queue delivery logic".
pub trait Queue: Send + Sync {
    /// Sends messages, in order.
    fn send(
        &self,
        messages: &[Message],
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Receives up to `limit` messages whose groups have none in flight.
    fn receive(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Received>, Error>> + Send;

    /// Deletes received messages: they are done. A receipt that is no longer valid does nothing.
    fn delete(&self, receipts: &[Receipt]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes received messages visible at `at`; a moment not after the present releases them.
    fn hide_until(
        &self,
        receipts: &[Receipt],
        at: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Puts messages straight into the dead-letter queue, each with the reason.
    fn park(
        &self,
        letters: &[(Message, String)],
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The oldest dead letters after `after`, at most `limit`.
    fn dead_letters(
        &self,
        after: u128,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Letter>, Error>> + Send;

    /// Sends dead letters back to the queue; those that are gone are passed over.
    fn redrive(
        &self,
        letters: &[u128],
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Deletes dead letters for good and says how many there were; those that are gone are passed over.
    fn discard(&self, letters: &[u128]) -> impl Future<Output = Result<u64, Error>> + Send;

    /// How many messages there are.
    fn depth(&self, now: Timestamp) -> impl Future<Output = Result<Depth, Error>> + Send;
}

/// A message: some events of one group, each to become its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message group.
    pub group: Group,
    /// A message of the same id sent within five minutes is not delivered again.
    pub deduplication_id: u128,
    /// The events.
    pub entries: Vec<Arc<Entry>>,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The handle to delete or release it by.
    pub receipt: Receipt,
    /// How often it has been received, this time included.
    pub receives: u32,
    /// When it was sent.
    pub sent: Timestamp,
}

/// A handle on one receive of one message, opaque; a later receive makes it invalid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub SmolStr);

/// A message in the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number there: greater than that of any letter of its group before it. Letters of different groups
    /// may be numbered in another order than they came. SQS numbers by 128 bits.
    pub id: u128,
    /// The message.
    pub message: Message,
    /// How often it had been received.
    pub receives: u32,
    /// When it was moved.
    pub at: Timestamp,
    /// Why, where that is known.
    pub reason: String,
}
