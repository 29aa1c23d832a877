//! The command line from outside: the real binary, real files, a real store.

mod adoption;
mod aws;
mod bad_input;
mod crash;
mod damage;
mod formats;
mod indexes;
mod lateness;
mod metrics;
mod mongo;
mod order;
mod queries;
mod report;
mod serve;
mod settings_live;
mod shell;
mod support;
mod traces;
mod unlinked;
