//! A seeded simulation of Foldback: the services of `shared`, unchanged, over [ports in memory](Memory) with
//! virtual time.
//!
//! A seed gives a plan: events, senders, workers, chores, and what goes wrong with which call of a port. One
//! thread runs it, and each call takes as long as the seed says, so that a run is the same each time. While it
//! lasts an audit looks at every write; once it is at rest a model that knows nothing of the product says what
//! every row must be. A seed that fails is made as small as it goes on failing, and told as a story.

#![expect(
    clippy::indexing_slicing,
    reason = "a simulation stops where it is wrong; it never runs outside of tests"
)]

mod audit;
mod chance;
mod gate;
mod memory;
mod model;
mod mutants;
mod plan;
mod rules;
mod run;
mod shrink;
mod storm;
mod tasks;
mod told;
mod verdict;
mod world;

use std::collections::BTreeMap;

pub use audit::Audit;
pub use chance::mix;
pub use gate::{Call, Gate, Open, Passage, Share};
pub use memory::{Memory, QueueLimits, Store};
pub use mutants::{MUTANTS, Misplaced, Mutant};
pub use shrink::{Found, explain};
pub use world::Stats;

use plan::Plan;

/// What one seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A hash of all that happened.
    pub trace: u64,
    /// How often what happened.
    pub stats: Stats,
    /// Why the run is not as it must be.
    pub failure: Option<String>,
}

/// Runs the plan of a seed.
#[must_use]
pub fn simulate(seed: u64) -> Outcome {
    let ran = run::run(&Plan::of(seed), false);
    let mut stats: BTreeMap<&'static str, u64> = ran.stats;
    stats.insert("schedules", 1);
    Outcome {
        seed,
        trace: ran.trace,
        stats,
        failure: ran.failure,
    }
}
