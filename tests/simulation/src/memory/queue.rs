use std::collections::BTreeMap;

use shared::model::{Entry, Group, Timestamp};
use shared::ports::{Depth, Error, Letter, Message, Queue, Receipt, Received, Waiting};
use smol_str::format_smolstr;

use super::{Memory, Store};
use crate::gate::{Call, Gate, Share};

/// How long a deduplication id counts, as on SQS: five minutes.
const DEDUPLICATION_MS: i64 = 300_000;

/// How a queue is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// How long a received message stays hidden, in milliseconds.
    pub visibility_ms: i64,
    /// After so many receives a message becomes a dead letter.
    pub receives_max: u32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            visibility_ms: 30_000,
            receives_max: 5,
        }
    }
}

/// A message that waits or is in flight.
#[derive(Debug, Clone)]
struct Waits {
    message: Message,
    sent: Timestamp,
    receives: u32,
    hidden_until: Timestamp,
}

/// The queue and its dead letters.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) limits: QueueLimits,
    waiting: BTreeMap<u64, Waits>,
    letters: BTreeMap<u128, Letter>,
    sent: BTreeMap<u128, Timestamp>,
    numbers: u64,
    dead: u128,
}

impl Messages {
    fn send(&mut self, message: &Message, now: Timestamp) {
        let id = message.deduplication_id;
        let young = |sent: &Timestamp| now.ms_since(*sent) < DEDUPLICATION_MS;
        if self.sent.get(&id).is_some_and(young) {
            return;
        }
        self.sent.insert(id, now);
        self.enqueue(message.clone(), now);
    }

    fn enqueue(&mut self, message: Message, now: Timestamp) {
        self.numbers += 1;
        let waits = Waits {
            message,
            sent: now,
            receives: 0,
            hidden_until: Timestamp::MIN,
        };
        self.waiting.insert(self.numbers, waits);
    }

    fn bury(&mut self, message: Message, receives: u32, at: Timestamp, reason: String) {
        self.dead += 1;
        let letter = Letter {
            id: self.dead,
            message,
            receives,
            at,
            reason,
        };
        self.letters.insert(self.dead, letter);
    }

    fn receive(&mut self, limit: usize, now: Timestamp) -> Vec<Received> {
        let mut taken = Vec::new();
        let mut spent = Vec::new();
        for (number, waits) in &self.waiting {
            if taken.len() >= limit {
                break;
            }
            if self.is_in_flight(&waits.message.group, now) {
                continue;
            }
            if waits.receives >= self.limits.receives_max {
                spent.push(*number);
            } else {
                taken.push(*number);
            }
        }
        for number in spent {
            if let Some(waits) = self.waiting.remove(&number) {
                let reason = format!("received {} times without being done", waits.receives);
                self.bury(waits.message, waits.receives, now, reason);
            }
        }
        let hidden_until = now.plus_ms(self.limits.visibility_ms);
        let mut received = Vec::with_capacity(taken.len());
        for number in taken {
            if let Some(waits) = self.waiting.get_mut(&number) {
                waits.receives += 1;
                waits.hidden_until = hidden_until;
                received.push(Received {
                    message: waits.message.clone(),
                    receipt: Receipt(format_smolstr!("{number}.{}", waits.receives)),
                    receives: waits.receives,
                    sent: waits.sent,
                });
            }
        }
        received
    }

    fn is_in_flight(&self, group: &Group, now: Timestamp) -> bool {
        let of_group = |waits: &&Waits| waits.message.group == *group;
        let mut of_group = self.waiting.values().filter(of_group);
        of_group.any(|waits| waits.hidden_until > now)
    }

    /// The number of the message that a receipt is still valid for.
    fn valid(&self, receipt: &Receipt) -> Option<u64> {
        let (number, receive) = receipt.0.split_once('.')?;
        let (number, receive): (u64, u32) = (number.parse().ok()?, receive.parse().ok()?);
        let waits = self.waiting.get(&number)?;
        (waits.receives == receive).then_some(number)
    }

    /// Messages that are not done, and dead letters.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.waiting.len(), self.letters.len())
    }

    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.letters.values()
    }
}

impl<G: Gate> Queue for Memory<G> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        let now = self.gate().queue_time(now);
        self.call(Call::Send, |store: &mut Store, share| {
            for message in share.of(messages) {
                store.queue.send(message, now);
            }
            Ok(())
        })
        .await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.call(Call::Receive, |store, _| {
            let now = self.gate().queue_time(now);
            let (_, dead) = store.queue.sizes();
            let received = store.queue.receive(limit, now);
            if store.queue.sizes().1 > dead {
                self.gate().buried();
            }
            if let Some(audit) = &mut store.audit {
                let until = now.plus_ms(store.queue.limits.visibility_ms);
                audit.received(&received, now, until);
            }
            Ok(received)
        })
        .await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.call(Call::Delete, |store, share: Share| {
            for receipt in share.of(receipts) {
                if let Some(number) = store.queue.valid(receipt) {
                    store.queue.waiting.remove(&number);
                    if let Some(audit) = &mut store.audit {
                        audit.released(receipt);
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.call(Call::HideUntil, |store, _| {
            for receipt in receipts {
                if let Some(number) = store.queue.valid(receipt)
                    && let Some(waits) = store.queue.waiting.get_mut(&number)
                {
                    waits.hidden_until = at;
                    if let Some(audit) = &mut store.audit {
                        audit.hidden(receipt, at);
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.call(Call::Park, |store, share| {
            let now = self.gate().queue_time(now);
            for (message, reason) in share.of(letters) {
                store.queue.bury(message.clone(), 1, now, reason.clone());
            }
            Ok(())
        })
        .await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.call(Call::DeadLetters, |store, _| {
            let from = after.saturating_add(1);
            let letters = store.queue.letters.range(from..);
            Ok(letters.take(limit).map(|(_, one)| one.clone()).collect())
        })
        .await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.call(Call::Redrive, |store, share| {
            let now = self.gate().queue_time(now);
            let mut moved = 0;
            for letter in share.of(letters) {
                if let Some(letter) = store.queue.letters.remove(letter) {
                    store.queue.enqueue(letter.message, now);
                    moved += 1;
                }
            }
            Ok(moved)
        })
        .await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.call(Call::Discard, |store, _| {
            let letters = letters.iter();
            let gone = letters.filter(|id| store.queue.letters.remove(id).is_some());
            Ok(gone.count() as u64)
        })
        .await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.call(Call::Depth, |store, _| {
            let now = self.gate().queue_time(now);
            let waiting = store.queue.waiting.values();
            let in_flight = waiting.filter(|waits| waits.hidden_until > now).count();
            Ok(Depth {
                visible: (store.queue.waiting.len() - in_flight) as u64,
                in_flight: in_flight as u64,
                dead: store.queue.letters.len() as u64,
            })
        })
        .await
    }
}

impl<G: Gate> Waiting for Memory<G> {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.call(Call::Waiting, |store, _| {
            let of = |group: &Group| {
                let waiting = store.queue.waiting.values();
                let of_group = waiting.filter(|waits| waits.message.group == *group);
                let entries = of_group.flat_map(|waits| &waits.message.entries);
                entries.map(|entry| entry.as_ref().clone()).collect()
            };
            Ok(groups.iter().map(of).collect())
        })
        .await
    }
}
