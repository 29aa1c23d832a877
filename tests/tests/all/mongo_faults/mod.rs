//! What becomes of rows in MongoDB when processes race, servers die and connections break.
//!
//! Tested against SecantusDB, a server of the same wire protocol.

mod cut_off;
mod expected;
mod kills;
mod races;
mod reads;
mod secrets;
mod sent_twice;
mod tls;
