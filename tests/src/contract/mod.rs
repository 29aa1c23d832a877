//! What every adapter of a port must do, as checks that know only the port.
//!
//! One file a port, or a few. Each ends up as a macro that makes one `#[test]` a check:
//!
//! ```text
//! mod journal {
//!     foldback_tests::journal_suite!(crate::contract::OneMachine);
//! }
//! ```
//!
//! A check that is missing in its file's list is dead code, which the compiler reports.

use std::future::Future;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use shared::handlers::Table;
use shared::model::Timestamp;
use shared::ports::Clock;

/// Names the checks of a file: makes `run`, and the macro that makes a test of each. A suite that needs
/// more of its fixture names that trait after the ports.
macro_rules! suite {
    ($d:tt $suite:ident, $module:ident: $port:ident $(, $more:ident)?; $($check:ident,)+) => {
        /// Runs the check of that name over fresh ports.
        ///
        /// # Panics
        /// The check fails, or there is none of that name.
        pub fn run<F: $crate::contract::Fixture<Ports: $port> $(+ $more)?>(name: &str) {
            F::run(async {
                let mut fixture = F::fresh().await;
                match name {
                    $(stringify!($check) => $check(&mut fixture).await,)+
                    other => panic!("there is no check {other}"),
                }
            });
        }

        /// Makes a test of each check of this suite, over the fixture of that type.
        #[macro_export]
        macro_rules! $suite {
            ($d fixture:ty) => {
                $(
                    #[test]
                    fn $check() {
                        $d crate::contract::$module::run::<$d fixture>(stringify!($check));
                    }
                )+
            };
        }
    };
}

pub mod across;
pub mod additions;
pub mod additions_and_commits;
pub mod adoption;
pub mod amended;
pub mod apart;
pub mod conversions;
pub mod gone;
pub mod hierarchies;
mod hooked;
pub mod identities;
pub mod images;
pub mod indexes;
pub mod journal;
pub mod locked;
pub mod locks;
pub mod queue;
pub mod queue_deduplication;
pub mod queue_failures;
pub mod rejects;
pub mod reports;
pub mod settings_versions;
pub mod tables;
pub mod tables_history;
pub mod tables_reading;
mod tellings;
pub mod together;
pub mod unlinked;
pub mod waiting;

/// Ports of one kind to check, and the time they live in.
///
/// An adapter over a store that keeps its own clock passes time by sleeping; one that takes time as
/// an argument just counts.
pub trait Fixture: Sized {
    /// The ports.
    type Ports;

    /// How long a received message stays hidden, in milliseconds, as the queue is set up.
    const VISIBILITY_MS: i64;
    /// After so many receives a message goes to the dead-letter queue, as the queue is set up; at least 3.
    const RECEIVES_MAX: u32;
    /// Whether a message that was received too often says when it became a dead letter. SQS does; an
    /// emulator may say when it was first sent.
    const LETTERS_SAY_WHEN: bool = true;
    /// Whether a worker that tells amended events dies in every way at each call. Else in one way at each, by
    /// turns: every call is asked for over a network.
    const DIES_IN_EVERY_WAY: bool = true;

    /// Empty ports.
    fn fresh() -> impl Future<Output = Self>;

    /// The ports.
    fn ports(&self) -> &Self::Ports;

    /// The present.
    fn now(&self) -> Timestamp;

    /// Lets at least `ms` milliseconds pass.
    fn pass(&mut self, ms: i64) -> impl Future<Output = ()>;

    /// Gives the ports up and makes them anew over the same stores, as a new process would.
    fn reopen(&mut self) -> impl Future<Output = ()>;

    /// Runs a check to its end.
    fn run(check: impl Future<Output = ()>);
}

/// A [`Fixture`] whose tables legacy code writes too.
pub trait LegacyFixture: Fixture {
    /// Writes a document as legacy code does: sets these fields of the one that has the same tenant,
    /// lead and id, or inserts one.
    fn put_legacy(&self, table: Table, document: &Value) -> impl Future<Output = ()>;

    /// The fields of the document of that id as they are, those of the legacy code's own included, but
    /// without what the store or Foldback adds.
    fn legacy_content(&self, table: Table, id: &str) -> impl Future<Output = Value>;
}

/// A clock that stands still, as long as one step takes.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Does all of it at once; the answers come in the order given.
async fn at_once<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    stream::iter(work.collect::<Vec<_>>())
        .buffered(usize::MAX)
        .collect()
        .await
}

/// More than a clock may be off by.
const MARGIN_MS: i64 = 1_000;
