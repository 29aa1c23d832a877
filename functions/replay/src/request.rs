use serde::{Deserialize, Serialize};
use shared::adapters::aws::Run;
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::{Finding, Group, ReplayRun};
use shared::ports::{Clock, Error, ErrorKind, Tables};
use shared::service::{Mode, Parked, Replay, Replayed, Scope, keep_run, parked_events};
use smol_str::SmolStr;

/// The most partitions of a run.
const PARTITIONS_MAX: u64 = 1_024;

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to do about differences.
    #[serde(default)]
    pub mode: RequestMode,
    /// Of one tenant alone.
    pub tenant: Option<SmolStr>,
    /// The group of this lead or appointment alone.
    pub id: Option<SmolStr>,
    /// Over how many partitions to fan out; as the function is set up where it is not given.
    pub partitions: Option<u64>,
}

/// What to do about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestMode {
    /// Report them.
    #[default]
    Report,
    /// Report them field by field.
    Changes,
    /// Mend them.
    Update,
}

impl RequestMode {
    /// The name as kept runs have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Changes => "changes",
            Self::Update => "update",
        }
    }
}

/// What a run of that name does about differences.
pub(crate) fn mode(name: &str) -> Mode {
    if name == RequestMode::Update.name() {
        Mode::Update
    } else {
        Mode::Report
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// A run over partitions has begun.
    Begun {
        /// Its id.
        run: String,
        /// How many partitions it has.
        partitions: u64,
    },
    /// The groups of an id were replayed.
    Replayed {
        /// The number that the run is kept under.
        kept: u64,
        /// Its sums.
        replayed: Replayed,
        /// What it found.
        findings: Vec<Finding>,
    },
}

/// Does what a request asks for.
///
/// # Errors
/// The request is wrong, or a store failed.
pub async fn answer(stack: &Stack, request: Request) -> Result<Answer, Error> {
    let parked = parked_events(&stack.aws).await?;
    match request.id.clone() {
        Some(id) => at_once(stack, &request, &id, &parked).await,
        None => fan_out(stack, &request, &parked).await,
    }
}

/// Writes a run down and sends its partitions out.
async fn fan_out(stack: &Stack, request: &Request, parked: &Parked) -> Result<Answer, Error> {
    let doing = "begin a replay run";
    let Some(queue) = &stack.config.replay_queue_url else {
        let why = "FOLDBACK_REPLAY_QUEUE_URL is not set";
        return Err(Error::new(ErrorKind::Reject, doing, why));
    };
    let partitions = request.partitions.unwrap_or(stack.config.partitions);
    if partitions == 0 || partitions > PARTITIONS_MAX {
        let why = format!("{partitions} partitions; give 1 to {PARTITIONS_MAX}");
        return Err(Error::new(ErrorKind::Reject, doing, why));
    }
    let run = stack
        .aws
        .new_run(request.mode.name(), request.tenant.clone(), partitions);
    stack.aws.begin_run(&run, parked).await?;
    let all: Vec<u64> = (0..partitions).collect();
    stack.aws.send_parts(queue, &run.id, &all).await?;
    tracing::info!(run = run.id, partitions, "a replay run began");
    let Run { id, .. } = run;
    Ok(Answer::Begun {
        run: id,
        partitions,
    })
}

/// Replays the groups that an id belongs to: a lead's or a day's own, an appointment's own and its lead's.
async fn at_once(
    stack: &Stack,
    request: &Request,
    id: &SmolStr,
    parked: &Parked,
) -> Result<Answer, Error> {
    let rows = stack.tables().await?;
    let keys = rows.find(request.tenant.as_deref(), id).await?;
    let mut groups: Vec<Group> = keys.into_iter().map(|key| key.group).collect();
    if let Some(tenant) = &request.tenant {
        // One whose rows are gone is still in the journal.
        groups.extend(Group::of_subject(tenant, id));
    }
    groups.sort();
    groups.dedup();
    if groups.is_empty() {
        let why = "no row has this id; with \"tenant\", a lead without rows can be replayed too";
        let doing = format!("replay {id:?}");
        return Err(Error::new(ErrorKind::Reject, doing, why));
    }
    let settings = stack.settings().await?;
    let ports = Joined {
        events: &stack.aws,
        tables: rows,
    };
    let replay = Replay {
        ports: &ports,
        clock: &SystemClock,
        settings: &settings,
        parked,
        grace_ms: stack.config.grace_ms,
    };
    let scope = Scope::Groups(groups);
    let mut run = ReplayRun {
        started: SystemClock.now(),
        mode: request.mode.name().into(),
        scope: scope.to_string(),
        settings: settings.version(),
        ..ReplayRun::default()
    };
    let mut findings: Vec<Finding> = Vec::new();
    let take = |finding| findings.push(finding);
    let replayed = replay.run(&scope, mode(request.mode.name()), take, |_so_far| {});
    let replayed = replayed.await?;
    for finding in &findings {
        run.count(finding);
    }
    replayed.sum_up(&mut run);
    run.finished = SystemClock.now();
    let kept = keep_run(rows, &run, &findings).await?;
    Ok(Answer::Replayed {
        kept,
        replayed,
        findings,
    })
}
