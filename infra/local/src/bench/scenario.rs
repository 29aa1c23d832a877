//! What a benchmark does: a file in TOML.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::Failure;
use crate::probe::FaultRates;

/// A scenario that ships with the binary.
pub(crate) struct Shipped {
    /// What it is called.
    pub(crate) name: &'static str,
    text: &'static str,
    /// Its kept figures, as JSON.
    pub(crate) baseline: &'static str,
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        [$(Shipped {
            name: $name,
            text: include_str!(concat!("../../bench-scenarios/", $name, ".toml")),
            baseline: include_str!(concat!("../../bench-scenarios/baselines/", $name, ".json")),
        }),+]
    };
}

/// The scenarios that ship with the binary.
pub(crate) const SHIPPED: [Shipped; 12] = shipped![
    "base",
    "disorder",
    "permutation",
    "duplicates",
    "detect",
    "locks",
    "daily",
    "rules",
    "tenants",
    "errors",
    "slow",
    "crashes",
];

/// A benchmark: who sends what, how fast, and what goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Its name, in results and baselines.
    pub(crate) name: String,
    /// What it is to show, in a sentence.
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) tenants: Tenants,
    #[serde(default)]
    pub(crate) events: Events,
    #[serde(default)]
    pub(crate) load: Load,
    #[serde(default)]
    pub(crate) faults: Faults,
}

/// How the tenants are set up. With events from a file, the file's settings say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tenants {
    /// How many.
    pub(crate) count: u32,
    /// Policy of the tables of leads and appointments: `correct` or `detect`.
    pub(crate) policy: String,
    /// Policy of the daily table, the hot row: `correct` or `atomic`.
    pub(crate) daily_policy: String,
    /// Whether these take a lock by id.
    pub(crate) lock_by_id: bool,
    /// Further rules of the mapping, before those that fit.
    pub(crate) rules: u32,
}

/// Which events, and in what disorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Events {
    /// A file of `CloudEvents` instead of made-up ones; from the working directory.
    pub(crate) file: Option<PathBuf>,
    /// What those mean.
    pub(crate) settings: Option<PathBuf>,
    /// At most so many texts, from the beginning.
    pub(crate) first: usize,
    /// Leads that are made up; each has about ten events.
    pub(crate) leads: u64,
    pub(crate) seed: u64,
    /// Percentages of the events made up.
    pub(crate) late: f64,
    pub(crate) duplicates: f64,
    pub(crate) resent: f64,
    pub(crate) malformed: f64,
    /// In a complete permutation.
    pub(crate) shuffled: bool,
}

/// How fast they come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Load {
    /// Closed loop: so many events in flight, a point each.
    pub(crate) in_flight: Vec<u64>,
    /// Open loop: events a second, a point each.
    pub(crate) rates: Vec<f64>,
    /// Open loop: shares of the greatest throughput of the closed loop, a point each.
    pub(crate) shares: Vec<f64>,
    /// In the open loop, whether events come at random moments or evenly.
    pub(crate) arrivals: Arrivals,
    /// The longest time of a point.
    pub(crate) seconds_max: f64,
    /// How often each point is measured.
    pub(crate) runs: usize,
    /// The most events of one durable commit.
    pub(crate) batch_max: u64,
}

/// When events come in the open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Independently of each other (a Poisson process).
    Poisson,
    /// One after the other, at equal distances.
    Even,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Faults {
    /// Of the stores.
    pub(crate) store: FaultRates,
    /// How often the process is killed (`kill -9`) in each point, evenly over its events.
    pub(crate) crashes: u32,
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            count: 3,
            policy: "correct".to_owned(),
            daily_policy: "correct".to_owned(),
            lock_by_id: false,
            rules: 0,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            file: None,
            settings: None,
            first: 200_000,
            leads: 12_000,
            seed: 7,
            late: 0.0,
            duplicates: 0.0,
            resent: 0.0,
            malformed: 0.0,
            shuffled: false,
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            in_flight: vec![1, 4, 16, 64, 256, 1_024, 4_096],
            rates: Vec::new(),
            shares: Vec::new(),
            arrivals: Arrivals::Poisson,
            seconds_max: 3.0,
            runs: 1,
            batch_max: crate::run::BATCH_MAX,
        }
    }
}

impl Scenario {
    /// One of those shipped, or a file's; or several in one, joined by `+`, of which a later one goes before.
    pub(crate) fn find(words: &str) -> Result<Self, Failure> {
        let wrong =
            |error: &dyn std::fmt::Display| Failure::Input(format!("scenario {words}: {error}"));
        let mut all = Table::new();
        let is_one = fs::exists(words).unwrap_or(false);
        let joint = if is_one { "\n" } else { JOINT };
        for (place, word) in words.split(joint).enumerate() {
            let text = text(word)?;
            let one: Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
            // Each is whole by itself, so that what is wrong is told with its line.
            let Self { name, about, .. } = toml::from_str(&text).map_err(|error| wrong(&error))?;
            let named = |key: &str, one: String, between: &str| match all.get(key) {
                Some(Value::String(before)) if place > 0 => format!("{before}{between}{one}"),
                _ => one,
            };
            let (name, about) = (named("name", name, JOINT), named("about", about, " "));
            lay_over(&mut all, one);
            all.insert("name".to_owned(), name.into());
            all.insert("about".to_owned(), about.into());
        }
        let scenario: Self = all.try_into().map_err(|error| wrong(&error))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), Failure> {
        let Load {
            in_flight,
            rates,
            shares,
            seconds_max,
            runs,
            batch_max,
            ..
        } = &self.load;
        let wrong = if in_flight.is_empty() && rates.is_empty() {
            "load: give in_flight or rates"
        } else if in_flight.is_empty() && !shares.is_empty() {
            "load: shares are of the closed loop's throughput; give in_flight too"
        } else if in_flight.contains(&0) || rates.iter().chain(shares).any(|one| *one <= 0.0) {
            "load: in_flight, rates and shares are greater than 0"
        } else if *seconds_max <= 0.0 || *runs == 0 || *batch_max == 0 {
            "load: seconds_max, runs and batch_max are greater than 0"
        } else if self.events.file.is_some() != self.events.settings.is_some() {
            "events: file and settings go together"
        } else if self.tenants.count == 0 || self.tenants.count > 10_000 {
            "tenants: count is 1 to 10,000"
        } else {
            return Ok(());
        };
        Err(Failure::Input(format!("scenario {}: {wrong}", self.name)))
    }

    /// The settings that its events are read with.
    pub(crate) fn settings(&self) -> Result<String, Failure> {
        if let Some(path) = &self.events.settings {
            return read(path);
        }
        let broken = |error: &dyn std::fmt::Display| {
            Failure::Input(format!("settings of scenario {}: {error}", self.name))
        };
        let mut settings: Table =
            toml::from_str(crate::settings::SAMPLE).map_err(|error| broken(&error))?;
        let tenant = settings
            .get_mut("tenant")
            .and_then(Value::as_array_mut)
            .and_then(|tenants| tenants.first_mut())
            .and_then(Value::as_table_mut);
        if let Some(tenant) = tenant {
            self.set_up(tenant);
        }
        toml::to_string(&settings).map_err(|error| broken(&error))
    }

    fn set_up(&self, tenant: &mut Table) {
        let Tenants {
            count,
            policy,
            daily_policy,
            lock_by_id,
            rules,
        } = &self.tenants;
        let ids = (0..*count).map(crate::generate::tenant).map(Value::String);
        tenant.insert("ids".to_owned(), Value::Array(ids.collect()));
        let mut tables = Table::new();
        for name in ["RSLead", "RSAppointment"] {
            let mut table = Table::new();
            table.insert("policy".to_owned(), policy.clone().into());
            table.insert("lock_by_id".to_owned(), (*lock_by_id).into());
            tables.insert(name.to_owned(), table.into());
        }
        let mut daily = Table::new();
        daily.insert("policy".to_owned(), daily_policy.clone().into());
        tables.insert("RSTenantDailyConversions".to_owned(), daily.into());
        tenant.insert("tables".to_owned(), tables.into());
        if let Some(map) = tenant.get_mut("map").and_then(Value::as_array_mut) {
            let more = (0..*rules).map(|n| {
                let mut rule = Table::new();
                rule.insert("type".to_owned(), format!("erp.step_{n}.*.done").into());
                rule.insert("to".to_owned(), "lead.updated".into());
                Value::Table(rule)
            });
            map.splice(0..0, more.collect::<Vec<_>>());
        }
    }
}

/// Between the names of scenarios that are to be one.
const JOINT: &str = "+";

/// The text of one of those shipped, or of a file.
fn text(word: &str) -> Result<String, Failure> {
    if let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == word) {
        return Ok(shipped.text.to_owned());
    }
    fs::read_to_string(word).map_err(|source| Failure::File {
        what: format!("read scenario {word} (shipped ones: `foldback bench list`)"),
        source,
    })
}

/// Puts what `upper` says in the place of what `lower` does, table by table.
fn lay_over(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => lay_over(lower, upper),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File {
        what: format!("read {}", path.display()),
        source,
    })
}
