use std::future::Future;

use crate::model::Timestamp;
use crate::settings::{Format, SettingsVersion, StoredSettings};

use super::Error;

/// The settings texts that were put in force, each under a version of its own.
pub trait SettingsVersions: Send + Sync {
    /// The settings in force: those of the last version.
    fn latest(&self) -> impl Future<Output = Result<Option<StoredSettings>, Error>> + Send;

    /// The versions there are, the newest first, at most `limit`.
    fn versions(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SettingsVersion>, Error>> + Send;

    /// One version; `None` where there is none of that number.
    fn version(
        &self,
        version: u32,
    ) -> impl Future<Output = Result<Option<StoredSettings>, Error>> + Send;

    /// Puts a settings text in force, under the next version where it differs from the last one, and
    /// returns its version. The text must have been compiled: a wrong one never gets here.
    fn put(
        &self,
        text: &str,
        format: Format,
        now: Timestamp,
    ) -> impl Future<Output = Result<u32, Error>> + Send;
}
