use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::{Args, ValueEnum};
use shared::adapters::SystemClock;
use shared::model::{Finding, Group, ReplayRun};
use shared::ports::{Error, Partition, Tables};
use shared::service::{Mode, Parked, Replay, Replayed, Scope, keep_run, parked_events};
use shared::settings::Settings;
use smol_str::SmolStr;

use crate::cli::{Data, OneTenant};
use crate::error::{Failure, Status};
use crate::events::HostEvents;
use crate::progress::Progress;
use crate::settings;
use crate::stopwatch::Stopwatch;
use crate::stores::Stores;
use crate::tables::HostTables;
use crate::verdict::{Found, Listing, Verdict};

/// Fold everything anew from the journal and compare it with the tables.
///
/// `report` and `changes` read rows and write none, so they run beside a process that writes; `update`
/// is the one that mends. What it found it keeps, for `foldback runs` and `foldback report` to tell; the
/// others do where the rows are in MongoDB, which many may write to. Ends with 0 where nothing is found and with 1 where
/// something is (under `update`, even if all of it was mended).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback replay
  foldback replay --mode changes --id lead-1007
  foldback replay --mode update --tenant acme
  foldback replay --partition 1/4 --json | jq .class
  foldback replay --target aws --stack foldback --mode changes")]
pub(crate) struct ReplayArgs {
    /// What to do about differences.
    #[arg(long, value_enum, default_value_t = ReplayMode::Report)]
    mode: ReplayMode,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    tenant: OneTenant,
    /// Only the group of this lead or appointment.
    #[arg(long, value_name = "ID", conflicts_with = "partition")]
    id: Option<SmolStr>,
    /// Only partition K of N by hash of the group, K from 1.
    #[arg(long, value_name = "K/N", value_parser = partition)]
    partition: Option<Partition>,
    /// Events that are younger may be under way still, and are no findings. By default 0, and on AWS
    /// what the stack's own replays go by (900 unless it was deployed otherwise).
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// One JSON object a finding.
    #[arg(long)]
    json: bool,
}

/// How many parts are replayed side by side on AWS, at least.
const AT_ONCE_ON_AWS: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReplayMode {
    /// List the rows that differ.
    Report,
    /// List every field that differs, before and after, and the events behind it.
    Changes,
    /// Mend them, and keep the run with its findings.
    Update,
}

impl ReplayMode {
    /// The name as kept runs have it.
    fn name(self) -> &'static str {
        match self {
            Self::Report => Mode::Report.name(),
            Self::Changes => "changes",
            Self::Update => Mode::Update.name(),
        }
    }
}

fn partition(text: &str) -> Result<Partition, String> {
    let wrong = || format!("{text:?} is not K/N such as 1/4");
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_no_number| wrong());
    let (index, count) = (number(index)?, number(count)?);
    if index == 0 || index > count {
        return Err(format!("{text:?}: K goes from 1 to N"));
    }
    Ok(Partition {
        index: index - 1,
        count,
    })
}

/// What a replay goes by, whatever its scope.
struct Terms<'a> {
    settings: &'a Settings,
    parked: Parked,
    grace_ms: i64,
    mode: Mode,
}

impl<'a> Terms<'a> {
    /// Dead letters are looked at once: on AWS, who looks hides them from others for a moment.
    fn new(
        stores: &Stores,
        settings: &'a Settings,
        grace_seconds: Option<u32>,
        mode: Mode,
    ) -> Result<Self, Failure> {
        let grace_seconds = match (grace_seconds, stores.events()) {
            (Some(seconds), _) => i64::from(seconds),
            (None, HostEvents::Local(_)) => 0,
            (None, HostEvents::Aws(stack)) => i64::from(stack.grace_seconds),
        };
        Ok(Self {
            settings,
            parked: stores.wait(parked_events(stores.events()))?,
            grace_ms: grace_seconds * 1_000,
            mode,
        })
    }

    fn replay<'r, P>(&'r self, ports: &'r P) -> Replay<'r, P, SystemClock> {
        Replay {
            ports,
            clock: &SystemClock,
            settings: self.settings,
            parked: &self.parked,
            grace_ms: self.grace_ms,
        }
    }
}

/// Replays everything in `report` mode, for a run's verdict: nothing is under way.
pub(crate) fn verify(stores: &Stores, settings: &Settings) -> Result<Verdict, Failure> {
    let whole = Scope::Partition(Partition::WHOLE, None);
    let found = Found::begin(ReplayMode::Report.name(), &whole, settings);
    let terms = Terms::new(stores, settings, Some(0), Mode::Report)?;
    side_by_side(stores, &terms, (Partition::WHOLE, None), found)
}

/// Replays a partition, of one tenant or of all, its parts side by side, each over a connection of its
/// own: on all cores, and more of them where it is the network that is waited for.
fn side_by_side(
    stores: &Stores,
    terms: &Terms<'_>,
    (whole, tenant): (Partition, Option<&SmolStr>),
    found: Found,
) -> Result<Verdict, Failure> {
    let started = Stopwatch::start();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = match stores.events() {
        HostEvents::Local(_) => threads,
        HostEvents::Aws(_) => threads.max(AT_ONCE_ON_AWS),
    };
    let found = Mutex::new(found);
    let found_so_far = || found.lock().unwrap_or_else(PoisonError::into_inner);
    let part = |index: u64| -> Result<(), Failure> {
        let stores = stores.again()?;
        let tables = stores.tables();
        let ports = stores.ports(&tables);
        let partition = Partition {
            index: whole.index * threads + index,
            count: whole.count * threads,
        };
        let scope = Scope::Partition(partition, tenant.cloned());
        let replay = terms.replay(&ports);
        let take = |finding| found_so_far().take(finding);
        let replayed = stores.wait(replay.run(&scope, terms.mode, take, |_so_far| {}))?;
        found_so_far().replayed.add(&replayed);
        Ok(())
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|index| scope.spawn(move || part(index)))
            .collect();
        parts.into_iter().try_for_each(|part| match part.join() {
            Ok(done) => done,
            Err(_panic) => Err(Failure::Input(
                "a replay thread died: a fault of foldback".to_owned(),
            )),
        })
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |finding: &Finding| (finding.group.clone(), finding.table, finding.id.clone());
    found.findings.sort_by_cached_key(place);
    Ok(found.verdict(started.elapsed()))
}

pub(crate) fn run(args: &ReplayArgs) -> Result<Status, Failure> {
    let reader = Stores::open_to_read(&args.data)?;
    let settings = settings::in_force(reader.events())?;
    let tenant = args.tenant.tenant.as_ref();
    if let Some(id) = tenant.filter(|id| settings.tenant(id).is_none()) {
        return Err(Failure::Input(format!(
            "the settings know no tenant {id:?}"
        )));
    }
    let whole = args.partition.unwrap_or(Partition::WHOLE);
    let scope = match &args.id {
        Some(id) => Scope::Groups(groups_of(&reader, tenant, id)?),
        None => Scope::Partition(whole, tenant.cloned()),
    };
    let verdict = replay(args, reader, &settings, &scope)?;
    let listing = match (args.json, args.mode) {
        (true, ReplayMode::Report | ReplayMode::Changes | ReplayMode::Update) => Listing::Json,
        (false, ReplayMode::Report) => Listing::Reasons,
        (false, ReplayMode::Changes | ReplayMode::Update) => Listing::Fields,
    };
    verdict.print(listing)?;
    Ok(verdict.status())
}

fn replay(
    args: &ReplayArgs,
    mut stores: Stores,
    settings: &Settings,
    scope: &Scope,
) -> Result<Verdict, Failure> {
    let found = Found::begin(args.mode.name(), scope, settings);
    let mode = match args.mode {
        ReplayMode::Report | ReplayMode::Changes => Mode::Report,
        ReplayMode::Update => {
            stores = stores.into_writing()?;
            Mode::Update
        }
    };
    let terms = Terms::new(&stores, settings, args.grace, mode)?;
    // A data directory has one writer, whose unit of work spans a page of groups.
    let alone = match (mode, stores.events()) {
        (Mode::Update, HostEvents::Local(_)) => true,
        (Mode::Update, HostEvents::Aws(_)) | (Mode::Report, _) => false,
    };
    let verdict = match scope {
        Scope::Partition(whole, tenant) if !alone => {
            side_by_side(&stores, &terms, (*whole, tenant.as_ref()), found)?
        }
        Scope::Partition(..) | Scope::Groups(_) => serial(&stores, &terms, scope, found)?,
    };
    if !alone {
        keep(&stores, &verdict)?;
    }
    Ok(verdict)
}

/// Keeps a run where that takes no lock.
fn keep(stores: &Stores, verdict: &Verdict) -> Result<(), Failure> {
    match stores.tables() {
        HostTables::Local(_) => {}
        HostTables::Remote(store) => {
            stores.wait(keep_run(store, &verdict.run, &verdict.findings))?;
        }
    }
    Ok(())
}

/// Replays one group after another; an update of a data directory is kept with its last commit.
fn serial(
    stores: &Stores,
    terms: &Terms<'_>,
    scope: &Scope,
    mut found: Found,
) -> Result<Verdict, Failure> {
    let started = Stopwatch::start();
    let (events, tables) = (stores.events(), stores.tables());
    let mut progress = Progress::new("replaying", "groups", None);
    let mends = terms.mode == Mode::Update;
    // An update makes a page of groups durable with one commit.
    let mut committed = Ok(());
    let show = |so_far: &Replayed| {
        progress.set(so_far.groups, None, so_far.groups);
        if mends && committed.is_ok() {
            committed = events.commit().and_then(|()| events.begin());
        }
    };
    if mends {
        events.begin()?;
    }
    let ports = stores.ports(&tables);
    let replay = terms.replay(&ports);
    let take = |finding| found.take(finding);
    let replayed = stores.wait(replay.run(scope, terms.mode, take, show));
    progress.finish();
    committed?;
    found.replayed = replayed?;
    let verdict = found.verdict(started.elapsed());
    match events {
        HostEvents::Local(local) if mends => {
            stores.wait(keep_run(&tables, &verdict.run, &verdict.findings))?;
            local.commit()?;
        }
        HostEvents::Local(_) | HostEvents::Aws(_) => {}
    }
    Ok(verdict)
}

/// What a replay that changes nothing saw.
pub(crate) struct Looked {
    pub(crate) run: ReplayRun,
    pub(crate) findings: Vec<Finding>,
}

/// Replays a scope in `report` mode, beside whoever writes.
pub(crate) fn look(stores: &Stores, settings: &Settings, scope: &Scope) -> Result<Looked, Failure> {
    let found = Found::begin(ReplayMode::Report.name(), scope, settings);
    let terms = Terms::new(stores, settings, None, Mode::Report)?;
    let verdict = match scope {
        Scope::Partition(whole, tenant) => {
            side_by_side(stores, &terms, (*whole, tenant.as_ref()), found)?
        }
        Scope::Groups(_) => serial(stores, &terms, scope, found)?,
    };
    Ok(Looked {
        run: verdict.run,
        findings: verdict.findings,
    })
}

/// The groups that an id belongs to: a lead's or a day's own, an appointment's own and its lead's.
pub(crate) fn groups_of(
    stores: &Stores,
    tenant: Option<&SmolStr>,
    id: &SmolStr,
) -> Result<Vec<Group>, Failure> {
    let groups = stores.wait(known_groups_of(stores, tenant, id))?;
    if groups.is_empty() {
        return Err(Failure::Input(match stores.events() {
            HostEvents::Local(_) => format!("no lead or appointment {id:?} is known"),
            HostEvents::Aws(_) => format!(
                "no lead or appointment {id:?} has rows; with --tenant ID it is looked for in the \
                 journal too"
            ),
        }));
    }
    Ok(groups)
}

/// The same; none where no such id is known.
pub(crate) async fn known_groups_of(
    stores: &Stores,
    tenant: Option<&SmolStr>,
    id: &SmolStr,
) -> Result<Vec<Group>, Error> {
    let keys = stores
        .tables()
        .find(tenant.map(SmolStr::as_str), id)
        .await?;
    let mut groups: Vec<Group> = keys.into_iter().map(|key| key.group).collect();
    if let Some(tenant) = tenant {
        // One whose rows are gone is still in the journal.
        groups.extend(Group::of_subject(tenant, id));
    } else if let HostEvents::Local(store) = stores.events() {
        for Group { key, .. } in Group::of_subject(&SmolStr::default(), id) {
            groups.extend(store.groups_named(&key)?);
        }
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}
