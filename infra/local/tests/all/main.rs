//! The command line from outside: the real binary, real files, a real store.

mod adoption;
mod amended;
mod aws;
mod bad_input;
mod browser;
mod checks;
mod console;
mod crash;
mod damage;
mod faults;
mod formats;
mod indexes;
mod lateness;
mod limits;
mod mongo;
mod order;
mod parking;
mod queries;
mod report;
mod secrets;
mod serve;
mod settings_live;
mod shell;
mod support;
mod tenants;
mod unlinked;
