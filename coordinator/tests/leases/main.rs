//! Leases of a real coordinator, with agents that follow a script over real sessions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod bed;
mod budget;
mod claims;
mod fencing;
mod handed;
mod loss;
mod maintenance;
mod moves;
mod on_etcd;
#[path = "../program/mod.rs"]
mod program;
mod restarts;
#[path = "../store/etcd/server.rs"]
#[expect(dead_code, reason = "the tests of the store need more of it")]
mod server;
#[path = "../../../tests/skip.rs"]
mod skip;
mod taken_along;
