//! The one thread that writes.
//!
//! Whatever has been asked of it while it worked on one batch is done with the next, and all of that
//! becomes durable with one commit ("group commit"); only then is anybody answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use foldback_console::{Act, Acted, Deed, Mending};
use shared::adapters::{Environment, Joined, SystemClock, Watched};
use shared::metrics::registry::{MESSAGES_FAILED, MESSAGES_RECEIVED};
use shared::model::{AuditRecord, Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{Clock, Error, ErrorKind, Journal, Queue, Readings, Received, Reports};
use shared::service::{self, Processed, TakenIn, keep_run, measured, traced};
use shared::settings::Settings;
use shared::webhook::{Request, Response};
use tokio::sync::{oneshot, watch};

use super::deeds;
use super::mend::Mend;
use super::meter::{Meter, UnitDone};
use super::recent::Recent;
use crate::error::Failure;
use crate::settings::InForce;
use crate::stopwatch::Stopwatch;
use crate::stores::Stores;
use crate::tables::HostTables;

/// Messages processed at once, so that what they need stays in the processor's cache.
const PART_MESSAGES: usize = 512;
/// The most messages of one unit of work.
const RECEIVE_MAX: usize = 4_096;
/// The most orders of one unit of work.
const ORDERS_MAX: usize = 256;
/// The most orders that wait. Who comes after is told to try again.
const WAITING_MAX: usize = 1_024;
/// How often a unit of work is tried again when the store asks for it.
const ATTEMPTS_MAX: u32 = 5;
/// How often the queue is looked into while nobody asks for anything: what failed becomes visible again
/// by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who waits for what a deed came to.
pub(crate) type Told = oneshot::Sender<Result<Acted, Error>>;

/// What is asked of the writer.
pub(crate) enum Order {
    /// Take a request's events in.
    TakeIn(Incoming, oneshot::Sender<Response>),
    /// Say that the writer works.
    Answer(oneshot::Sender<()>),
    /// Keep a run of replay and, where a person asked for it, the record of that.
    KeepRun(Box<ReplayRun>, Vec<Finding>, Option<(AuditRecord, Told)>),
    /// Do what a person asks for.
    Act(Act, Told),
    /// Keep a report.
    KeepReport(Box<Report>),
}

/// A webhook request, read whole.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) since: Stopwatch,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Where orders are left. When the last one is dropped the writer finishes and ends.
#[derive(Debug, Clone)]
pub(crate) struct Desk(SyncSender<Order>);

impl Desk {
    /// Leaves an order; `false` where too many wait, or nobody works any more.
    pub(crate) fn leave(&self, order: Order) -> bool {
        match self.0.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The writing thread's own.
pub(crate) struct Writer<'a> {
    stores: &'a Stores,
    settings: Arc<InForce>,
    seen: Seen,
    orders: Receiver<Order>,
    /// Repairs that are under way, a page of groups at a time.
    mending: VecDeque<Mend>,
}

/// Who is told of what became durable.
#[derive(Clone)]
pub(crate) struct Seen {
    /// For `/metrics`.
    pub(crate) meter: Arc<Meter>,
    /// For the overview.
    pub(crate) recent: Arc<Recent>,
    /// For pages that are open.
    pub(crate) changes: watch::Sender<u64>,
}

/// What an order came to, told when it is durable.
enum Answer {
    Taken(Response),
    Kept(u64),
    Acted(Result<Acted, Error>),
    /// It is begun; who asked is told when it is done.
    Begun(Box<Mend>),
}

#[derive(Default)]
struct Unit {
    answers: Vec<Answer>,
    received: Vec<Received>,
    done: UnitDone,
}

impl<'a> Writer<'a> {
    /// A writer to these stores, and the desk where its orders are left.
    pub(crate) fn new(
        stores: &'a Stores,
        settings: Arc<InForce>,
        seen: Seen,
    ) -> Result<(Self, Desk), Failure> {
        // Whatever is no data directory was refused before; a later refusal would come too late.
        stores.local()?;
        let (sender, orders) = sync_channel(WAITING_MAX);
        let writer = Self {
            stores,
            settings,
            seen,
            orders,
            mending: VecDeque::new(),
        };
        Ok((writer, Desk(sender)))
    }

    /// Works until the last desk is gone, and finishes the batch in hand.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let mut received = Vec::new();
        loop {
            let idle = received.is_empty() && self.mending.is_empty();
            let (orders, open) = self.fetch(idle);
            received = self.step(&received, orders, open);
            self.mend();
            if !open {
                return Ok(());
            }
        }
    }

    /// All orders that wait, and whether there will be more. With `wait`, waits a while for the first.
    fn fetch(&self, wait: bool) -> (Vec<Order>, bool) {
        let mut orders = Vec::new();
        if wait {
            match self.orders.recv_timeout(LOOK_EVERY) {
                Ok(order) => orders.push(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return (orders, false),
            }
        }
        while orders.len() < ORDERS_MAX {
            match self.orders.try_recv() {
                Ok(order) => orders.push(order),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return (orders, false),
            }
        }
        (orders, true)
    }

    /// One unit of work: the messages in hand, the orders, and, if there is to be another, what to do in
    /// that. Returns the messages received.
    fn step(&mut self, received: &[Received], orders: Vec<Order>, more: bool) -> Vec<Received> {
        let since = Stopwatch::start();
        let handled = match self.unit(received, &orders, more) {
            Ok(unit) => return self.settle(unit, orders, received, since),
            Err(error) if received.is_empty() => Err(error),
            Err(error) => {
                anstream::eprintln!(
                    "a batch failed, its groups are tried one by one: {}",
                    error.chain()
                );
                self.apart(received);
                self.unit(&[], &orders, more)
            }
        };
        match handled {
            Ok(unit) => self.settle(unit, orders, &[], since),
            Err(error) => {
                anstream::eprintln!("cannot write: {}", error.chain());
                for order in orders {
                    order.failed(&error);
                }
                Vec::new()
            }
        }
    }

    /// Each group in a unit of work of its own, so that one that fails takes no other with it. Its messages
    /// stay hidden for a while and come again, until they are parked.
    fn apart(&mut self, received: &[Received]) {
        let mut groups: Vec<&Group> = received.iter().map(|one| &one.message.group).collect();
        groups.sort();
        groups.dedup();
        for group in groups {
            let of_group = received.iter().filter(|one| one.message.group == *group);
            let of_group: Vec<Received> = of_group.cloned().collect();
            match self.unit(&of_group, &[], false) {
                Ok(unit) => drop(self.settle(unit, Vec::new(), &of_group, Stopwatch::start())),
                Err(error) => {
                    let count = of_group.len() as u64;
                    self.seen.meter.record(&[
                        MESSAGES_RECEIVED.is(count, &[]),
                        MESSAGES_FAILED.is(count, &[]),
                    ]);
                    anstream::eprintln!("{group} failed, and comes again: {}", error.chain());
                }
            }
        }
    }

    /// Counts a unit of work that is durable, and tells those who asked.
    fn settle(
        &mut self,
        unit: Unit,
        orders: Vec<Order>,
        handled: &[Received],
        since: Stopwatch,
    ) -> Vec<Received> {
        let mut done = unit.done;
        let now = SystemClock.now();
        for one in handled {
            let waited = u64::try_from(now.ms_since(one.sent)).unwrap_or(0);
            done.handled
                .push(Duration::from_millis(waited).max(since.elapsed()));
        }
        let changed = !handled.is_empty() || orders.iter().any(Order::changes);
        for (order, answer) in orders.into_iter().zip(unit.answers) {
            match order.answer(answer) {
                Left::Taken(took) => done.taken.push(took),
                Left::Begun(mend) => self.mending.push_back(mend),
                Left::Nothing => {}
            }
        }
        self.seen.tell(&mut done, changed);
        unit.received
    }

    /// The next page of the repair that was asked for first.
    fn mend(&mut self) {
        let Some(mut mend) = self.mending.pop_front() else {
            return;
        };
        let settings = self.settings.get();
        if mend.page(self.stores, &settings) {
            self.mending.push_front(mend);
        }
        self.seen.changes.send_modify(|number| *number += 1);
    }

    /// One unit of work, tried again as often as the store asks for it.
    fn unit(&self, received: &[Received], orders: &[Order], more: bool) -> Result<Unit, Error> {
        let events = self.stores.events();
        let mut attempt = 1;
        loop {
            let done = events.begin().and_then(|()| {
                let done = self.stores.wait(self.work(received, orders, more));
                let done = done.and_then(|unit| events.commit().map(|()| unit));
                if done.is_err() {
                    events.roll_back();
                }
                done
            });
            match done {
                Err(error) if error.kind() == ErrorKind::Retry && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn work(
        &self,
        received: &[Received],
        orders: &[Order],
        more: bool,
    ) -> Result<Unit, Error> {
        let mut unit = Unit::default();
        let (events, tables) = (self.stores.events(), self.stores.tables());
        let requests = Readings::default();
        let ports = Watched {
            ports: &Joined {
                events,
                tables: &tables,
            },
            meter: &requests,
        };
        let lookups = self.settings.lookups();
        let settings = self.settings.look(events, SystemClock.now()).await?;
        let looked = measured::of_lookups(lookups, self.settings.lookups());
        unit.done.readings.extend(looked);
        for part in received.chunks(PART_MESSAGES) {
            let begun = SystemClock.now();
            let work = service::process(&ports, &SystemClock, &settings, part);
            let done = Box::pin(work).await?;
            self.processed(&mut unit.done, part, done, begun);
        }
        for order in orders {
            let answer = self.obey(order, (&ports, &tables), &settings, &mut unit.done);
            unit.answers.push(Box::pin(answer).await?);
        }
        if more {
            unit.received = ports.receive(RECEIVE_MAX, SystemClock.now()).await?;
        }
        let now = SystemClock.now();
        if self.seen.meter.looks_at_queue(now) {
            let oldest = events.oldest_message()?;
            let depth = events.depth(now).await?;
            let queue = measured::of_queue(&depth, oldest, now);
            unit.done.readings.extend(queue);
        }
        unit.done.readings.extend(requests.take());
        Ok(unit)
    }

    /// Does what is asked.
    async fn obey<P: Journal + Queue>(
        &self,
        order: &Order,
        (ports, tables): (&P, &HostTables<'_>),
        settings: &Settings,
        done: &mut UnitDone,
    ) -> Result<Answer, Error> {
        Ok(match order {
            Order::TakeIn(incoming, _) => {
                let request = incoming.request();
                let now = SystemClock.now();
                let taken = service::take_in(ports, &Environment, settings, &request, now).await;
                self.taken(&mut *done, &taken, now);
                if let Some(error) = taken.failure {
                    match error.kind() {
                        ErrorKind::Retry => return Err(error),
                        ErrorKind::Reject | ErrorKind::Corrupt => {
                            anstream::eprintln!("a request is not taken: {}", error.chain());
                        }
                    }
                }
                Answer::Taken(taken.response)
            }
            Order::Answer(_) => Answer::Kept(0),
            Order::KeepRun(run, findings, asked) => {
                let number = keep_run(tables, run, findings).await?;
                let whole = asked.is_none();
                done.readings.extend(measured::of_replay(run, whole));
                if let Some((record, _)) = asked {
                    deeds::note(self.stores, record)?;
                }
                Answer::Kept(number)
            }
            Order::Act(act, _) => match &act.deed {
                Deed::Replay(Mending::Update, within) => {
                    match Mend::begin(self.stores, settings, act, within).await {
                        Ok(mend) => Answer::Begun(Box::new(mend)),
                        Err(error) => Answer::Acted(Err(error)),
                    }
                }
                Deed::Redrive(_)
                | Deed::Discard(_)
                | Deed::Retry(_)
                | Deed::PutSettings(..)
                | Deed::Replay(Mending::Report, _) => {
                    Answer::Acted(Ok(deeds::act(self.stores, act).await?))
                }
            },
            Order::KeepReport(report) => {
                tables.keep_report(report).await?;
                Answer::Kept(0)
            }
        })
    }

    /// Notes what a batch came to, to be told when it is durable.
    fn processed(
        &self,
        unit: &mut UnitDone,
        part: &[Received],
        mut done: Processed,
        begun: Timestamp,
    ) {
        let when = (begun, SystemClock.now());
        let failed = done.failed.len() as u64;
        let readings = measured::of_batch(part, &done, failed, when);
        unit.readings.extend(readings);
        if self.seen.meter.traces() {
            let spans = traced::of_batch(part, &done, self.stores.scope(), when);
            unit.spans.extend(spans);
        }
        // Kept for the spans alone.
        done.finished.clear();
        done.copies_made.clear();
        unit.processed.add(done);
    }

    /// Notes what a request came to, to be told when it is durable.
    fn taken(&self, unit: &mut UnitDone, taken: &TakenIn, begun: Timestamp) {
        let ended = SystemClock.now();
        unit.readings
            .extend(measured::of_request(taken, begun, ended));
        if self.seen.meter.traces() {
            let spans = traced::of_request(taken, self.stores.scope(), (begun, ended));
            unit.spans.extend(spans);
        }
    }
}

impl Incoming {
    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// What is left to do when an order is answered.
enum Left {
    Taken(Duration),
    Begun(Mend),
    Nothing,
}

impl Seen {
    fn tell(&self, done: &mut UnitDone, changed: bool) {
        self.meter.unit(done);
        self.recent.count(done, SystemClock.now());
        if changed {
            self.changes.send_modify(|number| *number += 1);
        }
    }
}

impl Order {
    /// Whether there is something new to see when it is done.
    fn changes(&self) -> bool {
        match self {
            Self::TakeIn(..) | Self::KeepRun(..) | Self::KeepReport(_) | Self::Act(..) => true,
            Self::Answer(_) => false,
        }
    }

    /// Tells who asked.
    fn answer(self, answer: Answer) -> Left {
        // Whoever has hung up asks again.
        match (self, answer) {
            (Self::TakeIn(incoming, to), Answer::Taken(response)) => {
                let taken = response.status.is_success();
                to.send(response).ok();
                if taken {
                    return Left::Taken(incoming.since.elapsed());
                }
            }
            (Self::Answer(to), _) => {
                to.send(()).ok();
            }
            (Self::KeepRun(run, _, Some((_, to))), Answer::Kept(number)) => {
                let acted = Acted {
                    run: Some(number),
                    ..Acted::of(run.findings)
                };
                to.send(Ok(acted)).ok();
            }
            (Self::Act(_, to), Answer::Acted(acted)) => {
                to.send(acted).ok();
            }
            (Self::Act(_, to), Answer::Begun(mend)) => return Left::Begun(mend.told(to)),
            (
                Self::TakeIn(..) | Self::KeepRun(..) | Self::KeepReport(_) | Self::Act(..),
                Answer::Taken(_) | Answer::Kept(_) | Answer::Acted(_) | Answer::Begun(_),
            ) => {}
        }
        Left::Nothing
    }

    fn failed(self, error: &Error) {
        match self {
            Self::TakeIn(_, to) => {
                to.send(shared::webhook::Problem::from(error).response())
                    .ok();
            }
            Self::Act(_, to) | Self::KeepRun(_, _, Some((_, to))) => {
                let why = error.chain();
                to.send(Err(Error::new(error.kind(), "do it", why))).ok();
            }
            Self::Answer(_) | Self::KeepRun(_, _, None) | Self::KeepReport(_) => {}
        }
    }
}
