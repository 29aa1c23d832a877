use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use crate::flow::{Addition, RowKey};
use crate::handlers::Table;
use crate::model::{ActionId, Group, Timestamp, Trail};
use crate::ports::{Added, Error, ErrorKind};

use super::query::{Need, queries};
use super::queue::bind;
use super::tables::{GONE, SELECT_ROW, number};
use super::{Failure, Inner, codec};

queries! {
    TAKEN_IN {
        name: "Tables::add, whether an action was taken in",
        needs: [Need::Key("additions")],
        sql: "SELECT 1 FROM additions WHERE gid = ? AND action = ?",
        trial: "SELECT gid, action FROM additions LIMIT 1",
    }
    TAKE_IN {
        name: "Tables::add, an action",
        needs: [],
        sql: "INSERT INTO additions (gid, action, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    }
    PUT_GROWN {
        name: "Tables::add, a row",
        needs: [],
        sql: "INSERT INTO rows (gid, tbl, id, version, body, trail) VALUES (?, ?, ?, ?, ?, ?)
              ON CONFLICT DO UPDATE SET version = excluded.version, body = excluded.body,
                  trail = excluded.trail",
    }
}

/// A row as additions see it.
struct Grown {
    /// `None` where the row is gone.
    body: Option<Map<String, Value>>,
    trail: Trail,
}

impl Inner {
    /// Takes additions in. All are worked out before the first is written, so that one that fails
    /// leaves nothing of its call behind, even within a unit of work that goes on.
    pub(super) fn add(
        &mut self,
        additions: &[Addition],
        now: Timestamp,
    ) -> Result<Vec<Added>, Failure> {
        for addition in additions {
            addition
                .check()
                .map_err(|why| Error::refused(addition, why))?;
        }
        let mut rows: BTreeMap<&RowKey, Grown> = BTreeMap::new();
        let mut new: BTreeSet<(&Group, ActionId)> = BTreeSet::new();
        let mut added = Vec::with_capacity(additions.len());
        for addition in additions {
            let (group, action) = (&addition.key.group, addition.action);
            if new.contains(&(group, action)) || self.has_taken_in(group, action)? {
                added.push(Added::Held);
                continue;
            }
            let before = match rows.remove(&addition.key) {
                Some(row) => Some(row),
                None => self.grown(&addition.key)?,
            };
            let trail = addition.trail(before.as_ref().map(|row| &row.trail));
            let body = addition
                .body(before.and_then(|row| row.body))
                .map_err(|why| Error::refused(addition, why))?;
            let body = Some(body);
            rows.insert(&addition.key, Grown { body, trail });
            new.insert((group, action));
            added.push(Added::Done);
        }
        for (key, row) in rows {
            self.put_grown(key, row)?;
        }
        for (group, action) in new {
            let gid = self.gid(group)?;
            self.mark(gid, &[action], now)?;
        }
        Ok(added)
    }

    /// Marks actions as taken in, for good.
    pub(super) fn mark(
        &self,
        gid: i64,
        actions: &[ActionId],
        now: Timestamp,
    ) -> Result<(), Failure> {
        if actions.is_empty() {
            return Ok(());
        }
        let mut insert = self.database.prepare(&TAKE_IN)?;
        for action in actions {
            insert.execute(params![gid, action.0.to_be_bytes(), now.ms()])?;
        }
        Ok(())
    }

    fn has_taken_in(&mut self, group: &Group, action: ActionId) -> Result<bool, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(false);
        };
        let mut select = self.database.prepare(&TAKEN_IN)?;
        Ok(select.exists(params![gid, action.0.to_be_bytes()])?)
    }

    fn grown(&mut self, key: &RowKey) -> Result<Option<Grown>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(None);
        };
        let found: Option<(String, Vec<u8>, i64)> = self
            .database
            .prepare(&SELECT_ROW)?
            .query_row(params![gid, number(key.table), key.id.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((body, trail, version)) = found else {
            return Ok(None);
        };
        let body = match body.as_str() {
            GONE => None,
            body => Some(serde_json::from_str(body).map_err(|error| {
                let doing = format!("add to {} {} of {}", key.table.name(), key.id, key.group);
                Error::new(ErrorKind::Corrupt, doing, error)
            })?),
        };
        let mut trail = codec::decode_trail(&trail)?;
        // The column is what writes are conditional on, whoever changed the rest.
        trail.version = u64::try_from(version).unwrap_or(0);
        Ok(Some(Grown { body, trail }))
    }

    fn put_grown(&mut self, key: &RowKey, row: Grown) -> Result<(), Failure> {
        let gid = self.gid(&key.group)?;
        let body = Value::Object(row.body.unwrap_or_default()).to_string();
        self.database.prepare(&PUT_GROWN)?.execute(params![
            gid,
            number(key.table),
            key.id.as_str(),
            bind(row.trail.version),
            body,
            codec::encode_trail(&row.trail)?
        ])?;
        if key.table == Table::RSLeadGlobalConversions {
            self.index_conversions(gid, key.table.read_row(&body).ok().as_ref())?;
        }
        Ok(())
    }
}
