//! The flow as its callers use it: stories told event by event, faults put in by hand, and lives
//! drawn at random, each held against what the design says the tables are.

mod adoption;
mod amended;
mod detect;
mod findings;
mod histories;
mod images;
mod legacy_rows;
mod lives;
mod moved;
mod naive;
mod spoils;
mod stories;
mod telling;
mod waiting;
mod world;
