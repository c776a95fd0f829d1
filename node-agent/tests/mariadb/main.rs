//! What is done with a MariaDB server, with real ones: each in a directory of its own, on loopback, ended by its process id.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod following;
mod handover;
#[path = "../../../tests/skip.rs"]
mod skip;
mod starting;
