use std::collections::BTreeMap;

use crate::model::Group;
use crate::ports::{
    Clock, Error, ErrorKind, Journal, LockKey, Locks, Message, Queue, Receipt, Received, Reports,
    Tables,
};
use crate::settings::Settings;

use super::process::{Processed, process};

/// After so many groups in a row that a store could not serve, the others are not tried: it is down.
const UNSERVED_MAX: u32 = 2;

/// What handling a batch group by group came to.
#[derive(Debug, Default)]
pub struct Apart {
    /// What was done.
    pub processed: Processed,
    /// The groups whose messages are left for another try, or were parked after their last one.
    pub failures: Vec<(Group, Error)>,
    /// Messages parked because this was their last try.
    pub spent: u64,
}

/// Handles received messages so that what fails in one group is no other's failure.
///
/// All groups are handled at once and, where that fails, each by itself. A message that was received `receives_max` times is parked with
/// the reason, since SQS would move it to the dead-letter queue without one.
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
    let together = process(ports, clock, settings, received).await;
    let mut alone = match together {
        Ok(processed) => {
            apart.take(processed);
            BTreeMap::new()
        }
        Err(error) if groups.len() <= 1 => {
            let group = groups.keys().next().map(|group| Group::clone(group));
            apart.failures.extend(group.map(|group| (group, error)));
            BTreeMap::new()
        }
        Err(_one_of_them) => groups,
    };
    let mut unserved = 0;
    while let Some((group, messages)) = alone.pop_first() {
        match process(ports, clock, settings, &messages).await {
            Ok(processed) => {
                apart.take(processed);
                unserved = 0;
            }
            Err(error) => {
                if error.kind() == ErrorKind::Retry {
                    unserved += 1;
                }
                apart.failures.push((group.clone(), error));
            }
        }
        if unserved >= UNSERVED_MAX {
            break;
        }
    }
    apart.park_spent(ports, clock, received, receives_max).await;
    apart
}

impl Apart {
    /// Takes in what some groups came to. Those that were locked out failed, like others.
    fn take(&mut self, processed: Processed) {
        let locked_out = processed.locked_out.iter();
        let failures = locked_out.map(|(group, lock)| (group.clone(), locked(lock)));
        self.failures.extend(failures);
        self.processed.add(processed);
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
            let group = &one.message.group;
            let failure = self.failures.iter().find(|(failed, _)| failed == group);
            if let Some((_, error)) = failure
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
}

fn locked(lock: &LockKey) -> Error {
    let LockKey { tenant, name } = lock;
    let why = "somebody else holds it: another worker, or other code that writes the same row";
    Error::new(
        ErrorKind::Retry,
        format!("lock {name:?} of tenant {tenant}"),
        why,
    )
}
