use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shared::adapters::SystemClock;
use shared::ports::{Clock, Letter, Queue, SettingsVersions};
use shared::settings::Format;

use crate::aws::Stack;
use crate::cli::{Data, Target, table};
use crate::error::{Failure, Status};
use crate::events::HostEvents;
use crate::intake::Intake;
use crate::log::Log;
use crate::pipeline::{self, Watch};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::settings::{self, InForce, Source};
use crate::stopwatch;
use crate::stores::Stores;

/// Look at the dead-letter queue, send its events back, or throw them away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback dlq list
  foldback dlq redrive --settings mended.toml
  foldback dlq redrive 17 18
  foldback dlq discard 17
  foldback dlq list --target aws --stack foldback")]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List parked events with the reason. Ends with 1 where there are any.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Send parked events back to the queue and process them; the rows they belong to heal. On AWS the
    /// function `process` does so, when this command has ended.
    Redrive {
        #[command(flatten)]
        data: Data,
        /// The letters' numbers; all of them if none is given.
        #[arg(value_name = "LETTER")]
        letters: Vec<u128>,
        /// New settings to put in force first: a wrong rule is what parks most events.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
    /// Throw parked events away for good. They stay in the journal; a replay takes them for `lost` where
    /// the settings have a meaning for them. Ends with 1 where a letter was gone already.
    Discard {
        #[command(flatten)]
        data: Data,
        /// The letters' numbers.
        #[arg(
            value_name = "LETTER",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        letters: Vec<u128>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

/// How many letters are sent back, or thrown away, at once.
const LETTERS_AT_ONCE: usize = 1_000;

pub(crate) fn run(args: &DlqArgs) -> Result<Status, Failure> {
    match &args.what {
        What::List { data } => list(data),
        What::Redrive {
            data,
            letters,
            settings,
        } => match data.target()? {
            Target::Local => redrive(data, letters, settings.as_deref()),
            Target::Aws => redrive_on_aws(data, letters, settings.as_deref()),
        },
        What::Discard { data, letters, all } => discard(data, letters, *all),
    }
}

fn list(data: &Data) -> Result<Status, Failure> {
    let events = HostEvents::open_to_read(data)?;
    let mut out = anstream::stdout().lock();
    let mut listed = table(&["letter", "group", "event", "type", "since", "reason"]);
    let mut any = false;
    events.each_letter(|letters| {
        any = true;
        for letter in &letters {
            for (event, kind) in events_of(letter) {
                listed.add_row(vec![
                    letter.id.to_string(),
                    letter.message.group.to_string(),
                    event,
                    kind,
                    letter.at.to_string(),
                    letter.reason.clone(),
                ]);
            }
        }
        Ok(())
    })?;
    if any {
        writeln!(out, "{listed}")?;
        out.flush()?;
        return Ok(Status::Findings);
    }
    anstream::eprintln!("the dead-letter queue is empty");
    Ok(Status::Clean)
}

/// The events of a letter by id and type; one without either for a letter that cannot be read.
fn events_of(letter: &Letter) -> Vec<(String, String)> {
    if letter.message.entries.is_empty() {
        return vec![("-".to_owned(), "-".to_owned())];
    }
    let entries = letter.message.entries.iter();
    let named = |event: &shared::model::Event| (event.id.to_string(), event.kind.to_string());
    entries.map(|entry| named(&entry.event)).collect()
}

/// The letters that are named, or the numbers of all.
fn numbers(events: &HostEvents, named: &[u128]) -> Result<Vec<u128>, Failure> {
    let mut numbers = named.to_vec();
    if named.is_empty() {
        events.each_letter(|letters| {
            numbers.extend(letters.iter().map(|letter| letter.id));
            Ok(())
        })?;
    }
    Ok(numbers)
}

fn send_back(events: &HostEvents, letters: &[u128]) -> Result<u64, Failure> {
    let mut sent = 0;
    for page in letters.chunks(LETTERS_AT_ONCE) {
        sent += events.wait(events.redrive(page, SystemClock.now()))?;
    }
    Ok(sent)
}

fn redrive(data: &Data, letters: &[u128], new_settings: Option<&Path>) -> Result<Status, Failure> {
    let read = settings::read(new_settings.map_or(Source::Stored, Source::File))?;
    let stores = Stores::open(data)?;
    let events = stores.events();
    let settings = settings::put_in_force(events, read.as_ref(), SystemClock.now())?;
    let sent = send_back(events, &numbers(events, letters)?)?;
    let in_force = InForce::new(settings);
    let intake = Intake {
        settings: &in_force,
        tenant: None,
        inputs: &[],
        batch_max: crate::run::BATCH_MAX,
    };
    let mut progress = Progress::new("redriving", "events", None);
    let watch = Watch {
        probe: &Probe::default(),
        scraped: None,
        told: &mut |told| {
            progress.set(told.consumed, None, told.totals.read);
            Ok(())
        },
    };
    let done = pipeline::run(&stores, intake, Log::default(), watch);
    progress.finish();
    let totals = done?;
    let applied = totals.processed.events;
    anstream::eprintln!(
        "{sent} letters sent back: {applied} events applied, {} parked again",
        totals.parked
    );
    for (event, why) in &totals.first_parked {
        anstream::eprintln!("  event {event}: {why}");
    }
    Ok(if totals.parked == 0 {
        Status::Clean
    } else {
        Status::Findings
    })
}

fn redrive_on_aws(
    data: &Data,
    letters: &[u128],
    new_settings: Option<&Path>,
) -> Result<Status, Failure> {
    let read = settings::read(new_settings.map_or(Source::Stored, Source::File))?;
    let events = HostEvents::open(data)?;
    // Before anything is sent back: letters that come after are not asked about.
    let letters = numbers(&events, letters)?;
    if let (Some(read), HostEvents::Aws(stack)) = (&read, &events) {
        put_and_wait(&events, stack, read)?;
    }
    let sent = send_back(&events, &letters)?;
    anstream::eprintln!(
        "{sent} letters sent back; the function `process` takes them from here: `foldback dlq list` \
         tells whether any is parked again"
    );
    Ok(Status::Clean)
}

/// Puts new settings in force, and waits until no function goes on with older ones: it would park the
/// letters again.
fn put_and_wait(
    events: &HostEvents,
    stack: &Stack,
    (text, format): &(String, Format),
) -> Result<(), Failure> {
    let before = events.wait(events.latest())?.map(|stored| stored.version);
    let version = events.wait(events.put(text, *format, SystemClock.now()))?;
    if before == Some(version) {
        anstream::eprintln!("settings: version {version} is in force already");
        return Ok(());
    }
    let seconds = stack.settings_seconds;
    anstream::eprintln!(
        "settings: version {version} is in force; functions that are up take it within {seconds} \
         seconds, which this waits for"
    );
    stopwatch::pause(seconds);
    Ok(())
}

fn discard(data: &Data, letters: &[u128], all: bool) -> Result<Status, Failure> {
    let events = HostEvents::open(data)?;
    let named: std::collections::BTreeSet<u128> = letters.iter().copied().collect();
    let mut chosen = Vec::new();
    let mut out = anstream::stdout().lock();
    events.each_letter(|page| {
        for letter in page.iter().filter(|one| all || named.contains(&one.id)) {
            chosen.push(letter.id);
            for (event, kind) in events_of(letter) {
                let (number, group) = (letter.id, &letter.message.group);
                writeln!(out, "{number}  {group}  {event}  {kind}")?;
            }
        }
        Ok(())
    })?;
    // Told before they are gone.
    out.flush()?;
    let mut gone = 0;
    for page in chosen.chunks(LETTERS_AT_ONCE) {
        gone += events.wait(events.discard(page))?;
    }
    let missing = (named.len().max(chosen.len()) as u64).saturating_sub(gone);
    if missing > 0 {
        anstream::eprintln!("{gone} letters thrown away; {missing} are not there");
        return Ok(Status::Findings);
    }
    anstream::eprintln!("{gone} letters thrown away");
    Ok(Status::Clean)
}
