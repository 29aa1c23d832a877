//! Tests across the crates.

mod adoption;
mod contract;
mod embedded;
mod legacy;
mod mongo;
