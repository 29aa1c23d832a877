use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::{Args, ValueEnum};
use shared::adapters::SystemClock;
use shared::model::{Finding, Group};
use shared::ports::{Partition, Reports, Tables};
use shared::service::{Mode, Replay, Replayed, Scope, parked_events};
use shared::settings::Settings;
use smol_str::SmolStr;

use crate::cli::{Data, OneTenant};
use crate::error::{Failure, Status};
use crate::progress::Progress;
use crate::settings;
use crate::stopwatch::Stopwatch;
use crate::stores::Stores;
use crate::tables::HostTables;
use crate::verdict::{Found, Listing, Verdict};

/// Fold everything anew from the journal and compare it with the tables.
///
/// `report` and `changes` read rows and write none, so they run beside a process that writes; `update`
/// is the one that mends. What it found it keeps, for `foldback report` to tell; the others do where the
/// rows are in MongoDB, which many may write to. Ends with 0 where nothing is found and with 1 where
/// something is (under `update`, even if all of it was mended).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback replay
  foldback replay --mode changes --id lead-1007
  foldback replay --mode update --tenant acme
  foldback replay --partition 1/4 --json | jq .class")]
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
    /// One JSON object a finding.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReplayMode {
    /// List the rows that differ.
    Report,
    /// List every field that differs, before and after.
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

/// Replays everything in `report` mode, for a run's verdict.
pub(crate) fn verify(stores: &Stores, settings: &Settings) -> Result<Verdict, Failure> {
    let whole = Scope::Partition(Partition::WHOLE, None);
    let found = Found::begin(ReplayMode::Report.name(), &whole);
    read_only(stores, settings, Partition::WHOLE, None, found)
}

/// Replays a partition, of one tenant or of all, on all cores, each part over a connection of its own.
fn read_only(
    stores: &Stores,
    settings: &Settings,
    whole: Partition,
    tenant: Option<&SmolStr>,
    found: Found,
) -> Result<Verdict, Failure> {
    let started = Stopwatch::start();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
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
        let parked = stores.wait(parked_events(&ports))?;
        let replay = Replay {
            ports: &ports,
            clock: &SystemClock,
            settings,
            parked: &parked,
            grace_ms: 0,
        };
        let take = |finding| found_so_far().take(finding);
        let replayed = stores.wait(replay.run(&scope, Mode::Report, take, |_so_far| {}))?;
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
    let settings = settings::in_force(reader.local())?;
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
    let found = Found::begin(args.mode.name(), &scope);
    let verdict = match args.mode {
        ReplayMode::Report | ReplayMode::Changes => {
            let verdict = match &scope {
                Scope::Partition(whole, tenant) => {
                    read_only(&reader, &settings, *whole, tenant.as_ref(), found)?
                }
                Scope::Groups(_) => serial(&reader, &settings, &scope, Mode::Report, found)?,
            };
            keep(&reader, &verdict)?;
            verdict
        }
        ReplayMode::Update => {
            let writer = reader.into_writing()?;
            serial(&writer, &settings, &scope, Mode::Update, found)?
        }
    };
    let listing = match (args.json, args.mode) {
        (true, ReplayMode::Report | ReplayMode::Changes | ReplayMode::Update) => Listing::Json,
        (false, ReplayMode::Report) => Listing::Reasons,
        (false, ReplayMode::Changes | ReplayMode::Update) => Listing::Fields,
    };
    verdict.print(listing)?;
    Ok(verdict.status())
}

/// Keeps a run that only read, where that takes no lock.
fn keep(stores: &Stores, verdict: &Verdict) -> Result<(), Failure> {
    match stores.tables() {
        HostTables::Local(_) => {}
        HostTables::Remote(store) => {
            stores.wait(store.keep_run(&verdict.run, &verdict.findings))?;
        }
    }
    Ok(())
}

fn serial(
    stores: &Stores,
    settings: &Settings,
    scope: &Scope,
    mode: Mode,
    mut found: Found,
) -> Result<Verdict, Failure> {
    let started = Stopwatch::start();
    let (store, tables) = (stores.local(), stores.tables());
    let mut progress = Progress::new("replaying", "groups", None);
    // An update makes a page of groups durable with one commit.
    let mut committed = Ok(());
    let show = |so_far: &Replayed| {
        progress.set(so_far.groups, None, so_far.groups);
        if mode == Mode::Update && committed.is_ok() {
            committed = store.commit().and_then(|()| store.begin());
        }
    };
    if mode == Mode::Update {
        store.begin()?;
    }
    let ports = stores.ports(&tables);
    let parked = stores.wait(parked_events(&ports))?;
    let replay = Replay {
        ports: &ports,
        clock: &SystemClock,
        settings,
        parked: &parked,
        grace_ms: 0,
    };
    let replayed = stores.wait(replay.run(scope, mode, |finding| found.take(finding), show));
    progress.finish();
    committed?;
    found.replayed = replayed?;
    let verdict = found.verdict(started.elapsed());
    if mode == Mode::Update {
        stores.wait(tables.keep_run(&verdict.run, &verdict.findings))?;
        store.commit()?;
    }
    Ok(verdict)
}

/// The groups that an id belongs to: a lead's own, an appointment's lead's.
pub(crate) fn groups_of(
    stores: &Stores,
    tenant: Option<&SmolStr>,
    id: &SmolStr,
) -> Result<Vec<Group>, Failure> {
    let tables = stores.tables();
    let keys = stores.wait(tables.find(tenant.map(SmolStr::as_str), id))?;
    let mut groups: Vec<Group> = keys.into_iter().map(|key| key.group).collect();
    if let Some(tenant) = tenant {
        // A lead whose rows are gone is still in the journal.
        groups.push(Group {
            tenant: tenant.clone(),
            key: id.clone(),
        });
    } else {
        groups.extend(stores.local().groups_named(id)?);
    }
    groups.sort();
    groups.dedup();
    if groups.is_empty() {
        return Err(Failure::Input(format!(
            "no lead or appointment {id:?} is known"
        )));
    }
    Ok(groups)
}
