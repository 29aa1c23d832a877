//! Tenant settings: what a tenant's external events mean, as data.
//!
//! A settings file is validated and compiled once ("preprocessed") into look-up structures. A wrong
//! one is refused whole, with the place and the reason.

mod file;
mod mapping;
mod pattern;
mod pluck;
mod since;
mod take;
mod webhook;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use smol_str::SmolStr;

pub use mapping::{ConversionHit, EventType, Fields, Mapped, Mapping, Meaning};
use mapping::{ConversionRule, Rule};
use pluck::Pluck;
pub use since::since;
pub use webhook::{Signing, Webhook, Wrap, WrapAttribute};

use crate::handlers::{Baseline, Table};
use crate::model::cloud_event::{ATTRIBUTE_BYTES_MAX, Refusal};
use crate::model::{Event, Group, OWN_KEYS, RejectReason, Timestamp};

/// What to do with a late event, per table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Refold the affected rows from the journal and commit the difference.
    #[default]
    Correct,
    /// Commutative updates without a read.
    Atomic,
    /// Apply on arrival and raise a finding.
    Detect,
}

/// Which group an appointment's events belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Appointments {
    /// Their lead's: each of them names it.
    #[default]
    ByLead,
    /// The appointment's own: they need not name their lead. It has rows of its own until one of them does;
    /// from then on its lead's rows follow from its events.
    ById,
}

/// The format a settings text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON of the same shape.
    Json,
}

/// A version of the settings, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsVersion {
    /// Its number.
    pub version: u32,
    /// When it was put in force; `None` where that is not known.
    pub at: Option<Timestamp>,
    /// The format of its text.
    pub format: Format,
    /// How long its text is.
    pub bytes: u64,
}
/// The longest settings text that is read, in bytes.
pub const SETTINGS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A settings text as it was put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSettings {
    /// The number that rows made under it carry.
    pub version: u32,
    /// How it is written.
    pub format: Format,
    /// The text.
    pub text: String,
    /// The version since which each tenant's settings mean the same, in the order of the tenants' ids; empty
    /// where that was not kept.
    pub since: Vec<u32>,
}

/// Why a settings text is refused. The message holds line and column where the text has them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// The compiled settings of all tenants, under one version.
#[derive(Debug)]
pub struct Settings {
    version: u32,
    tenants: BTreeMap<SmolStr, Arc<Tenant>>,
}

/// One tenant's compiled settings.
#[derive(Debug)]
pub struct Tenant {
    version: u32,
    /// Index of the first rule for an external type without a wildcard.
    exact: BTreeMap<SmolStr, usize>,
    /// Indexes of the rules with a wildcard, in file order.
    wild: Vec<usize>,
    rules: Vec<Rule>,
    conversions: Vec<ConversionRule>,
    partition_key: Option<Pluck>,
    appointments: Appointments,
    policies: [Policy; Table::COUNT],
    locked: [bool; Table::COUNT],
    future_ms_max: i64,
    webhook: Option<Webhook>,
}

impl Settings {
    /// Compiles a settings text; `version` is the number that rows made under it will carry.
    ///
    /// # Errors
    /// The first fault found, with its place in the text.
    pub fn compile(text: &str, format: Format, version: u32) -> Result<Self, SettingsError> {
        Self::compile_since(text, format, version, &[])
    }

    /// Compiles stored settings. Rows will carry the version since which their tenant's are the same.
    ///
    /// # Errors
    /// The first fault found, with its place in the text.
    pub fn of(stored: &StoredSettings) -> Result<Self, SettingsError> {
        Self::compile_since(&stored.text, stored.format, stored.version, &stored.since)
    }

    fn compile_since(
        text: &str,
        format: Format,
        version: u32,
        since: &[u32],
    ) -> Result<Self, SettingsError> {
        let compiled = Self::compiled(text, format, version, since);
        // A fault is told with the line it stands on, and somebody may have put a secret there.
        compiled.map_err(|SettingsError(told)| SettingsError(without_secrets(&told)))
    }

    fn compiled(
        text: &str,
        format: Format,
        version: u32,
        since: &[u32],
    ) -> Result<Self, SettingsError> {
        if text.len() > SETTINGS_BYTES_MAX {
            let size = text.len();
            let large =
                format!("the settings have {size} bytes; at most {SETTINGS_BYTES_MAX} are read");
            return Err(SettingsError(large));
        }
        let file = file::read(text, format)?;
        let versions = since::versions(&file, since, version);
        let mut tenants = BTreeMap::new();
        for tenant in &file.tenant {
            let mut compiled: BTreeMap<u32, Arc<Tenant>> = BTreeMap::new();
            for id in tenant.ids() {
                let version = versions.get(id).copied().unwrap_or(version);
                let of_version = match compiled.entry(version) {
                    Entry::Occupied(known) => Arc::clone(known.get()),
                    Entry::Vacant(new) => {
                        let tenant = tenant.compile(version).map_err(SettingsError)?;
                        Arc::clone(new.insert(Arc::new(tenant)))
                    }
                };
                if tenants.insert(id.clone(), of_version).is_some() {
                    let twice = format!("tenant {id:?} is given twice; name each tenant once");
                    return Err(SettingsError(twice));
                }
            }
        }
        if tenants.is_empty() {
            return Err(SettingsError(
                "no [[tenant]] is given; at least one is needed".into(),
            ));
        }
        Ok(Self { version, tenants })
    }

    /// The version of all of them. Rows carry [`Tenant::version`].
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// One tenant's settings.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<&Tenant> {
        self.tenants.get(id).map(Arc::as_ref)
    }

    /// What the settings come to, a line a tenant, in the order of their ids.
    pub fn summary(&self) -> impl Iterator<Item = String> {
        self.tenants.iter().map(|(id, tenant)| {
            let counted = |count: usize, what: &str| match count {
                1 => format!("1 {what}"),
                count => format!("{count} {what}s"),
            };
            let (rules, conversions) = (tenant.rules.len(), tenant.conversions.len());
            let webhook = tenant.webhook.as_ref().map_or("", |_| ", webhook");
            format!(
                "{id}: {}, {}{webhook}",
                counted(rules, "rule"),
                counted(conversions, "conversion")
            )
        })
    }
}

/// A text in which no secret of Standard Webhooks can be read.
fn without_secrets(text: &str) -> String {
    let mut parts = text.split(SECRET_PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_secret = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
        shown.push_str(SECRET_PREFIX);
        shown.push('…');
        shown.push_str(part.trim_start_matches(is_secret));
    }
    shown
}

/// How secrets of Standard Webhooks begin.
const SECRET_PREFIX: &str = "whsec_";

impl Tenant {
    /// The version that rows made under these settings carry: that since which they mean the same.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the event means to this tenant. What a baseline means is not for its rules to say. In a journal
    /// in which it stands for another group, it means nothing.
    #[must_use]
    pub fn map(&self, event: &Event) -> Mapping {
        if event.meant_for().is_some() {
            return Mapping::Unmapped;
        }
        if let Some(read) = Baseline::read(event) {
            return read.map_or_else(Mapping::Fault, |baseline| {
                Mapping::Mapped(Meaning::Baseline(baseline))
            });
        }
        let Some((rule, captures)) = self.rule(&event.kind) else {
            return Mapping::Unmapped;
        };
        match rule.apply(event, &captures, &self.conversions) {
            Ok(mapped) => Mapping::Mapped(Meaning::Event(mapped)),
            Err(fault) => Mapping::Fault(fault),
        }
    }

    /// The first rule of the file that takes this external type.
    fn rule<'t>(&self, kind: &'t str) -> Option<(&Rule, Vec<&'t str>)> {
        let exact = self.exact.get(kind).copied().unwrap_or(usize::MAX);
        for &index in self.wild.iter().take_while(|&&index| index < exact) {
            let Some(rule) = self.rules.get(index) else {
                continue;
            };
            if let Some(captures) = rule.pattern.captures(kind) {
                return Some((rule, captures));
            }
        }
        self.rules.get(exact).map(|rule| (rule, Vec::new()))
    }

    /// The partition key that the event names: its `partitionkey`, else the field that the settings name.
    #[must_use]
    pub fn partition_key(&self, event: &Event) -> Option<SmolStr> {
        let named = || {
            self.partition_key
                .as_ref()
                .and_then(|pluck| pluck.one(event.data.json()?))
        };
        let key = event.partition_key.clone().or_else(named);
        key.filter(|key| !key.is_empty())
    }

    /// The group that the event belongs to: that of its partition key, or its appointment's own.
    ///
    /// # Errors
    /// The event has no partition key and needs one, or one that nobody may name.
    pub fn group(&self, tenant: &SmolStr, event: &Event) -> Result<Group, Refusal> {
        let key = self.partition_key(event);
        let refuse = |reason, detail: &str| Err(Refusal::new(reason, detail));
        match &key {
            Some(key) if key.len() > ATTRIBUTE_BYTES_MAX => {
                return refuse(
                    RejectReason::NoPartitionKey,
                    "the partition key has more than 1024 bytes",
                );
            }
            Some(key) if key.starts_with(OWN_KEYS) => {
                return refuse(
                    RejectReason::Reserved,
                    &format!(
                        "partition key {key:?} begins with {OWN_KEYS:?}, which is kept for Foldback's own \
                         events"
                    ),
                );
            }
            Some(_) | None => {}
        }
        match (self.own_appointment(event), key) {
            (Some(id), _) => Ok(Group::of_appointment(tenant, &id)),
            (None, Some(key)) => Ok(Group {
                tenant: tenant.clone(),
                key,
            }),
            // Whoever has the event will be told.
            (None, None) if event.is_withdrawn() => Ok(Group::of_event(tenant, event.identity())),
            (None, None) => refuse(
                RejectReason::NoPartitionKey,
                "the event has no partitionkey, and no field that the tenant's settings name as \
                 partition_key holds one of at most 1024 bytes",
            ),
        }
    }

    /// The id of the appointment that the event is about, where appointments have groups of their own.
    fn own_appointment(&self, event: &Event) -> Option<SmolStr> {
        if self.appointments == Appointments::ByLead {
            return None;
        }
        match self.map(event) {
            Mapping::Mapped(Meaning::Event(mapped)) if mapped.kind.is_appointment() => {
                mapped.fields.appointment_id
            }
            Mapping::Mapped(_) | Mapping::Unmapped | Mapping::Fault(_) => None,
        }
    }

    /// What the tenant wants done with a late event of a row of `table`.
    #[must_use]
    pub fn policy(&self, table: Table) -> Policy {
        self.policies
            .get(table.index())
            .copied()
            .unwrap_or_default()
    }

    /// Whether a row of `table` is read, changed and written under a lease on its id, because other code
    /// writes it too.
    #[must_use]
    pub fn locks_by_id(&self, table: Table) -> bool {
        self.locked.get(table.index()).copied().unwrap_or_default()
    }

    /// How far in the future an event time may lie, in milliseconds.
    #[must_use]
    pub fn future_ms_max(&self) -> i64 {
        self.future_ms_max
    }

    /// How the tenant's events are taken in over HTTP; `None` where they are not.
    #[must_use]
    pub fn webhook(&self) -> Option<&Webhook> {
        self.webhook.as_ref()
    }
}

#[cfg(test)]
mod tests;
