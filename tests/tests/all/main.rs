//! Tests across the crates.

mod adoption;
mod aws;
mod aws_state;
mod beside;
mod contention;
mod contract;
mod dashboards;
mod embedded;
mod embedded_indexes;
mod guide;
mod late;
mod legacy;
mod mongo;
mod mongo_adoption;
mod mongo_faults;
mod mongo_indexes;
mod template;
