//! Baselines: what a row of a legacy table was when Foldback took it over, as an event of its group.
//!
//! Folding goes on from there: the row becomes what the baseline says, whatever came before.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::{Row, Table};
use crate::model::cloud_event::{ATTRIBUTE_BYTES_MAX, EVENT_BYTES_MAX};
use crate::model::{BASELINE, Entry, Event, Group, OWN_SOURCES, Payload, Timestamp};

/// A row that other code wrote, and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    group: Group,
    id: SmolStr,
    row: Row,
}

/// The payload of a baseline event.
#[derive(Serialize, Deserialize)]
struct Data<'a> {
    id: SmolStr,
    #[serde(borrow)]
    row: &'a RawValue,
    table: SmolStr,
}

/// Characters of the hash in a baseline event's id.
const HASH_CHARS: usize = 32;
/// The longest id of a row that can be taken over, in bytes: the event's id has it and the hash.
const ID_BYTES_MAX: usize = ATTRIBUTE_BYTES_MAX - HASH_CHARS - 1;
const TENANT_FIELD: &str = "tenant";
const LEAD_FIELD: &str = "leadId";

impl Baseline {
    /// Reads a row of a legacy table from the JSON of its fields. `tenant` is whose it is where it does
    /// not say so itself.
    ///
    /// # Errors
    /// Why the table, or this row of it, cannot be taken over.
    pub fn new(table: Table, tenant: &SmolStr, body: &str) -> Result<Self, String> {
        if !table.is_adoptable() {
            let name = table.name();
            return Err(if table.is_temporal() {
                format!(
                    "{name} holds histories; they begin with the baselines of the rows they are about"
                )
            } else {
                format!("{name} holds sums over many leads, which no one lead's events make up")
            });
        }
        let no_row = |error: serde_json::Error| format!("no row of {}: {error}", table.name());
        let mut fields: Map<String, Value> = serde_json::from_str(body).map_err(no_row)?;
        if fields.get(TENANT_FIELD).is_none_or(Value::is_null) {
            fields.insert(TENANT_FIELD.to_owned(), tenant.as_str().into());
        }
        let text = |name: &str| match fields.get(name).and_then(Value::as_str) {
            Some(text) if !text.is_empty() && text.len() <= ID_BYTES_MAX => Ok(SmolStr::from(text)),
            Some(_) | None => Err(format!("{name} is no text of 1 to {ID_BYTES_MAX} bytes")),
        };
        let group = Group {
            tenant: text(TENANT_FIELD)?,
            key: text(LEAD_FIELD)?,
        };
        let id = text(table.id_field())?;
        let json = Value::Object(fields).to_string();
        if json.len() > EVENT_BYTES_MAX {
            let size = json.len();
            return Err(format!(
                "it has {size} bytes; at most {EVENT_BYTES_MAX} are taken"
            ));
        }
        let row = table.read_row(&json).map_err(no_row)?;
        Ok(Self { group, id, row })
    }

    /// The baseline that an event states; `None` for other events.
    ///
    /// # Errors
    /// The event states one, but what cannot be read; says why.
    #[must_use]
    pub fn read(event: &Event) -> Option<Result<Self, String>> {
        if event.kind != BASELINE || !event.source.starts_with(OWN_SOURCES) {
            return None;
        }
        Some(Self::of(event).map_err(|why| format!("baseline: {why}")))
    }

    fn of(event: &Event) -> Result<Self, String> {
        let Payload::Json(text) = &event.data else {
            return Err("the event has no JSON data".to_owned());
        };
        let data: Data<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let table = Table::named(&data.table)
            .ok_or_else(|| format!("there is no table {:?}", data.table))?;
        let tenant = event.tenant.as_ref().ok_or("the event names no tenant")?;
        let baseline = Self::new(table, tenant, data.row.get())?;
        let group = &baseline.group;
        if group.tenant != *tenant || event.partition_key.as_ref() != Some(&group.key) {
            return Err(format!("the row is {group}'s, the event is not"));
        }
        if baseline.id != data.id || event.source != Self::source(table) {
            return Err(format!(
                "the row is {} {:?}, the event's is not",
                table.name(),
                baseline.id
            ));
        }
        Ok(baseline)
    }

    /// The source of a table's baselines. At one moment they come in the order of their tables' names,
    /// so that of a row that observers feed comes after those of the rows that they watch.
    #[must_use]
    pub fn source(table: Table) -> SmolStr {
        smol_str::format_smolstr!("{OWN_SOURCES}adopt/{}", table.name())
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        self.row.table()
    }

    /// The row's id.
    #[must_use]
    pub fn id(&self) -> &SmolStr {
        &self.id
    }

    /// The group that the row belongs to.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// What the row becomes.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The id of the baseline's event: the row's and a hash of its content, so that to adopt the same
    /// content again is no new event. After the event `after`, which says something else, it is one.
    #[must_use]
    pub fn event_id(&self, after: Option<&str>) -> SmolStr {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.row.body().as_bytes());
        hasher.update(after.unwrap_or_default().as_bytes());
        let hex = hasher.finalize().to_hex();
        let hash = hex.as_str().get(..HASH_CHARS).unwrap_or_default();
        smol_str::format_smolstr!("{}#{hash}", self.id)
    }

    /// The baseline as an event of its group, with that id.
    #[must_use]
    pub fn entry(&self, id: SmolStr, time: Timestamp) -> Entry {
        let body = RawValue::from_string(self.row.body()).ok();
        let data = body.as_deref().map(|row| Data {
            id: self.id.clone(),
            row,
            table: self.table().name().into(),
        });
        let event = Event {
            source: Self::source(self.table()),
            id,
            kind: BASELINE.into(),
            time,
            below_ms: 0,
            sequence: None,
            subject: None,
            tenant: Some(self.group.tenant.clone()),
            partition_key: Some(self.group.key.clone()),
            traceparent: None,
            content_type: None,
            data: Payload::Json(serde_json::to_string(&data).unwrap_or_default().into()),
            extensions: std::collections::BTreeMap::new(),
        };
        Entry {
            group: self.group.clone(),
            hash: event.hash(),
            event,
            recorded: time,
        }
    }
}

/// What a document of a legacy table says in the fields that the table knows, as canonical JSON.
///
/// Fields of the legacy code's own and those that are null are left out, and so is the tenant where the
/// document names none.
///
/// # Errors
/// Why the document is no row of the table.
pub fn known_fields(table: Table, document: &Map<String, Value>) -> Result<String, String> {
    let mut fields = document.clone();
    let names_tenant = fields
        .get(TENANT_FIELD)
        .is_some_and(|tenant| !tenant.is_null());
    if !names_tenant {
        fields.insert(TENANT_FIELD.to_owned(), "".into());
    }
    let json = Value::Object(fields).to_string();
    let body = table
        .read_row(&json)
        .map_err(|error| error.to_string())?
        .body();
    if names_tenant {
        return Ok(body);
    }
    let mut fields: Map<String, Value> =
        serde_json::from_str(&body).map_err(|error| error.to_string())?;
    fields.remove(TENANT_FIELD);
    Ok(Value::Object(fields).to_string())
}
