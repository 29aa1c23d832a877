use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};

use crate::model::{Entry, Group, Timestamp};
use crate::ports::{Depth, Error, Letter, Message, Queue, Receipt, Received};

use super::{Embedded, Failure, Inner, QueueLimits, codec};

/// How long a deduplication id counts, as on SQS: five minutes.
const DEDUPLICATION_MS: i64 = 300_000;
/// How many expired deduplication ids are forgotten with each send.
const FORGET_MAX: i64 = 10_000;

impl Queue for Embedded {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.unit(|inner| inner.send(messages, now))
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        let limits = self.limits;
        self.unit(|inner| inner.receive(limit, now, limits))
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.unit(|inner| {
            let mut delete = inner
                .connection
                .prepare_cached("DELETE FROM messages WHERE sequence = ? AND receives = ?")?;
            for receipt in receipts {
                delete.execute(params![bind(receipt.sequence), bind(receipt.receive)])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.unit(|inner| {
            let mut update = inner.connection.prepare_cached(
                "UPDATE messages SET hidden_until = ? WHERE sequence = ? AND receives = ?",
            )?;
            for receipt in receipts {
                update.execute(params![
                    at.ms(),
                    bind(receipt.sequence),
                    bind(receipt.receive)
                ])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.unit(|inner| {
            for (message, reason) in letters {
                let gid = inner.gid(&message.group)?;
                let body = codec::encode_entries(message.entries.iter().map(Arc::as_ref))?;
                let id = message.deduplication_id.to_le_bytes();
                let spent = Spent {
                    gid,
                    deduplication: &id,
                    receives: 1,
                    body: &body,
                };
                inner.bury(&spent, now, reason)?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<Letter>, Error> {
        self.look(|inner| inner.dead_letters(after, limit))
    }

    async fn redrive(&self, letters: &[u64], now: Timestamp) -> Result<u64, Error> {
        self.unit(|inner| {
            let mut moved = 0;
            for letter in letters {
                moved += u64::from(inner.redrive(bind(*letter), now)?);
            }
            Ok::<_, Failure>(moved)
        })
    }

    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.look(|inner| groups.iter().map(|group| inner.waiting(group)).collect())
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.look(|inner| {
            let count = |sql: &str, bound: &[&dyn rusqlite::ToSql]| {
                inner
                    .connection
                    .query_row(sql, bound, |row| row.get::<_, i64>(0))
            };
            let hidden = "SELECT count(*) FROM messages WHERE hidden_until > ?";
            let all = count("SELECT count(*) FROM messages", &[])?;
            let in_flight = count(hidden, &[&now.ms()])?;
            let dead = count("SELECT count(*) FROM dead_letters", &[])?;
            let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
            Ok::<_, Failure>(Depth {
                visible: unsigned(all - in_flight),
                in_flight: unsigned(in_flight),
                dead: unsigned(dead),
            })
        })
    }
}

/// A message on its way to the dead-letter queue.
struct Spent<'m> {
    gid: i64,
    deduplication: &'m [u8],
    receives: u32,
    body: &'m [u8],
}

/// A message as it stands in the table.
struct Waiting {
    sequence: i64,
    gid: i64,
    deduplication: Vec<u8>,
    sent: i64,
    receives: u32,
    body: Vec<u8>,
}

impl Waiting {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            gid: row.get(1)?,
            deduplication: row.get(2)?,
            sent: row.get(3)?,
            receives: row.get(4)?,
            body: row.get(5)?,
        })
    }
}

impl Inner {
    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "DELETE FROM deduplication WHERE id IN (
                     SELECT id FROM deduplication WHERE sent <= ? LIMIT ?)",
            )?
            .execute(params![now.ms() - DEDUPLICATION_MS, FORGET_MAX])?;
        for message in messages {
            let id = message.deduplication_id.to_le_bytes();
            let claimed = self
                .connection
                .prepare_cached(
                    "INSERT INTO deduplication (id, sent) VALUES (?1, ?2)
                     ON CONFLICT (id) DO UPDATE SET sent = ?2 WHERE sent <= ?2 - ?3",
                )?
                .execute(params![id, now.ms(), DEDUPLICATION_MS])?;
            if claimed == 1 {
                let gid = self.gid(&message.group)?;
                let body = codec::encode_entries(message.entries.iter().map(Arc::as_ref))?;
                self.enqueue(gid, &id, now, &body)?;
            }
        }
        Ok(())
    }

    fn enqueue(&self, gid: i64, id: &[u8], now: Timestamp, body: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO messages (gid, deduplication, sent, receives, hidden_until, body)
                 VALUES (?, ?, ?, 0, 0, ?)",
            )?
            .execute(params![gid, id, now.ms(), body])?;
        Ok(())
    }

    fn receive(
        &mut self,
        limit: usize,
        now: Timestamp,
        limits: QueueLimits,
    ) -> Result<Vec<Received>, Failure> {
        let mut taken = Vec::new();
        let mut spent = Vec::new();
        {
            let mut select = self.connection.prepare_cached(
                "SELECT sequence, gid, deduplication, sent, receives, body
                 FROM messages ORDER BY sequence",
            )?;
            let mut rows = select.query([])?;
            let mut blocked: BTreeMap<i64, bool> = BTreeMap::new();
            while taken.len() < limit {
                let Some(row) = rows.next()? else { break };
                let gid: i64 = row.get(1)?;
                let is_blocked = match blocked.get(&gid) {
                    Some(known) => *known,
                    None => {
                        let in_flight = self.has_in_flight(gid, now)?;
                        blocked.insert(gid, in_flight);
                        in_flight
                    }
                };
                if is_blocked {
                    continue;
                }
                let waiting = Waiting::read(row)?;
                if waiting.receives >= limits.receives_max {
                    spent.push(waiting);
                } else {
                    taken.push(waiting);
                }
            }
        }
        for waiting in spent {
            let reason = format!("received {} times without being done", waiting.receives);
            let Waiting {
                sequence,
                gid,
                deduplication,
                receives,
                body,
                ..
            } = &waiting;
            let letter = Spent {
                gid: *gid,
                deduplication,
                receives: *receives,
                body,
            };
            self.bury(&letter, now, &reason)?;
            self.connection
                .prepare_cached("DELETE FROM messages WHERE sequence = ?")?
                .execute([sequence])?;
        }
        let hidden_until = now.plus_ms(limits.visibility_ms).ms();
        taken
            .iter()
            .map(|waiting| self.hand_out(waiting, hidden_until))
            .collect()
    }

    fn hand_out(&self, waiting: &Waiting, hidden_until: i64) -> Result<Received, Failure> {
        let receives = waiting.receives + 1;
        self.connection
            .prepare_cached(
                "UPDATE messages SET receives = ?, hidden_until = ? WHERE sequence = ?",
            )?
            .execute(params![receives, hidden_until, waiting.sequence])?;
        let message = self.message(waiting.gid, &waiting.deduplication, &waiting.body)?;
        let sequence = u64::try_from(waiting.sequence).unwrap_or(0);
        Ok(Received {
            message,
            receipt: Receipt {
                sequence,
                receive: u64::from(receives),
            },
            receives,
            sent: Timestamp::from_ms(waiting.sent),
        })
    }

    fn message(&self, gid: i64, deduplication: &[u8], body: &[u8]) -> Result<Message, Failure> {
        let group = self.group(gid)?;
        let entries = codec::decode_entries(&group, body)?
            .into_iter()
            .map(Arc::new)
            .collect();
        let id = deduplication.try_into().map_or(0, u128::from_le_bytes);
        Ok(Message {
            group,
            deduplication_id: id,
            entries,
        })
    }

    /// Whether a message of the group is in flight, whatever its place.
    fn has_in_flight(&self, gid: i64, now: Timestamp) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM messages WHERE gid = ? AND hidden_until > ? LIMIT 1")?
            .exists(params![gid, now.ms()])
    }

    fn bury(&self, spent: &Spent<'_>, now: Timestamp, reason: &str) -> rusqlite::Result<()> {
        let Spent {
            gid,
            deduplication,
            receives,
            body,
        } = spent;
        self.connection
            .prepare_cached(
                "INSERT INTO dead_letters (gid, deduplication, receives, at, reason, body)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                gid,
                deduplication,
                receives,
                now.ms(),
                reason,
                body
            ])?;
        Ok(())
    }

    fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<Letter>, Failure> {
        let mut select = self.connection.prepare_cached(
            "SELECT id, gid, deduplication, receives, at, reason, body
             FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let mut rows = select.query(params![bind(after), bind(limit as u64)])?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next()? {
            let (gid, deduplication, body): (i64, Vec<u8>, Vec<u8>) =
                (row.get(1)?, row.get(2)?, row.get(6)?);
            letters.push(Letter {
                id: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                message: self.message(gid, &deduplication, &body)?,
                receives: row.get(3)?,
                at: Timestamp::from_ms(row.get(4)?),
                reason: row.get(5)?,
            });
        }
        Ok(letters)
    }

    /// Sends one dead letter back; `false` where it is gone.
    fn redrive(&self, letter: i64, now: Timestamp) -> rusqlite::Result<bool> {
        let found: Option<(i64, Vec<u8>, Vec<u8>)> = self
            .connection
            .prepare_cached(
                "DELETE FROM dead_letters WHERE id = ? RETURNING gid, deduplication, body",
            )?
            .query_row([letter], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((gid, deduplication, body)) = found else {
            return Ok(false);
        };
        self.enqueue(gid, &deduplication, now, &body)?;
        Ok(true)
    }

    fn waiting(&mut self, group: &Group) -> Result<Vec<Entry>, Failure> {
        self.entries_by(
            group,
            "SELECT body FROM messages WHERE gid = ? ORDER BY sequence",
        )
    }
}

fn bind(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
