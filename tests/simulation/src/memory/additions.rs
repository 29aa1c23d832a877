use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use shared::flow::{Addition, RowKey};
use shared::model::{ActionId, Group};
use shared::ports::{Added, Error, ErrorKind};

use super::tables::{Kept, Rows};

impl Rows {
    /// Takes additions in. All are worked out before the first is written.
    pub(super) fn add(&mut self, additions: &[Addition]) -> Result<Vec<Added>, Error> {
        for addition in additions {
            addition
                .check()
                .map_err(|why| Error::refused(addition, why))?;
        }
        let mut rows: BTreeMap<&RowKey, Kept> = BTreeMap::new();
        let mut new: BTreeSet<(&Group, ActionId)> = BTreeSet::new();
        let mut added = Vec::with_capacity(additions.len());
        for addition in additions {
            let (group, action) = (&addition.key.group, addition.action);
            let of_group = self.groups.get(group);
            let held = of_group.is_some_and(|one| one.actions.contains(&action));
            if held || !new.insert((group, action)) {
                added.push(Added::Held);
                continue;
            }
            let before = rows.remove(&addition.key);
            let before = before.or_else(|| self.kept(&addition.key).cloned());
            let trail = addition.trail(before.as_ref().map(|row| &row.trail));
            let body = match before.filter(|row| !row.body.is_empty()) {
                Some(row) => Some(object(addition, &row.body)?),
                None => None,
            };
            let body = addition
                .body(body)
                .map_err(|why| Error::refused(addition, why))?;
            let body = Value::Object(body).to_string();
            rows.insert(&addition.key, Kept { body, trail });
            added.push(Added::Done);
        }
        for (key, kept) in rows {
            let of_group = self.groups.entry(key.group.clone()).or_default();
            of_group.rows.insert((key.table, key.id.clone()), kept);
        }
        for (group, action) in new {
            let of_group = self.groups.entry(group.clone()).or_default();
            of_group.actions.insert(action);
        }
        Ok(added)
    }
}

fn object(addition: &Addition, body: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(body).map_err(|error| {
        let RowKey { group, table, id } = &addition.key;
        let doing = format!("add to {} {id} of {group}", table.name());
        Error::new(ErrorKind::Corrupt, doing, error)
    })
}
