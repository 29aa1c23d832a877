use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::model::{EventHash, Group};
use crate::ports::{
    Clock, Error, ErrorKind, Journal, Locks, Message, Queue, Receipt, Received, Reports, Tables,
};
use crate::settings::Settings;

use super::process::{Processed, process};

/// How many groups are tried side by side, each by itself.
const AT_ONCE: usize = 16;

/// What handling a batch group by group came to.
#[derive(Debug, Default)]
pub struct Apart {
    /// What was done, and which groups are locked out.
    pub processed: Processed,
    /// The groups that failed: their messages are left for another try, or were parked after their last one.
    pub failures: Vec<(Group, Error)>,
    /// Messages parked because this was their last try.
    pub spent: u64,
    /// Messages sent anew because this was their last try and somebody else held a lock that they need.
    pub sent_anew: u64,
}

/// Handles received messages so that what fails in one group is no other's failure.
///
/// All groups are handled at once and, where that fails, each by itself, side by side. A message that was
/// received `receives_max` times and failed is parked with the reason, since SQS would move it to the
/// dead-letter queue without one. One that only found a lock held is sent anew: to wait is no failure.
pub async fn process_apart<P>(
    ports: &P,
    clock: &impl Clock,
    settings: &Settings,
    received: &[Received],
    receives_max: u32,
) -> Apart
where
    P: Journal + Queue + Tables + Locks + Reports,
{
    let mut apart = Apart::default();
    let mut groups: BTreeMap<&Group, Vec<Received>> = BTreeMap::new();
    for one in received {
        let group = groups.entry(&one.message.group).or_default();
        group.push(one.clone());
    }
    match process(ports, clock, settings, received).await {
        Ok(processed) => apart.take(processed, received),
        Err(error) if groups.len() <= 1 => {
            let group = groups.keys().next().map(|group| Group::clone(group));
            apart.failures.extend(group.map(|group| (group, error)));
        }
        Err(_one_of_them) => {
            let groups: Vec<(&Group, Vec<Received>)> = groups.into_iter().collect();
            for some in groups.chunks(AT_ONCE) {
                let alone = some
                    .iter()
                    .map(|(_, messages)| Box::pin(process(ports, clock, settings, messages)));
                let outcomes = join_all(alone).await;
                for ((group, messages), outcome) in some.iter().zip(outcomes) {
                    match outcome {
                        Ok(processed) => apart.take(processed, messages),
                        Err(error) => apart.failures.push((Group::clone(group), error)),
                    }
                }
            }
        }
    }
    apart.park_spent(ports, clock, received, receives_max).await;
    apart.send_anew(ports, clock, received, receives_max).await;
    apart
}

impl Apart {
    /// Messages whose groups failed. Those that only wait for a lock are not among them.
    #[must_use]
    pub fn failed_messages(&self, received: &[Received]) -> u64 {
        let failed = |one: &&Received| self.has_failed(&one.message.group).is_some();
        received.iter().filter(failed).count() as u64
    }

    /// Takes in what some groups came to.
    fn take(&mut self, processed: Processed, received: &[Received]) {
        let left: BTreeSet<&Receipt> = processed.failed.iter().collect();
        let locked_out = |group: &Group| processed.locked_out.iter().any(|(one, _)| one == group);
        let mut lost: BTreeSet<&Group> = BTreeSet::new();
        for one in received {
            if left.contains(&one.receipt) && !locked_out(&one.message.group) {
                lost.insert(&one.message.group);
            }
        }
        let failures = lost.into_iter().map(|group| (group.clone(), outrun(group)));
        self.failures.extend(failures);
        self.processed.add(processed);
    }

    fn has_failed(&self, group: &Group) -> Option<&Error> {
        let failure = self.failures.iter().find(|(failed, _)| failed == group);
        failure.map(|(_, error)| error)
    }

    /// Parks messages of failed groups whose last try this was. Where that fails too, SQS moves them.
    async fn park_spent(
        &mut self,
        queue: &impl Queue,
        clock: &impl Clock,
        received: &[Received],
        receives_max: u32,
    ) {
        let mut letters: Vec<(Message, String)> = Vec::new();
        let mut receipts: Vec<Receipt> = Vec::new();
        for one in received {
            if let Some(error) = self.has_failed(&one.message.group)
                && one.receives >= receives_max
            {
                let tries = one.receives;
                let why = format!("failed {tries} times, the last time: {}", error.chain());
                letters.push((one.message.clone(), why));
                receipts.push(one.receipt.clone());
            }
        }
        if letters.is_empty() || queue.park(&letters, clock.now()).await.is_err() {
            return;
        }
        if queue.delete(&receipts).await.is_ok() {
            self.spent = letters.len() as u64;
        }
    }

    /// Sends the messages of locked-out groups anew where one of them would not be received again. All of the
    /// group, so that they keep their order among themselves. A death between the send and the deletion
    /// leaves both, which does no harm; where the send fails, SQS moves what is spent.
    async fn send_anew(
        &mut self,
        queue: &impl Queue,
        clock: &impl Clock,
        received: &[Received],
        receives_max: u32,
    ) {
        let mut messages: Vec<Message> = Vec::new();
        let mut receipts: Vec<Receipt> = Vec::new();
        for (group, _lock) in &self.processed.locked_out {
            let of_group = || received.iter().filter(|one| one.message.group == *group);
            if of_group().any(|one| one.receives >= receives_max) {
                messages.extend(of_group().map(anew));
                receipts.extend(of_group().map(|one| one.receipt.clone()));
            }
        }
        if messages.is_empty() || queue.send(&messages, clock.now()).await.is_err() {
            return;
        }
        if queue.delete(&receipts).await.is_ok() {
            self.sent_anew = messages.len() as u64;
        }
    }
}

/// A message under another deduplication id, always the same one: to do this twice sends one.
///
/// It depends on when the message was sent. A letter that was sent back has the id of its events again, and what
/// follows from that alone may have been used before it was parked.
fn anew(received: &Received) -> Message {
    let Received { message, sent, .. } = received;
    let id = format!("{:032x} {}", message.deduplication_id, sent.ms());
    Message {
        deduplication_id: EventHash::of("sent anew", &id).0,
        ..message.clone()
    }
}

/// Why a group's messages are left although no port failed.
fn outrun(group: &Group) -> Error {
    let why = "other writers were faster each time that its rows were written";
    Error::new(ErrorKind::Retry, format!("write the rows of {group}"), why)
}
