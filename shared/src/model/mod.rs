//! Plain data: what an event, an order, an action, a trail and a finding *are*.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod action;
mod amended;
mod amount;
mod audit;
pub mod cloud_event;
mod copy;
mod event;
mod finding;
mod fingerprint;
mod group;
mod home;
mod index_check;
mod link;
mod order;
mod reject;
mod report;
mod revision;
mod secret;
mod store_check;
mod timestamp;
mod trail;

pub use action::{ActionHierarchy, ActionId, ActionNode, Late, Outcome};
pub use amended::Amended;
pub use amount::{Amount, AmountError};
pub use audit::AuditRecord;
pub use event::{BASELINE, Entry, Event, OWN_ATTRIBUTES, OWN_SOURCES, OWN_TYPES, Payload};
pub use finding::{Class, EventRef, FieldChange, Finding};
pub(crate) use fingerprint::first_128_bits;
pub use fingerprint::{EventHash, Fingerprint};
pub use group::{Group, GroupKind, OWN_KEYS};
pub use index_check::{
    DerivedIndex, Fault, IndexCheck, IndexUse, MissingIndex, QueryPlan, UnusedIndex,
};
pub use order::{Order, Sequence};
pub use reject::{Reject, RejectReason};
pub use report::{Depth, ReplayRun, Report, RunInShort, Traffic};
pub use secret::{Secret, SecretRef};
pub use store_check::{StoreCheck, StoreFault, StorePart};
pub use timestamp::{Timestamp, TimestampError};
pub use trail::{Held, Stamps, Trail};
