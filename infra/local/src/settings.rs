use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use clap::{Args, Subcommand};
use shared::adapters::SystemClock;
use shared::adapters::embedded::Embedded;
use shared::model::Timestamp;
use shared::ports::{Clock, Error, SettingsVersions};
use shared::service::{Lookups, SettingsCache};
use shared::settings::{Format, Settings, StoredSettings};

use crate::cli::{Data, Target};
use crate::error::{Failure, Status};
use crate::events::HostEvents;
use crate::stores::Stores;

/// Check settings, put them in force, or show those in force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback settings check settings.toml
  foldback settings put settings.toml --target aws --stack foldback
  foldback settings show --target aws --stack foldback > settings.toml")]
pub(crate) struct SettingsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what a settings file comes to, tenant by tenant, or what is wrong with it and where.
    Check {
        /// TOML, or JSON if so named.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a settings file in force and print its version. A wrong one is refused whole. Rows made under
    /// other settings are stale until an event or `foldback replay --mode update` brings them up to date.
    Put {
        /// TOML, or JSON if so named.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Print the settings in force as they were put.
    Show {
        #[command(flatten)]
        data: Data,
    },
}

/// The settings that the shipped sample is read with.
pub(crate) const SAMPLE: &str = include_str!("../sample/settings.toml");

/// Where a run's settings come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A file that the user names.
    File(&'a Path),
    /// The shipped sample's.
    Sample,
    /// Those that the data directory was last run with.
    Stored,
}

/// Reads and compiles the settings; a wrong file is refused before anything runs.
pub(crate) fn read(source: Source<'_>) -> Result<Option<(String, Format)>, Failure> {
    let (text, format, name) = match source {
        Source::Stored => return Ok(None),
        Source::Sample => (
            SAMPLE.to_owned(),
            Format::Toml,
            "the sample's settings".to_owned(),
        ),
        Source::File(path) => {
            let (text, format, _) = read_file(path)?;
            return Ok(Some((text, format)));
        }
    };
    compile(&text, format, &name)?;
    Ok(Some((text, format)))
}

/// A settings file: its text and what it comes to.
fn read_file(path: &Path) -> Result<(String, Format, Settings), Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Failure::File {
        what: format!("read settings {name}"),
        source,
    })?;
    let json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let format = if json { Format::Json } else { Format::Toml };
    let settings = compile(&text, format, &name)?;
    Ok((text, format, settings))
}

fn compile(text: &str, format: Format, name: &str) -> Result<Settings, Failure> {
    Settings::compile(text, format, 0)
        .map_err(|error| Failure::Input(format!("settings {name}: {error}")))
}

/// Puts settings that were read in force, or takes those in force, and compiles them.
pub(crate) fn put_in_force(
    events: &HostEvents,
    read: Option<&(String, Format)>,
    now: Timestamp,
) -> Result<Settings, Failure> {
    if let Some((text, format)) = read {
        events.wait(events.put(text, *format, now))?;
    }
    in_force(events)
}

/// The settings in force, compiled.
pub(crate) fn in_force(events: &HostEvents) -> Result<Settings, Failure> {
    let stored = stored(events)?;
    Settings::of(&stored).map_err(|error| {
        Failure::Input(format!(
            "stored settings, version {}: {error}",
            stored.version
        ))
    })
}

/// The settings in force, as they were put.
fn stored(events: &HostEvents) -> Result<StoredSettings, Failure> {
    let Some(stored) = events.wait(events.latest())? else {
        return Err(Failure::Input(match events {
            HostEvents::Local(store) => format!(
                "{} has no settings yet; give --settings FILE to say what the events mean",
                store.directory().display()
            ),
            HostEvents::Aws(stack) => format!(
                "the stack {name:?} has no settings yet; say what the events mean: foldback \
                 settings put FILE --target aws --stack {name}",
                name = stack.name
            ),
        }));
    };
    Ok(stored)
}

/// The settings in force, as a process that goes on for long sees them: what is put meanwhile takes
/// effect with the next unit of work.
#[derive(Debug)]
pub(crate) struct InForce {
    cache: SettingsCache,
    last: RwLock<Arc<Settings>>,
}

impl InForce {
    /// These, until others are put.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            // A look costs no request here.
            cache: SettingsCache::new(0),
            last: RwLock::new(Arc::new(settings)),
        }
    }

    /// As they were at the last look.
    pub(crate) fn get(&self) -> Arc<Settings> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&last)
    }

    /// How often settings were wanted, from the beginning.
    pub(crate) fn lookups(&self) -> Lookups {
        self.cache.lookups()
    }

    /// Looks whether others were put. Of those that do not compile it tells once, and goes on with the last
    /// good ones.
    pub(crate) async fn look(
        &self,
        store: &impl SettingsVersions,
        now: Timestamp,
    ) -> Result<Arc<Settings>, Error> {
        let found = self.cache.get(store, now).await?;
        let good = found.version();
        if let Some((version, why)) = self.cache.refused() {
            anstream::eprintln!(
                "settings version {version} does not compile, so version {good} stays in force: {why}"
            );
        }
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.version() != good {
            anstream::eprintln!("settings version {good} is in force from here on");
            *last = Arc::clone(&found);
        }
        Ok(found)
    }
}

pub(crate) fn run(args: &SettingsArgs) -> Result<Status, Failure> {
    match &args.what {
        What::Check { file } => check(file),
        What::Put { file, data } => put(file, data),
        What::Show { data } => show(data),
    }
}

fn check(file: &Path) -> Result<Status, Failure> {
    let (_, _, settings) = read_file(file)?;
    let mut out = anstream::stdout().lock();
    for line in settings.summary() {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(Status::Clean)
}

fn put(file: &Path, data: &Data) -> Result<Status, Failure> {
    let (text, format, _) = read_file(file)?;
    let stores;
    let events;
    let host = match data.target()? {
        // Where the rows are is settled before the first settings are.
        Target::Local => match Stores::open(data) {
            Ok(opened) => {
                stores = opened;
                stores.events()
            }
            // Who writes there takes the new settings while it goes on.
            Err(error) if error.is_busy() => {
                events = HostEvents::Local(Embedded::open_beside(&data.directory)?);
                &events
            }
            Err(error) => return Err(error),
        },
        Target::Aws => {
            events = HostEvents::open(data)?;
            &events
        }
    };
    let version = host.wait(host.put(&text, format, SystemClock.now()))?;
    let mut out = anstream::stdout().lock();
    writeln!(out, "{version}")?;
    out.flush()?;
    match host {
        HostEvents::Local(_) => anstream::eprintln!("version {version} is in force"),
        HostEvents::Aws(stack) => anstream::eprintln!(
            "version {version} is in force; functions that are up take it within {} seconds",
            stack.settings_seconds
        ),
    }
    Ok(Status::Clean)
}

fn show(data: &Data) -> Result<Status, Failure> {
    let stored = stored(&HostEvents::open_to_read(data)?)?;
    let mut out = anstream::stdout().lock();
    out.write_all(stored.text.as_bytes())?;
    out.flush()?;
    anstream::eprintln!("version {}", stored.version);
    Ok(Status::Clean)
}
