//! Tests across the crates.

mod contract;
mod embedded;
mod mongo;
