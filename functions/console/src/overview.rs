//! How things stand.

use serde::Serialize;
use shared::model::{ReplayRun, Timestamp};
use shared::ports::{Error, LIVE_RUN, Look};
use smol_str::SmolStr;

use crate::access::Who;
use crate::jobs::State;
use crate::source::{Activity, Source, World};

/// The most messages that are counted by state.
const COUNTED_MAX: usize = 10_000;
/// The most dead letters that are counted for one tenant.
const LETTERS_MAX: usize = 10_000;
/// How much finished work tells the late rate.
pub(crate) const FINISHED: usize = 2_000;
/// How many findings of live handling are counted.
const LIVE_MAX: usize = 1_000;

/// What the overview shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    pub(crate) at: Timestamp,
    pub(crate) counts: Counts,
    /// When the message was sent that has been in the queue for longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) recent: Recent,
    /// Of all tenants; not told to who sees one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activity: Option<Activity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_replay: Option<LastReplay>,
    /// Rows under policy `detect` that live handling found out of order.
    pub(crate) live_findings: usize,
    pub(crate) settings: u32,
}

/// How many jobs are in each state; `None` where that cannot be told.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) active: u64,
    pub(crate) delayed: Option<u64>,
    pub(crate) stalled: Option<u64>,
    pub(crate) failed: u64,
    /// Of the newest that are looked at.
    pub(crate) completed: u64,
    /// Whether there are more than are counted.
    pub(crate) more: bool,
}

/// What the newest finished work tells.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recent {
    pub(crate) events: u64,
    pub(crate) late: u64,
    /// The oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// By how much the latest one came late.
    pub(crate) late_ms_max: i64,
}

/// What replay said last.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastReplay {
    pub(crate) number: u64,
    pub(crate) finished: Timestamp,
    pub(crate) mode: SmolStr,
    pub(crate) scope: String,
    pub(crate) rows: u64,
    pub(crate) findings: u64,
    pub(crate) mended: u64,
}

pub(crate) async fn overview<W: World>(
    world: &W,
    source: &W::Source,
    who: &Who,
) -> Result<Overview, Error> {
    let now = world.now();
    let recent = recent(source, who).await?;
    let (mut counts, oldest) = counts(source, who, now).await?;
    counts.completed = recent.1;
    let activity = match who.tenant {
        None => Some(world.activity().await?),
        Some(_) => None,
    };
    let last_replay = last_replay(source, who).await?;
    let live = source.findings(LIVE_RUN, 0, LIVE_MAX).await?;
    let live = live
        .iter()
        .filter(|(_, finding)| who.sees(&finding.group.tenant));
    Ok(Overview {
        at: now,
        counts,
        oldest,
        recent: recent.0,
        activity,
        last_replay,
        live_findings: live.count(),
        settings: world.settings().await?.version(),
    })
}

async fn counts(
    source: &impl Source,
    who: &Who,
    now: Timestamp,
) -> Result<(Counts, Option<Timestamp>), Error> {
    let depth = source.depth(now).await?;
    let look = Look {
        tenant: who.tenant.clone(),
        from: None,
        limit: COUNTED_MAX,
        examine: COUNTED_MAX,
    };
    let failed = match &who.tenant {
        None => depth.dead,
        Some(tenant) => {
            let letters = source.dead_letters(0, LETTERS_MAX).await?;
            letters
                .iter()
                .filter(|one| one.message.group.tenant == *tenant)
                .count() as u64
        }
    };
    let mut counts = Counts {
        failed,
        ..Counts::default()
    };
    let Some(found) = source.queued(&look).await? else {
        // Such a queue tells no tenant apart.
        if who.tenant.is_none() {
            (counts.waiting, counts.active) = (depth.visible, depth.in_flight);
        }
        return Ok((counts, None));
    };
    let mut by_state = [0_u64; 4];
    for queued in &found.items {
        let place = match State::of(queued, now) {
            State::Waiting => 0,
            State::Active => 1,
            State::Delayed => 2,
            State::Stalled | State::Completed | State::Failed => 3,
        };
        if let Some(count) = by_state.get_mut(place) {
            *count += queued.message.entries.len() as u64;
        }
    }
    let [waiting, active, delayed, stalled] = by_state;
    let counts = Counts {
        waiting,
        active,
        delayed: Some(delayed),
        stalled: Some(stalled),
        more: found.next.is_some(),
        ..counts
    };
    Ok((counts, found.items.first().map(|oldest| oldest.sent)))
}

/// What the newest finished work tells, and how much of it that is.
async fn recent(source: &impl Source, who: &Who) -> Result<(Recent, u64), Error> {
    let look = Look {
        tenant: who.tenant.clone(),
        from: None,
        limit: FINISHED,
        examine: FINISHED * 4,
    };
    let found = source.finished(&look).await?.items;
    let since = found.iter().map(|one| one.write_start).min();
    let until = found.iter().map(|one| one.write_start).max();
    let late = found.iter().filter_map(|one| one.late.as_ref());
    let recent = Recent {
        events: found.len() as u64,
        late: late.clone().count() as u64,
        since,
        until,
        late_ms_max: late.map(|late| late.ms).max().unwrap_or(0),
    };
    let events = recent.events;
    Ok((recent, events))
}

async fn last_replay(source: &impl Source, who: &Who) -> Result<Option<LastReplay>, Error> {
    let Some((number, run)) = source.runs(1).await?.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(match &who.tenant {
        None => told(number, &run),
        Some(tenant) => {
            let found = source.findings(number, 0, LETTERS_MAX).await?;
            let own = found
                .iter()
                .filter(|(_, finding)| finding.group.tenant == *tenant);
            LastReplay {
                // How many rows of others were looked at is theirs to know.
                rows: 0,
                mended: 0,
                scope: format!("tenant {tenant}"),
                findings: own.count() as u64,
                ..told(number, &run)
            }
        }
    }))
}

fn told(number: u64, run: &ReplayRun) -> LastReplay {
    LastReplay {
        number,
        finished: run.finished,
        mode: run.mode.clone(),
        scope: run.scope.clone(),
        rows: run.rows,
        findings: run.findings,
        mended: run.mended,
    }
}
