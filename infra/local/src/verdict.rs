use std::io::Write;
use std::time::Duration;

use shared::adapters::SystemClock;
use shared::model::{Finding, ReplayRun};
use shared::ports::Clock;
use shared::service::{Replayed, Scope};
use shared::settings::Settings;

use crate::error::{Failure, Status};
use crate::findings;

/// The most findings that are listed, and kept with a run; all are counted.
const FINDINGS_KEPT_MAX: usize = 10_000;

/// What a replay has found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) run: ReplayRun,
    pub(crate) findings: Vec<Finding>,
    pub(crate) replayed: Replayed,
}

/// What a replay found.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The run as it can be kept.
    pub(crate) run: ReplayRun,
    pub(crate) replayed: Replayed,
    pub(crate) findings: Vec<Finding>,
    pub(crate) elapsed: Duration,
}

impl Found {
    /// Nothing yet.
    pub(crate) fn begin(mode: &str, scope: &Scope, settings: &Settings) -> Self {
        Self {
            run: ReplayRun {
                started: SystemClock.now(),
                mode: mode.into(),
                scope: scope.to_string(),
                settings: settings.version(),
                ..ReplayRun::default()
            },
            ..Self::default()
        }
    }

    pub(crate) fn take(&mut self, finding: Finding) {
        self.run.count(&finding);
        if self.findings.len() < FINDINGS_KEPT_MAX {
            self.findings.push(finding);
        }
    }

    /// The end of it, so long after the beginning.
    pub(crate) fn verdict(self, elapsed: Duration) -> Verdict {
        let Self {
            mut run,
            findings,
            replayed,
        } = self;
        replayed.sum_up(&mut run);
        run.finished = SystemClock.now();
        Verdict {
            run,
            replayed,
            findings,
            elapsed,
        }
    }
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// One JSON object each.
    Json,
    /// A table with the reason.
    Reasons,
    /// Every field, before and after, and the events behind it.
    Fields,
}

impl Verdict {
    /// Writes the findings, and to standard error the verdict in words.
    pub(crate) fn print(&self, listing: Listing) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        match listing {
            Listing::Json => findings::lines(&mut out, &self.findings)?,
            Listing::Reasons => findings::reasons(&mut out, &self.findings)?,
            Listing::Fields => findings::fields(&mut out, &self.findings)?,
        }
        out.flush()?;
        anstream::eprintln!("{}", self.in_words());
        Ok(())
    }

    /// Clean where nothing differs and every event could be taken in.
    pub(crate) fn status(&self) -> Status {
        if self.replayed.findings == 0 && self.replayed.faults == 0 {
            Status::Clean
        } else {
            Status::Findings
        }
    }

    /// The verdict in a sentence or two.
    pub(crate) fn in_words(&self) -> String {
        let Replayed {
            groups,
            events,
            rows,
            findings,
            mended,
            faults,
            unknown_groups,
            busy_groups,
            locked_groups,
        } = self.replayed;
        let mut words = format!(
            "{rows} rows of {groups} groups compared with the fold of {events} events in {:.2?}: ",
            self.elapsed
        );
        match findings {
            0 => words.push_str("all equal"),
            1 => words.push_str("1 finding"),
            more => words.push_str(&format!("{more} findings")),
        }
        if mended > 0 {
            words.push_str(&format!(", {mended} rows mended"));
        }
        let listed = self.findings.len() as u64;
        if listed < findings {
            words.push_str(&format!(" (the first {listed} are listed)"));
        }
        if faults > 0 {
            words.push_str(&format!(
                "; {faults} events are parked, since a field is wrong under the settings: \
                 `foldback dlq list`"
            ));
        }
        if unknown_groups > 0 {
            words.push_str(&format!(
                "; {unknown_groups} groups of tenants that the settings do not know"
            ));
        }
        if busy_groups > 0 {
            words.push_str(&format!(
                "; {busy_groups} groups were written to all the while and are not judged: replay again"
            ));
        }
        if locked_groups > 0 {
            words.push_str(&format!(
                "; {locked_groups} groups were not mended, since somebody else holds a lock of theirs: \
                 replay again"
            ));
        }
        words
    }
}
