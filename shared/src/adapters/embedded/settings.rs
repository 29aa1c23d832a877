use rusqlite::{OptionalExtension, params};

use crate::adapters::codec;
use crate::model::Timestamp;
use crate::ports::{Error, SettingsVersions};
use crate::settings::{Format, StoredSettings, since};

use super::query::{Need, queries};
use super::{Embedded, Failure, Inner};

/// The first format whose files tell since when each tenant's settings are the same.
const SINCE_FORMAT: i32 = 5;

queries! {
    LATEST_SETTINGS {
        name: "Embedded::settings",
        needs: [Need::Key("settings")],
        sql: "SELECT version, format, text FROM settings
              WHERE version > 0 ORDER BY version DESC LIMIT 1",
        trial: "SELECT 1 FROM settings LIMIT 1",
    }
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
    PUT_SETTINGS {
        name: "Embedded::put_settings",
        needs: [],
        sql: "INSERT INTO settings (version, at, format, text) VALUES (?, ?, ?, ?)",
    }
}

impl SettingsVersions for Embedded {
    async fn latest(&self) -> Result<Option<StoredSettings>, Error> {
        self.settings()
    }

    async fn put(&self, text: &str, format: Format, now: Timestamp) -> Result<u32, Error> {
        self.put_settings(text, format, now)
    }
}

impl Embedded {
    /// The settings in force.
    ///
    /// # Errors
    /// The store failed.
    pub fn settings(&self) -> Result<Option<StoredSettings>, Error> {
        self.look(|inner| inner.settings())
    }

    /// Puts a settings text in force, under a new version where it differs from the last one, and
    /// returns its version. The text must have been compiled: a wrong one never gets here.
    ///
    /// # Errors
    /// The store failed.
    pub fn put_settings(&self, text: &str, format: Format, now: Timestamp) -> Result<u32, Error> {
        self.unit(|inner| {
            let latest = inner.settings()?;
            if let Some(latest) = &latest
                && latest.text == text
                && latest.format == format
            {
                return Ok(latest.version);
            }
            let version = latest.as_ref().map_or(1, |latest| latest.version + 1);
            let name = match format {
                Format::Toml => "toml",
                Format::Json => "json",
            };
            let mut insert = inner.database.prepare(&PUT_SETTINGS)?;
            insert.execute(params![version, now.ms(), name, text])?;
            let since = codec::encode(&since(latest.as_ref(), text, format, version))?;
            let mut insert = inner.database.prepare(&PUT_SINCE)?;
            insert.execute(params![version, since])?;
            Ok::<_, Failure>(version)
        })
    }
}

impl Inner {
    fn settings(&self) -> Result<Option<StoredSettings>, Failure> {
        let mut select = self.database.prepare(&LATEST_SETTINGS)?;
        let latest = select.query_row([], |row| {
            let format: String = row.get(1)?;
            let format = if format == "json" {
                Format::Json
            } else {
                Format::Toml
            };
            Ok(StoredSettings {
                version: row.get(0)?,
                format,
                text: row.get(2)?,
                since: Vec::new(),
            })
        });
        let Some(latest) = latest.optional()? else {
            return Ok(None);
        };
        Ok(Some(StoredSettings {
            since: self.since(latest.version)?,
            ..latest
        }))
    }

    /// Since when each tenant's settings of that version are the same; empty where that was not kept.
    fn since(&self, version: u32) -> Result<Vec<u32>, Failure> {
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
}
