//! The agent's program against a scripted coordinator, over real mutual TLS, with real processes.

mod attempts;
mod by_hand;
mod guard;
mod lab;
mod observing;
mod restarts;
mod scripted;
