//! The check of a whole data directory: everything is read, and held against what it follows from.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row as SqlRow};
use serde::de::IgnoredAny;
use smol_str::SmolStr;

use crate::adapters::image_record;
use crate::model::{Entry, Group, Payload, StoreCheck, StorePart};
use crate::ports::Error;
use crate::settings::{Format, Settings};

use super::images::ALL_IMAGES;
use super::journal::{PLACE_OF_IDENTITY, identity_key};
use super::query::{Need, Query, queries};
use super::{Embedded, Failure, Inner, codec, durable};

queries! {
    ALL_GROUPS {
        name: "Check, groups",
        needs: [Need::WholePass("groups")],
        sql: "SELECT gid, tenant, key, hash FROM groups",
    }
    ALL_SEGMENTS {
        name: "Check, the journal",
        needs: [Need::WholePass("journal")],
        sql: "SELECT position, gid, body FROM journal ORDER BY position",
    }
    STRAY_IDENTITIES {
        name: "Check, identities",
        needs: [Need::WholePass("identities"), Need::Key("journal")],
        sql: "SELECT count(*), sum(NOT EXISTS (SELECT 1 FROM journal WHERE journal.position = identities.position))
              FROM identities",
    }
    ALL_MESSAGES {
        name: "Check, messages",
        needs: [Need::WholePass("messages")],
        sql: "SELECT sequence, gid, body FROM messages",
    }
    ALL_LETTERS {
        name: "Check, dead letters",
        needs: [Need::WholePass("dead_letters")],
        sql: "SELECT id, gid, body FROM dead_letters",
    }
    ALL_HIERARCHIES {
        name: "Check, hierarchies",
        needs: [Need::WholePass("hierarchies")],
        sql: "SELECT id, gid, body FROM hierarchies",
    }
    ALL_SETTINGS {
        name: "Check, settings",
        needs: [Need::WholePass("settings")],
        sql: "SELECT version, format, text FROM settings ORDER BY version",
    }
}

/// How many faults of the file's pages are asked for.
const INTEGRITY_MAX: u32 = 100;

/// The format that first has images.
const IMAGES_SINCE: i32 = 4;

/// Records of one kind, from columns `number, gid, body`.
struct Kind {
    query: &'static Query,
    part: StorePart,
    name: &'static str,
}

const MESSAGES: Kind = Kind {
    query: &ALL_MESSAGES,
    part: StorePart::Queue,
    name: "messages",
};
const LETTERS: Kind = Kind {
    query: &ALL_LETTERS,
    part: StorePart::Queue,
    name: "dead letters",
};
const HIERARCHIES: Kind = Kind {
    query: &ALL_HIERARCHIES,
    part: StorePart::Records,
    name: "hierarchies",
};
const IMAGES: Kind = Kind {
    query: &ALL_IMAGES,
    part: StorePart::Images,
    name: "images",
};

/// The groups by their numbers.
pub(super) type Groups = BTreeMap<i64, Group>;

impl Embedded {
    /// Reads all that the data directory holds, as it is at one moment, and says what is wrong.
    ///
    /// # Errors
    /// The store cannot be read so far that it could be checked.
    pub fn check(&self) -> Result<StoreCheck, Error> {
        let durable = durable::told(&self.directory);
        self.look(|inner| {
            let format = inner.database.format()?;
            let mut check = StoreCheck {
                format,
                ..StoreCheck::default()
            };
            inner
                .database
                .at_one_moment(|| inner.check_all(durable, &mut check))?;
            inner.missing_indexes(&mut check)?;
            Ok::<_, Failure>(check)
        })
    }
}

impl Inner {
    /// Each part by itself: what one cannot read says nothing of the others.
    fn check_all(&self, durable: i64, check: &mut StoreCheck) -> Result<(), Failure> {
        for fault in self.database.integrity(INTEGRITY_MAX)? {
            check.found(StorePart::Pages, "foldback.db", fault);
        }
        let mut groups = Groups::new();
        let read = self.read_groups_of_store(&mut groups, check);
        ended(read, StorePart::Journal, "groups", check);
        let read = self.check_journal(&groups, durable, check);
        ended(read, StorePart::Journal, "journal", check);
        let entries = |group: &Group, body: &[u8]| codec::decode_entries(group, body).map(drop);
        self.each_record(&MESSAGES, &groups, check, entries);
        self.each_record(&LETTERS, &groups, check, entries);
        let read = self.check_settings(check);
        ended(read, StorePart::Settings, "settings", check);
        self.check_tables(&groups, check);
        self.each_record(&HIERARCHIES, &groups, check, |group, body| {
            codec::decode_hierarchies(group, codec::verified(body)?).map(drop)
        });
        if check.format >= IMAGES_SINCE {
            self.each_record(&IMAGES, &groups, check, |_group, body| {
                image_record::decode(codec::verified(body)?).map(drop)
            });
        }
        Ok(())
    }

    fn read_groups_of_store(
        &self,
        groups: &mut Groups,
        check: &mut StoreCheck,
    ) -> Result<(), Failure> {
        let mut select = self.database.prepare(&ALL_GROUPS)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let group = Group {
                tenant: text(row, 1)?,
                key: text(row, 2)?,
            };
            check.saw("groups");
            if row.get::<_, i64>(3)? != group.hash() {
                check.found(
                    StorePart::Journal,
                    format!("group {group}"),
                    "its hash is not that of its name",
                );
            }
            groups.insert(row.get(0)?, group);
        }
        Ok(())
    }

    /// Segments without a gap, each readable, each event once, and each identity that of one event.
    fn check_journal(
        &self,
        groups: &Groups,
        durable: i64,
        check: &mut StoreCheck,
    ) -> Result<(), Failure> {
        let mut select = self.database.prepare(&ALL_SEGMENTS)?;
        let mut rows = select.query([])?;
        let (mut last, mut events) = (0, 0_u64);
        while let Some(row) = rows.next()? {
            let position: i64 = row.get(0)?;
            if position != last + 1 {
                let gap = format!("segments {} to {} are gone", last + 1, position - 1);
                check.found(StorePart::Journal, format!("segment {position}"), gap);
            }
            last = position;
            check.saw("segments");
            let read = record_of(row, groups, codec::decode_entries);
            match read {
                Ok(entries) => {
                    for entry in &entries {
                        events += 1;
                        check.saw("events");
                        if let Some(what) = self.fault_of_event(entry, position)? {
                            let place = format!(
                                "segment {position}, event {:?} of {:?}",
                                entry.event.id, entry.event.source
                            );
                            check.found(StorePart::Journal, place, what);
                        }
                    }
                }
                Err(what) => check.found(StorePart::Journal, format!("segment {position}"), what),
            }
        }
        if let Some(lost) = durable::lost(durable, last) {
            check.found(StorePart::Journal, durable::DURABLE_NAME, lost);
        }
        self.check_identities(events, check)
    }

    fn check_identities(&self, events: u64, check: &mut StoreCheck) -> Result<(), Failure> {
        let mut count = self.database.prepare(&STRAY_IDENTITIES)?;
        let (all, stray): (i64, Option<i64>) =
            count.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let stray = stray.unwrap_or(0);
        if stray > 0 {
            let what = format!(
                "{stray} identities are of segments that are gone: such events would be taken for duplicates"
            );
            check.found(StorePart::Identities, "identities", what);
        } else if !check.faulty.contains_key(&StorePart::Journal)
            && u64::try_from(all) != Ok(events)
        {
            let what = format!("{all} identities for {events} events");
            check.found(StorePart::Identities, "identities", what);
        }
        Ok(())
    }

    /// What is wrong with an event that stands at a position.
    fn fault_of_event(
        &self,
        entry: &Entry,
        position: i64,
    ) -> Result<Option<&'static str>, Failure> {
        if entry.event.hash() != entry.hash {
            return Ok(Some("its hash is not that of its identity"));
        }
        if let Payload::Json(json) = &entry.event.data
            && serde_json::from_str::<IgnoredAny>(json).is_err()
        {
            return Ok(Some("its data is not JSON"));
        }
        let mut place = self.database.prepare(&PLACE_OF_IDENTITY)?;
        let mut key = identity_key(&entry.group.tenant, entry.hash);
        loop {
            let claimed: Option<i64> = place.query_row([key], |row| row.get(0)).optional()?;
            match claimed {
                Some(claimed) if claimed == position => return Ok(None),
                // The next number may be its own: two identities of one key are both kept.
                Some(_) => key = key.wrapping_add(1),
                None => {
                    return Ok(Some(
                        "its identity is not that of this segment: it would be taken in again, or stands twice",
                    ));
                }
            }
        }
    }

    /// Reads each record of a kind.
    fn each_record(
        &self,
        kind: &Kind,
        groups: &Groups,
        check: &mut StoreCheck,
        read: impl Fn(&Group, &[u8]) -> Result<(), codec::Unreadable>,
    ) {
        let mut all = || {
            let mut select = self.database.prepare(kind.query)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                check.saw(kind.name);
                if let Err(why) = record_of(row, groups, &read) {
                    let place = format!("{}, number {}", kind.name, row.get::<_, i64>(0)?);
                    check.found(kind.part, place, why);
                }
            }
            Ok(())
        };
        let read = all();
        ended(read, kind.part, kind.name, check);
    }

    /// Each version compiles, none is missing between the first and the last.
    fn check_settings(&self, check: &mut StoreCheck) -> Result<(), Failure> {
        let mut select = self.database.prepare(&ALL_SETTINGS)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let version: u32 = row.get(0)?;
            check.saw("settings");
            if version != check.settings + 1 {
                let gap = format!("version {} is gone", check.settings + 1);
                check.found(StorePart::Settings, format!("version {version}"), gap);
            }
            check.settings = version;
            let format = match row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? {
                "json" => Format::Json,
                _toml => Format::Toml,
            };
            let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            if let Err(why) = Settings::compile(text, format, version) {
                check.found(
                    StorePart::Settings,
                    format!("version {version}"),
                    why.to_string(),
                );
            }
        }
        Ok(())
    }
}

/// A part that could not be read to its end.
pub(super) fn ended(
    read: Result<(), Failure>,
    part: StorePart,
    what: &str,
    check: &mut StoreCheck,
) {
    if let Err(failure) = read {
        check.found(
            part,
            what,
            format!("cannot be read to the end: {}", failure.0.chain()),
        );
    }
}

/// What `read` makes of the columns `_, gid, body`, or why it cannot be read.
fn record_of<T>(
    row: &SqlRow<'_>,
    groups: &Groups,
    read: impl Fn(&Group, &[u8]) -> Result<T, codec::Unreadable>,
) -> Result<T, String> {
    let gid: i64 = row.get(1).map_err(|error| error.to_string())?;
    let group = groups
        .get(&gid)
        .ok_or_else(|| format!("it is of group number {gid}, which there is none of"))?;
    let body = row.get_ref(2).map_err(|error| error.to_string())?;
    let body = body.as_blob().map_err(|error| error.to_string())?;
    read(group, body).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

pub(super) fn text(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<SmolStr> {
    Ok(SmolStr::from(row.get_ref(column)?.as_str()?))
}
