//! Rows, histories and finished action hierarchies in MongoDB.
//!
//! A collection a table, with the tables' own names and field names, times as dates; what a row carries
//! about itself is its sub-document `trail`. A history's versions are documents of their own
//! (`RSAppointmentChanges`); the row that they belong to stands in `RSAppointmentChanges.heads`.
//!
//! One [`Tables::read`](crate::ports::Tables::read) asks each collection once: all of rows at the same
//! time, then those of versions. One [`Tables::commit`](crate::ports::Tables::commit) is one bulk write
//! in a transaction, so that a row, its history, its places in the index of conversions and its
//! hierarchies agree at every moment; losing a race takes the loser's writes out and sends the rest
//! again. MongoDB 8.0 or later.

mod additions;
mod commit;
mod conversions;
#[cfg(feature = "bench")]
mod counted;
mod document;
mod export;
mod failure;
mod groups;
mod hierarchies;
mod history;
mod images;
mod indexes;
mod keys;
mod legacy;
#[cfg(feature = "bench")]
pub mod naive;
mod plan;
mod reports;
mod tables;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::options::{
    ClientOptions, CollectionOptions, ReadConcern, ServerAddress, Tls, TlsOptions, WriteConcern,
};
use mongodb::{Client, Collection, Database};

use crate::handlers::Table;
use crate::ports::{Error, ErrorKind};

#[cfg(feature = "bench")]
pub use counted::Requests;
use failure::{failed, unreadable};

/// The database where the connection string names none.
pub const DATABASE: &str = "foldback";
/// The collection of finished action hierarchies.
const HIERARCHIES: &str = "ActionHierarchy";
/// The collection that leads are found in by conversion and time.
const PLACES: &str = "RSLeadGlobalConversions.places";
/// The collection of the actions that additions were taken in by.
const ADDITIONS: &str = "Addition";
/// The collection of images of long groups.
const IMAGES: &str = "Image";
/// A process handles one batch at a time; its widest read asks five collections at once.
const POOL_MAX: u32 = 6;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SELECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What a deployment may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long a finished action hierarchy is kept, in milliseconds.
    pub hierarchies_ms: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            hierarchies_ms: 30 * 86_400_000,
        }
    }
}

/// The store. One a process: it holds a small pool of connections.
#[derive(Clone)]
pub struct Mongo {
    client: Client,
    database: Database,
    retention: Retention,
}

impl fmt::Debug for Mongo {
    /// The client knows the password; the database's name is all there is to see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongo")
            .field("database", &self.database.name())
            .finish_non_exhaustive()
    }
}

impl Mongo {
    /// Connects and, where they are missing, makes the collections and their indexes.
    ///
    /// `uri` is a connection string, a secret; the database is the one it names, else [`DATABASE`].
    /// Unless it says `tls=false`, TLS is used with any host that is not this machine. Must be called
    /// within a Tokio runtime, and the store used within the same.
    ///
    /// # Errors
    /// `Reject`: the connection string is wrong or its user may not do this; `Retry`: no server
    /// answers.
    pub async fn connect(uri: &str, retention: Retention) -> Result<Self, Error> {
        let store = Self::open(uri, retention).await?;
        store.prepare().await?;
        Ok(store)
    }

    /// Connects and leaves collections and indexes as they are.
    ///
    /// # Errors
    /// As [`Mongo::connect`].
    pub async fn open(uri: &str, retention: Retention) -> Result<Self, Error> {
        Self::listened_to(uri, retention, None).await
    }

    /// Connects; `events` hears of every request, which costs as much again as the request itself.
    async fn listened_to(
        uri: &str,
        retention: Retention,
        events: Option<EventHandler<CommandEvent>>,
    ) -> Result<Self, Error> {
        let mut options = ClientOptions::parse(uri).await.map_err(unreadable(uri))?;
        let remote = options.hosts.iter().any(|host| !is_here(host));
        options.tls = match options.tls {
            None if remote => Some(Tls::Enabled(TlsOptions::default())),
            given => given,
        };
        options.app_name = options.app_name.or_else(|| Some("foldback".to_owned()));
        options.max_pool_size = options.max_pool_size.or(Some(POOL_MAX));
        options.connect_timeout = options.connect_timeout.or(Some(CONNECT_TIMEOUT));
        options.server_selection_timeout =
            options.server_selection_timeout.or(Some(SELECTION_TIMEOUT));
        // What was answered must survive a change of the primary.
        options.write_concern = Some(WriteConcern::majority());
        options.retry_writes = Some(true);
        options.retry_reads = Some(true);
        options.command_event_handler = events;
        let name = options
            .default_database
            .clone()
            .unwrap_or_else(|| DATABASE.to_owned());
        let client =
            Client::with_options(options).map_err(failed("set the client of MongoDB up"))?;
        let database = client.database(&name);
        Ok(Self {
            client,
            database,
            retention,
        })
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// Runs a command on the database, given and answered as (extended) JSON: for operators, and for tests
    /// that put there what other code would.
    ///
    /// # Errors
    /// `Reject`: the text is no JSON object, or the server does not take the command.
    pub async fn run(&self, command_json: &str) -> Result<serde_json::Value, Error> {
        const DOING: &str = "run a command in MongoDB";
        let unreadable = |error| Error::new(ErrorKind::Reject, DOING, error);
        let command: Document = serde_json::from_str(command_json).map_err(unreadable)?;
        let answer = self.database.run_command(command).await;
        serde_json::to_value(answer.map_err(failed(DOING))?).map_err(unreadable)
    }

    /// A collection to read from: what it gives will not be rolled back.
    fn read_from(&self, name: &str) -> Collection<Document> {
        let options = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .build();
        self.database.collection_with_options(name, options)
    }
}

/// The collection that a table's rows stand in; those of a history beside its versions.
fn rows_of(table: Table) -> &'static str {
    match table {
        Table::RSAppointmentChanges => "RSAppointmentChanges.heads",
        Table::RSLead
        | Table::RSAppointment
        | Table::RSLeadGlobalConversions
        | Table::RSTenantDailyConversions => table.name(),
    }
}

fn is_here(host: &ServerAddress) -> bool {
    match host {
        ServerAddress::Tcp { host, .. } => {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        // A socket in the file system; the driver's enum may grow, and what it grows by is no network
        // address of this machine that we know of.
        #[cfg(unix)]
        ServerAddress::Unix { .. } => true,
        other => {
            let _: &ServerAddress = other;
            false
        }
    }
}
