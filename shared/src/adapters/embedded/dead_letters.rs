//! The dead-letter queue: one file of the port [`Queue`](crate::ports::Queue).

use rusqlite::{OptionalExtension, params};

use crate::model::Timestamp;
use crate::ports::Letter;

use super::query::{Need, queries};
use super::queue::bind;
use super::{Failure, Inner};

queries! {
    BURY {
        name: "Queue::park",
        needs: [],
        sql: "INSERT INTO dead_letters (gid, deduplication, receives, at, reason, body)
              VALUES (?, ?, ?, ?, ?, ?)",
    }
    DEAD_LETTERS {
        name: "Queue::dead_letters, page",
        needs: [Need::Key("dead_letters")],
        sql: "SELECT id, gid, deduplication, receives, at, reason, body
              FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?",
        trial: "SELECT 0, 100 FROM dead_letters LIMIT 1",
    }
    DIG_UP {
        name: "Queue::redrive",
        needs: [Need::Key("dead_letters")],
        sql: "DELETE FROM dead_letters WHERE id = ? RETURNING gid, deduplication, body",
    }
    DISCARD {
        name: "Queue::discard",
        needs: [Need::Key("dead_letters")],
        sql: "DELETE FROM dead_letters WHERE id = ?",
    }
    COUNT_DEAD {
        name: "Queue::depth, dead",
        needs: [Need::WholePass("dead_letters")],
        sql: "SELECT count(*) FROM dead_letters",
    }
}

/// A message on its way to the dead-letter queue.
pub(super) struct Spent<'m> {
    pub(super) gid: i64,
    pub(super) deduplication: &'m [u8],
    pub(super) receives: u32,
    pub(super) body: &'m [u8],
}

impl Inner {
    pub(super) fn bury(
        &self,
        spent: &Spent<'_>,
        now: Timestamp,
        reason: &str,
    ) -> rusqlite::Result<()> {
        let Spent {
            gid,
            deduplication,
            receives,
            body,
        } = spent;
        self.database.prepare(&BURY)?.execute(params![
            gid,
            deduplication,
            receives,
            now.ms(),
            reason,
            body
        ])?;
        Ok(())
    }

    pub(super) fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Failure> {
        let mut select = self.database.prepare(&DEAD_LETTERS)?;
        let mut rows = select.query(params![bind(after), bind(limit)])?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next()? {
            let (gid, deduplication, body): (i64, Vec<u8>, Vec<u8>) =
                (row.get(1)?, row.get(2)?, row.get(6)?);
            letters.push(Letter {
                id: u128::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                message: self.message(gid, &deduplication, &body)?,
                receives: row.get(3)?,
                at: Timestamp::from_ms(row.get(4)?),
                reason: row.get(5)?,
            });
        }
        Ok(letters)
    }

    /// Sends one dead letter back; `false` where it is gone.
    pub(super) fn redrive(&self, letter: u128, now: Timestamp) -> rusqlite::Result<bool> {
        let found: Option<(i64, Vec<u8>, Vec<u8>)> = self
            .database
            .prepare(&DIG_UP)?
            .query_row([bind(letter)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((gid, deduplication, body)) = found else {
            return Ok(false);
        };
        self.enqueue(gid, &deduplication, now, &body)?;
        Ok(true)
    }

    /// Deletes one dead letter for good; `false` where it is gone.
    pub(super) fn discard(&self, letter: u128) -> rusqlite::Result<bool> {
        let deleted = self.database.prepare(&DISCARD)?.execute([bind(letter)])?;
        Ok(deleted == 1)
    }
}
