//! Cross-crate test support: contract suites generic over the ports, and the fixtures they use.
//!
//! Every adapter of a port passes the same [`contract`] suite; a new adapter brings a
//! [`Fixture`](contract::Fixture) of its own and calls the suite's macro.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check fails by panicking; this crate never runs outside of tests"
)]

pub mod contract;
pub mod dashboards;
pub mod fixtures;
pub mod fuzz;
pub mod mortal;
pub mod servers;
pub mod worker;
