use std::io::Write;
use std::time::Duration;

use shared::adapters::SystemClock;
use shared::model::{FieldChange, Finding, ReplayRun};
use shared::ports::Clock;
use shared::service::{Replayed, Scope};

use crate::cli;
use crate::error::{Failure, Status};

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
    pub(crate) fn begin(mode: &str, scope: &Scope) -> Self {
        Self {
            run: ReplayRun {
                started: SystemClock.now(),
                mode: mode.into(),
                scope: scope.to_string(),
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
    /// A table with every field, before and after.
    Fields,
}

impl Verdict {
    /// Writes the findings, and to standard error the verdict in words.
    pub(crate) fn print(&self, listing: Listing) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        match listing {
            Listing::Json => {
                for finding in &self.findings {
                    let line = serde_json::to_string(finding).unwrap_or_default();
                    writeln!(out, "{line}")?;
                }
            }
            Listing::Reasons | Listing::Fields if self.findings.is_empty() => {}
            Listing::Reasons => writeln!(out, "{}", self.table("why", |f| f.explanation.clone()))?,
            Listing::Fields => writeln!(out, "{}", self.table("field: before → after", fields))?,
        }
        out.flush()?;
        anstream::eprintln!("{}", self.in_words());
        Ok(())
    }

    fn table(&self, last: &str, detail: impl Fn(&Finding) -> String) -> comfy_table::Table {
        let mut table = cli::table(&["class", "table", "tenant", "id", last]);
        for finding in &self.findings {
            table.add_row(vec![
                finding.class.name(),
                finding.table.name(),
                finding.group.tenant.as_str(),
                finding.id.as_str(),
                detail(finding).as_str(),
            ]);
        }
        table
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
        words
    }
}

fn fields(finding: &Finding) -> String {
    let changes: Vec<String> = finding.changes.iter().map(change).collect();
    changes.join("\n")
}

fn change(change: &FieldChange) -> String {
    let shown = |value: &Option<serde_json::Value>| {
        value
            .as_ref()
            .map_or_else(|| "(none)".to_owned(), ToString::to_string)
    };
    format!(
        "{}: {} → {}",
        change.field,
        shown(&change.before),
        shown(&change.after)
    )
}
