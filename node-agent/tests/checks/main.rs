//! Checks against the servers that they are for: real ones, started here on loopback and ended by their process id.
//!
//! What a server *says* in trouble is what these checks live by, and no stand-in says it. Stand-ins of a few lines serve
//! where a server is asked to lie, to stop in the middle, or to send without end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod bed;
mod clock;
mod clock_server;
mod mariadb;
mod mount;
mod postgres;
mod postgres_server;
mod redis;
mod server;
#[path = "../../../tests/skip.rs"]
mod skip;
mod versions;
mod web;
