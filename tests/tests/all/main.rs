//! Tests across the crates.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a check fails by panicking, in what tests call as in themselves"
)]

mod adoption;
mod contract;
mod embedded;
mod embedded_indexes;
mod legacy;
mod mongo;
mod mongo_adoption;
mod mongo_faults;
mod mongo_indexes;
