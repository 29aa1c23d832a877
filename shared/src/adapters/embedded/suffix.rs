//! The later part of a group's journal, by the greatest event times of its segments: one file of the port [`Journal`](crate::ports::Journal).

use rusqlite::params;

use crate::model::Entry;
use crate::ports::Since;

use super::query::{Index, Need, queries};
use super::{Failure, Inner, codec};

const JOURNAL_BY_TIME: Index = Index {
    name: "journal_by_time",
    table: "journal",
    on: "(gid, until)",
};

queries! {
    APPEND_SEGMENT {
        name: "Journal::append, a segment",
        needs: [],
        sql: "INSERT INTO journal (position, gid, body, until) VALUES (?, ?, ?, ?)",
    }
    ENTRIES_SINCE {
        name: "Journal::entries_since",
        needs: [Need::Index(&JOURNAL_BY_TIME)],
        sql: "SELECT body FROM journal WHERE gid = ? AND until >= ? ORDER BY position",
        trial: "SELECT gid, until FROM journal LIMIT 1",
    }
}

impl Inner {
    pub(super) fn entries_since(&mut self, since: &Since) -> Result<Vec<Entry>, Failure> {
        let Since { group, time, .. } = since;
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&ENTRIES_SINCE)?;
        let mut rows = select.query(params![gid, time.ms()])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            codec::decode_entries_into(group, body, &mut entries)?;
        }
        entries.retain(|entry| entry.event.time >= *time);
        Ok(entries)
    }
}
