//! The common crate of Foldback: event processing whose tables end up right whatever the order.
//!
//! One equation holds for every row, at rest:
//!
//! ```text
//! row == fold(handler, events of its group in order)
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`model`] | plain data: event, order, group, trail, finding |
//! | [`settings`] | tenant settings, validated and compiled |
//! | [`handlers`] | one file a table: how a row follows from one more event |
//! | [`observers`] | one file each: which row change asks for which child action |
//! | [`flow`] | route, step, fold, refold, compare |
//! | [`metrics`] | what is measured: names, units, labels, readings |
//! | [`trace`] | which trace an event belongs to, and its spans |
//! | [`webhook`] | HTTP requests: content modes, signatures, wrapping, problems |
//! | [`ports`] | what the services need of the world, one trait a file |
//! | [`service`] | ingest, process, replay, report and adopt over the ports; no rules |
//! | [`adapters`] | the ports over real stores, each behind a cargo feature |
//! | [`config`] | what a function is told by its environment |
//!
//! The first eight are pure: no async, clock, randomness, environment or SDK type.

pub mod adapters;
pub mod config;
pub mod flow;
pub mod handlers;
pub mod metrics;
pub mod model;
pub mod observers;
pub mod ports;
pub mod service;
pub mod settings;
mod side_by_side;
pub mod trace;
pub mod webhook;

#[cfg(test)]
mod tidy;
