use std::collections::BTreeSet;

use rusqlite::{Row as SqlRow, Statement, params};
use smol_str::SmolStr;

use crate::flow::{Addition, Put, RowKey, Stored, Write};
use crate::handlers::{Conversion, Row, Table, Version};
use crate::model::{ActionHierarchy, Group, Timestamp};
use crate::ports::{
    Added, Committed, ConversionPage, ConversionQuery, Cursor, Error, HistoryVersion, Partition,
    Reading, Tables,
};

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
        self.look(|inner| inner.groups_in("rows", partition, after, limit))
    }

    async fn commit(
        &self,
        writes: &[Write],
        finished: &[ActionHierarchy],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.unit(|inner| {
            let mut committed = Vec::with_capacity(writes.len());
            let mut lost = BTreeSet::new();
            for write in writes {
                let became = inner.write(write, now)?;
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
            Ok::<_, Failure>(committed)
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

const SELECT_VERSIONS: &str = "
    SELECT n, valid_from, valid_to, caused_by, fields FROM history
    WHERE gid = ? AND tbl = ? AND id = ? AND recorded_to IS NULL ORDER BY n";

impl Inner {
    fn row(&mut self, key: &RowKey, reading: Reading) -> Result<Option<Stored>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(None);
        };
        let mut select = self.connection.prepare_cached(
            "SELECT body, trail, version FROM rows WHERE gid = ? AND tbl = ? AND id = ?",
        )?;
        let mut rows = select.query(params![gid, number(key.table), key.id.as_str()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let mut stored = stored(key.clone(), row)?;
        if reading == Reading::WithHistory && key.table.is_temporal() {
            let mut versions = self.connection.prepare_cached(SELECT_VERSIONS)?;
            stored.history = Some(in_force(&mut versions, gid, key.table, &key.id)?);
        }
        Ok(Some(stored))
    }

    fn rows_of(&mut self, group: &Group) -> Result<Vec<Stored>, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self
            .connection
            .prepare_cached("SELECT body, trail, version, tbl, id FROM rows WHERE gid = ?")?;
        let mut versions = self.connection.prepare_cached(SELECT_VERSIONS)?;
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

    fn write(&mut self, write: &Write, now: Timestamp) -> Result<Committed, Failure> {
        let gid = self.gid(&write.key.group)?;
        let written = match &write.put {
            Some(put) => self.put(gid, write, put)?,
            None => self.take_away(gid, write, now)?,
        };
        if written == 0 {
            return Ok(Committed::Conflict);
        }
        let moved = write.put.as_ref().is_none_or(|put| put.moved);
        if moved && write.key.table == Table::RSLeadGlobalConversions {
            self.index_conversions(gid, write.put.as_ref().map(|put| &put.row))?;
        }
        if let Some(put) = &write.put {
            self.rewrite(gid, &write.key, put, now)?;
        }
        Ok(Committed::Done)
    }

    fn put(&self, gid: i64, write: &Write, put: &Put) -> Result<usize, Failure> {
        let RowKey { table, id, .. } = &write.key;
        let trail = codec::encode_trail(&put.trail)?;
        let version = bind(put.trail.version);
        let written = match write.expected {
            None => self
                .connection
                .prepare_cached(
                    "INSERT INTO rows (gid, tbl, id, version, body, trail)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    gid,
                    number(*table),
                    id.as_str(),
                    version,
                    put.body,
                    trail
                ])?,
            Some(expected) => self
                .connection
                .prepare_cached(
                    "UPDATE rows SET version = ?4, body = ?5, trail = ?6
                     WHERE gid = ?1 AND tbl = ?2 AND id = ?3 AND version = ?7",
                )?
                .execute(params![
                    gid,
                    number(*table),
                    id.as_str(),
                    version,
                    put.body,
                    trail,
                    bind(expected)
                ])?,
        };
        Ok(written)
    }

    fn take_away(&self, gid: i64, write: &Write, now: Timestamp) -> Result<usize, Failure> {
        let RowKey { table, id, .. } = &write.key;
        let Some(expected) = write.expected else {
            return Ok(0);
        };
        let bound = params![gid, number(*table), id.as_str(), bind(expected)];
        let written = self
            .connection
            .prepare_cached(
                "DELETE FROM rows WHERE gid = ? AND tbl = ? AND id = ? AND version = ?",
            )?
            .execute(bound)?;
        if written > 0 && table.is_temporal() {
            self.connection
                .prepare_cached(
                    "UPDATE history SET recorded_to = ?
                     WHERE gid = ? AND tbl = ? AND id = ? AND recorded_to IS NULL",
                )?
                .execute(params![now.ms(), gid, number(*table), id.as_str()])?;
        }
        Ok(written)
    }

    /// Ends the versions that a write supersedes and adds those it brings.
    fn rewrite(&self, gid: i64, key: &RowKey, put: &Put, now: Timestamp) -> Result<(), Failure> {
        let Some(history) = &put.history else {
            return Ok(());
        };
        let (table, id) = (number(key.table), key.id.as_str());
        if history.supersede {
            self.connection
                .prepare_cached(
                    "UPDATE history SET recorded_to = ?
                     WHERE gid = ? AND tbl = ? AND id = ? AND n > ? AND recorded_to IS NULL",
                )?
                .execute(params![now.ms(), gid, table, id, history.keep])?;
        }
        if history.keep > 0 {
            let end = history
                .versions
                .first()
                .map(|version| version.valid_from.ms());
            self.connection
                .prepare_cached(
                    "UPDATE history SET valid_to = ?
                     WHERE gid = ? AND tbl = ? AND id = ? AND n = ? AND recorded_to IS NULL",
                )?
                .execute(params![end, gid, table, id, history.keep])?;
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO history (gid, tbl, id, n, made, valid_from, valid_to, recorded_from,
                                  caused_by, fields)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET recorded_to = NULL, valid_from = excluded.valid_from,
                 valid_to = excluded.valid_to, caused_by = excluded.caused_by,
                 fields = excluded.fields",
        )?;
        for version in &history.versions {
            insert.execute(params![
                gid,
                table,
                id,
                version.n,
                bind(put.trail.version),
                version.valid_from.ms(),
                version.valid_to.map(Timestamp::ms),
                now.ms(),
                version.caused_by.as_str(),
                version.fields,
            ])?;
        }
        Ok(())
    }

    /// Keeps the index of conversions by tenant, name and time of the last. What it holds of the group
    /// is asked of the index itself: a row that somebody else changed must not leave places behind.
    pub(super) fn index_conversions(&self, gid: i64, row: Option<&Row>) -> Result<(), Failure> {
        let before: Vec<IndexEntry> = {
            let mut select = self.connection.prepare_cached(
                "SELECT tenant, name, last_at, lead FROM conversions WHERE gid = ?",
            )?;
            let entries = select.query_map([gid], |row| {
                let text = |i| Ok::<_, rusqlite::Error>(SmolStr::from(row.get_ref(i)?.as_str()?));
                Ok(IndexEntry {
                    tenant: text(0)?,
                    name: text(1)?,
                    last_at: row.get(2)?,
                    lead: text(3)?,
                })
            })?;
            entries.collect::<rusqlite::Result<_>>()?
        };
        let after = index_entries(row);
        for entry in before.iter().filter(|entry| !after.contains(entry)) {
            self.connection
                .prepare_cached(
                    "DELETE FROM conversions
                     WHERE tenant = ? AND name = ? AND last_at = ? AND lead = ?",
                )?
                .execute(entry.bound())?;
        }
        for entry in after.iter().filter(|entry| !before.contains(entry)) {
            let (tenant, name, last_at, lead) = entry.bound();
            self.connection
                .prepare_cached(
                    "INSERT INTO conversions (tenant, name, last_at, lead, gid)
                     VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![tenant, name, last_at, lead, gid])?;
        }
        Ok(())
    }

    fn conversions(&mut self, query: &ConversionQuery) -> Result<ConversionPage, Failure> {
        let before = query.after.as_ref();
        let last_at = before.map_or(query.to.ms(), |cursor| cursor.last_at.ms());
        let lead = before.map_or("", |cursor| cursor.lead_id.as_str());
        let keys = {
            let mut select = self.connection.prepare_cached(
                "SELECT last_at, lead FROM conversions
                 WHERE tenant = ? AND name = ? AND last_at >= ? AND (last_at, lead) < (?, ?)
                 ORDER BY last_at DESC, lead DESC LIMIT ?",
            )?;
            let limit = i64::try_from(query.limit)
                .unwrap_or(i64::MAX)
                .saturating_add(1);
            let bound = params![
                query.tenant.as_str(),
                query.name.as_str(),
                query.from.ms(),
                last_at,
                lead,
                limit
            ];
            let rows = select.query_map(bound, |row| {
                Ok(Cursor {
                    last_at: Timestamp::from_ms(row.get(0)?),
                    lead_id: row.get_ref(1)?.as_str()?.into(),
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        };
        let more = keys.len() > query.limit;
        let page = keys.get(..query.limit.min(keys.len())).unwrap_or_default();
        let mut rows = Vec::with_capacity(page.len());
        for cursor in page {
            let key = RowKey::conversions(&query.tenant, &cursor.lead_id);
            rows.extend(self.row(&key, Reading::Row)?);
        }
        let next = if more { page.last().cloned() } else { None };
        Ok(ConversionPage { rows, next })
    }

    fn history(&mut self, key: &RowKey) -> Result<Vec<HistoryVersion>, Failure> {
        let Some(gid) = self.find_gid(&key.group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.connection.prepare_cached(
            "SELECT n, valid_from, valid_to, caused_by, fields, recorded_from, recorded_to
             FROM history WHERE gid = ? AND tbl = ? AND id = ? ORDER BY recorded_from, n",
        )?;
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

    fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Failure> {
        let mut select = self.connection.prepare_cached(
            "SELECT g.tenant, g.key, r.tbl FROM groups g JOIN rows r USING (gid)
             WHERE g.key = ?1 AND r.id = ?1
             UNION
             SELECT g.tenant, g.key, r.tbl FROM rows r JOIN groups g USING (gid)
             WHERE r.tbl IN (1, 2) AND r.id = ?1",
        )?;
        let mut rows = select.query([id])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let text = |i| Ok::<_, rusqlite::Error>(SmolStr::from(row.get_ref(i)?.as_str()?));
            let group = Group {
                tenant: text(0)?,
                key: text(1)?,
            };
            if let Some(table) = table(row.get(2)?)
                && tenant.is_none_or(|tenant| group.tenant == tenant)
            {
                keys.push(RowKey {
                    group,
                    table,
                    id: id.into(),
                });
            }
        }
        Ok(keys)
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
    let readable = readable && read.is_ok();
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

/// An entry of the index of conversions.
#[derive(PartialEq)]
struct IndexEntry {
    tenant: SmolStr,
    name: SmolStr,
    last_at: i64,
    lead: SmolStr,
}

impl IndexEntry {
    fn bound(&self) -> (&str, &str, i64, &str) {
        (&self.tenant, &self.name, self.last_at, &self.lead)
    }
}

fn index_entries(row: Option<&Row>) -> Vec<IndexEntry> {
    let Some(Row::RSLeadGlobalConversions(row)) = row else {
        return Vec::new();
    };
    let entry = |(name, conversion): (&SmolStr, &Conversion)| IndexEntry {
        tenant: row.tenant.clone(),
        name: name.clone(),
        last_at: conversion.last_at.ms(),
        lead: row.lead_id.clone(),
    };
    row.conversions.iter().map(entry).collect()
}

/// A table's number in the file. It must never change for a table; new tables get new numbers.
pub(super) fn number(table: Table) -> i64 {
    match table {
        Table::RSLead => 0,
        Table::RSAppointment => 1,
        Table::RSAppointmentChanges => 2,
        Table::RSLeadGlobalConversions => 3,
    }
}

fn table(of: i64) -> Option<Table> {
    Table::ALL.into_iter().find(|table| number(*table) == of)
}

pub(super) fn bind(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
