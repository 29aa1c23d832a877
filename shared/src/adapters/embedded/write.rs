//! Conditional writes: one file of the port [`Tables`](crate::ports::Tables).

use rusqlite::params;

use crate::flow::{Put, RowKey, Write};
use crate::handlers::Table;
use crate::model::Timestamp;
use crate::ports::Committed;

use super::query::{Need, queries};
use super::queue::bind;
use super::tables::number;
use super::{Failure, Inner, codec};

queries! {
    INSERT_ROW {
        name: "Tables::commit, insert",
        needs: [],
        sql: "INSERT INTO rows (gid, tbl, id, version, body, trail)
              VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    }
    UPDATE_ROW {
        name: "Tables::commit, update",
        needs: [Need::Key("rows")],
        sql: "UPDATE rows SET version = ?4, body = ?5, trail = ?6
              WHERE gid = ?1 AND tbl = ?2 AND id = ?3 AND version = ?7
                    AND (substr(trail, 1, 1) <> x'03' OR substr(trail, 1, 9) <= ?8)",
    }
    DELETE_ROW {
        name: "Tables::commit, delete",
        needs: [Need::Key("rows")],
        sql: "DELETE FROM rows WHERE gid = ? AND tbl = ? AND id = ? AND version = ?",
    }
    END_HISTORY {
        name: "Tables::commit, end a history",
        needs: [Need::Key("history")],
        sql: "UPDATE history SET recorded_to = ?
              WHERE gid = ? AND tbl = ? AND id = ? AND recorded_to IS NULL",
    }
    SUPERSEDE {
        name: "Tables::commit, supersede versions",
        needs: [Need::Key("history")],
        sql: "UPDATE history SET recorded_to = ?
              WHERE gid = ? AND tbl = ? AND id = ? AND n > ? AND recorded_to IS NULL",
    }
    END_VERSION {
        name: "Tables::commit, end a version",
        needs: [Need::Key("history")],
        sql: "UPDATE history SET valid_to = ?
              WHERE gid = ? AND tbl = ? AND id = ? AND n = ? AND recorded_to IS NULL",
    }
    ADD_VERSION {
        name: "Tables::commit, a version",
        needs: [],
        sql: "INSERT INTO history (gid, tbl, id, n, made, valid_from, valid_to, recorded_from,
                                   caused_by, fields)
              VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
              ON CONFLICT DO UPDATE SET recorded_to = NULL, valid_from = excluded.valid_from,
                  valid_to = excluded.valid_to, caused_by = excluded.caused_by,
                  fields = excluded.fields",
    }
}

impl Inner {
    pub(super) fn write(&mut self, write: &Write, now: Timestamp) -> Result<Committed, Failure> {
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
            self.mark(gid, &put.actions, now)?;
        }
        Ok(Committed::Done)
    }

    fn put(&self, gid: i64, write: &Write, put: &Put) -> Result<usize, Failure> {
        let RowKey { table, id, .. } = &write.key;
        let trail = codec::encode_trail(&put.trail)?;
        let version = bind(put.trail.version);
        let written = match write.expected {
            None => self.database.prepare(&INSERT_ROW)?.execute(params![
                gid,
                number(*table),
                id.as_str(),
                version,
                put.body,
                trail
            ])?,
            Some(expected) => self.database.prepare(&UPDATE_ROW)?.execute(params![
                gid,
                number(*table),
                id.as_str(),
                version,
                put.body,
                trail,
                bind(expected),
                codec::fence_mark(put.trail.fence)
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
        let written = self.database.prepare(&DELETE_ROW)?.execute(bound)?;
        if written > 0 && table.is_temporal() {
            self.database.prepare(&END_HISTORY)?.execute(params![
                now.ms(),
                gid,
                number(*table),
                id.as_str()
            ])?;
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
            self.database.prepare(&SUPERSEDE)?.execute(params![
                now.ms(),
                gid,
                table,
                id,
                history.keep
            ])?;
        }
        if history.keep > 0 {
            let end = history
                .versions
                .first()
                .map(|version| version.valid_from.ms());
            self.database.prepare(&END_VERSION)?.execute(params![
                end,
                gid,
                table,
                id,
                history.keep
            ])?;
        }
        let mut insert = self.database.prepare(&ADD_VERSION)?;
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
}
