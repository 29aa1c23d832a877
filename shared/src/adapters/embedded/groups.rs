use rusqlite::{OptionalExtension, params};

use crate::model::Group;
use crate::ports::Partition;

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
                group.hash()
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

    /// A page of those groups of a partition that have anything in `table`, by their numbers.
    pub(super) fn groups_in(
        &mut self,
        table: &'static str,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Group>> {
        let after = match after {
            Some(group) => self.find_gid(group)?.unwrap_or(0),
            None => 0,
        };
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT tenant, key FROM groups g WHERE gid > ? AND hash BETWEEN ? AND ?
             AND EXISTS (SELECT 1 FROM {table} t WHERE t.gid = g.gid) ORDER BY gid LIMIT ?"
        ))?;
        let hashes = partition.hashes();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            select.query_map(params![after, hashes.start(), hashes.end(), limit], |row| {
                Ok(Group {
                    tenant: row.get_ref(0)?.as_str()?.into(),
                    key: row.get_ref(1)?.as_str()?.into(),
                })
            })?;
        rows.collect()
    }

    fn know(&mut self, group: &Group, gid: i64) {
        if self.known_groups.len() >= KNOWN_MAX {
            self.known_groups.clear();
        }
        self.known_groups.insert(group.clone(), gid);
    }
}
