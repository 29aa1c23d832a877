//! The part of a [check](super::check) that is about rows, histories and what is derived from them.

use rusqlite::Row as SqlRow;
use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::model::{StoreCheck, StorePart};

use super::check::{Groups, ended, text};
use super::indexes::declared;
use super::query::{Need, queries};
use super::tables::{GONE, table};
use super::{Failure, Inner, codec};

queries! {
    ALL_ROWS {
        name: "Check, rows",
        needs: [Need::WholePass("rows")],
        sql: "SELECT gid, tbl, id, version, body, trail FROM rows",
    }
    ALL_VERSIONS {
        name: "Check, histories",
        needs: [Need::WholePass("history")],
        sql: "SELECT gid, tbl, id, n, valid_from, valid_to, fields
              FROM history WHERE recorded_to IS NULL ORDER BY gid, tbl, id, n",
    }
    SUPERSEDED_VERSIONS {
        name: "Check, superseded versions",
        needs: [Need::WholePass("history")],
        sql: "SELECT gid, tbl, id, n, valid_from, valid_to, fields
              FROM history WHERE recorded_to IS NOT NULL",
    }
}

/// A version of a history, as far as it is checked.
struct Version {
    /// The history: its group's number, its table's, and its id.
    of: (i64, i64, SmolStr),
    n: u32,
    from: i64,
    to: Option<i64>,
    readable: bool,
}

impl Inner {
    pub(super) fn check_tables(&self, groups: &Groups, check: &mut StoreCheck) {
        let read = self.check_rows(groups, check);
        ended(read, StorePart::Rows, "rows", check);
        let read = self.check_histories(groups, check);
        ended(read, StorePart::Histories, "histories", check);
        match self.check_conversions() {
            Ok(derived) if derived.is_clean() => {}
            Ok(derived) => {
                let what = format!(
                    "{} are lacking that rows lead to, {} are there that none does",
                    derived.lacking, derived.stray
                );
                check.found(StorePart::Conversions, "places", what);
            }
            Err(failure) => ended(Err(failure), StorePart::Conversions, "places", check),
        }
    }

    pub(super) fn missing_indexes(&self, check: &mut StoreCheck) -> Result<(), Failure> {
        let existing = self.existing_indexes()?;
        for index in declared(check.format).filter(|index| !existing.have(index)) {
            let place = format!("{}.{}", index.table, index.name);
            check.found(
                StorePart::Indexes,
                place,
                "is missing, or not as it was declared",
            );
        }
        Ok(())
    }

    fn check_rows(&self, groups: &Groups, check: &mut StoreCheck) -> Result<(), Failure> {
        let mut select = self.database.prepare(&ALL_ROWS)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            check.saw("rows");
            if let Some(what) = fault_of_row(row, groups, check.settings)? {
                let of = (row.get(0)?, row.get(1)?, text(row, 2)?);
                check.found(StorePart::Rows, place(&of, groups), what);
            }
        }
        Ok(())
    }

    fn check_histories(&self, groups: &Groups, check: &mut StoreCheck) -> Result<(), Failure> {
        let mut select = self.database.prepare(&ALL_VERSIONS)?;
        let mut rows = select.query([])?;
        let mut before: Option<Version> = None;
        while let Some(row) = rows.next()? {
            let this = version(row)?;
            check.saw("versions");
            if let Some(what) = fault_of_version(before.as_ref(), &this, groups) {
                let place = format!("{}, version {}", place(&this.of, groups), this.n);
                check.found(StorePart::Histories, place, what);
            }
            before = Some(this);
        }
        let mut select = self.database.prepare(&SUPERSEDED_VERSIONS)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let this = version(row)?;
            check.saw("superseded versions");
            let place = format!("{}, version {}", place(&this.of, groups), this.n);
            if !this.readable || !groups.contains_key(&this.of.0) {
                check.found(StorePart::Histories, place, "cannot be read");
            }
        }
        Ok(())
    }
}

fn place((gid, number, id): &(i64, i64, SmolStr), groups: &Groups) -> String {
    let name = table(*number).map_or("a table that is not known", |table| table.name());
    match groups.get(gid) {
        Some(group) => format!("{name} {id}, group {group}"),
        None => format!("{name} {id}, group number {gid}"),
    }
}

fn fault_of_row(
    row: &SqlRow<'_>,
    groups: &Groups,
    settings: u32,
) -> Result<Option<String>, Failure> {
    let fault = |what: &str| Ok(Some(what.to_owned()));
    if !groups.contains_key(&row.get(0)?) {
        return fault("its group is gone");
    }
    let Some(table) = table(row.get(1)?) else {
        return fault("this version knows no such table");
    };
    let body = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
    let trail = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
    let trail = match codec::decode_trail(trail) {
        Ok(trail) => trail,
        Err(why) => return Ok(Some(format!("its trail cannot be read: {why}"))),
    };
    if body == GONE {
        return if trail.is_gone() {
            Ok(None)
        } else {
            fault("its body is gone, and its trail says it holds events")
        };
    }
    if let Err(why) = table.read_row(body) {
        return Ok(Some(format!("its body cannot be read: {why}")));
    }
    if trail.checksum != 0 && crc32fast::hash(body.as_bytes()) != trail.checksum {
        return fault(
            "its body is not what its checksum is of: other code, or the disk, changed it",
        );
    }
    if u64::try_from(row.get::<_, i64>(3)?) != Ok(trail.version) {
        return fault("its version is not that of its trail");
    }
    if trail.settings > settings {
        return Ok(Some(format!(
            "it was made under settings {}, and the last are {settings}",
            trail.settings
        )));
    }
    Ok(None)
}

fn version(row: &SqlRow<'_>) -> Result<Version, Failure> {
    let fields = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Version {
        of: (row.get(0)?, row.get(1)?, text(row, 2)?),
        n: row.get(3)?,
        from: row.get(4)?,
        to: row.get(5)?,
        readable: serde_json::from_str::<Map<String, Value>>(fields).is_ok(),
    })
}

/// Versions in force are numbered from 1 and each ends where the next begins.
fn fault_of_version(before: Option<&Version>, this: &Version, groups: &Groups) -> Option<String> {
    if !groups.contains_key(&this.of.0) {
        return Some("its group is gone".to_owned());
    }
    if !this.readable {
        return Some("its fields cannot be read".to_owned());
    }
    if this.to.is_some_and(|to| to < this.from) {
        return Some("it ends before it begins".to_owned());
    }
    let before = before.filter(|before| before.of == this.of);
    let next = before.map_or(1, |before| before.n + 1);
    if this.n != next {
        return Some(format!("version {next} should come before it"));
    }
    let end = before.and_then(|before| before.to);
    (before.is_some() && end != Some(this.from))
        .then(|| "the version before it does not end where it begins".to_owned())
}
