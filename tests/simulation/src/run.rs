//! One run: the storm, the calm after it, and the verdict.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use shared::model::Finding;
use shared::ports::{Clock, Error, Partition, Queue};
use shared::service::{Mode, Scope, SettingsCache};
use shared::settings::{Format, StoredSettings, since};

use crate::chance::mix;
use crate::plan::Plan;
use crate::storm::{Fault, JANITOR};
use crate::tasks::{self, Desk, SETTINGS_MS, replay_over, shown};
use crate::verdict;
use crate::world::{Job, Stats, Sum, World, drive};

/// So long after the last chore every lease, stall and pause is over.
const CALM_MS: i64 = 150_000;
/// How often dead letters are sent back, and a replay mends, until nothing is left.
const ROUNDS_MAX: u32 = 6;

/// The failure of a run whose messages are never all done.
pub(crate) const RESTLESS: &str = "the queue is never empty";

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Why it is not as it must be.
    pub(crate) failure: Option<String>,
    /// A hash of all that happened, in order, and of the rows in the end.
    pub(crate) trace: u64,
    pub(crate) stats: Stats,
    pub(crate) fired: BTreeMap<(u32, u64), Fault>,
    pub(crate) story: Vec<String>,
}

/// Runs a plan; `tells` where its story is wanted.
pub(crate) fn run(plan: &Plan, tells: bool) -> Ran {
    let plan = Arc::new(plan.clone());
    let world = World::new(&plan, tells);
    let text = plan.rules[0].text(&plan.tenants);
    world.store().keeping.settings.push(StoredSettings {
        since: since(None, &text, Format::Json, 1),
        version: 1,
        format: Format::Json,
        text,
    });
    drive(&world, &jobs(&world, &plan));
    let mut failures = world.failures();
    if failures.is_empty() {
        failures.extend(verdict::verdict(&world.store(), &plan));
    }
    let Sum {
        trace,
        mut stats,
        fired,
        story,
    } = world.sum_up();
    let store = world.store();
    let mut parts = vec![trace];
    for (key, kept) in store.tables.all() {
        parts.push(key.group.hash().cast_unsigned());
        parts.push(u64::from(crc32fast::hash(kept.body.as_bytes())));
        parts.push(kept.trail.version);
    }
    stats.insert("images in the end", store.tables.image_count() as u64);
    Ran {
        failure: failures.into_iter().next(),
        trace: mix(&parts),
        stats,
        fired,
        story,
    }
}

fn jobs(world: &Arc<World>, plan: &Arc<Plan>) -> Vec<Job> {
    let fresh = || Arc::new(SettingsCache::new(SETTINGS_MS));
    // All senders come to one process; so do all chores, and each worker is one.
    let (ingest, chores) = (fresh(), fresh());
    let desk = |task: u32, cache: Arc<SettingsCache>| {
        let (world, plan) = (Arc::clone(world), Arc::clone(plan));
        move || Desk::new(&world, &plan, task, &cache)
    };
    let mut jobs = Vec::new();
    for worker in plan.workers.iter().copied() {
        let desk = desk(worker.task, fresh());
        jobs.push(Job {
            task: worker.task,
            begin: Box::new(move || Box::pin(tasks::work(desk(), worker))),
            restarts: true,
            ends: false,
        });
    }
    for delivery in plan.deliveries.iter().cloned() {
        let desk = desk(delivery.task, Arc::clone(&ingest));
        let first = Rc::new(Cell::new(true));
        jobs.push(Job {
            task: delivery.task,
            restarts: delivery.stubborn,
            begin: Box::new(move || {
                let first = first.replace(false);
                Box::pin(tasks::send(desk(), delivery.clone(), first))
            }),
            ends: true,
        });
    }
    for chore in plan.chores.iter().cloned() {
        let desk = desk(chore.task, Arc::clone(&chores));
        jobs.push(Job {
            task: chore.task,
            begin: Box::new(move || Box::pin(tasks::run_errand(desk(), chore.clone()))),
            restarts: false,
            ends: true,
        });
    }
    let desk = desk(JANITOR, chores);
    jobs.push(Job {
        task: JANITOR,
        begin: Box::new(move || Box::pin(bring_to_rest(desk()))),
        restarts: false,
        ends: true,
    });
    jobs
}

/// Waits for the end of the storm, has everything delivered, and lets replays have the last word.
async fn bring_to_rest(desk: Desk) {
    while !desk.world.all_sent() || !desk.world.is_reachable() {
        desk.pause(3_000).await;
    }
    desk.world.calm_down();
    desk.tell(|| "nothing goes wrong from here on".to_owned());
    desk.pause(CALM_MS + SETTINGS_MS).await;
    if let Err(error) = finish(&desk).await {
        desk.world.fail(format!("the end fails: {}", error.chain()));
    }
}

async fn finish(desk: &Desk) -> Result<(), Error> {
    drain(desk).await?;
    let letters = desk.ports.dead_letters(0, 1_000).await?;
    if !letters.is_empty() {
        let mut all: Vec<u128> = letters.iter().map(|letter| letter.id).collect();
        let order = |id: &u128| mix(&[desk.plan.seed, u64::try_from(*id).unwrap_or(0)]);
        all.sort_by_key(order);
        let sent = desk.ports.redrive(&all, desk.clock.now()).await?;
        desk.tell(|| format!("sends all {sent} dead letters back"));
        desk.world.count("letters redriven in the end", sent);
        drain(desk).await?;
    }
    let all = Scope::Partition(Partition::WHOLE, None);
    if !desk.plan.is_strict() {
        for _round in 0..ROUNDS_MAX {
            let (replayed, _) = replay_over(desk, Mode::Update, 0, &all).await?;
            if replayed.findings == 0 {
                break;
            }
        }
    } else {
        desk.world
            .count("runs whose rows no replay mended in the end", 1);
    }
    let (_, findings) = replay_over(desk, Mode::Report, 0, &all).await?;
    check_findings(desk, &findings);
    Ok(())
}

fn check_findings(desk: &Desk, findings: &[Finding]) {
    if !findings.is_empty() {
        let found = shown(findings);
        desk.world.fail(format!("a replay finds at rest: {found}"));
    }
}

/// Waits until the queue is empty.
async fn drain(desk: &Desk) -> Result<(), Error> {
    for _look in 0..400 {
        let depth = desk.ports.depth(desk.clock.now()).await?;
        if depth.visible + depth.in_flight == 0 {
            // Whoever has just deleted a message may have more to do.
            desk.pause(30_000).await;
            let depth = desk.ports.depth(desk.clock.now()).await?;
            if depth.visible + depth.in_flight == 0 {
                return Ok(());
            }
        }
        desk.pause(5_000).await;
    }
    desk.world.fail(RESTLESS.to_owned());
    Ok(())
}
