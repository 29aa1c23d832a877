//! Where a command's data is: events, messages and settings in the data directory or in a stack on AWS;
//! rows in the data directory too, or in MongoDB.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::adapters::Joined;
use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::{Mongo, Retention};
use shared::trace::Scope;
use tokio::runtime::{Builder, Runtime};

use crate::aws::Stack;
use crate::cli::Data;
use crate::error::Failure;
use crate::events::HostEvents;
use crate::tables::HostTables;

/// Says, in the data directory, where its rows are.
const MARK: &str = "rows.json";

/// A connection string: it may hold a password, so nothing prints it.
#[derive(Clone)]
pub(crate) struct Uri(String);

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uri(secret)")
    }
}

impl FromStr for Uri {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Uri {
    /// The same for another database of the same server, named after this one.
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        let (head, options) = match self.0.split_once('?') {
            Some((head, options)) => (head, format!("?{options}")),
            None => (self.0.as_str(), String::new()),
        };
        Self(format!("{head}{suffix}{options}"))
    }

    /// The text, for a process that is to use it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// What the mark says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    /// The name of the MongoDB database.
    database: String,
}

/// A data directory's stores, open.
#[derive(Debug)]
pub(crate) struct Stores {
    events: HostEvents,
    remote: Option<Remote>,
}

/// One of a data directory's stores, and what stands in it, unless all of it does.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// In a word.
    pub(crate) name: &'static str,
    /// For a person to read.
    pub(crate) heading: String,
    pub(crate) store: HostTables<'a>,
}

/// MongoDB, and what its driver runs in.
#[derive(Debug, Clone)]
struct Remote {
    runtime: Arc<Runtime>,
    store: Mongo,
}

impl Stores {
    /// Opens them for writing; what MongoDB lacks of collections and indexes is made.
    pub(crate) fn open(data: &Data) -> Result<Self, Failure> {
        let known = fs::exists(&data.directory).unwrap_or(false);
        let events = HostEvents::open(data)?;
        let remote = match &events {
            HostEvents::Local(local) => remote(data, known && local.settings()?.is_some())?,
            HostEvents::Aws(stack) => Some(remote_of(stack, data)?),
        };
        let stores = Self { events, remote }.prepared()?;
        if let (HostEvents::Local(_), Some(remote)) = (&stores.events, &stores.remote) {
            put_mark(&data.directory, remote.store.database())?;
        }
        Ok(stores)
    }

    fn prepared(self) -> Result<Self, Failure> {
        if let Some(remote) = &self.remote {
            remote.runtime.block_on(remote.store.prepare())?;
        }
        Ok(self)
    }

    /// Opens them for reading, as they are; another process may write meanwhile.
    pub(crate) fn open_to_read(data: &Data) -> Result<Self, Failure> {
        let events = HostEvents::open_to_read(data)?;
        let remote = match &events {
            HostEvents::Local(_) => remote(data, true)?,
            HostEvents::Aws(stack) => Some(remote_of(stack, data)?),
        };
        Ok(Self { events, remote })
    }

    /// The same stores once more, to be read by another thread.
    pub(crate) fn again(&self) -> Result<Self, Failure> {
        Ok(Self {
            events: self.events.again()?,
            remote: self.remote.clone(),
        })
    }

    /// The same, for writing.
    pub(crate) fn into_writing(self) -> Result<Self, Failure> {
        self.into_mending()?.prepared()
    }

    /// The same, for writing, and still as they are.
    pub(crate) fn into_mending(self) -> Result<Self, Failure> {
        let Self { events, remote } = self;
        Ok(Self {
            events: events.into_writing()?,
            remote,
        })
    }

    /// Events, messages and settings.
    pub(crate) fn events(&self) -> &HostEvents {
        &self.events
    }

    /// What is in the data directory.
    pub(crate) fn local(&self) -> Result<&Embedded, Failure> {
        match &self.events {
            HostEvents::Local(store) => Ok(store),
            HostEvents::Aws(_) => Err(Failure::Input(
                "this is done in a data directory of this machine only".to_owned(),
            )),
        }
    }

    /// The rows.
    pub(crate) fn tables(&self) -> HostTables<'_> {
        match (&self.remote, &self.events) {
            (Some(remote), _) => HostTables::Remote(&remote.store),
            (None, HostEvents::Local(store)) => HostTables::Local(store),
            (None, HostEvents::Aws(_)) => unreachable!("what opens a stack opens its rows"),
        }
    }

    /// Each store there is.
    pub(crate) fn each(&self) -> Vec<Part<'_>> {
        let events = match &self.events {
            HostEvents::Local(local) => Some(Part {
                name: "events",
                heading: format!("Events and messages, in {}", local.directory().display()),
                store: HostTables::Local(local),
            }),
            // There every read is by key: nothing is to be explained, and no index can be missing.
            HostEvents::Aws(_) => None,
        };
        let rows = self.remote.as_ref().map(|remote| Part {
            name: "rows",
            heading: format!("Rows, in MongoDB, database {}", remote.store.database()),
            store: HostTables::Remote(&remote.store),
        });
        rows.into_iter().chain(events).collect()
    }

    /// What spans call them.
    pub(crate) fn scope(&self) -> Scope {
        match (&self.events, &self.remote) {
            (HostEvents::Aws(_), _) => Scope::AWS,
            (HostEvents::Local(_), Some(_)) => Scope::LOCAL_WITH_MONGO,
            (HostEvents::Local(_), None) => Scope::LOCAL,
        }
    }

    /// All ports, given those of [`Stores::tables`].
    pub(crate) fn ports<'a>(
        &'a self,
        tables: &'a HostTables<'a>,
    ) -> Joined<'a, HostEvents, HostTables<'a>> {
        Joined {
            events: &self.events,
            tables,
        }
    }

    /// Runs `work` to its end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.remote {
            Some(remote) => remote.runtime.block_on(work),
            None => self.events.wait(work),
        }
    }
}

/// What asynchronous clients run in.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Failure::File {
            what: "start the runtime of asynchronous clients".to_owned(),
            source,
        })
}

/// MongoDB, where the rows of a stack are: as the command line says, else as the stack's secret does.
fn remote_of(stack: &Stack, data: &Data) -> Result<Remote, Failure> {
    let runtime = Arc::clone(&stack.runtime);
    let store = runtime.block_on(Box::pin(async {
        let uri = match (&data.mongodb, &stack.mongo_secret) {
            (Some(uri), _) => uri.clone(),
            (None, Some(secret)) => {
                let text = stack.aws.secret_text(secret).await?;
                Uri(text.reveal().to_owned())
            }
            (None, None) => {
                return Err(Failure::Input(format!(
                    "the stack {:?} was deployed without a secret for MongoDB; give --mongodb URI \
                     or set FOLDBACK_MONGODB",
                    stack.name
                )));
            }
        };
        Ok(Mongo::open(&uri.0, Retention::default()).await?)
    }))?;
    Ok(Remote { runtime, store })
}

/// MongoDB, where the rows of a data directory are there: those of one that is `used` stay where
/// they are.
fn remote(data: &Data, used: bool) -> Result<Option<Remote>, Failure> {
    let directory = data.directory.display();
    let (uri, mark) = match (&data.mongodb, mark(&data.directory)?) {
        (None, None) => return Ok(None),
        (None, Some(mark)) => {
            return Err(Failure::Input(format!(
                "the rows of {directory} are in MongoDB, database {:?}; give --mongodb URI or set \
                 FOLDBACK_MONGODB",
                mark.database
            )));
        }
        (Some(_), None) if used => {
            return Err(Failure::Input(format!(
                "the rows of {directory} are in its own file; take another --data for rows in MongoDB"
            )));
        }
        (Some(uri), mark) => (uri, mark),
    };
    let runtime = runtime()?;
    let store = runtime.block_on(Mongo::open(&uri.0, Retention::default()))?;
    if let Some(mark) = mark
        && mark.database != store.database()
    {
        return Err(Failure::Input(format!(
            "the rows of {directory} are in database {:?}, not {:?}; name it in the connection string: \
             mongodb://host/{}",
            mark.database,
            store.database(),
            mark.database
        )));
    }
    Ok(Some(Remote {
        runtime: Arc::new(runtime),
        store,
    }))
}

fn mark_path(directory: &Path) -> PathBuf {
    directory.join(MARK)
}

fn mark(directory: &Path) -> Result<Option<Mark>, Failure> {
    let path = mark_path(directory);
    if !path.exists() {
        return Ok(None);
    }
    let what = || format!("read {}", path.display());
    let text = fs::read_to_string(&path).map_err(|source| Failure::File {
        what: what(),
        source,
    })?;
    let mark = serde_json::from_str(&text);
    mark.map(Some)
        .map_err(|error| Failure::Input(format!("{}: {error}", what())))
}

/// Sets the mark before the first row is written.
fn put_mark(directory: &Path, database: &str) -> Result<(), Failure> {
    let path = mark_path(directory);
    let mark = Mark {
        database: database.to_owned(),
    };
    let text = serde_json::to_string(&mark).unwrap_or_default();
    fs::write(&path, text).map_err(|source| Failure::File {
        what: format!("write {}", path.display()),
        source,
    })
}
