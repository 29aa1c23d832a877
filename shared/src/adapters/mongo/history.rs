use mongodb::bson::{Bson, Document, doc};
use smol_str::SmolStr;

use crate::flow::{Put, RowKey};
use crate::handlers::{Table, Version};
use crate::model::Timestamp;
use crate::ports::{Error, ErrorKind, HistoryVersion};

use super::document::{self, TRAIL, date, moment, to_json};
use super::keys;

const DOING: &str = "read histories from MongoDB";

/// A version as it is kept, in force.
pub(super) fn document(key: &RowKey, put: &Put, version: &Version, now: Timestamp) -> Document {
    let mut fields = document::version_fields(version);
    fields.insert(key.table.id_field(), key.id.as_str());
    fields.insert("tenant", key.group.tenant.as_str());
    fields.insert("n", i64::from(version.n));
    fields.insert("validFrom", date(version.valid_from));
    if let Some(end) = version.valid_to {
        fields.insert("validTo", date(end));
    }
    fields.insert("causedBy", version.caused_by.as_str());
    fields.insert("recordedFrom", date(now));
    fields.insert(
        TRAIL,
        doc! {
            "key": keys::of_row(key),
            "group": keys::of_group(&key.group),
            "inForce": true,
            "made": document::int(put.trail.version),
        },
    );
    fields
}

/// Reads a version back.
pub(super) fn read(table: Table, mut document: Document) -> Result<HistoryVersion, Error> {
    let id = document
        .get("_id")
        .map(ToString::to_string)
        .unwrap_or_default();
    read_version(table, &mut document).ok_or_else(|| {
        let why = format!("{} {id} is no version of a history", table.name());
        Error::new(ErrorKind::Corrupt, DOING, why)
    })
}

fn read_version(table: Table, document: &mut Document) -> Option<HistoryVersion> {
    let mut at = |name: &str| match document.remove(name) {
        Some(Bson::DateTime(at)) => Some(moment(at)),
        Some(_) | None => None,
    };
    let valid_from = at("validFrom")?;
    let valid_to = at("validTo");
    let recorded_from = at("recordedFrom")?;
    let recorded_to = at("recordedTo");
    let n = u32::try_from(document.get_i64("n").ok()?).ok()?;
    let caused_by = SmolStr::from(document.get_str("causedBy").ok()?);
    for known in ["_id", "n", "causedBy", "tenant", TRAIL, table.id_field()] {
        document.remove(known);
    }
    let mut own: Vec<(String, Bson)> = std::mem::take(document).into_iter().collect();
    own.sort_by(|(a, _), (b, _)| a.cmp(b));
    let fields: serde_json::Map<String, serde_json::Value> = own
        .into_iter()
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    Some(HistoryVersion {
        version: Version {
            n,
            valid_from,
            valid_to,
            caused_by,
            fields: serde_json::Value::Object(fields).to_string().into(),
        },
        recorded_from,
        recorded_to,
    })
}
