//! Keeps the pace, and counts.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::adapters::SystemClock;
use shared::adapters::mongo::Mongo;
use shared::handlers::Table;
use shared::model::Timestamp;
use shared::ports::Clock;
use smol_str::SmolStr;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::counts::{Counts, StepSum};
use super::super::load::{Measured, Plan};
use super::super::machine::Usage;
use super::super::outcome::Mode;
use super::super::worker::Sums;
use super::super::workload::{EventKey, Sendable, Workload};
use super::door::{Door, Post, Taken};
use super::eyes::{self, LOOK_EVERY, Seen, Sight};
use crate::error::Failure;
use crate::stopwatch::{Stopwatch, us};

/// The longest time in which nothing may be done: what a function that died had in hand stays hidden for minutes.
const STANDSTILL: Duration = Duration::from_secs(900);
const STEPS: [&str; 4] = [
    "take in",
    "wait in the queue",
    "read and fold",
    "write, until seen",
];
/// Answers and sights that may wait.
const WAITING_MAX: usize = 1_024;

/// A text on its way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    due: Duration,
    begun: Duration,
    answered: Option<Duration>,
}

/// A request to be sent.
struct Outgoing {
    tenant: SmolStr,
    texts: Vec<usize>,
    alone: bool,
}

/// What comes back.
pub(super) enum Heard {
    /// The answer to a request.
    Answer {
        texts: Vec<usize>,
        at: Duration,
        taken: Result<Taken, String>,
    },
    /// Events that are done.
    Sight(Sight),
}

pub(super) struct Drive<'a> {
    plan: &'a Plan<'a>,
    workload: &'a Workload,
    door: &'a Door,
    rows: Mongo,
    texts: Vec<Sendable>,
    counts: Counts,
    steps: Vec<StepSum>,
    sums: Sums,
    retries: u64,
    sent: usize,
    sender_late: Duration,
    /// Texts on their way, by place.
    under_way: BTreeMap<usize, Sent>,
    /// Of these the events that are to be seen.
    to_be_seen: BTreeMap<EventKey, usize>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        plan: &'a Plan<'a>,
        (workload, from): (&'a Workload, usize),
        door: &'a Door,
        rows: Mongo,
    ) -> Result<Self, Failure> {
        Ok(Self {
            texts: workload.sendable(from),
            counts: Counts::new(plan)?,
            steps: StepSum::each(STEPS)?,
            sums: Sums::default(),
            retries: 0,
            sent: 0,
            sender_late: Duration::ZERO,
            under_way: BTreeMap::new(),
            to_be_seen: BTreeMap::new(),
            plan,
            workload,
            door,
            rows,
        })
    }

    /// Sends until the time or the texts are over, then waits for what is on its way.
    pub(super) async fn run(mut self) -> Result<Measured, Failure> {
        let clock = Stopwatch::start();
        let begun = SystemClock.now();
        let (tell, mut heard) = channel(WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(eyes::watch(self.rows.clone(), (clock, begun), tell.clone()));
        let mut moved = Duration::ZERO;
        loop {
            let more = self.send(clock, &tell, &mut tasks);
            if !more && self.under_way.is_empty() {
                break;
            }
            let before = self.counts.done;
            self.hear((clock, begun), more, &mut heard).await?;
            while tasks.try_join_next().is_some() {}
            let now = clock.elapsed();
            if self.counts.done > before || self.under_way.is_empty() {
                moved = now;
            }
            if now.saturating_sub(moved) > STANDSTILL {
                return Err(Failure::Input(format!(
                    "of {} events that were sent {} have led to nothing, and nothing has moved for {} seconds: \
                     look at `foldback dlq list` and at the log of the function `process`",
                    self.sent,
                    self.under_way.len(),
                    STANDSTILL.as_secs()
                )));
            }
        }
        tasks.shutdown().await;
        Ok(self.end())
    }

    /// Sends what is due; whether there will be more.
    fn send(&mut self, clock: Stopwatch, tell: &Sender<Heard>, tasks: &mut JoinSet<()>) -> bool {
        let now = clock.elapsed();
        if self.sent >= self.texts.len() || now.as_secs_f64() > self.plan.seconds_max {
            return false;
        }
        let from = self.sent;
        let to = match self.plan.mode {
            Mode::InFlight(most) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                self.counts.done.saturating_add(most).min(self.texts.len())
            }
            Mode::Rate(_) => {
                let rest = self.plan.schedule.get(from..).unwrap_or_default();
                from + rest.iter().take_while(|due| **due <= now).count()
            }
        };
        for Outgoing {
            tenant,
            texts,
            alone,
        } in self.requests(from, to)
        {
            let mut body = String::from("[");
            for at in &texts {
                let due = self.plan.schedule.get(*at).copied().unwrap_or(now);
                self.sender_late = self.sender_late.max(now.saturating_sub(due));
                let sent = Sent {
                    due,
                    begun: now,
                    answered: None,
                };
                self.under_way.insert(*at, sent);
                if let Some(event) = self.texts.get(*at).and_then(|text| text.event.clone()) {
                    self.to_be_seen.insert(event, *at);
                }
                if body.len() > 1 {
                    body.push(',');
                }
                body.push_str(self.plan.lines.get(*at).map_or("", |line| line.trim_end()));
            }
            body.push(']');
            let (door, tell) = (self.door.clone(), tell.clone());
            tasks.spawn(async move {
                let post = Post {
                    tenant: &tenant,
                    body: &body,
                    events: texts.len() as u64,
                    alone,
                };
                let taken = door.post(&post).await;
                let at = clock.elapsed();
                // Nobody listens any more where the measurement has failed.
                drop(tell.send(Heard::Answer { texts, at, taken }).await);
            });
        }
        self.sent = self.sent.max(to);
        true
    }

    /// The texts of a range as requests: of one tenant each, a text that cannot be read by itself.
    fn requests(&self, from: usize, to: usize) -> Vec<Outgoing> {
        let mut full = Vec::new();
        let mut open: BTreeMap<&SmolStr, (usize, Vec<usize>)> = BTreeMap::new();
        let outgoing = |tenant: &SmolStr, texts, alone| Outgoing {
            tenant: tenant.clone(),
            texts,
            alone,
        };
        for (at, text) in self.texts.iter().enumerate().take(to).skip(from) {
            if text.alone {
                full.push(outgoing(&text.tenant, vec![at], true));
                continue;
            }
            let size = self.plan.lines.get(at).map_or(0, String::len) + 1;
            let (bytes, texts) = open.entry(&text.tenant).or_insert((1, Vec::new()));
            let is_full = texts.len() == self.door.per_request || !Door::fits(*bytes + size);
            if is_full && !texts.is_empty() {
                full.push(outgoing(&text.tenant, std::mem::take(texts), false));
                *bytes = 1;
            }
            *bytes += size;
            texts.push(at);
        }
        let rest = open
            .into_iter()
            .map(|(tenant, (_, texts))| outgoing(tenant, texts, false));
        full.extend(rest);
        full
    }

    /// Takes what comes back, and waits for it until something else is to be done.
    async fn hear(
        &mut self,
        (clock, begun): (Stopwatch, Timestamp),
        more: bool,
        from: &mut Receiver<Heard>,
    ) -> Result<(), Failure> {
        let next = match self.plan.mode {
            Mode::Rate(_) if more => self.plan.schedule.get(self.sent),
            Mode::Rate(_) | Mode::InFlight(_) => None,
        };
        let wait = next.map_or(LOOK_EVERY, |due| {
            due.saturating_sub(clock.elapsed()).min(LOOK_EVERY)
        });
        let mut heard = timeout(wait, from.recv()).await.ok().flatten();
        while let Some(one) = heard {
            match one {
                Heard::Answer { texts, at, taken } => self.answered(&texts, at, taken)?,
                Heard::Sight(sight) => {
                    let (now, seen) = sight?;
                    for one in seen {
                        if let Some(at) = self.to_be_seen.remove(&one.event) {
                            self.count(at, &one, begun, now);
                        }
                    }
                }
            }
            heard = from.try_recv().ok();
        }
        Ok(())
    }

    fn answered(
        &mut self,
        texts: &[usize],
        at: Duration,
        taken: Result<Taken, String>,
    ) -> Result<(), Failure> {
        let taken = taken.map_err(|why| {
            Failure::Input(format!(
                "the stack does not take events: {} of them in a request: {why}",
                texts.len()
            ))
        })?;
        self.retries += taken.retries;
        self.sums.accepted += taken.accepted;
        self.sums.duplicates += taken.duplicates;
        self.sums.rejected += taken.refused;
        for text in texts {
            let event = self.texts.get(*text).and_then(|text| text.event.as_ref());
            if event.is_none() {
                // Nothing follows from it.
                self.finish(*text, at);
            } else if let Some(sent) = self.under_way.get_mut(text) {
                sent.answered = Some(at);
            }
        }
        Ok(())
    }

    fn count(&mut self, at: usize, seen: &Seen, begun: Timestamp, now: Duration) {
        let since = |moment: Timestamp| {
            Duration::from_millis(u64::try_from(moment.ms_since(begun)).unwrap_or(0)).min(now)
        };
        let Some(sent) = self.finish(at, now) else {
            return;
        };
        let (read, write) = (since(seen.read_start), since(seen.write_start));
        // What is done may be seen before the answer is.
        let answered = sent.answered.unwrap_or(read);
        let moments = [sent.begun, answered, read, write, now];
        for (step, moments) in self.steps.iter_mut().zip(moments.windows(2)) {
            if let [from, to] = moments {
                step.add(us(to.saturating_sub(*from)));
            }
        }
        self.retries += seen.redelivered;
        self.sums.actions += seen.actions;
        if let Some(tables) = &seen.late_for {
            self.sums.late += 1;
            let tenant = &seen.event.group.tenant;
            let corrected = |table: &&Table| self.workload.corrects(tenant, **table);
            self.sums.refolded += tables.iter().filter(corrected).count() as u64;
        }
    }

    fn finish(&mut self, at: usize, now: Duration) -> Option<Sent> {
        let sent = self.under_way.remove(&at)?;
        self.counts.take(sent.due, now);
        Some(sent)
    }

    fn end(self) -> Measured {
        Measured {
            done: self.counts.done,
            throughput: self.counts.throughput(),
            latency: self.counts.latency(),
            over_time: self.counts.over_time,
            steps: StepSum::shares(&self.steps),
            sender_late: self.sender_late,
            faults: 0,
            retries: self.retries,
            restarts: 0,
            sums: self.sums,
            usage: Usage::default(),
        }
    }
}
