use rusqlite::{OptionalExtension, params};

use crate::model::Group;
use crate::ports::Partition;

use super::Inner;
use super::journal::JOURNAL_BY_GROUP;
use super::query::{Index, Need, Query, queries};

const GROUPS_BY_KEY: Index = Index {
    name: "groups_by_key",
    table: "groups",
    on: "(key)",
};

queries! {
    NEW_GROUP {
        name: "Embedded, a new group",
        needs: [],
        sql: "INSERT INTO groups (tenant, key, hash) VALUES (?, ?, ?)",
    }
    GROUP_NUMBER {
        name: "Embedded, the number of a group",
        needs: [Need::Unique("groups", "sqlite_autoindex_groups_1")],
        sql: "SELECT gid FROM groups WHERE tenant = ? AND key = ?",
        trial: "SELECT tenant, key FROM groups LIMIT 1",
    }
    GROUP_OF_NUMBER {
        name: "Embedded, the group of a number",
        needs: [Need::Key("groups")],
        sql: "SELECT tenant, key FROM groups WHERE gid = ?",
        trial: "SELECT gid FROM groups LIMIT 1",
    }
    GROUPS_OF_KEY {
        name: "Tables::find, by the key of the group",
        needs: [Need::Index(&GROUPS_BY_KEY)],
        sql: "SELECT gid, tenant FROM groups WHERE key = ? ORDER BY tenant",
        trial: "SELECT key FROM groups LIMIT 1",
    }
    /// A replay goes through all groups, page by page; a partition passes over those of the others.
    GROUPS_WITH_ENTRIES {
        name: "Journal::groups",
        needs: [Need::WholePass("groups"), Need::Index(&JOURNAL_BY_GROUP)],
        sql: "SELECT tenant, key FROM groups WHERE gid > ? AND hash BETWEEN ? AND ?
              AND EXISTS (SELECT 1 FROM journal WHERE journal.gid = groups.gid)
              ORDER BY gid LIMIT ?",
        trial: "SELECT 0, 0, 9223372036854775807, 100",
    }
    GROUPS_WITH_ROWS {
        name: "Tables::groups_with_rows",
        needs: [Need::WholePass("groups"), Need::Key("rows")],
        sql: "SELECT tenant, key FROM groups WHERE gid > ? AND hash BETWEEN ? AND ?
              AND EXISTS (SELECT 1 FROM rows WHERE rows.gid = groups.gid)
              ORDER BY gid LIMIT ?",
        trial: "SELECT 0, 0, 9223372036854775807, 100",
    }
}

/// How many group numbers are kept in memory.
const KNOWN_MAX: usize = 65_536;

impl Inner {
    /// The group's number, a new one where it has none yet.
    pub(super) fn gid(&mut self, group: &Group) -> rusqlite::Result<i64> {
        if let Some(gid) = self.find_gid(group)? {
            return Ok(gid);
        }
        self.database.prepare(&NEW_GROUP)?.execute(params![
            group.tenant.as_str(),
            group.key.as_str(),
            group.hash()
        ])?;
        let gid = self.database.last_insert_rowid();
        self.know(group, gid);
        Ok(gid)
    }

    /// The group's number, if it has one.
    pub(super) fn find_gid(&mut self, group: &Group) -> rusqlite::Result<Option<i64>> {
        if let Some(gid) = self.known_groups.get(group) {
            return Ok(Some(*gid));
        }
        let found: Option<i64> = self
            .database
            .prepare(&GROUP_NUMBER)?
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
        self.database
            .prepare(&GROUP_OF_NUMBER)?
            .query_row([gid], |row| {
                Ok(Group {
                    tenant: row.get_ref(0)?.as_str()?.into(),
                    key: row.get_ref(1)?.as_str()?.into(),
                })
            })
    }

    /// The groups of any tenant that have this key, with their numbers, by tenant.
    pub(super) fn groups_of_key(&self, key: &str) -> rusqlite::Result<Vec<(i64, Group)>> {
        let mut select = self.database.prepare(&GROUPS_OF_KEY)?;
        let groups = select.query_map([key], |row| {
            let group = Group {
                tenant: row.get_ref(1)?.as_str()?.into(),
                key: key.into(),
            };
            Ok((row.get(0)?, group))
        })?;
        groups.collect()
    }

    /// A page of the groups of a partition that `query` gives, by their numbers.
    pub(super) fn page_of_groups(
        &mut self,
        query: &Query,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Group>> {
        let after = match after {
            Some(group) => self.find_gid(group)?.unwrap_or(0),
            None => 0,
        };
        let hashes = partition.hashes();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut select = self.database.prepare(query)?;
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
