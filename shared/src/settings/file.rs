//! The shape of a settings file. Faults are found while reading, so that each has its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use smol_str::SmolStr;

use super::mapping::{ConversionRule, EventType, Field, On, Rule, ValueOf};
use super::pattern::Pattern;
use super::pluck::{Pluck, Pointer};
use super::webhook::Webhook;
use super::{Appointments, Format, Policy, SettingsError, Tenant};
use crate::handlers::Table;

/// The format version of settings files that this code reads.
const FORMAT_VERSION: u32 = 1;
/// An event from further in the future is refused unless the tenant's settings say otherwise.
const FUTURE_SECONDS_MAX_DEFAULT: u32 = 86_400;
const TENANTS_MAX: usize = 10_000;
const RULES_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "version")]
    _version: FormatVersion,
    #[serde(default)]
    pub(super) tenant: Vec<TenantFile>,
}

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct FormatVersion;

impl TryFrom<u32> for FormatVersion {
    type Error = String;
    fn try_from(version: u32) -> Result<Self, String> {
        if version == FORMAT_VERSION {
            return Ok(Self);
        }
        Err(format!(
            "settings format {version} is not known here; this is format {FORMAT_VERSION}"
        ))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "TenantTable")]
pub(super) struct TenantFile {
    ids: Vec<SmolStr>,
    map: Vec<MapFile>,
    set: BTreeMap<Field, Expression>,
    conversions: Vec<ConversionFile>,
    partition_key: Option<Pointer>,
    appointments: Appointments,
    policies: [Policy; Table::COUNT],
    locked: [bool; Table::COUNT],
    future_seconds_max: u32,
    webhook: Option<Webhook>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantTable {
    ids: Vec<SmolStr>,
    #[serde(default)]
    map: Vec<MapFile>,
    #[serde(default)]
    set: BTreeMap<Field, Expression>,
    #[serde(default)]
    conversion: Vec<ConversionFile>,
    partition_key: Option<Pointer>,
    #[serde(default)]
    appointments: Appointments,
    #[serde(default)]
    tables: BTreeMap<Table, TablePolicy>,
    future_seconds_max: Option<u32>,
    webhook: Option<Webhook>,
}

impl TryFrom<TenantTable> for TenantFile {
    type Error = String;
    fn try_from(table: TenantTable) -> Result<Self, String> {
        if table.ids.is_empty() || table.ids.len() > TENANTS_MAX {
            return Err(format!("ids must name 1 to {TENANTS_MAX} tenants"));
        }
        if table
            .ids
            .iter()
            .any(|id| id.is_empty() || id.len() > 128 || id.contains('#'))
        {
            return Err("a tenant id has 1 to 128 bytes and no '#'".into());
        }
        if table.map.is_empty() || table.map.len() > RULES_MAX {
            return Err(format!(
                "a tenant needs 1 to {RULES_MAX} [[tenant.map]] rules"
            ));
        }
        if table
            .set
            .values()
            .any(|set| matches!(set.source, Source::Capture(_)))
        {
            return Err(
                "a tenant-wide set has no type to capture from; set it in the rules".into(),
            );
        }
        if table.ids.len() > 1
            && let Some(reference) = table.webhook.as_ref().and_then(Webhook::shared_secret)
        {
            return Err(format!(
                "webhook: tenants share the secret {:?}, so that whoever signs for one could write \
                 for all; put {{tenant}} into its name, or give each a [[tenant]] of its own",
                reference.name()
            ));
        }
        let (policies, locked) = by_table(&table.tables)?;
        let mut names: Vec<&SmolStr> = table.conversion.iter().map(|rule| &rule.name).collect();
        names.sort();
        if let Some([twice, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(format!(
                "conversion {twice:?} is given twice; a name counts once an event"
            ));
        }
        Ok(Self {
            ids: table.ids,
            map: table.map,
            set: table.set,
            conversions: table.conversion,
            partition_key: table.partition_key,
            appointments: table.appointments,
            policies,
            locked,
            future_seconds_max: table
                .future_seconds_max
                .unwrap_or(FUTURE_SECONDS_MAX_DEFAULT),
            webhook: table.webhook,
        })
    }
}

/// Policies and locks, by the tables' places.
type ByTable = ([Policy; Table::COUNT], [bool; Table::COUNT]);

fn by_table(tables: &BTreeMap<Table, TablePolicy>) -> Result<ByTable, String> {
    let mut policies = [Policy::default(); Table::COUNT];
    let mut locked = [false; Table::COUNT];
    for (name, TablePolicy { policy, lock_by_id }) in tables {
        if *policy == Policy::Atomic && !name.is_commutative() {
            return Err(format!(
                "tables.{}: policy atomic needs a commutative handler, and this table's is \
                 not; use correct or detect",
                name.name()
            ));
        }
        if *policy == Policy::Atomic && *lock_by_id {
            return Err(format!(
                "tables.{}: policy atomic writes without reading, so there is nothing for \
                 lock_by_id to guard; use correct, or leave lock_by_id out",
                name.name()
            ));
        }
        if let Some(slot) = policies.get_mut(name.index()) {
            *slot = *policy;
        }
        if let Some(slot) = locked.get_mut(name.index()) {
            *slot = *lock_by_id;
        }
    }
    Ok((policies, locked))
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct TablePolicy {
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    lock_by_id: bool,
}

#[derive(Deserialize, Clone, PartialEq)]
#[serde(try_from = "MapTable")]
struct MapFile {
    pattern: Pattern,
    to: EventType,
    set: BTreeMap<Field, Expression>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MapTable {
    r#type: Pattern,
    to: EventType,
    #[serde(default)]
    set: BTreeMap<Field, Expression>,
}

impl TryFrom<MapTable> for MapFile {
    type Error = String;
    fn try_from(table: MapTable) -> Result<Self, String> {
        let wildcards = table.r#type.wildcards();
        for (field, expression) in &table.set {
            if let Source::Capture(n) = expression.source
                && (n == 0 || n > wildcards)
            {
                return Err(format!(
                    "set.{field} takes capture {n}, but type {:?} has {wildcards} wildcard(s)",
                    table.r#type.text()
                ));
            }
        }
        Ok(Self {
            pattern: table.r#type,
            to: table.to,
            set: table.set,
        })
    }
}

/// Where a field's value comes from.
#[derive(Deserialize, Clone, PartialEq)]
#[serde(try_from = "ExpressionTable")]
pub(super) struct Expression {
    pub(super) source: Source,
    pub(super) lower: bool,
}

#[derive(Clone, PartialEq)]
pub(super) enum Source {
    Pointer(Pointer),
    Capture(usize),
    Const(SmolStr),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionTable {
    pointer: Option<Pointer>,
    capture: Option<usize>,
    r#const: Option<SmolStr>,
    #[serde(default)]
    lower: bool,
}

impl TryFrom<ExpressionTable> for Expression {
    type Error = String;
    fn try_from(table: ExpressionTable) -> Result<Self, String> {
        let source = match (table.pointer, table.capture, table.r#const) {
            (Some(pointer), None, None) => Source::Pointer(pointer),
            (None, Some(n), None) => Source::Capture(n),
            (None, None, Some(text)) => Source::Const(text),
            _ => return Err("give exactly one of pointer, capture and const".into()),
        };
        Ok(Self {
            source,
            lower: table.lower,
        })
    }
}

#[derive(Deserialize, Clone, PartialEq)]
#[serde(try_from = "ConversionTable")]
struct ConversionFile {
    name: SmolStr,
    on: On,
    value: Option<ValueFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConversionTable {
    name: SmolStr,
    on: Option<EventType>,
    r#type: Option<Pattern>,
    value: Option<ValueFile>,
}

/// A conversion's value: the mapped field `amount`, or a pointer into the data.
#[derive(Deserialize, Clone, PartialEq)]
#[serde(try_from = "String")]
enum ValueFile {
    Amount,
    Pointer(Pointer),
}

impl TryFrom<String> for ValueFile {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "amount" {
            return Ok(Self::Amount);
        }
        if text.starts_with('/') {
            return Pointer::try_from(text).map(Self::Pointer);
        }
        Err(format!(
            "value {text:?}: give \"amount\" or a JSON Pointer such as \"/price\""
        ))
    }
}

impl TryFrom<ConversionTable> for ConversionFile {
    type Error = String;
    fn try_from(table: ConversionTable) -> Result<Self, String> {
        if table.name.is_empty() || table.name.len() > 64 || table.name.contains(['.', '$', '\0']) {
            return Err("a conversion's name has 1 to 64 bytes and none of '.', '$', NUL".into());
        }
        let on = match (table.on, table.r#type) {
            (Some(kind), None) => On::Canonical(kind),
            (None, Some(pattern)) => On::External(pattern),
            _ => {
                let name = table.name;
                return Err(format!(
                    "conversion {name:?}: give exactly one of on and type"
                ));
            }
        };
        Ok(Self {
            name: table.name,
            on,
            value: table.value,
        })
    }
}

impl TenantFile {
    /// The tenants that it is for.
    pub(super) fn ids(&self) -> &[SmolStr] {
        &self.ids
    }

    /// Whether rows that were made under it are as those made under the other. How events get in is nothing to
    /// them, nor who else may write them.
    pub(super) fn means(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.partition_key.clone(), one.appointments, one.policies);
        self.map == other.map
            && self.set == other.set
            && self.conversions == other.conversions
            && of(self) == of(other)
    }

    /// Compiles what the file says into look-up structures.
    pub(super) fn compile(&self, version: u32) -> Result<Tenant, String> {
        let mut exact = BTreeMap::new();
        let mut wild = Vec::new();
        let mut rules = Vec::new();
        for (index, map) in self.map.iter().cloned().enumerate() {
            if map.pattern.wildcards() > 0 {
                wild.push(index);
            } else {
                let kind = map.pattern.text();
                if exact.insert(kind.clone(), index).is_some() {
                    return Err(format!(
                        "type {kind:?} is mapped twice; only one rule can apply"
                    ));
                }
            }
            let mut set = self.set.clone();
            set.extend(map.set);
            rules.push(Rule::new(map.pattern, map.to, set)?);
        }
        let conversions = self.conversions.iter().cloned().map(|rule| ConversionRule {
            name: rule.name,
            on: rule.on,
            value: rule.value.map(|value| match value {
                ValueFile::Amount => ValueOf::Amount,
                ValueFile::Pointer(pointer) => ValueOf::Pointer(Pluck::new(&[pointer])),
            }),
        });
        Ok(Tenant {
            version,
            exact,
            wild,
            rules,
            conversions: conversions.collect(),
            partition_key: self
                .partition_key
                .clone()
                .map(|pointer| Pluck::new(&[pointer])),
            appointments: self.appointments,
            policies: self.policies,
            locked: self.locked,
            future_ms_max: i64::from(self.future_seconds_max) * 1_000,
            webhook: self.webhook.clone(),
        })
    }
}

pub(super) fn read(text: &str, format: Format) -> Result<File, SettingsError> {
    match format {
        Format::Toml => {
            toml::from_str(text).map_err(|error| SettingsError(error.to_string().trim_end().into()))
        }
        Format::Json => {
            serde_json::from_str(text).map_err(|error| SettingsError(error.to_string()))
        }
    }
}
