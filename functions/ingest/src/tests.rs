//! Requests as AWS hands them over, over the embedded store.

mod modes;
mod refusals;
mod retries;
mod tenants;
mod world;
