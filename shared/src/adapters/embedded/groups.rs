use rusqlite::{OptionalExtension, params};

use crate::model::Group;

use super::Inner;

/// How many group numbers are kept in memory.
const KNOWN_MAX: usize = 65_536;

impl Inner {
    /// The group's number, a new one where it has none yet.
    pub(super) fn gid(&mut self, group: &Group) -> rusqlite::Result<i64> {
        if let Some(gid) = self.find_gid(group)? {
            return Ok(gid);
        }
        self.connection
            .prepare_cached("INSERT INTO groups (tenant, key, hash) VALUES (?, ?, ?)")?
            .execute(params![
                group.tenant.as_str(),
                group.key.as_str(),
                hash(group)
            ])?;
        let gid = self.connection.last_insert_rowid();
        self.know(group, gid);
        Ok(gid)
    }

    /// The group's number, if it has one.
    pub(super) fn find_gid(&mut self, group: &Group) -> rusqlite::Result<Option<i64>> {
        if let Some(gid) = self.known_groups.get(group) {
            return Ok(Some(*gid));
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT gid FROM groups WHERE tenant = ? AND key = ?")?
            .query_row(params![group.tenant.as_str(), group.key.as_str()], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(gid) = found {
            self.know(group, gid);
        }
        Ok(found)
    }

    /// The group of that number.
    pub(super) fn group(&self, gid: i64) -> rusqlite::Result<Group> {
        self.connection
            .prepare_cached("SELECT tenant, key FROM groups WHERE gid = ?")?
            .query_row([gid], |row| {
                Ok(Group {
                    tenant: row.get_ref(0)?.as_str()?.into(),
                    key: row.get_ref(1)?.as_str()?.into(),
                })
            })
    }

    fn know(&mut self, group: &Group, gid: i64) {
        if self.known_groups.len() >= KNOWN_MAX {
            self.known_groups.clear();
        }
        self.known_groups.insert(group.clone(), gid);
    }
}

/// The group's hash without its sign bit, so that SQL can take it modulo a count.
pub(super) fn hash(group: &Group) -> i64 {
    i64::try_from(group.hash() >> 1).unwrap_or(i64::MAX)
}
