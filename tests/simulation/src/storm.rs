//! The gate of a simulated task: time passes at it, and anything may go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::model::Timestamp;
use shared::ports::{Clock, Error, ErrorKind};

use crate::audit::Actor;
use crate::chance::mix;
use crate::gate::{Call, Gate, Passage, Share};
use crate::world::{Pause, Step, World, crash};

/// The task that brings a run to its end; nothing goes wrong with it.
pub(crate) const JANITOR: u32 = 9_000;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store refuses; nothing happened.
    Throttled,
    /// Nobody reaches the store.
    OutOfReach,
    /// It happened, and the caller learns only that time is out.
    TimedOut,
    /// A part of it happened, so many in 1,000 of its items, and the caller learns that it failed.
    Torn(u64),
    /// The caller dies before it happens.
    DiesBefore,
    /// The caller dies when it has happened.
    DiesAfter,
    /// The caller dies when a part of it has happened.
    DiesWithin(u64),
    /// The caller sleeps for so long before.
    StallsBefore(i64),
    /// The caller sleeps for so long after.
    StallsAfter(i64),
    /// Nothing happens, and the caller thinks it did.
    Lost,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled calls",
            Self::OutOfReach => "calls during an outage",
            Self::TimedOut => "time-outs after the effect",
            Self::Torn(_) => "calls half done",
            Self::DiesBefore | Self::DiesAfter | Self::DiesWithin(_) => "crashes",
            Self::StallsBefore(_) | Self::StallsAfter(_) => "stalls past the visibility timeout",
            Self::Lost => "acknowledgements lost",
        }
    }

    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Throttled => 1,
            Self::TimedOut => 2,
            Self::Torn(share) => 10_000 + share,
            Self::DiesBefore => 3,
            Self::DiesAfter => 4,
            Self::DiesWithin(share) => 20_000 + share,
            Self::StallsBefore(ms) => 100_000 + ms.unsigned_abs(),
            Self::StallsAfter(ms) => 1_000_000 + ms.unsigned_abs(),
            Self::Lost => 5,
            Self::OutOfReach => 6,
        }
    }

    fn story(self, call: Call) -> String {
        match self {
            Self::Throttled => format!("is refused {call:?}: nothing happens"),
            Self::OutOfReach => format!("cannot reach the store for {call:?}"),
            Self::TimedOut => format!("does {call:?} and gets no answer in time"),
            Self::Torn(share) => format!("does {share} ‰ of {call:?}, the rest fails"),
            Self::DiesBefore => format!("dies before {call:?}"),
            Self::DiesAfter => format!("dies after {call:?}"),
            Self::DiesWithin(share) => format!("dies after {share} ‰ of {call:?}"),
            Self::StallsBefore(ms) => format!("sleeps for {ms} ms before {call:?}"),
            Self::StallsAfter(ms) => format!("sleeps for {ms} ms after {call:?}"),
            Self::Lost => format!("believes that {call:?} was done, and it was not"),
        }
    }
}

/// Which calls something goes wrong with.
#[derive(Debug, Clone)]
pub(crate) enum Faults {
    /// As the seed says, with so many in 1,000 writes, and a quarter as many reads.
    Drawn {
        seed: u64,
        permille: u64,
        /// What may be acknowledged though it was not done.
        lost: &'static [Call],
    },
    /// With these, by task and which call of the task's it is.
    Given(BTreeMap<(u32, u64), Fault>),
}

impl Faults {
    pub(crate) fn at(&self, place: (u32, u64), call: Call) -> Option<Fault> {
        match self {
            Self::Given(given) => given.get(&place).copied(),
            Self::Drawn {
                seed,
                permille,
                lost,
            } => {
                let drawn = mix(&[*seed, u64::from(place.0), place.1]);
                let permille = if call.writes() {
                    *permille
                } else {
                    permille / 4
                };
                (drawn % 1_000 < permille).then(|| Self::draw(drawn >> 12, call, lost))
            }
        }
    }

    fn draw(drawn: u64, call: Call, lost: &[Call]) -> Fault {
        let (kind, more) = (drawn % 16, drawn >> 4);
        let share = more % 1_000;
        let ms = 1_500 + i64::try_from(more % 45_000).unwrap_or(0);
        match kind {
            0 | 1 => Fault::Throttled,
            2 => Fault::StallsBefore(ms),
            3 | 4 => Fault::DiesBefore,
            _reads if !call.writes() => Fault::Throttled,
            5 | 6 => Fault::DiesAfter,
            7 | 8 => Fault::StallsAfter(ms),
            9 if lost.contains(&call) => Fault::Lost,
            9..=11 if call.tears() => Fault::Torn(share),
            12 if call.tears() => Fault::DiesWithin(share),
            _other => Fault::TimedOut,
        }
    }
}

/// The gate of one task.
#[derive(Debug, Clone)]
pub(crate) struct Storm {
    world: Arc<World>,
    task: u32,
}

/// What happens on the way back.
const OUT_OF_TIME: u64 = 1;
const DIES: u64 = 2;
const SLEEPS: u64 = 100;

impl Storm {
    pub(crate) fn new(world: &Arc<World>, task: u32) -> Self {
        Self {
            world: Arc::clone(world),
            task,
        }
    }

    async fn pause(&self, ms: i64) {
        Pause::new(&self.world, self.task, ms).await;
    }
}

impl Gate for Storm {
    async fn enter(&self, call: Call) -> Result<Passage, Error> {
        let Step { latency_ms, fault } = self.world.step(self.task, call);
        self.pause(latency_ms).await;
        if let Some(fault) = fault {
            self.world.tell(self.task, || fault.story(call));
        }
        let (share, back) = match fault {
            None => (Share::Whole, 0),
            Some(Fault::Throttled) => return Err(failed(call, "the store is throttled")),
            Some(Fault::OutOfReach) => return Err(failed(call, "the store cannot be reached")),
            Some(Fault::TimedOut) => (Share::Whole, OUT_OF_TIME),
            Some(Fault::Torn(share)) => (Share::First(share), OUT_OF_TIME),
            Some(Fault::DiesBefore) => match crash(&self.world, self.task).await {},
            Some(Fault::DiesAfter) => (Share::Whole, DIES),
            Some(Fault::DiesWithin(share)) => (Share::First(share), DIES),
            Some(Fault::StallsBefore(ms)) => {
                self.pause(ms).await;
                (Share::Whole, 0)
            }
            Some(Fault::StallsAfter(ms)) => (Share::Whole, SLEEPS + ms.unsigned_abs()),
            Some(Fault::Lost) => (Share::Nothing, 0),
        };
        self.world.check_writes(self.task, call);
        if [Call::Park, Call::Redrive, Call::Discard].contains(&call) {
            self.world.letters_move();
        }
        if call.writes() {
            let actor = Actor {
                now_ms: self.world.now().ms(),
                skew_ms: self.world.skew(self.task),
            };
            if let Some(audit) = &mut self.world.store().audit {
                audit.actor = actor;
            }
        }
        Ok(Passage { share, back })
    }

    async fn leave(&self, call: Call, passage: Passage) -> Result<(), Error> {
        match passage.back {
            0 => Ok(()),
            OUT_OF_TIME => Err(failed(call, "no answer in time")),
            DIES => match crash(&self.world, self.task).await {},
            slept => {
                let ms = i64::try_from(slept - SLEEPS).unwrap_or(0);
                self.pause(ms).await;
                Ok(())
            }
        }
    }

    fn queue_time(&self, _given: Timestamp) -> Timestamp {
        self.world.now()
    }

    fn buried(&self) {
        self.world.letters_move();
    }
}

fn failed(call: Call, why: &str) -> Error {
    Error::new(ErrorKind::Retry, format!("{call:?}"), why)
}

/// The clock of one task, which may be off.
#[derive(Debug, Clone)]
pub(crate) struct TaskClock {
    world: Arc<World>,
    skew_ms: i64,
}

impl TaskClock {
    pub(crate) fn new(world: &Arc<World>, task: u32) -> Self {
        Self {
            world: Arc::clone(world),
            skew_ms: world.skew(task),
        }
    }
}

impl Clock for TaskClock {
    fn now(&self) -> Timestamp {
        self.world.now().plus_ms(self.skew_ms)
    }
}
