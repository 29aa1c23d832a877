use rusqlite::{OptionalExtension, Row, params};

use crate::model::Timestamp;
use crate::ports::{Error, SettingsVersions};
use crate::settings::{Format, SettingsVersion, StoredSettings, since};

use super::query::{Need, queries};
use super::queue::bind;
use super::{Embedded, Failure, Inner};

queries! {
    LATEST_SETTINGS {
        name: "Embedded::settings",
        needs: [Need::Key("settings")],
        sql: "SELECT version, format, text FROM settings
              WHERE version > 0 ORDER BY version DESC LIMIT 1",
        trial: "SELECT 1 FROM settings LIMIT 1",
    }
    VERSIONS {
        name: "SettingsVersions::versions",
        needs: [Need::Key("settings")],
        sql: "SELECT version, at, format, length(CAST(text AS BLOB)) FROM settings
              WHERE version > 0 ORDER BY version DESC LIMIT ?",
        trial: "SELECT 100 FROM settings LIMIT 1",
    }
    VERSION {
        name: "SettingsVersions::version",
        needs: [Need::Key("settings")],
        sql: "SELECT version, format, text FROM settings WHERE version = ?",
        trial: "SELECT version FROM settings LIMIT 1",
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

    async fn versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        self.look(|inner| inner.versions(limit))
    }

    async fn version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        self.look(|inner| {
            let mut select = inner.database.prepare(&VERSION)?;
            let stored = select.query_row([version], read).optional()?;
            inner.with_since(stored)
        })
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
            inner.put_since(version, &since(latest.as_ref(), text, format, version))?;
            Ok::<_, Failure>(version)
        })
    }
}

impl Inner {
    fn settings(&self) -> Result<Option<StoredSettings>, Failure> {
        let mut select = self.database.prepare(&LATEST_SETTINGS)?;
        let latest = select.query_row([], read).optional()?;
        self.with_since(latest)
    }

    fn with_since(
        &self,
        stored: Option<StoredSettings>,
    ) -> Result<Option<StoredSettings>, Failure> {
        let Some(stored) = stored else {
            return Ok(None);
        };
        Ok(Some(StoredSettings {
            since: self.since(stored.version)?,
            ..stored
        }))
    }

    fn versions(&self, limit: usize) -> rusqlite::Result<Vec<SettingsVersion>> {
        let mut select = self.database.prepare(&VERSIONS)?;
        let versions = select.query_map([bind(limit as u64)], |row| {
            let bytes: i64 = row.get(3)?;
            Ok(SettingsVersion {
                version: row.get(0)?,
                at: Some(Timestamp::from_ms(row.get(1)?)),
                format: format_of(row.get_ref(2)?.as_str()?),
                bytes: u64::try_from(bytes).unwrap_or(0),
            })
        })?;
        versions.collect()
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredSettings> {
    Ok(StoredSettings {
        version: row.get(0)?,
        format: format_of(row.get_ref(1)?.as_str()?),
        text: row.get(2)?,
        since: Vec::new(),
    })
}

fn format_of(name: &str) -> Format {
    if name == "json" {
        Format::Json
    } else {
        Format::Toml
    }
}
