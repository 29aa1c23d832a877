//! Makes up events: a feed as disordered as real ones are, and the truth it should come to.
//!
//! The same seed and options give the same bytes on every machine, in any year.

mod draw;
mod event;
mod life;
mod sink;
#[cfg(test)]
mod tests;
mod text;
mod travel;

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::RangedU64ValueParser;

pub(crate) use self::draw::Rate;
use self::sink::Sink;
pub(crate) use self::text::tenant;
use self::travel::AsWhat;
use crate::error::{Failure, Status};
use crate::progress::Progress;

/// The most tenants: beyond that a feed no longer looks like one installation's.
const TENANTS_MAX: u64 = 10_000;
/// The most leads: about a thousand million events.
const LEADS_MAX: u64 = 100_000_000;
/// Lines between two looks at the progress.
const PROGRESS_EVERY: u64 = 4_096;

/// What to make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Decides everything that chance decides.
    pub(crate) seed: u64,
    /// How many tenants the leads are dealt to.
    pub(crate) tenants: u32,
    /// How many leads; each has about ten events.
    pub(crate) leads: u64,
    /// Events that are delayed.
    pub(crate) late: Rate,
    /// Events that arrive a second time.
    pub(crate) duplicates: Rate,
    /// Events that are lost, and sent again when all others have arrived.
    pub(crate) resent: Rate,
    /// Malformed lines, besides the events.
    pub(crate) malformed: Rate,
}

/// Make up the events of a CRM: late, doubled, lost and resent, some malformed.
///
/// Writes events as JSON, one a line, in the order in which they arrive. The same options give the
/// same bytes everywhere. The settings of the sample that ships with foldback fit up to 16 tenants.
/// Percentages are of the well-formed events; malformed lines come on top of these.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback generate | head -3
  foldback generate --leads 100000 --output events.jsonl.zst --truth truth.jsonl.zst
  foldback generate --late 0 --duplicates 0 --resent 0 --malformed 0   # all in order")]
pub(crate) struct GenerateArgs {
    /// Another seed gives other events.
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// How many tenants: acme, globex, initech, tenant-4 and so on.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=TENANTS_MAX))]
    tenants: u32,
    /// How many leads; each has about ten events.
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=LEADS_MAX))]
    leads: u64,
    /// Events that arrive seconds to days late.
    #[arg(long, value_name = "PERCENT", default_value = "8")]
    late: Rate,
    /// Events that arrive twice.
    #[arg(long, value_name = "PERCENT", default_value = "5")]
    duplicates: Rate,
    /// Events that are lost and sent again at the end.
    #[arg(long, value_name = "PERCENT", default_value = "1")]
    resent: Rate,
    /// Extra lines that no pipeline should accept.
    #[arg(long, value_name = "PERCENT", default_value = "0.3")]
    malformed: Rate,
    /// Where the arriving lines go; `-` is standard output. Compressed if named .gz or .zst.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Where the truth goes: every well-formed event once, in order.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    events: u64,
    late: u64,
    resent: u64,
    duplicates: u64,
    malformed: u64,
}

/// The arriving lines, for who takes them without a file.
pub(crate) fn lines(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    travel::arrivals(plan).map(|delivery| delivery.text(plan))
}

/// Writes the arrival stream and, where it is asked for, the truth.
pub(crate) fn run(args: &GenerateArgs) -> Result<Status, Failure> {
    if args.truth.as_ref() == Some(&args.output) {
        return Err(Failure::Input(format!(
            "--truth and --output are both {}; give each its own file",
            args.output.display()
        )));
    }
    let plan = args.plan();
    let counts = write_arrivals(&plan, &args.output)?;
    if let Some(path) = &args.truth {
        write_truth(&plan, path)?;
    }
    let Counts {
        events,
        late,
        resent,
        duplicates,
        malformed,
    } = counts;
    anstream::eprintln!(
        "generated {events} events of {leads} leads: {late} delayed, {resent} lost and resent; \
         besides them {duplicates} duplicates, {malformed} malformed lines",
        leads = plan.leads
    );
    Ok(Status::Clean)
}

impl GenerateArgs {
    fn plan(&self) -> Plan {
        let Self {
            seed,
            tenants,
            leads,
            late,
            duplicates,
            resent,
            malformed,
            ..
        } = *self;
        Plan {
            seed,
            tenants,
            leads,
            late,
            duplicates,
            resent,
            malformed,
        }
    }
}

fn write_arrivals(plan: &Plan, path: &Path) -> Result<Counts, Failure> {
    let mut progress = Progress::new("generating", "lines", Some(plan.leads));
    let written = deliver(plan, path, &mut progress);
    progress.finish();
    written
}

fn deliver(plan: &Plan, path: &Path, progress: &mut Progress) -> Result<Counts, Failure> {
    let mut sink = Sink::open(path)?;
    let mut counts = Counts::default();
    let mut lines = 0;
    let mut arrivals = travel::arrivals(plan);
    while let Some(delivery) = arrivals.next() {
        sink.line(&delivery.text(plan))?;
        counts.add(delivery.as_what);
        lines += 1;
        if lines % PROGRESS_EVERY == 0 {
            progress.set(arrivals.leads(), Some(plan.leads), lines);
        }
    }
    sink.finish()?;
    Ok(counts)
}

fn write_truth(plan: &Plan, path: &Path) -> Result<(), Failure> {
    let mut sink = Sink::open(path)?;
    for event in travel::truth(plan) {
        sink.line(&text::line(plan, &event))?;
    }
    sink.finish()
}

impl Counts {
    fn add(&mut self, as_what: AsWhat) {
        match as_what {
            AsWhat::Event => self.events += 1,
            AsWhat::Late => (self.events, self.late) = (self.events + 1, self.late + 1),
            AsWhat::Resent => (self.events, self.resent) = (self.events + 1, self.resent + 1),
            AsWhat::Duplicate => self.duplicates += 1,
            AsWhat::Malformed(_) => self.malformed += 1,
        }
    }
}
