//! The real binary: what it prints where, and with which exit code it ends.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod agent_types;
mod at_a_terminal;
mod completions;
mod confirming;
mod context;
mod exit_codes;
mod filled;
mod following;
mod harmless;
mod help;
mod json;
mod looking;
mod maintenance;
mod nothing_to_do;
mod output;
mod pki;
mod plan;
mod readme;
mod scripted;
mod spec;
mod status;
mod support;
mod systems;
mod terminal;
mod unblock;
mod views;
mod why;
