//! What the tasks of a run do: the product's own services, around which everything else is simulated.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::flow::{Imaging, RowKey};
use shared::handlers::Table;
use shared::model::{Entry, Finding, Group, ReplayRun};
use shared::ports::{
    Appended, Clock, Error, LockKey, Locks, Partition, Queue, Receipt, Received, SettingsVersions,
};
use shared::service::{
    Duplicates, Mode, Processed, Replay, Replayed, Scope, SettingsCache, accept, ingest, keep_run,
    parked_events, process_apart, process_imaging,
};
use shared::settings::{Format, Settings};

use crate::chance::mix;
use crate::memory::Memory;
use crate::plan::{Chore, Delivery, Errand, How, Plan, Worker};
use crate::storm::{Storm, TaskClock};
use crate::world::{Pause, World};

/// How long settings are taken for known.
pub(crate) const SETTINGS_MS: i64 = 400;
/// What failed comes again after this, and twice as long each time.
const BACK_OFF_MS: i64 = 5_000;
/// The longest pause of a worker that finds nothing to do, and once nothing goes wrong any more.
const IDLE_MS_MAX: i64 = 2_000;
const IDLE_CALM_MS: i64 = 60_000;
/// How often a stubborn sender tries.
const TRIES_MAX: u32 = 200;

/// One task's way to the world.
pub(crate) struct Desk {
    pub(crate) world: Arc<World>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) task: u32,
    pub(crate) ports: Memory<Storm>,
    pub(crate) clock: TaskClock,
    cache: Arc<SettingsCache>,
}

impl Desk {
    /// `cache` is that of the process that the task is a part of.
    pub(crate) fn new(
        world: &Arc<World>,
        plan: &Arc<Plan>,
        task: u32,
        cache: &Arc<SettingsCache>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            plan: Arc::clone(plan),
            task,
            ports: Memory::over(Arc::clone(&world.store), Storm::new(world, task)),
            clock: TaskClock::new(world, task),
            cache: Arc::clone(cache),
        }
    }

    pub(crate) async fn pause(&self, ms: i64) {
        Pause::new(&self.world, self.task, ms).await;
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        self.world.tell(self.task, what);
    }

    pub(crate) async fn settings(&self) -> Result<Arc<Settings>, Error> {
        self.cache.get(&self.ports, self.clock.now()).await
    }
}

/// Handles messages for ever.
pub(crate) async fn work(desk: Desk, worker: Worker) {
    let mut idle_ms = 20;
    loop {
        match turn(&desk, worker).await {
            Ok(true) => idle_ms = 20,
            Ok(false) => {
                desk.pause(idle_ms).await;
                idle_ms = if desk.world.is_calm() {
                    IDLE_CALM_MS
                } else {
                    (idle_ms * 2).min(IDLE_MS_MAX)
                };
            }
            Err(error) => {
                desk.tell(|| format!("fails: {}", error.chain()));
                desk.pause(200).await;
            }
        }
    }
}

/// Receives once and handles what came; `false` where nothing did.
async fn turn(desk: &Desk, worker: Worker) -> Result<bool, Error> {
    let settings = desk.settings().await?;
    let received = desk.ports.receive(worker.batch, desk.clock.now()).await?;
    if received.is_empty() {
        return Ok(false);
    }
    desk.tell(|| format!("receives {}", names(&received)));
    desk.world.count("messages received", received.len() as u64);
    let again = received.iter().filter(|one| one.receives > 1).count();
    desk.world.count("messages received again", again as u64);
    let (processed, failed) = handle(desk, worker, &settings, &received).await;
    note(desk, &processed);
    for receives in 1..=desk.plan.limits.receives_max {
        let of_these = received.iter().filter(|one| one.receives == receives);
        let of_these = of_these.filter(|one| failed.contains(&one.receipt));
        let receipts: Vec<Receipt> = of_these.map(|one| one.receipt.clone()).collect();
        if !receipts.is_empty() {
            let at = desk.clock.now().plus_ms(BACK_OFF_MS << (receives - 1));
            desk.ports.hide_until(&receipts, at).await?;
        }
    }
    Ok(true)
}

async fn handle(
    desk: &Desk,
    worker: Worker,
    settings: &Settings,
    received: &[Received],
) -> (Processed, BTreeSet<Receipt>) {
    let (ports, clock) = (&desk.ports, &desk.clock);
    let long_from = match worker.how {
        How::Apart => {
            let spent = desk.plan.limits.receives_max;
            let apart = process_apart(ports, clock, settings, received, spent).await;
            let failed = received.iter().filter(|one| {
                let group = &one.message.group;
                apart.failures.iter().any(|(failed, _)| failed == group)
            });
            let failed = failed.map(|one| one.receipt.clone()).collect();
            desk.world.count("messages spent", apart.spent);
            return (apart.processed, failed);
        }
        How::Together => None,
        How::Imaging(long_from) => Some(long_from),
    };
    let imaging = long_from.map_or(Imaging::NEVER, |long_from| Imaging {
        long_from,
        least: 2,
        thin_every: 2,
    });
    match process_imaging(ports, clock, settings, received, imaging).await {
        Ok(processed) => {
            let failed = processed.failed.iter().cloned().collect();
            (processed, failed)
        }
        Err(error) => {
            desk.tell(|| format!("fails: {}", error.chain()));
            let all = received.iter().map(|one| one.receipt.clone());
            (Processed::default(), all.collect())
        }
    }
}

fn note(desk: &Desk, done: &Processed) {
    desk.tell(|| {
        format!(
            "has applied {} events and {} copies, held {}, late {}, parked {}, wrote {} rows, lost {} races",
            done.events,
            done.copies,
            done.held,
            done.late.len(),
            done.parked.len(),
            done.rows,
            done.conflicts
        )
    });
    for (what, many) in [
        ("events applied", done.events),
        ("copies applied", done.copies),
        ("redeliveries held", done.held),
        ("late events", done.late.len() as u64),
        ("events parked", done.parked.len() as u64),
        ("rows refolded", done.refolded),
        ("images that refolds began with", done.images),
        ("writes that lost a race", done.conflicts),
        ("rows found out of order (detect)", done.found.len() as u64),
        ("groups locked out", done.locked_out.len() as u64),
    ] {
        desk.world.count(what, many);
    }
}

fn names(received: &[Received]) -> String {
    let entries = received.iter().flat_map(|one| &one.message.entries);
    let named = entries.map(|entry| {
        let revision = match entry.event.revision() {
            0 => String::new(),
            revision => format!(" rev {revision}"),
        };
        format!("{}{revision} of {}", entry.event.id, entry.group)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// Sends one request, again and again where the sender is stubborn.
pub(crate) async fn send(desk: Desk, delivery: Delivery, first: bool) {
    let wait_ms = if first { delivery.at_ms } else { 1_000 };
    desk.pause(wait_ms).await;
    for attempt in 0..TRIES_MAX {
        match request(&desk, &delivery).await {
            Ok(()) => return,
            Err(error) => desk.tell(|| format!("is refused: {}", error.chain())),
        }
        if !delivery.stubborn {
            return;
        }
        desk.pause(500 * i64::from(attempt + 1)).await;
    }
    let task = desk.task;
    desk.world.fail(format!("task {task} was never answered"));
}

async fn request(desk: &Desk, delivery: &Delivery) -> Result<(), Error> {
    let settings = desk.settings().await?;
    let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(delivery.told.len());
    for number in &delivery.told {
        let text = desk.plan.told[*number].text(*number);
        match accept(&settings, None, text.as_bytes(), desk.clock.now()) {
            Ok(entry) => {
                desk.world.sent(desk.task, &entry);
                entries.push(Arc::new(entry));
            }
            Err(refusal) => desk.world.fail(format!("{text} is refused: {refusal}")),
        }
    }
    let duplicates = if delivery.sends_again {
        Duplicates::SendAgain
    } else {
        Duplicates::Skip
    };
    desk.tell(|| {
        let numbers = delivery.told.iter();
        let told = numbers.map(|number| desk.plan.told[*number].story());
        format!("sends {}", told.collect::<Vec<_>>().join("; "))
    });
    let ingested = ingest(&desk.ports, &entries, duplicates, desk.clock.now()).await?;
    desk.tell(|| "is answered: accepted".to_owned());
    let store = desk.world.store();
    let mut lost = Vec::new();
    for (entry, became) in entries.iter().zip(&ingested.appended) {
        let what = match became {
            Appended::New => "events accepted",
            Appended::Duplicate => "duplicates accepted",
            Appended::Conflict => "conflicts refused",
            Appended::Elsewhere => "events of no group",
        };
        desk.world.count(what, 1);
        if entry.event.revision() > 0 {
            desk.world.count("amendments sent", 1);
        }
        desk.world.answered(desk.task, entry);
        if store.journal.has(&entry.group.tenant, entry.hash).is_none() {
            lost.push(format!(
                "{} was accepted and is not journaled",
                entry.event.id
            ));
        }
    }
    drop(store);
    lost.into_iter().for_each(|what| desk.world.fail(what));
    Ok(())
}

/// Does a chore once.
pub(crate) async fn run_errand(desk: Desk, chore: Chore) {
    desk.pause(chore.at_ms).await;
    let done = match chore.what {
        Errand::Report { grace_ms, narrow } => replay(&desk, Mode::Report, grace_ms, narrow).await,
        Errand::Update { grace_ms, narrow } => replay(&desk, Mode::Update, grace_ms, narrow).await,
        Errand::Redrive { one, permille } => redrive(&desk, one, permille).await,
        Errand::Discard => discard(&desk).await,
        Errand::Put(number) => put(&desk, number).await,
        Errand::Hold { lead, ms } => hold(&desk, lead, ms).await,
    };
    if let Err(error) = done {
        desk.tell(|| format!("fails: {}", error.chain()));
    }
}

async fn replay(desk: &Desk, mode: Mode, grace_ms: i64, narrow: bool) -> Result<(), Error> {
    let scope = if narrow {
        let mut groups: Vec<Group> = Vec::new();
        for tenant in &desk.plan.tenants {
            groups.extend(Group::of_subject(&tenant.id().into(), &"lead-0".into()));
        }
        Scope::Groups(groups)
    } else {
        let index = u64::from(desk.task % 2);
        Scope::Partition(Partition { index, count: 2 }, None)
    };
    desk.world.count(
        match mode {
            Mode::Report => "replays that report, beside traffic",
            Mode::Update => "replays that mend, beside traffic",
        },
        1,
    );
    replay_over(desk, mode, grace_ms, &scope).await.map(drop)
}

/// Runs a replay and keeps it, as the product does.
pub(crate) async fn replay_over(
    desk: &Desk,
    mode: Mode,
    grace_ms: i64,
    scope: &Scope,
) -> Result<(Replayed, Vec<Finding>), Error> {
    let settings = desk.settings().await?;
    let moment = desk.world.moment();
    desk.tell(|| format!("replays {scope} in mode {}", mode.name()));
    desk.world.reads_only(desk.task, mode == Mode::Report);
    let parked = parked_events(&desk.ports).await?;
    let replay = Replay {
        ports: &desk.ports,
        clock: &desk.clock,
        settings: &settings,
        parked: &parked,
        grace_ms,
    };
    let mut findings = Vec::new();
    let take = |finding: Finding| {
        if mode == Mode::Report && desk.plan.is_strict() {
            desk.world.doubt(&finding, moment);
        }
        findings.push(finding);
    };
    let replayed = replay.run(scope, mode, take, |_| ()).await?;
    desk.world.reads_only(desk.task, false);
    desk.tell(|| {
        format!(
            "has found {} and mended {}: {}",
            replayed.findings,
            replayed.mended,
            shown(&findings)
        )
    });
    desk.world
        .count("differences found by replays", replayed.findings);
    desk.world
        .count("differences mended by replays", replayed.mended);
    let mut run = ReplayRun {
        mode: mode.name().into(),
        ..ReplayRun::default()
    };
    findings.iter().for_each(|finding| run.count(finding));
    replayed.sum_up(&mut run);
    keep_run(&desk.ports, &run, &findings).await?;
    Ok((replayed, findings))
}

/// Findings in a few words.
pub(crate) fn shown(findings: &[Finding]) -> String {
    let shown = findings.iter().map(|one| {
        let (class, table, explanation) = (one.class.name(), one.table.name(), &one.explanation);
        format!("{class} {table} {} of {}, {explanation}", one.id, one.group)
    });
    shown.collect::<Vec<_>>().join("; ")
}

async fn redrive(desk: &Desk, one: bool, permille: u64) -> Result<(), Error> {
    let letters = desk.ports.dead_letters(0, 100).await?;
    let wanted = |id: &u128| {
        let number = u64::try_from(*id).unwrap_or(0);
        mix(&[desk.plan.seed, u64::from(desk.task), number]) % 1_000 < permille
    };
    let mut chosen: Vec<u128> = letters
        .iter()
        .map(|letter| letter.id)
        .filter(wanted)
        .collect();
    let turned = mix(&[desk.plan.seed, u64::from(desk.task)]).is_multiple_of(2);
    if turned {
        chosen.reverse();
    }
    if one {
        chosen.truncate(1);
    }
    let sent = desk.ports.redrive(&chosen, desk.clock.now()).await?;
    desk.tell(|| format!("sends {sent} dead letters back"));
    desk.world.count("letters redriven beside traffic", sent);
    Ok(())
}

async fn discard(desk: &Desk) -> Result<(), Error> {
    let letters = desk.ports.dead_letters(0, 1).await?;
    let oldest: Vec<u128> = letters.iter().map(|letter| letter.id).collect();
    let gone = desk.ports.discard(&oldest).await?;
    desk.tell(|| format!("throws {gone} dead letters away"));
    desk.world.count("letters thrown away", gone);
    Ok(())
}

async fn put(desk: &Desk, number: usize) -> Result<(), Error> {
    let rules = &desk.plan.rules[number];
    let text = rules.text(&desk.plan.tenants);
    desk.tell(|| format!("puts settings in force: {}", rules.story()));
    desk.ports
        .put(&text, Format::Json, desk.clock.now())
        .await?;
    desk.world.count("settings put", 1);
    Ok(())
}

/// Other code has the lock of a lead's row for a while.
async fn hold(desk: &Desk, lead: u64, ms: i64) -> Result<(), Error> {
    for tenant in &desk.plan.tenants {
        let key = format!("lead-{lead}");
        let row = RowKey {
            group: Group {
                tenant: tenant.id().into(),
                key: key.clone().into(),
            },
            table: Table::RSLead,
            id: key.into(),
        };
        let owner = format!("other code {}", desk.task);
        let (lock, now) = (LockKey::of_row(&row), desk.clock.now());
        let lease = desk.ports.acquire(&lock, &owner, 30_000, now).await?;
        if let Some(lease) = lease {
            desk.tell(|| format!("holds the lock {:?} for {ms} ms", lock.name));
            desk.world.count("locks held by other code", 1);
            desk.pause(ms).await;
            desk.ports.release(&lease).await?;
        }
    }
    Ok(())
}
