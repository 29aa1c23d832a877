use std::collections::BTreeMap;

use serde_json::Value;
use smol_str::SmolStr;

use crate::handlers::{Row, Version};
use crate::model::{EventRef, FieldChange};

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
///
/// Versions are paired by the events that brought them about, so that one too many, or one too few, does
/// not make all that come after it differ. The number is that of the refold, of a version that should not
/// be there its own.
pub(super) fn histories(before: &[Version], after: &[Version]) -> Vec<FieldChange> {
    let mut unpaired: Vec<&Version> = before.iter().collect();
    let mut pairs: Vec<(Option<&Version>, Option<&Version>)> = Vec::new();
    for wanted in after {
        let brought_about = |one: &&Version| {
            one.caused_by == wanted.caused_by && one.valid_from == wanted.valid_from
        };
        let stored = unpaired.iter().position(brought_about);
        let stored = stored.map(|place| unpaired.remove(place));
        pairs.push((stored, Some(wanted)));
    }
    // What another writer made of a version's cause is still that version.
    for (stored, wanted) in &mut pairs {
        let n = wanted.map(|wanted| wanted.n);
        if stored.is_none()
            && let Some(place) = unpaired.iter().position(|one| Some(one.n) == n)
        {
            *stored = Some(unpaired.remove(place));
        }
    }
    pairs.extend(unpaired.into_iter().map(|one| (Some(one), None)));
    pairs.sort_by_key(|(stored, wanted)| wanted.or(*stored).map(|one| one.n));
    let mut changes = Vec::new();
    for (stored, wanted) in pairs {
        let Some(version) = wanted.or(stored) else {
            continue;
        };
        let known = changes.len();
        let value = |one: Option<&Version>| one.map(fields);
        values(
            &version.n.to_string(),
            value(stored).as_ref(),
            value(wanted).as_ref(),
            &mut changes,
        );
        for change in changes.iter_mut().skip(known) {
            change.caused_by = Some(EventRef {
                id: version.caused_by.clone(),
                source: SmolStr::default(),
                time: Some(version.valid_from),
            });
        }
    }
    changes
}

/// The paths of a row's fields and their values, nested ones by their path, as changes have them.
pub(super) fn leaves(row: &Row) -> BTreeMap<String, Value> {
    let all = rows(None, Some(row)).into_iter();
    all.filter_map(|leaf| Some((leaf.field, leaf.after?)))
        .collect()
}

fn fields(version: &Version) -> Value {
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
        caused_by: None,
    });
}
