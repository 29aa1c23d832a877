//! Tests across the crates.

mod contract;
mod embedded;
mod embedded_indexes;
mod mongo;
mod mongo_indexes;
