use rusqlite::{OptionalExtension, params};

use crate::adapters::codec;

use super::query::{Need, queries};
use super::{Failure, Inner};

/// The first format whose files tell since when each tenant's settings are the same.
const SINCE_FORMAT: i32 = 5;

queries! {
    SINCE {
        name: "Embedded::settings, since",
        needs: [Need::Key("settings_since")],
        sql: "SELECT since FROM settings_since WHERE version = ?",
        trial: "SELECT 1 FROM settings_since LIMIT 1",
    }
    PUT_SINCE {
        name: "Embedded::put_settings, since",
        needs: [],
        sql: "INSERT INTO settings_since (version, since) VALUES (?, ?)",
    }
}

impl Inner {
    /// Since when each tenant's settings of that version are the same; empty where that was not kept.
    pub(super) fn since(&self, version: u32) -> Result<Vec<u32>, Failure> {
        // An old file that is only read, or settings that an older version put.
        if self.database.format()? < SINCE_FORMAT {
            return Ok(Vec::new());
        }
        let mut select = self.database.prepare(&SINCE)?;
        let kept = select.query_row([version], |row| row.get::<_, Vec<u8>>(0));
        match kept.optional()? {
            Some(kept) => Ok(codec::decode(&kept)?),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn put_since(&self, version: u32, since: &[u32]) -> Result<(), Failure> {
        let mut insert = self.database.prepare(&PUT_SINCE)?;
        insert.execute(params![version, codec::encode(&since)?])?;
        Ok(())
    }
}
