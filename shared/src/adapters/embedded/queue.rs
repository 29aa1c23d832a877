use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};
use smol_str::format_smolstr;

use crate::model::{Entry, Group, Timestamp};
use crate::ports::{Depth, Error, Letter, Message, Queue, Receipt, Received, Waiting};
use crate::side_by_side;

use super::dead_letters::{COUNT_DEAD, Spent};
use super::query::{Index, Need, Query, queries};
use super::{Embedded, Failure, Inner, QueueLimits, codec};

/// How long a deduplication id counts, as on SQS: five minutes.
const DEDUPLICATION_MS: i64 = 300_000;
/// How many expired deduplication ids are forgotten at once.
const FORGET_MAX: u16 = 10_000;
/// How long after all were forgotten the next ones are.
const FORGET_EVERY_MS: i64 = 60_000;

const MESSAGES_BY_GROUP: Index = Index {
    name: "messages_by_group",
    table: "messages",
    on: "(gid)",
};

queries! {
    /// What a dead owner had received. An open store has few messages, most of them such ones.
    GIVE_BACK {
        name: "Embedded::open, give back",
        needs: [Need::WholePass("messages")],
        sql: "UPDATE messages SET hidden_until = 0, receives = max(receives - 1, 0)
              WHERE hidden_until > 0",
    }
    /// Most ids are young: an index by time would cost every send more than a pass once a minute.
    FORGET {
        name: "Queue::send, forget",
        needs: [Need::Key("deduplication"), Need::WholePass("deduplication")],
        sql: "DELETE FROM deduplication WHERE id IN (
                  SELECT id FROM deduplication WHERE sent <= ? LIMIT ?)",
    }
    CLAIM {
        name: "Queue::send, claim an id",
        needs: [],
        sql: "INSERT INTO deduplication (id, sent) VALUES (?1, ?2)
              ON CONFLICT (id) DO UPDATE SET sent = ?2 WHERE sent <= ?2 - ?3",
    }
    ENQUEUE {
        name: "Queue::send",
        needs: [],
        sql: "INSERT INTO messages (gid, deduplication, sent, receives, hidden_until, body)
              VALUES (?, ?, ?, 0, 0, ?)",
    }
    /// From the head of the queue on, until enough are found; those of groups in flight are passed over.
    WALK {
        name: "Queue::receive",
        needs: [Need::WholePass("messages")],
        sql: "SELECT sequence, gid, deduplication, sent, receives, body
              FROM messages ORDER BY sequence",
    }
    /// Not tried: how many messages of the group wait is the queue's doing, not the index's.
    IN_FLIGHT {
        name: "Queue::receive, in flight",
        needs: [Need::Index(&MESSAGES_BY_GROUP)],
        sql: "SELECT 1 FROM messages WHERE gid = ? AND hidden_until > ? LIMIT 1",
    }
    HAND_OUT {
        name: "Queue::receive, hand out",
        needs: [Need::Key("messages")],
        sql: "UPDATE messages SET receives = ?, hidden_until = ? WHERE sequence = ?",
    }
    REMOVE {
        name: "Queue::receive, remove a dead one",
        needs: [Need::Key("messages")],
        sql: "DELETE FROM messages WHERE sequence = ?",
    }
    DELETE {
        name: "Queue::delete",
        needs: [Need::Key("messages")],
        sql: "DELETE FROM messages WHERE sequence = ? AND receives = ?",
    }
    HIDE {
        name: "Queue::hide_until",
        needs: [Need::Key("messages")],
        sql: "UPDATE messages SET hidden_until = ? WHERE sequence = ? AND receives = ?",
    }
    WAITING {
        name: "Queue::waiting",
        needs: [Need::Index(&MESSAGES_BY_GROUP)],
        sql: "SELECT body FROM messages WHERE gid = ? ORDER BY sequence",
        trial: "SELECT gid FROM messages LIMIT 1",
    }
    /// The head of the queue.
    OLDEST {
        name: "Embedded::oldest_message",
        needs: [Need::WholePass("messages")],
        sql: "SELECT sent FROM messages ORDER BY sequence LIMIT 1",
    }
    COUNT_MESSAGES {
        name: "Queue::depth, all",
        needs: [Need::WholePass("messages")],
        sql: "SELECT count(*) FROM messages",
    }
    COUNT_IN_FLIGHT {
        name: "Queue::depth, in flight",
        needs: [Need::WholePass("messages")],
        sql: "SELECT count(*) FROM messages WHERE hidden_until > ?",
    }
}

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
            let mut delete = inner.database.prepare(&DELETE)?;
            for (sequence, receive) in receipts.iter().filter_map(parts) {
                delete.execute(params![sequence, receive])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.unit(|inner| {
            let mut update = inner.database.prepare(&HIDE)?;
            for (sequence, receive) in receipts.iter().filter_map(parts) {
                update.execute(params![at.ms(), sequence, receive])?;
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

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.look(|inner| inner.dead_letters(after, limit))
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.unit(|inner| {
            let mut moved = 0;
            for letter in letters {
                moved += u64::from(inner.redrive(*letter, now)?);
            }
            Ok::<_, Failure>(moved)
        })
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.unit(|inner| {
            let mut discarded = 0;
            for letter in letters {
                discarded += u64::from(inner.discard(*letter)?);
            }
            Ok::<_, Failure>(discarded)
        })
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.look(|inner| {
            let count = |query: &Query, bound: &[&dyn rusqlite::ToSql]| {
                let mut select = inner.database.prepare(query)?;
                select.query_row(bound, |row| row.get::<_, i64>(0))
            };
            let all = count(&COUNT_MESSAGES, &[])?;
            let in_flight = count(&COUNT_IN_FLIGHT, &[&now.ms()])?;
            let dead = count(&COUNT_DEAD, &[])?;
            let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
            Ok::<_, Failure>(Depth {
                visible: unsigned(all - in_flight),
                in_flight: unsigned(in_flight),
                dead: unsigned(dead),
            })
        })
    }
}

impl Embedded {
    /// When the message at the head of the queue was sent.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oldest_message(&self) -> Result<Option<Timestamp>, Error> {
        self.look(|inner| {
            let mut select = inner.database.prepare(&OLDEST)?;
            let sent = select
                .query_row([], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok::<_, Failure>(sent.map(Timestamp::from_ms))
        })
    }
}

impl Waiting for Embedded {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.look(|inner| groups.iter().map(|group| inner.waiting(group)).collect())
    }
}

/// A receipt is the message's number in the queue and the receive that it belongs to.
pub(super) fn receipt(sequence: i64, receive: u32) -> Receipt {
    Receipt(format_smolstr!("{sequence}.{receive}"))
}

/// The number and the receive of a receipt; `None` for one that this queue never gave.
fn parts(receipt: &Receipt) -> Option<(i64, u32)> {
    let (sequence, receive) = receipt.0.split_once('.')?;
    Some((sequence.parse().ok()?, receive.parse().ok()?))
}

/// A message as it stands in the table.
struct Record {
    sequence: i64,
    gid: i64,
    deduplication: Vec<u8>,
    receives: u32,
    body: Vec<u8>,
}

impl Record {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            gid: row.get(1)?,
            deduplication: row.get(2)?,
            receives: row.get(4)?,
            body: row.get(5)?,
        })
    }
}

/// A message that is about to be handed out.
struct Taken {
    sequence: i64,
    sent: i64,
    receives: u32,
    message: Message,
}

impl Inner {
    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<(), Failure> {
        self.forget(now)?;
        let bodies = side_by_side::map(messages, |message| {
            codec::encode_entries(message.entries.iter().map(Arc::as_ref))
        });
        for (message, body) in messages.iter().zip(bodies) {
            let id = message.deduplication_id.to_le_bytes();
            let claimed =
                self.database
                    .prepare(&CLAIM)?
                    .execute(params![id, now.ms(), DEDUPLICATION_MS])?;
            if claimed == 1 {
                let gid = self.gid(&message.group)?;
                self.enqueue(gid, &id, now, &body?)?;
                if self.in_unit {
                    let sequence = self.database.last_insert_rowid();
                    self.sent.insert(sequence, message.clone());
                }
            }
        }
        Ok(())
    }

    /// Forgets expired deduplication ids, now and then: one that stays is claimed anew all the same.
    fn forget(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        if now < self.forget_from {
            return Ok(());
        }
        let mut delete = self.database.prepare(&FORGET)?;
        let forgotten = delete.execute(params![now.ms() - DEDUPLICATION_MS, FORGET_MAX])?;
        if forgotten < usize::from(FORGET_MAX) {
            self.forget_from = now.plus_ms(FORGET_EVERY_MS);
        }
        Ok(())
    }

    pub(super) fn enqueue(
        &self,
        gid: i64,
        id: &[u8],
        now: Timestamp,
        body: &[u8],
    ) -> rusqlite::Result<()> {
        self.database
            .prepare(&ENQUEUE)?
            .execute(params![gid, id, now.ms(), body])?;
        Ok(())
    }

    fn receive(
        &mut self,
        limit: usize,
        now: Timestamp,
        limits: QueueLimits,
    ) -> Result<Vec<Received>, Failure> {
        let (taken, spent) = self.walk(limit, now, limits)?;
        for waiting in &spent {
            self.give_up(waiting, now)?;
        }
        let hidden_until = now.plus_ms(limits.visibility_ms).ms();
        let mut hand_out = self.database.prepare(&HAND_OUT)?;
        let mut received = Vec::with_capacity(taken.len());
        for Taken {
            sequence,
            sent,
            receives,
            message,
        } in taken
        {
            hand_out.execute(params![receives, hidden_until, sequence])?;
            received.push(Received {
                message,
                receipt: receipt(sequence, receives),
                receives,
                sent: Timestamp::from_ms(sent),
            });
        }
        Ok(received)
    }

    /// The messages to be handed out, and those that were received too often for that.
    fn walk(
        &mut self,
        limit: usize,
        now: Timestamp,
        limits: QueueLimits,
    ) -> Result<(Vec<Taken>, Vec<Record>), Failure> {
        let mut taken = Vec::new();
        let mut spent = Vec::new();
        let mut sent = std::mem::take(&mut self.sent);
        let mut select = self.database.prepare(&WALK)?;
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
            let sequence: i64 = row.get(0)?;
            let receives: u32 = row.get(4)?;
            if receives >= limits.receives_max {
                spent.push(Record::read(row)?);
                continue;
            }
            let message = match sent.remove(&sequence) {
                Some(message) => message,
                None => {
                    let record = Record::read(row)?;
                    self.message(gid, &record.deduplication, &record.body)?
                }
            };
            taken.push(Taken {
                sequence,
                sent: row.get(3)?,
                receives: receives + 1,
                message,
            });
        }
        Ok((taken, spent))
    }

    fn give_up(&self, waiting: &Record, now: Timestamp) -> Result<(), Failure> {
        let Record {
            sequence,
            gid,
            deduplication,
            receives,
            body,
        } = waiting;
        let letter = Spent {
            gid: *gid,
            deduplication,
            receives: *receives,
            body,
        };
        let reason = format!("received {receives} times without being done");
        self.bury(&letter, now, &reason)?;
        self.database.prepare(&REMOVE)?.execute([sequence])?;
        Ok(())
    }

    pub(super) fn message(
        &self,
        gid: i64,
        deduplication: &[u8],
        body: &[u8],
    ) -> Result<Message, Failure> {
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
        self.database
            .prepare(&IN_FLIGHT)?
            .exists(params![gid, now.ms()])
    }

    fn waiting(&mut self, group: &Group) -> Result<Vec<Entry>, Failure> {
        self.entries_by(group, &WAITING)
    }
}

/// A number as a column has it; the last one for what no column can have.
pub(super) fn bind(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
