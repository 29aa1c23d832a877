use serde_json::Value;

use crate::handlers::{Row, Version};
use crate::model::FieldChange;

/// The most field changes that one finding lists.
const CHANGES_MAX: usize = 64;

/// What differs between two rows, field by field; nested fields by their path.
pub(super) fn rows(before: Option<&Row>, after: Option<&Row>) -> Vec<FieldChange> {
    let value = |row: Option<&Row>| row.and_then(|row| serde_json::from_str(&row.body()).ok());
    let mut changes = Vec::new();
    values(
        "",
        value(before).as_ref(),
        value(after).as_ref(),
        &mut changes,
    );
    changes
}

/// What differs between two histories; a field of version 2 is `2.status`.
pub(super) fn histories(before: &[Version], after: &[Version]) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for index in 0..before.len().max(after.len()) {
        let value = |versions: &[Version]| versions.get(index).map(version);
        let n = before
            .get(index)
            .or(after.get(index))
            .map_or(0, |version| version.n);
        values(
            &n.to_string(),
            value(before).as_ref(),
            value(after).as_ref(),
            &mut changes,
        );
    }
    changes
}

fn version(version: &Version) -> Value {
    let mut fields = serde_json::to_value(version).unwrap_or_default();
    if let Some(object) = fields.as_object_mut() {
        object.remove("fields");
        object.retain(|_, value| !value.is_null());
        if let Ok(Value::Object(own)) = serde_json::from_str(&version.fields) {
            object.extend(own);
        }
    }
    fields
}

fn values(path: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<FieldChange>) {
    if before == after || out.len() >= CHANGES_MAX {
        return;
    }
    let object = |value: Option<&Value>| match value {
        Some(Value::Object(fields)) => Some(fields.clone()),
        Some(_) => None,
        None => Some(serde_json::Map::new()),
    };
    let nested = before.is_some_and(Value::is_object) || after.is_some_and(Value::is_object);
    if let (true, Some(old), Some(new)) = (nested, object(before), object(after)) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            values(&path, old.get(name), new.get(name), out);
        }
        return;
    }
    out.push(FieldChange {
        field: path.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    });
}
