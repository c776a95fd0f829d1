//! The agent's program against a scripted coordinator, over real mutual TLS, with real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempts;
mod by_hand;
mod guard;
mod lab;
mod light;
mod observing;
mod restarts;
mod scripted;
