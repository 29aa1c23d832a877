//! The index of conversions by tenant, name and time of the last: entries that follow from the rows of
//! [`Table::RSLeadGlobalConversions`], and what a page of them is read through.

use rusqlite::{OptionalExtension, params};
use smol_str::SmolStr;

use crate::flow::RowKey;
use crate::handlers::{Conversion, Row, Table};
use crate::model::{DerivedIndex, Timestamp};
use crate::ports::{ConversionPage, ConversionQuery, Cursor, Reading};

use super::query::{Index, Need, queries};
use super::tables::number;
use super::{Failure, Inner};

const CONVERSIONS_BY_GROUP: Index = Index {
    name: "conversions_by_group",
    table: "conversions",
    on: "(gid)",
};

queries! {
    PAGE {
        name: "Tables::conversions, page",
        needs: [Need::Key("conversions")],
        sql: "SELECT last_at, lead FROM conversions
              WHERE tenant = ? AND name = ? AND last_at >= ? AND (last_at, lead) < (?, ?)
              ORDER BY last_at DESC, lead DESC LIMIT ?",
        trial: "SELECT tenant, name, -9223372036854775808, 9223372036854775807, '', 100
                FROM conversions LIMIT 1",
    }
    PLACES_OF_GROUP {
        name: "Tables::commit, a lead's conversions",
        needs: [Need::Index(&CONVERSIONS_BY_GROUP)],
        sql: "SELECT tenant, name, last_at, lead FROM conversions WHERE gid = ?",
        trial: "SELECT gid FROM conversions LIMIT 1",
    }
    LEAVE {
        name: "Tables::commit, a conversion leaves",
        needs: [Need::Key("conversions")],
        sql: "DELETE FROM conversions
              WHERE tenant = ? AND name = ? AND last_at = ? AND lead = ?",
    }
    ENTER {
        name: "Tables::commit, a conversion enters",
        needs: [],
        sql: "INSERT INTO conversions (tenant, name, last_at, lead, gid)
              VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    }
    CONVERSIONS {
        name: "Indexes, rows of conversions",
        needs: [Need::WholePass("rows")],
        sql: "SELECT gid, body FROM rows WHERE tbl = ?",
    }
    OWNER {
        name: "Indexes, a conversion",
        needs: [Need::Key("conversions")],
        sql: "SELECT gid FROM conversions
              WHERE tenant = ? AND name = ? AND last_at = ? AND lead = ?",
        trial: "SELECT tenant, name, last_at, lead FROM conversions LIMIT 1",
    }
    COUNT_ENTRIES {
        name: "Indexes, number of conversions",
        needs: [Need::WholePass("conversions")],
        sql: "SELECT count(*) FROM conversions",
    }
    CLEAR {
        name: "Indexes, forget all conversions",
        needs: [],
        sql: "DELETE FROM conversions",
    }
}

impl Inner {
    pub(super) fn conversions(
        &mut self,
        query: &ConversionQuery,
    ) -> Result<ConversionPage, Failure> {
        let before = query.after.as_ref();
        let last_at = before.map_or(query.to.ms(), |cursor| cursor.last_at.ms());
        let lead = before.map_or("", |cursor| cursor.lead_id.as_str());
        let keys = {
            let mut select = self.database.prepare(&PAGE)?;
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

    /// Keeps the index of conversions by tenant, name and time of the last. What it holds of the group
    /// is asked of the index itself: a row that somebody else changed must not leave places behind.
    pub(super) fn index_conversions(&self, gid: i64, row: Option<&Row>) -> Result<(), Failure> {
        let before: Vec<IndexEntry> = {
            let mut select = self.database.prepare(&PLACES_OF_GROUP)?;
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
            self.database.prepare(&LEAVE)?.execute(entry.bound())?;
        }
        for entry in after.iter().filter(|entry| !before.contains(entry)) {
            self.enter(gid, entry)?;
        }
        Ok(())
    }

    fn enter(&self, gid: i64, entry: &IndexEntry) -> Result<(), Failure> {
        let (tenant, name, last_at, lead) = entry.bound();
        let bound = params![tenant, name, last_at, lead, gid];
        self.database.prepare(&ENTER)?.execute(bound)?;
        Ok(())
    }

    /// Compares the index with the rows that it follows from.
    pub(super) fn check_conversions(&self) -> Result<DerivedIndex, Failure> {
        let (mut found, mut lacking) = (0, 0);
        let mut select = self.database.prepare(&OWNER)?;
        self.each_place(|gid, entry| {
            let owner: Option<i64> = select
                .query_row(entry.bound(), |row| row.get(0))
                .optional()?;
            // Under another group's number it would not be found when its row moves.
            if owner == Some(gid) {
                found += 1;
            } else {
                lacking += 1;
            }
            Ok(())
        })?;
        let all: i64 = self
            .database
            .prepare(&COUNT_ENTRIES)?
            .query_row([], |row| row.get(0))?;
        Ok(DerivedIndex {
            index: "conversions".into(),
            lacking,
            // No two places are the same entry.
            stray: u64::try_from(all).unwrap_or(0).saturating_sub(found),
        })
    }

    /// Makes the whole index anew from the rows.
    pub(super) fn rebuild_conversions(&self) -> Result<(), Failure> {
        self.database.prepare(&CLEAR)?.execute([])?;
        self.each_place(|gid, entry| self.enter(gid, entry))
    }

    /// Gives each entry that a row leads to, with the number of the row's group.
    fn each_place(
        &self,
        mut take: impl FnMut(i64, &IndexEntry) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let table = Table::RSLeadGlobalConversions;
        let mut select = self.database.prepare(&CONVERSIONS)?;
        let mut rows = select.query([number(table)])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            // A body that cannot be read leads nowhere; a replay finds and mends it.
            let read = table.read_row(body).ok();
            for entry in index_entries(read.as_ref()) {
                take(row.get(0)?, &entry)?;
            }
        }
        Ok(())
    }
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
