//! Virtual time, tasks that take turns, and all that goes wrong between them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shared::model::{Class, Entry, Finding, GroupKind, Timestamp};
use smol_str::SmolStr;

use crate::audit::Audit;
use crate::chance::mix;
use crate::gate::Call;
use crate::memory::{self, Store};
use crate::plan::{Outage, Plan};
use crate::rules::Rules;
use crate::storm::{Fault, Faults, JANITOR};
use crate::told::Tenant;

/// When every run begins.
const START_MS: i64 = 1_773_000_000_000;
/// More than any run takes; one that does never comes to rest.
const CALLS_MAX: u64 = 60_000;

/// How often what happened.
pub type Stats = BTreeMap<&'static str, u64>;

/// What there is to say of a run.
pub(crate) struct Sum {
    /// A hash of all calls, in order.
    pub(crate) trace: u64,
    pub(crate) stats: Stats,
    /// What went wrong, by task and which call of the task's it was.
    pub(crate) fired: BTreeMap<(u32, u64), Fault>,
    pub(crate) story: Vec<String>,
}

/// What all tasks of a run share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Arc<Mutex<Store>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    pace_ms: u64,
    skew_ms: u64,
    now_ms: i64,
    calls: u64,
    /// Whether nothing goes wrong any more.
    calm: bool,
    faults: Faults,
    outage: Option<Outage>,
    fired: BTreeMap<(u32, u64), Fault>,
    tasks: BTreeMap<u32, Task>,
    reading: BTreeSet<u32>,
    stats: Stats,
    trace: u64,
    story: Option<Vec<String>>,
    failures: Vec<String>,
    /// By source and id of an event: who is not answered yet, and after how many calls somebody was last.
    answered: BTreeMap<(SmolStr, SmolStr), (BTreeSet<u32>, u64)>,
    /// After how many calls dead letters came or went last.
    letters_moved: u64,
}

#[derive(Debug, Default)]
struct Task {
    calls: u64,
    wake_ms: i64,
    crashed: bool,
}

/// A call that a task makes: how long it takes, and what goes wrong with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) latency_ms: i64,
    pub(crate) fault: Option<Fault>,
}

impl World {
    pub(crate) fn new(plan: &Plan, tells: bool) -> Arc<Self> {
        let mut store = Store::default();
        store.queue.limits = plan.limits;
        let detects = plan.rules.iter().any(Rules::detects);
        store.audit = Some(Audit::new(detects, plan.rules[0].locked_tables()));
        let state = State {
            seed: plan.seed,
            pace_ms: plan.pace_ms,
            skew_ms: plan.skew_ms,
            now_ms: START_MS,
            calls: 0,
            calm: false,
            faults: plan.faults.clone(),
            outage: plan.outage,
            fired: BTreeMap::new(),
            tasks: BTreeMap::new(),
            reading: BTreeSet::new(),
            stats: Stats::new(),
            trace: 0,
            story: tells.then(Vec::new),
            failures: Vec::new(),
            answered: BTreeMap::new(),
            letters_moved: 0,
        };
        Arc::new(Self {
            store: Arc::new(Mutex::new(store)),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        memory::lock(&self.store)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.state().now_ms)
    }

    /// How far the clock of a task is ahead.
    pub(crate) fn skew(&self, task: u32) -> i64 {
        let state = self.state();
        let span = 2 * state.skew_ms + 1;
        let skew = mix(&[state.seed, u64::from(task), 7]) % span;
        i64::try_from(skew).unwrap_or(0) - i64::try_from(state.skew_ms).unwrap_or(0)
    }

    /// A task makes a call.
    pub(crate) fn step(&self, task: u32, call: Call) -> Step {
        let mut state = self.state();
        let state = &mut *state;
        state.calls += 1;
        let of_task = state.tasks.entry(task).or_default();
        of_task.calls += 1;
        let place = (task, of_task.calls);
        let drawn = mix(&[state.seed, u64::from(task), of_task.calls, 3]);
        let latency = match drawn % 10 {
            0..=6 => (drawn >> 8) % (state.pace_ms / 10 + 1),
            7 | 8 => (drawn >> 8) % (state.pace_ms + 1),
            _slow => (drawn >> 8) % (4 * state.pace_ms + 1),
        };
        // What takes longer than a message stays hidden would never be done.
        let latency = if state.calm { latency.min(20) } else { latency };
        let ms = state.now_ms - START_MS;
        let is_out = |outage: Outage| (outage.from_ms..outage.until_ms).contains(&ms);
        let fault = if state.calm || task == JANITOR {
            None
        } else if call.is_of_rows() && state.outage.is_some_and(is_out) {
            Some(Fault::OutOfReach)
        } else {
            state.faults.at(place, call)
        };
        if let Some(fault) = fault {
            if fault != Fault::OutOfReach {
                state.fired.insert(place, fault);
            }
            *state.stats.entry(fault.name()).or_default() += 1;
        }
        let code = fault.map_or(0, Fault::code);
        let parts = [state.trace, u64::from(task), call as u64, latency, code];
        state.trace = mix(&parts);
        Step {
            latency_ms: i64::try_from(latency).unwrap_or(0),
            fault,
        }
    }

    /// How many calls there were so far.
    pub(crate) fn moment(&self) -> u64 {
        self.state().calls
    }

    /// A sender sends an event: until it is answered, it may be journaled and not queued.
    pub(crate) fn sent(&self, task: u32, entry: &Entry) {
        let event = (entry.event.source.clone(), entry.event.id.clone());
        let mut state = self.state();
        let (open, _) = state.answered.entry(event).or_default();
        open.insert(task);
    }

    /// A sender was told that an event is accepted.
    pub(crate) fn answered(&self, task: u32, entry: &Entry) {
        let event = (entry.event.source.clone(), entry.event.id.clone());
        let mut state = self.state();
        let calls = state.calls;
        let (open, at) = state.answered.entry(event).or_default();
        open.remove(&task);
        *at = calls;
    }

    /// Dead letters come or go.
    pub(crate) fn letters_move(&self) {
        let mut state = self.state();
        state.letters_moved = state.calls;
    }

    /// Doubts a finding of a replay that began at this moment, where nothing can be wrong for good: rows may
    /// lack what was never queued or is parked, and nothing else. Of amendments on their way replay may say too
    /// much.
    pub(crate) fn doubt(&self, finding: &Finding, since: u64) {
        // A copy is journaled before it is queued, too.
        let told_by_others = finding.changes.is_empty()
            || finding.group.kind() == GroupKind::Day
            || finding.group.tenant == Tenant::Bolt.id();
        let journal = self.store().journal.of(&finding.group).to_vec();
        let amended = journal.iter().any(|entry| entry.event.revision() > 0);
        if amended || journal.is_empty() {
            return;
        }
        let mut state = self.state();
        let (class, table, id) = (finding.class.name(), finding.table.name(), &finding.id);
        let settled = |entry: &Entry| {
            let event = (entry.event.source.clone(), entry.event.id.clone());
            let known = state.answered.get(&event);
            known.is_some_and(|(open, at)| open.is_empty() && *at <= since)
        };
        let wrong = match finding.class {
            // An event that names its lead takes an appointment's own rows away, once it is handled.
            Class::Orphan if finding.group.kind() == GroupKind::Appointment => {
                journal.iter().all(settled) && state.letters_moved <= since
            }
            Class::Late | Class::Extra | Class::Foreign | Class::Stale | Class::Orphan => true,
            Class::Parked => false,
            Class::Lost | Class::Missing => {
                !told_by_others && journal.iter().all(settled) && state.letters_moved <= since
            }
        };
        if wrong {
            let why = &finding.explanation;
            let what = format!(
                "a false finding: {class} {table} {id} of {}, {why}",
                finding.group
            );
            state.failures.push(what);
        }
    }

    /// Notes that a task writes what it must only read.
    pub(crate) fn check_writes(&self, task: u32, call: Call) {
        let mut state = self.state();
        if call.changes_events_or_rows() && state.reading.contains(&task) {
            let what = format!("a replay that only reports calls {call:?}");
            state.failures.push(what);
        }
    }

    pub(crate) fn reads_only(&self, task: u32, only: bool) {
        let mut state = self.state();
        if only {
            state.reading.insert(task);
        } else {
            state.reading.remove(&task);
        }
    }

    fn wake(&self, task: u32, after_ms: i64) {
        let mut state = self.state();
        let wake_ms = state.now_ms + after_ms;
        state.tasks.entry(task).or_default().wake_ms = wake_ms;
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn calm_down(&self) {
        self.state().calm = true;
    }

    /// Whether no outage is to come or to end.
    pub(crate) fn is_reachable(&self) -> bool {
        let state = self.state();
        let until_ms = state.outage.map_or(0, |outage| outage.until_ms);
        state.now_ms - START_MS >= until_ms
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.state().calm
    }

    pub(crate) fn count(&self, what: &'static str, many: u64) {
        if many > 0 {
            *self.state().stats.entry(what).or_default() += many;
        }
    }

    pub(crate) fn fail(&self, why: String) {
        self.state().failures.push(why);
    }

    /// Tells what happens, where somebody listens.
    pub(crate) fn tell(&self, task: u32, what: impl FnOnce() -> String) {
        let mut state = self.state();
        let ms = state.now_ms - START_MS;
        if let Some(story) = &mut state.story {
            let who = match task / 1_000 {
                1 => format!("worker {}", task % 1_000),
                2 => format!("sender {}", task % 1_000),
                3 => format!("chore {}", task % 1_000),
                _janitor => "janitor".to_owned(),
            };
            story.push(format!("{:>9.3} s  {who:<10} {}", seconds(ms), what()));
        }
    }

    /// What was seen that must not be, so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut all = self.state().failures.clone();
        let store = self.store();
        let violations = store.audit.iter().flat_map(|audit| &audit.violations);
        all.extend(violations.cloned());
        all
    }

    /// What there is to say of the run when it is over.
    pub(crate) fn sum_up(&self) -> Sum {
        let state = self.state();
        let mut stats = state.stats.clone();
        stats.insert("calls of ports", state.calls);
        Sum {
            trace: state.trace,
            stats,
            fired: state.fired.clone(),
            story: state.story.clone().unwrap_or_default(),
        }
    }
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "shown to people"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// Lets virtual time pass.
pub(crate) struct Pause {
    world: Arc<World>,
    task: u32,
    ms: i64,
    begun: bool,
}

impl Pause {
    pub(crate) fn new(world: &Arc<World>, task: u32, ms: i64) -> Self {
        Self {
            world: Arc::clone(world),
            task,
            ms,
            begun: false,
        }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        if self.begun {
            return Poll::Ready(());
        }
        self.begun = true;
        self.world.wake(self.task, self.ms.max(0));
        Poll::Pending
    }
}

/// Ends the task that awaits it, with all that it knew.
pub(crate) async fn crash(world: &World, task: u32) -> std::convert::Infallible {
    world.state().tasks.entry(task).or_default().crashed = true;
    std::future::pending().await
}

/// How a task goes about its work.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()>>>;

/// A task and how to begin it; again, where that is done after a crash.
pub(crate) struct Job {
    pub(crate) task: u32,
    pub(crate) begin: Box<dyn Fn() -> Work>,
    pub(crate) restarts: bool,
    /// Whether the run waits for its end.
    pub(crate) ends: bool,
}

/// Runs the jobs until the janitor is done, or something was seen that must not be.
pub(crate) fn drive(world: &Arc<World>, jobs: &[Job]) {
    let mut running: BTreeMap<u32, (&Job, Work)> = BTreeMap::new();
    for job in jobs {
        running.insert(job.task, (job, (job.begin)()));
        world.wake(job.task, 0);
    }
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let Some(task) = next(world, running.keys().copied()) else {
            return;
        };
        let Some((job, work)) = running.get_mut(&task) else {
            return;
        };
        let done = work.as_mut().poll(&mut context).is_ready();
        let crashed = world.crashed(task);
        if done || (crashed && !job.restarts) {
            let ends = job.ends;
            running.remove(&task);
            if task == JANITOR {
                return;
            }
            world.finished(task, ends);
        } else if crashed {
            *work = (job.begin)();
            world.tell(task, || "dies, and another one takes its place".to_owned());
            world.wake(task, 50);
        }
        if world.is_over() {
            return;
        }
    }
}

/// The task whose turn it is; time passes until then.
fn next(world: &World, running: impl Iterator<Item = u32>) -> Option<u32> {
    let mut state = world.state();
    let seed = state.seed;
    let due = |task: &u32| {
        let wake_ms = state.tasks.get(task).map_or(0, |one| one.wake_ms);
        (
            wake_ms,
            mix(&[seed, u64::from(*task), wake_ms.cast_unsigned()]),
        )
    };
    let task = running.min_by_key(due)?;
    let wake_ms = state.tasks.get(&task).map_or(0, |one| one.wake_ms);
    state.now_ms = state.now_ms.max(wake_ms);
    Some(task)
}

impl World {
    fn crashed(&self, task: u32) -> bool {
        let mut state = self.state();
        let of_task = state.tasks.entry(task).or_default();
        std::mem::take(&mut of_task.crashed)
    }

    fn finished(&self, task: u32, ends: bool) {
        if ends {
            let mut state = self.state();
            state.tasks.remove(&task);
            state.reading.remove(&task);
        }
    }

    /// Whether senders and chores are at their end.
    pub(crate) fn all_sent(&self) -> bool {
        let state = self.state();
        state
            .tasks
            .keys()
            .all(|task| ![2, 3].contains(&(task / 1_000)))
    }

    fn is_over(&self) -> bool {
        {
            let mut state = self.state();
            if state.calls > CALLS_MAX {
                let calls = state.calls;
                state
                    .failures
                    .push(format!("no rest after {calls} calls of ports"));
            }
            if !state.failures.is_empty() {
                return true;
            }
        }
        let store = self.store();
        store
            .audit
            .as_ref()
            .is_some_and(|audit| !audit.violations.is_empty())
    }
}
