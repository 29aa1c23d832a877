//! The texts that a benchmark sends, in memory before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::value::RawValue;
use shared::adapters::SystemClock;
use shared::adapters::texts::Text;
use shared::handlers::Table as RowTable;
use shared::model::{Entry, EventHash, Group};
use shared::ports::Clock;
use shared::service::accept;
use shared::settings::{Format, Mapping, Policy, Settings};
use smol_str::SmolStr;
use toml::{Table, Value};

use super::scenario::Scenario;
use crate::error::Failure;
use crate::generate::{self, Plan, Rate};
use crate::input::{Counter, Input};

/// By what an event is known in its own group: what other groups make of a copy of it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventKey {
    pub(crate) group: Group,
    pub(crate) source: SmolStr,
    pub(crate) id: SmolStr,
}

/// A text as a sender of webhooks has it.
#[derive(Debug, Clone)]
pub(crate) struct Sendable {
    /// Whose webhook sends it.
    pub(crate) tenant: SmolStr,
    /// The event, if something follows from it: not from a duplicate, from what cannot be
    /// read, nor from what is parked. What an amendment leads to is not told apart from what the first telling
    /// did, so it counts as done when it is taken in.
    pub(crate) event: Option<EventKey>,
    /// It must not spoil others of the same request: nobody can read it.
    pub(crate) alone: bool,
}

/// What is sent, and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// One text a line, with its end.
    pub(crate) lines: Vec<String>,
    /// The settings' text.
    pub(crate) settings: String,
    compiled: Arc<Settings>,
}

impl Workload {
    /// Makes or reads what a scenario says.
    pub(crate) fn of(scenario: &Scenario) -> Result<Self, Failure> {
        let settings = scenario.settings()?;
        let compiled = compile(&settings, &format!("scenario {}", scenario.name))?;
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

    /// The different events that these texts come to and that act on rows.
    pub(crate) fn acting(&self, lines: &[String]) -> BTreeSet<(SmolStr, EventHash)> {
        let entries = lines.iter().filter_map(|line| self.entry(line));
        entries
            .filter(|entry| matches!(self.mapping(entry), Some(Mapping::Mapped(_))))
            .map(|entry| (entry.group.tenant, entry.hash))
            .collect()
    }

    /// The texts from this one on for a sender of webhooks that has sent those before.
    pub(crate) fn sendable(&self, from: usize) -> Vec<Sendable> {
        let mut seen = BTreeSet::new();
        let readable = self.lines.iter().find_map(|line| self.entry(line));
        let somebody = readable.map(|entry| entry.group.tenant).unwrap_or_default();
        let of = |line: &String| {
            let Some(entry) = self.entry(line) else {
                return Sendable {
                    tenant: somebody.clone(),
                    event: None,
                    alone: true,
                };
            };
            let tenant = entry.group.tenant.clone();
            let parked = matches!(self.mapping(&entry), Some(Mapping::Fault(_)));
            let event = EventKey {
                group: entry.group,
                source: entry.event.source,
                id: entry.event.id,
            };
            // An amendment may name another group.
            let identity = (tenant.clone(), event.source.clone(), event.id.clone());
            let new = seen.insert(identity);
            Sendable {
                tenant,
                event: (new && !parked).then_some(event),
                alone: false,
            }
        };
        self.lines.iter().map(of).skip(from).collect()
    }

    /// Whether late events of a tenant correct the rows of a table.
    pub(crate) fn corrects(&self, tenant: &SmolStr, table: RowTable) -> bool {
        let tenant = self.compiled.tenant(tenant);
        tenant.is_some_and(|tenant| tenant.policy(table) == Policy::Correct)
    }

    /// The same of tenants that nobody has seen: their ids end in this.
    pub(crate) fn apart(&self, mark: &str) -> Result<Self, Failure> {
        let mut settings = self.table()?;
        let mut ids = BTreeSet::new();
        for tenant in tenants(&mut settings) {
            let own = tenant.get_mut("ids").and_then(Value::as_array_mut);
            for id in own.into_iter().flatten() {
                if let Value::String(id) = id {
                    ids.insert(id.clone());
                    id.push_str(mark);
                }
            }
        }
        let rename = |line: &String| {
            let mut event: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line).ok()?;
            let tenant: String = serde_json::from_str(event.get("tenant")?.get()).ok()?;
            let new = ids.contains(&tenant).then(|| tenant + mark)?;
            let new = serde_json::value::to_raw_value(&new).ok()?;
            event.insert("tenant".to_owned(), new);
            Some(serde_json::to_string(&event).ok()? + "\n")
        };
        let renamed = |line: &String| rename(line).unwrap_or_else(|| line.clone());
        let settings = text(&settings)?;
        Ok(Self {
            lines: self.lines.iter().map(renamed).collect(),
            compiled: compile(&settings, "the renamed tenants")?,
            settings,
        })
    }

    /// The settings with a webhook for each tenant that takes what anybody sends.
    pub(crate) fn settings_with_webhooks(&self) -> Result<String, Failure> {
        let mut settings = self.table()?;
        for tenant in tenants(&mut settings) {
            let mut webhook = Table::new();
            webhook.insert("unsigned".to_owned(), true.into());
            tenant.insert("webhook".to_owned(), webhook.into());
        }
        text(&settings)
    }

    fn table(&self) -> Result<Table, Failure> {
        toml::from_str(&self.settings)
            .map_err(|error| Failure::Input(format!("the scenario's settings: {error}")))
    }

    fn entry(&self, line: &str) -> Option<Entry> {
        let text = line.trim_end().as_bytes();
        accept(&self.compiled, None, text, SystemClock.now()).ok()
    }

    fn mapping(&self, entry: &Entry) -> Option<Mapping> {
        let tenant = self.compiled.tenant(&entry.group.tenant)?;
        Some(tenant.map(&entry.event))
    }

    /// How large the texts are together.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.len() as u64).sum()
    }
}

fn compile(settings: &str, whose: &str) -> Result<Arc<Settings>, Failure> {
    Settings::compile(settings, Format::Toml, 1)
        .map(Arc::new)
        .map_err(|error| Failure::Input(format!("settings of {whose}: {error}")))
}

fn tenants(settings: &mut Table) -> impl Iterator<Item = &mut Table> {
    let tenants = settings.get_mut("tenant").and_then(Value::as_array_mut);
    let tenants = tenants.into_iter().flatten();
    tenants.filter_map(Value::as_table_mut)
}

fn text(settings: &Table) -> Result<String, Failure> {
    toml::to_string(settings)
        .map_err(|error| Failure::Input(format!("the scenario's settings: {error}")))
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
