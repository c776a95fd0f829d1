//! What is done with a PostgreSQL server, with real ones: each in a directory of its own, on loopback, ended by its process id.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod handover;
mod looking;
mod rejoin;
mod running;
#[path = "../../../tests/skip.rs"]
mod skip;
