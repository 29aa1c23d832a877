//! Real servers to test against, each a process of its own on a free port.
//!
//! What a server needs is installed once, under `target/testbeds`, by whichever test asks first. A
//! server that does not start fails the test that asked for it.

mod aws_call;
mod collector;
mod ministack;
mod prometheus;
mod proxy;
mod python;
mod secantus;
pub mod stack;

pub use aws_call::{aws_call, get, post};
pub use collector::{Collected, Collector};
pub use ministack::{Fault, Ministack, Policies};
pub use prometheus::{Prometheus, promtool};
pub use proxy::{Proxy, holds};
pub use secantus::{Durability, Secantus, User, free_port, uri};
