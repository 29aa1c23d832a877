//! What the services need of the world, one trait a file. Adapters have files of the same names.
//!
//! A future returned by a port is ready when its effect is as durable as the store can make it, or,
//! inside an adapter's unit of work, when it will be at the end of that unit.

mod clock;
mod error;
mod hierarchies;
mod indexes;
mod journal;
mod legacy;
mod locks;
mod look;
mod meter;
mod queue;
mod rejects;
mod reports;
mod secrets;
mod settings_versions;
mod tables;
mod waiting;

pub use crate::model::Depth;
pub use clock::Clock;
pub use error::{Error, ErrorKind};
pub use hierarchies::Hierarchies;
pub use indexes::Indexes;
pub use journal::{Appended, Journal, Partition, Since};
pub use legacy::{LegacyRow, LegacyTables};
pub use locks::{Lease, LockKey, Locks};
pub use look::{Found, Look, Queued};
pub use meter::{Meter, Readings};
pub use queue::{Letter, Message, Queue, Receipt, Received};
pub use rejects::Rejects;
pub use reports::{LIVE_RUN, REPORTS_KEPT_MAX, RUNS_KEPT_MAX, Reports};
pub use secrets::Secrets;
pub use settings_versions::SettingsVersions;
pub use tables::{
    Added, Commit, Committed, ConversionPage, ConversionQuery, Cursor, CursorError, HistoryVersion,
    Reading, Tables,
};
pub use waiting::Waiting;
