//! What a console looks at: the queue as it stands, finished work, the newest events. All of it is bounded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::params;

use crate::model::{self, ActionHierarchy, Group, Timestamp};
use crate::ports::{Error, Found, Look, Queued};

use super::query::{Need, Query, queries};
use super::queue::{bind, receipt};
use super::{Embedded, Failure, Inner, codec};

queries! {
    QUEUED {
        name: "Embedded::queued",
        needs: [Need::Key("messages")],
        sql: "SELECT sequence, gid, body, deduplication, sent, receives, hidden_until FROM messages
              WHERE sequence > ? ORDER BY sequence LIMIT ?",
        trial: "SELECT 0, 100 FROM messages LIMIT 1",
    }
    FINISHED {
        name: "Hierarchies::finished",
        needs: [Need::Key("hierarchies")],
        sql: "SELECT id, gid, body FROM hierarchies WHERE id < ? ORDER BY id DESC LIMIT ?",
        trial: "SELECT 9223372036854775807, 100 FROM hierarchies LIMIT 1",
    }
    NEWEST {
        name: "Embedded::search",
        needs: [Need::Key("journal")],
        sql: "SELECT position, gid, body FROM journal WHERE position < ?
              ORDER BY position DESC LIMIT ?",
        trial: "SELECT 9223372036854775807, 100 FROM journal LIMIT 1",
    }
}

impl Embedded {
    /// Messages in the queue, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn queued(&self, look: &Look) -> Result<Found<Queued>, Error> {
        self.look(|inner| inner.queued(look))
    }

    /// Journaled events whose payload has `text` in it, whatever the case, the newest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn search(&self, text: &str, look: &Look) -> Result<Found<model::Entry>, Error> {
        let text = text.to_lowercase();
        self.look(|inner| {
            inner.back(&NEWEST, look, |group, body| {
                let entries = codec::decode_entries(group, body)?;
                let examined = entries.len();
                let hits = entries.into_iter().rev().filter(|entry| has(entry, &text));
                Ok((hits.collect(), examined))
            })
        })
    }

    pub(super) fn finished_work(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.look(|inner| {
            inner.back(&FINISHED, look, |group, body| {
                let mut of_record = codec::decode_hierarchies(group, codec::verified(body)?)?;
                of_record.reverse();
                let examined = of_record.len();
                Ok((of_record, examined))
            })
        })
    }
}

fn has(entry: &model::Entry, text: &str) -> bool {
    let data = entry.event.data.json().unwrap_or_default();
    data.to_lowercase().contains(text)
}

/// The groups of numbers, each asked for once.
#[derive(Default)]
struct Named(BTreeMap<i64, Group>);

impl Named {
    fn get(&mut self, inner: &Inner, gid: i64) -> rusqlite::Result<&Group> {
        Ok(match self.0.entry(gid) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(inner.group(gid)?),
        })
    }
}

impl Inner {
    /// Goes back from the newest record and takes what `read` makes of each, and how many it looked at.
    fn back<T>(
        &self,
        query: &Query,
        look: &Look,
        read: impl Fn(&Group, &[u8]) -> Result<(Vec<T>, usize), codec::Unreadable>,
    ) -> Result<Found<T>, Failure> {
        let mut found = Found::default();
        let mut groups = Named::default();
        let from = look.from.map_or(i64::MAX, bind);
        let mut select = self.database.prepare(query)?;
        let mut rows = select.query(params![from, bind(look.examine as u64)])?;
        while let Some(row) = rows.next()? {
            let (place, gid): (i64, i64) = (row.get(0)?, row.get(1)?);
            let group = groups.get(self, gid)?;
            let is_wanted = look
                .tenant
                .as_ref()
                .is_none_or(|tenant| group.tenant == *tenant);
            let mut looked_at = 1;
            if is_wanted {
                let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
                let (items, examined) = read(group, body)?;
                found.items.extend(items);
                looked_at = examined.max(1);
            }
            found.examined += looked_at as u64;
            if found.items.len() >= look.limit || found.examined >= look.examine as u64 {
                found.next = u64::try_from(place).ok().filter(|place| *place > 1);
                break;
            }
        }
        Ok(found)
    }

    fn queued(&self, look: &Look) -> Result<Found<Queued>, Failure> {
        let mut found = Found::default();
        let mut groups = Named::default();
        let mut select = self.database.prepare(&QUEUED)?;
        let from = look.from.map_or(0, bind);
        let mut rows = select.query(params![from, bind(look.examine as u64)])?;
        while let Some(row) = rows.next()? {
            let (sequence, gid): (i64, i64) = (row.get(0)?, row.get(1)?);
            found.examined += 1;
            let group = groups.get(self, gid)?;
            if look
                .tenant
                .as_ref()
                .is_none_or(|tenant| group.tenant == *tenant)
            {
                let (deduplication, body): (Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(2)?);
                let receives: u32 = row.get(5)?;
                found.items.push(Queued {
                    message: self.message(gid, &deduplication, &body)?,
                    receipt: receipt(sequence, receives),
                    receives,
                    sent: Timestamp::from_ms(row.get(4)?),
                    hidden_until: Timestamp::from_ms(row.get(6)?),
                });
            }
            if found.items.len() >= look.limit || found.examined >= look.examine as u64 {
                found.next = u64::try_from(sequence).ok();
                break;
            }
        }
        Ok(found)
    }
}
