use std::collections::BTreeSet;

use rusqlite::{Row as SqlRow, Statement, params};
use smol_str::SmolStr;

use crate::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use crate::handlers::{Table, Version};
use crate::model::{ActionHierarchy, Group, Timestamp};
use crate::ports::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Error, HistoryVersion, Partition,
    Reading, Tables,
};

use super::groups::GROUPS_WITH_ROWS;
use super::query::{Index, Need, queries};
use super::{Embedded, Failure, Inner, codec};

impl Tables for Embedded {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.look(|inner| {
            let mut stored = Vec::with_capacity(keys.len());
            for key in keys {
                stored.extend(inner.row(key, reading)?);
            }
            Ok::<_, Failure>(stored)
        })
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.look(|inner| groups.iter().map(|group| inner.rows_of(group)).collect())
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.look(|inner| inner.page_of_groups(&GROUPS_WITH_ROWS, partition, after, limit))
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let Commit {
            writes,
            finished,
            images,
        } = commit;
        self.unit(|inner| {
            let mut committed = Vec::with_capacity(writes.len());
            let mut lost = BTreeSet::new();
            let mut outdated = BTreeSet::new();
            for change in images {
                if !inner.has_images(change)? {
                    outdated.insert(&change.group);
                    lost.insert(&change.group);
                }
            }
            for write in writes {
                let became = if outdated.contains(&write.key.group) {
                    Committed::Conflict
                } else {
                    inner.write(write, now)?
                };
                if became == Committed::Conflict {
                    lost.insert(&write.key.group);
                }
                committed.push(became);
            }
            let of_groups = finished.chunk_by(|a, b| a.group == b.group);
            let won = |of_group: &&[ActionHierarchy]| {
                of_group
                    .first()
                    .is_some_and(|one| !lost.contains(&one.group))
            };
            inner.save(of_groups.filter(won))?;
            for change in images.iter().filter(|one| !lost.contains(&one.group)) {
                inner.change_images(change)?;
            }
            Ok::<_, Failure>(committed)
        })
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.look(|inner| inner.images(group, since))
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.look(|inner| inner.image_heads(group))
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.look(|inner| {
            let after = |(key, n): &(RowKey, u32)| inner.versions_after(key, *n);
            rows.iter().map(after).collect()
        })
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.unit(|inner| inner.add(additions, now))
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.look(|inner| inner.history(key))
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.look(|inner| inner.conversions(query))
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.look(|inner| inner.find(tenant, id))
    }
}

const ROWS_BY_ID: Index = Index {
    name: "rows_by_id",
    table: "rows",
    on: "(id) WHERE tbl IN (1, 2)",
};

/// The body of a row that is gone: queries that show rows pass these by.
pub(super) const GONE: &str = "";

queries! {
    SELECT_ROW {
        name: "Tables::read",
        needs: [Need::Key("rows")],
        sql: "SELECT body, trail, version FROM rows WHERE gid = ? AND tbl = ? AND id = ?",
        trial: "SELECT gid, tbl, id FROM rows LIMIT 1",
    }
    /// Not tried: superseded versions stand among those in force, and how many there are is the
    /// history's doing, not the index's.
    SELECT_VERSIONS {
        name: "Tables::read, versions in force",
        needs: [Need::Key("history")],
        sql: "SELECT n, valid_from, valid_to, caused_by, fields FROM history
              WHERE gid = ? AND tbl = ? AND id = ? AND recorded_to IS NULL ORDER BY n",
    }
    /// Not tried, for the same reason.
    SELECT_VERSIONS_AFTER {
        name: "Tables::versions_after",
        needs: [Need::Key("history")],
        sql: "SELECT n, valid_from, valid_to, caused_by, fields FROM history
              WHERE gid = ? AND tbl = ? AND id = ? AND n > ? AND recorded_to IS NULL ORDER BY n",
    }
    SELECT_ROWS {
        name: "Tables::read_groups",
        needs: [Need::Key("rows")],
        sql: "SELECT body, trail, version, tbl, id FROM rows WHERE gid = ?",
        trial: "SELECT gid FROM rows LIMIT 1",
    }
    SELECT_HISTORY {
        name: "Tables::history",
        needs: [Need::Key("history")],
        sql: "SELECT n, valid_from, valid_to, caused_by, fields, recorded_from, recorded_to
              FROM history WHERE gid = ? AND tbl = ? AND id = ? ORDER BY recorded_from, n",
        trial: "SELECT gid, tbl, id FROM history LIMIT 1",
    }
    FIND_BY_ID {
        name: "Tables::find, by the row's own id",
        needs: [Need::Index(&ROWS_BY_ID), Need::Key("groups")],
        sql: "SELECT groups.tenant, groups.key, rows.tbl FROM rows JOIN groups USING (gid)
              WHERE rows.tbl IN (1, 2) AND rows.id = ? AND rows.body <> ''",
        trial: "SELECT id FROM rows WHERE tbl IN (1, 2) LIMIT 1",
    }
}

impl Inner {
    pub(super) fn row(
        &mut self,
        key: &RowKey,
        reading: Reading,
    ) -> Result<Option<Stored>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(None);
        };
        let mut select = self.database.prepare(&SELECT_ROW)?;
        let mut rows = select.query(params![gid, number(key.table), key.id.as_str()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let mut stored = stored(key.clone(), row)?;
        if reading == Reading::WithHistory && key.table.is_temporal() {
            let mut versions = self.database.prepare(&SELECT_VERSIONS)?;
            stored.history = Some(in_force(&mut versions, gid, key.table, &key.id)?);
        }
        Ok(Some(stored))
    }

    fn versions_after(&mut self, key: &RowKey, n: u32) -> Result<Vec<Version>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&SELECT_VERSIONS_AFTER)?;
        let bound = params![gid, number(key.table), key.id.as_str(), n];
        let versions = select.query_map(bound, version)?;
        Ok(versions.collect::<rusqlite::Result<_>>()?)
    }

    fn rows_of(&mut self, group: &Group) -> Result<Vec<Stored>, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&SELECT_ROWS)?;
        let mut versions = self.database.prepare(&SELECT_VERSIONS)?;
        let mut rows = select.query([gid])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(table) = table(row.get(3)?) else {
                continue;
            };
            let id = SmolStr::from(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?);
            let history = if table.is_temporal() {
                Some(in_force(&mut versions, gid, table, &id)?)
            } else {
                None
            };
            let key = RowKey {
                group: group.clone(),
                table,
                id,
            };
            found.push(Stored {
                history,
                ..stored(key, row)?
            });
        }
        Ok(found)
    }

    fn history(&mut self, key: &RowKey) -> Result<Vec<HistoryVersion>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&SELECT_HISTORY)?;
        let bound = params![gid, number(key.table), key.id.as_str()];
        let rows = select.query_map(bound, |row| {
            Ok(HistoryVersion {
                version: version(row)?,
                recorded_from: Timestamp::from_ms(row.get(5)?),
                recorded_to: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_ms),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The rows of the lead, whose id is its group's key, and those that go by an id of their own.
    fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Failure> {
        let mut keys = BTreeSet::new();
        let mut found = |group: &Group, table: Table| {
            if tenant.is_none_or(|tenant| group.tenant == tenant) {
                keys.insert(RowKey {
                    group: group.clone(),
                    table,
                    id: id.into(),
                });
            }
        };
        let mut select = self.database.prepare(&SELECT_ROW)?;
        for (gid, group) in self.groups_of_key(id)? {
            for table in Table::ALL {
                let mut rows = select.query(params![gid, number(table), id])?;
                if let Some(row) = rows.next()?
                    && row.get_ref(0)?.as_str() != Ok(GONE)
                {
                    found(&group, table);
                }
            }
        }
        let mut select = self.database.prepare(&FIND_BY_ID)?;
        let mut rows = select.query([id])?;
        while let Some(row) = rows.next()? {
            let text = |i| Ok::<_, rusqlite::Error>(SmolStr::from(row.get_ref(i)?.as_str()?));
            let group = Group {
                tenant: text(0)?,
                key: text(1)?,
            };
            if let Some(table) = table(row.get(2)?) {
                found(&group, table);
            }
        }
        Ok(keys.into_iter().collect())
    }
}

/// A row of the columns `body, trail, version`. A body or a trail that cannot be read is marked,
/// not hidden.
fn stored(key: RowKey, row: &SqlRow<'_>) -> Result<Stored, Failure> {
    let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let trail = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let trail = codec::decode_trail(trail);
    let readable = trail.is_ok();
    let mut trail = trail.unwrap_or_default();
    // The column is what writes are conditional on, whoever changed the rest.
    trail.version = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
    let read = key.table.read_row(body);
    let readable = readable && (read.is_ok() || (body == GONE && trail.is_gone()));
    let row = read.unwrap_or_else(|_unreadable| key.table.new_row(&key.group, &key.id));
    Ok(Stored {
        key,
        row,
        readable,
        trail,
        history: None,
    })
}

fn in_force(
    select: &mut Statement<'_>,
    gid: i64,
    table: Table,
    id: &SmolStr,
) -> Result<Vec<Version>, Failure> {
    let rows = select.query_map(params![gid, number(table), id.as_str()], version)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn version(row: &SqlRow<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        n: row.get(0)?,
        valid_from: Timestamp::from_ms(row.get(1)?),
        valid_to: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_ms),
        caused_by: row.get_ref(3)?.as_str()?.into(),
        fields: row.get_ref(4)?.as_str()?.into(),
    })
}

/// A table's number in the file. It must never change for a table; new tables get new numbers.
pub(super) fn number(table: Table) -> i64 {
    match table {
        Table::RSLead => 0,
        Table::RSAppointment => 1,
        Table::RSAppointmentChanges => 2,
        Table::RSLeadGlobalConversions => 3,
        Table::RSTenantDailyConversions => 4,
    }
}

pub(super) fn table(of: i64) -> Option<Table> {
    Table::ALL.into_iter().find(|table| number(*table) == of)
}
