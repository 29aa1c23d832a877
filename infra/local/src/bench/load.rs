//! Sends events to a worker, at a pace of its own, and measures when they are durable.
//!
//! In the open loop an event's time begins when it was to be sent, whatever the worker was busy with then:
//! waiting is not left out ("coordinated omission", G. Tene). What a killed worker had not made durable is
//! sent again to the next one, and its time goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::counts::{Counts, StepSum};
use super::machine::Usage;
use super::number::whole;
use super::outcome::{Latency, Mode, StepTime};
use super::worker::{Said, Sums, Unit};
use crate::error::Failure;
use crate::probe::Step;
use crate::stopwatch::{Stopwatch, pause_for};

/// Texts written at once.
const WRITE_MAX: usize = 1_024;
/// The longest sleep of the sender, so that it sees that nobody reads any more.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// A worker that dies is started again; one that dies so often by itself is broken.
const DEATHS_MAX: u64 = 50;

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) lines: &'a [String],
    pub(crate) mode: Mode,
    /// In the open loop, when each text is to be sent.
    pub(crate) schedule: Vec<Duration>,
    pub(crate) seconds_max: f64,
    pub(crate) crashes: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) done: usize,
    pub(crate) throughput: f64,
    pub(crate) latency: Latency,
    pub(crate) over_time: Vec<u64>,
    pub(crate) steps: Vec<StepTime>,
    pub(crate) sender_late: Duration,
    pub(crate) faults: u64,
    pub(crate) retries: u64,
    pub(crate) restarts: u64,
    pub(crate) sums: Sums,
    pub(crate) usage: Usage,
}

/// What sender and receiver share.
#[derive(Debug, Default)]
struct Flow {
    /// When each text was to be sent.
    intended: Vec<Duration>,
    sent: usize,
    acked: usize,
    /// The sender is to send no more to this worker.
    stop: bool,
    sender_late: Duration,
}

struct Shared {
    flow: Mutex<Flow>,
    acked: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures one point; `worker` makes the command that starts one.
pub(crate) fn measure(
    plan: &Plan<'_>,
    worker: &mut dyn FnMut(u64) -> Command,
) -> Result<Measured, Failure> {
    let shared = Shared {
        flow: Mutex::default(),
        acked: Condvar::new(),
    };
    let mut receiver = Receiver::new(plan)?;
    let mut clock = None;
    loop {
        let mut child = worker(receiver.restarts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if plan.crashes > 0 {
                Stdio::null()
            } else {
                Stdio::inherit()
            })
            .spawn()
            .map_err(|source| failed("start a worker", source))?;
        let ended = receiver.life(&mut child, &mut clock, &shared);
        let status = child
            .wait()
            .map_err(|source| failed("wait for a worker", source))?;
        if ended {
            return Ok(receiver.end(&shared.lock()));
        }
        receiver.restarts += 1;
        if receiver.restarts > DEATHS_MAX + u64::from(plan.crashes) {
            return Err(Failure::Input(format!(
                "workers die again and again, the last one with {status}"
            )));
        }
    }
}

fn failed(what: &str, source: std::io::Error) -> Failure {
    Failure::File {
        what: what.to_owned(),
        source,
    }
}

/// Sends until all is sent, the time is over or the worker is gone.
fn send(plan: &Plan<'_>, clock: Stopwatch, shared: &Shared, mut to: ChildStdin) {
    loop {
        let Some(range) = next(plan, clock, shared) else {
            return;
        };
        for chunk in plan.lines.get(range).unwrap_or_default().chunks(WRITE_MAX) {
            if to.write_all(chunk.concat().as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The next texts that are due; waits for them. `None` where there will be none.
fn next(plan: &Plan<'_>, clock: Stopwatch, shared: &Shared) -> Option<std::ops::Range<usize>> {
    let mut flow = shared.lock();
    loop {
        let now = clock.elapsed();
        if flow.stop || flow.sent >= plan.lines.len() {
            return None;
        }
        let from = flow.sent;
        let to = match plan.mode {
            Mode::InFlight(most) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                flow.acked.saturating_add(most).min(plan.lines.len())
            }
            Mode::Rate(_) => {
                let rest = plan.schedule.get(from..).unwrap_or_default();
                from + rest.iter().take_while(|due| **due <= now).count()
            }
        };
        let again = from < flow.intended.len();
        if to > from {
            // What a worker lost is sent again even when the time is over.
            if now.as_secs_f64() > plan.seconds_max && !again {
                return None;
            }
            let known = flow.intended.len();
            for at in known..to {
                let due = plan.schedule.get(at).copied().unwrap_or(now);
                flow.intended.push(due);
                flow.sender_late = flow.sender_late.max(now.saturating_sub(due));
            }
            flow.sent = to;
            return Some(from..to);
        }
        if now.as_secs_f64() > plan.seconds_max && !again {
            return None;
        }
        flow = match plan.mode {
            Mode::InFlight(_) => {
                let waited = shared.acked.wait_timeout(flow, SLEEP_MAX);
                waited.map_or_else(|broken| broken.into_inner().0, |(flow, _)| flow)
            }
            Mode::Rate(_) => {
                drop(flow);
                let due = plan.schedule.get(from).copied().unwrap_or_default();
                pause_for(due.saturating_sub(now).min(SLEEP_MAX));
                shared.lock()
            }
        };
    }
}

/// Takes what workers say.
struct Receiver<'a> {
    plan: &'a Plan<'a>,
    counts: Counts,
    steps: Vec<StepSum>,
    restarts: u64,
    killed: u32,
    faults: u64,
    retries: u64,
    sums: Sums,
    usage: Usage,
}

impl<'a> Receiver<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Self, Failure> {
        Ok(Self {
            plan,
            counts: Counts::new(plan)?,
            steps: StepSum::each(Step::ALL.map(Step::name))?,
            restarts: 0,
            killed: 0,
            faults: 0,
            retries: 0,
            sums: Sums::default(),
            usage: Usage::default(),
        })
    }

    /// A worker's life; whether all was done at its end.
    fn life(&mut self, child: &mut Child, clock: &mut Option<Stopwatch>, shared: &Shared) -> bool {
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return false;
        };
        let mut lines = BufReader::new(from).lines();
        let mut hear = || -> Option<Said> { serde_json::from_str(&lines.next()?.ok()?).ok() };
        let Some(Said::Ready) = hear() else {
            return false;
        };
        let clock = *clock.get_or_insert_with(Stopwatch::start);
        {
            let mut flow = shared.lock();
            flow.sent = flow.acked;
            flow.stop = false;
        }
        let mut sums = Sums::default();
        let mut used = None;
        thread::scope(|scope| {
            scope.spawn(|| send(self.plan, clock, shared, to));
            while let Some(said) = hear() {
                match said {
                    Said::Ready => {}
                    Said::End(usage) => used = Some(usage),
                    Said::Unit(unit) => {
                        sums = unit.sums;
                        let acked = take(shared, &unit, clock.elapsed(), &mut self.counts);
                        self.unit(&unit);
                        if self.is_to_die(acked) {
                            self.usage.add(Usage::of(&child.id().to_string()));
                            self.killed += 1;
                            drop(child.kill());
                        }
                    }
                }
            }
            shared.lock().stop = true;
            shared.acked.notify_all();
        });
        self.sums.add(&sums);
        if let Some(used) = used {
            self.usage.add(used);
        }
        used.is_some()
    }

    /// Whether the worker is to be killed now that so many texts are done.
    fn is_to_die(&self, acked: usize) -> bool {
        let crashes = self.plan.crashes as usize;
        let next = self.killed as usize + 1;
        next <= crashes && acked * (crashes + 1) >= self.plan.lines.len() * next
    }

    fn unit(&mut self, unit: &Unit) {
        self.faults += unit.faults;
        self.retries += unit.retries;
        for (step, us) in self.steps.iter_mut().zip(&unit.steps_us) {
            step.add(*us);
        }
    }

    fn end(self, flow: &Flow) -> Measured {
        Measured {
            done: flow.acked,
            throughput: self.counts.throughput(),
            latency: self.counts.latency(),
            over_time: self.counts.over_time,
            steps: StepSum::shares(&self.steps),
            sender_late: flow.sender_late,
            faults: self.faults,
            retries: self.retries,
            restarts: self.restarts,
            sums: self.sums,
            usage: self.usage,
        }
    }
}

/// Notes and counts that texts are done, and says how many are by now.
fn take(shared: &Shared, unit: &Unit, now: Duration, counts: &mut Counts) -> usize {
    let mut flow = shared.lock();
    let from = flow.acked;
    let durable = usize::try_from(unit.durable).unwrap_or(usize::MAX);
    let to = from.saturating_add(durable).min(flow.intended.len());
    for at in from..to {
        let due = flow.intended.get(at).copied().unwrap_or(now);
        counts.take(due, now);
    }
    flow.acked = to;
    shared.acked.notify_all();
    to
}

/// When texts are to be sent at this rate: evenly, or at random moments (a Poisson process) that are the
/// same for the same seed.
pub(crate) fn schedule(
    count: usize,
    rate: f64,
    mut random: Option<&mut dyn FnMut() -> f64>,
) -> Vec<Duration> {
    let mut at = 0.0;
    (0..count)
        .map(|_| {
            let gap = match &mut random {
                None => 1.0,
                Some(random) => -(1.0 - random()).max(1e-12).ln(),
            };
            at += gap / rate;
            Duration::from_nanos(whole(at * 1e9))
        })
        .collect()
}
