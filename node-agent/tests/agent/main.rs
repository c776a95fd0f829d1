//! The agent's program against a scripted coordinator, over real mutual TLS, with real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempts;
mod boots;
mod by_hand;
mod delegated;
mod fencing;
mod files;
mod full_disk;
mod guard;
mod handover;
mod lab;
mod light;
mod members;
mod nginx;
mod observing;
mod ocf;
mod orphans;
mod restarts;
mod roles;
mod scripted;
#[path = "../../../tests/skip.rs"]
mod skip;
mod trust;
mod units;
