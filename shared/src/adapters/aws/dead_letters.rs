//! The dead-letter queue: one file of the port [`Queue`](crate::ports::Queue).
//!
//! SQS has no way to look at messages but to receive them. So all are received, hidden for a moment from
//! whoever else looks, and shown again. Of messages that SQS moved here itself, and which are of one group,
//! that shows the first ten; what Foldback parks shows all.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};

use crate::model::{EventHash, Group};
use crate::ports::{Error, Letter, Message, Receipt};

use super::queue::{BATCH_MAX, Outgoing, REASON, attribute, context, receipt, sent};
use super::{Aws, body};

/// How long letters that are looked at are hidden from others, should we die meanwhile.
const LOOK_SECONDS: i32 = 60;
/// The most letters that are looked at. SQS lets 120,000 messages of a FIFO queue be in flight.
const LETTERS_MAX: usize = 20_000;
/// How many bits of a letter's number are the message's own.
const OWN_BITS: u32 = 20;

/// Letters as they were received, by their numbers.
type Letters = Vec<(u128, SqsMessage)>;

fn receipts(letters: &[(u128, SqsMessage)]) -> Vec<Receipt> {
    letters.iter().map(|(_, raw)| receipt(raw)).collect()
}

impl Aws {
    /// The letters after number `after`, at most `limit`.
    pub(super) async fn look_at_letters(
        &self,
        after: u128,
        limit: usize,
    ) -> Result<Vec<Letter>, Error> {
        let all = self.take_letters().await?;
        let receipts = receipts(&all);
        let letters = all.into_iter().filter(|(id, _)| *id > after).take(limit);
        let spent = self.names.receives_max;
        let letters = letters.map(|(id, raw)| letter(id, &raw, spent)).collect();
        self.hide_in(&self.names.dlq_url, &receipts, 0).await?;
        Ok(letters)
    }

    /// Sends letters back to the queue, under ids of their own: a redrive is a new send by intent, but one
    /// that died before the letter was deleted is not to be a second.
    pub(super) async fn redrive_letters(&self, ids: &[u128]) -> Result<u64, Error> {
        let (chosen, others) = self.choose_letters(ids).await?;
        let mut moved = 0;
        for (id, raw) in &chosen {
            let text = raw.body().unwrap_or_default();
            let own = body::decode(text).ok();
            let context = own.as_ref().and_then(context);
            let first = attribute::<String>(raw, &MessageSystemAttributeName::MessageGroupId);
            let group = own.map_or_else(
                || first.unwrap_or_default(),
                |message| body::group_id(&message.group),
            );
            let outgoing = Outgoing {
                fifo: Some((group, EventHash::of(text, &id.to_string()).to_string())),
                body: text.to_owned(),
                reason: None,
                context,
            };
            let doing = "send a dead letter back";
            self.send_all(&self.names.queue_url, vec![outgoing], doing)
                .await?;
            self.delete_from(&self.names.dlq_url, &[receipt(raw)])
                .await?;
            moved += 1;
        }
        self.hide_in(&self.names.dlq_url, &receipts(&others), 0)
            .await?;
        Ok(moved)
    }

    /// Deletes letters for good and says how many there were.
    pub(super) async fn discard_letters(&self, ids: &[u128]) -> Result<u64, Error> {
        let (chosen, others) = self.choose_letters(ids).await?;
        let chosen = receipts(&chosen);
        self.delete_from(&self.names.dlq_url, &chosen).await?;
        self.hide_in(&self.names.dlq_url, &receipts(&others), 0)
            .await?;
        Ok(chosen.len() as u64)
    }

    /// All letters, those of these numbers apart; they are hidden until they are released.
    async fn choose_letters(&self, ids: &[u128]) -> Result<(Letters, Letters), Error> {
        let ids: BTreeSet<u128> = ids.iter().copied().collect();
        let all = self.take_letters().await?;
        Ok(all.into_iter().partition(|(id, _)| ids.contains(id)))
    }

    /// All letters, in the order of their numbers; they are hidden until they are released.
    async fn take_letters(&self) -> Result<Letters, Error> {
        let mut letters = Letters::new();
        while letters.len() < LETTERS_MAX {
            let page = self
                .receive_from(&self.names.dlq_url, BATCH_MAX, Some(LOOK_SECONDS))
                .await?;
            if page.is_empty() {
                break;
            }
            letters.extend(page.into_iter().map(|raw| (number(&raw), raw)));
        }
        letters.sort_by_key(|(id, _)| *id);
        Ok(letters)
    }
}

fn letter(id: u128, raw: &SqsMessage, spent: u32) -> Letter {
    let reason = raw.message_attributes().and_then(|all| all.get(REASON));
    let parked = reason
        .and_then(|value| value.string_value())
        .map(str::to_owned);
    // What SQS counts is how often letters were looked at.
    let receives = if parked.is_some() { 1 } else { spent };
    let at = sent(raw);
    let text = raw.body().unwrap_or_default();
    let (message, unread) = match body::decode(text) {
        Ok(message) => (message, None),
        Err(why) => (nobodys(raw), Some(super::chain(&why))),
    };
    let reason = parked
        .or(unread)
        .unwrap_or_else(|| format!("received {spent} times without being done"));
    Letter {
        id,
        message,
        receives,
        at,
        reason,
    }
}

/// What stands for a message that cannot be read.
fn nobodys(raw: &SqsMessage) -> Message {
    let group = attribute::<String>(raw, &MessageSystemAttributeName::MessageGroupId);
    let group = group.unwrap_or_default();
    let (tenant, key) = group.split_once('#').unwrap_or(("", &group));
    Message {
        group: Group {
            tenant: tenant.into(),
            key: key.into(),
        },
        deduplication_id: 0,
        entries: Vec::new(),
    }
}

/// A letter's number: SQS's, in its order, and after it some digits of the message's id. SQS numbers the
/// messages of a group, so two groups may have the same.
fn number(raw: &SqsMessage) -> u128 {
    let sequence = attribute(raw, &MessageSystemAttributeName::SequenceNumber);
    let sequence: u128 = sequence.unwrap_or(0).min(u128::MAX >> OWN_BITS);
    let own = EventHash::of("", raw.message_id().unwrap_or_default());
    sequence << OWN_BITS | u128::from(own.short() >> (u64::BITS - OWN_BITS))
}
