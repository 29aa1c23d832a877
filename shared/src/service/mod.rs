//! Ingest, webhooks, process, replay, report and adopt over the ports, and the settings that they go by.
//! I/O orchestration; the rules are in [`flow`](crate::flow).

mod adopt;
mod apart;
mod atomic;
mod entity;
mod ingest;
mod lateness;
mod locked;
pub mod measured;
mod owed;
mod process;
mod replay;
mod report;
mod settings_cache;
pub mod traced;
mod waits;
mod webhook;

pub use adopt::{Adopt, Adopted, Refused};
pub use apart::{Apart, process_apart};
pub use entity::{EntityQuery, EntityView, Moment, Overtaken, Point, ViewRow, entity, meaning};
pub use ingest::{Duplicates, Ingested, accept, ingest};
pub use lateness::{LateLine, keep_run};
pub use process::{Processed, process, process_imaging};
pub use replay::{Mode, Pages, Parked, Place, Replay, Replayed, Scope, parked_events};
pub use report::report;
pub use settings_cache::{Lookups, SettingsCache};
pub use waits::Waits;
pub use webhook::{TakenIn, take_in};
