//! What went on within the last hour, minute by minute: for the overview's charts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use foldback_console::{Activity, Slot};
use hdrhistogram::Histogram;
use shared::model::Timestamp;

use super::meter::UnitDone;

const SLOTS: usize = 60;
const SLOT_SECONDS: u32 = 60;
const SLOT_MS: i64 = 60_000;
/// The longest wait that is told apart, a day.
const WAIT_MS_MAX: u64 = 86_400_000;
/// To a hundredth.
const DIGITS: u8 = 2;

/// The last slots in which anything went on.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    slots: Mutex<VecDeque<Minute>>,
}

#[derive(Debug)]
struct Minute {
    slot: Slot,
    waits_ms: Option<Histogram<u64>>,
}

impl Recent {
    /// Counts a unit of work that became durable.
    pub(crate) fn count(&self, done: &UnitDone, now: Timestamp) {
        if done.handled.is_empty() && done.processed == shared::service::Processed::default() {
            return;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let at = begin(now);
        if slots.back().is_none_or(|minute| minute.slot.at != at) {
            slots.push_back(Minute {
                slot: Slot {
                    at,
                    ..Slot::default()
                },
                waits_ms: Histogram::new_with_bounds(1, WAIT_MS_MAX, DIGITS).ok(),
            });
        }
        while slots.len() > SLOTS {
            slots.pop_front();
        }
        let Some(minute) = slots.back_mut() else {
            return;
        };
        minute.slot.events += done.processed.events;
        minute.slot.late += done.processed.late.len() as u64;
        minute.slot.parked += done.processed.parked.len() as u64;
        for wait in &done.handled {
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            if let Some(waits) = &mut minute.waits_ms {
                waits.saturating_record(ms);
            }
        }
    }

    /// The last hour, minutes in which nothing went on included.
    pub(crate) fn activity(&self, now: Timestamp) -> Activity {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let back = i64::try_from(SLOTS).unwrap_or(i64::MAX);
        let first = begin(now).plus_ms(SLOT_MS * (1 - back));
        let all = (0..back).map(|place| {
            let at = first.plus_ms(SLOT_MS * place);
            let known = slots.iter().find(|minute| minute.slot.at == at);
            known.map_or_else(
                || Slot {
                    at,
                    ..Slot::default()
                },
                Minute::told,
            )
        });
        Activity {
            slot_seconds: SLOT_SECONDS,
            slots: all.collect(),
        }
    }
}

impl Minute {
    fn told(&self) -> Slot {
        let waits = self.waits_ms.as_ref().filter(|waits| !waits.is_empty());
        Slot {
            p50_ms: waits.map(|waits| waits.value_at_quantile(0.5)),
            p99_ms: waits.map(|waits| waits.value_at_quantile(0.99)),
            ..self.slot.clone()
        }
    }
}

fn begin(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.ms() - at.ms().rem_euclid(SLOT_MS))
}
