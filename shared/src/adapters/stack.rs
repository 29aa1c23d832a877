//! A stack as its functions see it: events and messages on AWS, rows in MongoDB.

use std::sync::Arc;

#[cfg(feature = "mongo")]
use tokio::sync::OnceCell;

use crate::config::Config;
#[cfg(feature = "mongo")]
use crate::config::MongoUri;
#[cfg(feature = "mongo")]
use crate::ports::ErrorKind;
use crate::ports::{Clock, Error};
use crate::service::{Lookups, SettingsCache};
use crate::settings::Settings;

use super::SystemClock;
use super::aws::{Access, Aws, Names};
#[cfg(feature = "mongo")]
use super::mongo::{Mongo, Retention};

/// What a function works with. Nothing is asked before it is needed: a function is up before its stores
/// are looked at, and one that fails to reach them tries again at its next event.
#[derive(Debug)]
pub struct Stack {
    /// How it is set up.
    pub config: Config,
    /// Events and messages.
    pub aws: Aws,
    #[cfg(feature = "mongo")]
    mongo: OnceCell<Mongo>,
    settings: SettingsCache,
}

impl Stack {
    /// The stack that the environment speaks of.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self::new(Config::from_env()?))
    }

    /// The stack of a configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let keys = (config.keys.id.as_str(), config.keys.secret.as_str());
        let (endpoint, token) = (config.endpoint.clone(), config.keys.token.clone());
        let access = Access::with_keys(&config.region, endpoint, keys, token);
        let names = Names {
            journal_table: config.journal_table.clone(),
            state_table: config.state_table.clone(),
            queue_url: config.queue_url.clone(),
            dlq_url: config.dlq_url.clone(),
            receives_max: config.receives_max,
        };
        Self {
            aws: Aws::new(&access.config(), names).with_xray(config.xray),
            settings: SettingsCache::new(config.settings_ms),
            config,
            #[cfg(feature = "mongo")]
            mongo: OnceCell::new(),
        }
    }

    /// The rows. The first time, what the database lacks of collections and indexes is made.
    ///
    /// # Errors
    /// The connection string cannot be read, or no server answers.
    #[cfg(feature = "mongo")]
    pub async fn tables(&self) -> Result<&Mongo, Error> {
        self.mongo
            .get_or_try_init(|| async {
                let uri = match &self.config.mongodb {
                    Some(MongoUri::Plain(uri)) => uri.clone(),
                    Some(MongoUri::Secret(id)) => {
                        self.aws.secret_text(id).await?.reveal().to_owned()
                    }
                    None => {
                        let why = "neither FOLDBACK_MONGODB_SECRET nor FOLDBACK_MONGODB is set";
                        return Err(Error::new(ErrorKind::Reject, "connect to MongoDB", why));
                    }
                };
                Mongo::connect(&uri, Retention::default()).await
            })
            .await
    }

    /// The settings in force, as [`SettingsCache`] holds them.
    ///
    /// # Errors
    /// The store failed, or there are none.
    pub async fn settings(&self) -> Result<Arc<Settings>, Error> {
        self.settings.get(&self.aws, SystemClock.now()).await
    }

    /// How often settings were wanted, from the beginning.
    pub fn lookups(&self) -> Lookups {
        self.settings.lookups()
    }

    /// The stored version of the settings that cannot be put in force, and why, once: to be logged.
    pub fn refused_settings(&self) -> Option<(u32, String)> {
        self.settings.refused()
    }
}
