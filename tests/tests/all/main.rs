//! Tests across the crates.

mod adoption;
mod aws;
mod aws_faults;
mod aws_process;
mod aws_replay;
mod aws_runs;
mod aws_state;
mod aws_traces;
mod aws_world;
mod beside;
mod contention;
mod contract;
mod dashboards;
mod embedded;
mod embedded_indexes;
mod fuzz;
mod guide;
mod hot;
mod late;
mod legacy;
mod mongo;
mod mongo_adoption;
mod mongo_faults;
mod mongo_indexes;
mod mongo_requests;
mod template;
