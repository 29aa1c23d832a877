//! The texts that a benchmark sends, in memory before it begins.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::adapters::SystemClock;
use shared::adapters::texts::Text;
use shared::ports::Clock;
use shared::service::accept;
use shared::settings::{Format, Mapping, Settings};

use super::scenario::Scenario;
use crate::error::Failure;
use crate::generate::{self, Plan, Rate};
use crate::input::{Counter, Input};

/// What is sent, and what it means.
#[derive(Debug)]
pub(crate) struct Workload {
    /// One text a line, with its end.
    pub(crate) lines: Vec<String>,
    /// The settings' text.
    pub(crate) settings: String,
    compiled: Settings,
}

impl Workload {
    /// Makes or reads what a scenario says.
    pub(crate) fn of(scenario: &Scenario) -> Result<Self, Failure> {
        let settings = scenario.settings()?;
        let compiled = Settings::compile(&settings, Format::Toml, 1).map_err(|error| {
            Failure::Input(format!("settings of scenario {}: {error}", scenario.name))
        })?;
        let mut lines = match &scenario.events.file {
            Some(path) => read(path.clone(), scenario.events.first)?,
            None => generate::lines(&plan(scenario)?)
                .take(scenario.events.first)
                .collect(),
        };
        if lines.is_empty() {
            return Err(Failure::Input(format!(
                "scenario {}: there are no events",
                scenario.name
            )));
        }
        if scenario.events.shuffled {
            shuffle(&mut lines, scenario.events.seed);
        }
        for line in &mut lines {
            line.push('\n');
        }
        Ok(Self {
            lines,
            settings,
            compiled,
        })
    }

    /// How many different events the first so many texts come to that act on rows.
    pub(crate) fn acting(&self, texts: usize) -> u64 {
        let now = SystemClock.now();
        let mut seen = BTreeSet::new();
        let mut acting = 0;
        for line in self.lines.iter().take(texts) {
            let Ok(entry) = accept(&self.compiled, None, line.trim_end().as_bytes(), now) else {
                continue;
            };
            let tenant = &entry.group.tenant;
            let mapping = self
                .compiled
                .tenant(tenant)
                .map(|tenant| tenant.map(&entry.event));
            if seen.insert((tenant.clone(), entry.hash))
                && matches!(mapping, Some(Mapping::Mapped(_)))
            {
                acting += 1;
            }
        }
        acting
    }

    /// How large the texts are together.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.len() as u64).sum()
    }
}

fn plan(scenario: &Scenario) -> Result<Plan, Failure> {
    let events = &scenario.events;
    let rate = |percent: f64| {
        format!("{percent:.1}").parse::<Rate>().map_err(|why| {
            Failure::Input(format!("scenario {}: {why}, not {percent}", scenario.name))
        })
    };
    Ok(Plan {
        seed: events.seed,
        tenants: scenario.tenants.count,
        leads: events.leads,
        late: rate(events.late)?,
        duplicates: rate(events.duplicates)?,
        resent: rate(events.resent)?,
        malformed: rate(events.malformed)?,
    })
}

/// The texts of a file, each on one line.
fn read(path: PathBuf, first: usize) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for input in Input::named(&[path]) {
        input.check()?;
        let reader = input.open(Counter::default())?;
        let done = reader.each(|item| {
            if let Text::Whole(text) = item.text {
                let text = String::from_utf8_lossy(text);
                lines.push(text.replace(['\n', '\r'], " "));
            }
            lines.len() < first
        });
        done.map_err(|source| Failure::File {
            what: format!("read {input}"),
            source,
        })?;
    }
    Ok(lines)
}

/// A complete permutation (Fisher and Yates), the same for the same seed.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for i in (1..items.len()).rev() {
        let j = random.next_u64() % (i as u64 + 1);
        items.swap(i, usize::try_from(j).unwrap_or(0));
    }
}
