//! The planner from outside: specs and observations in, plans and reports out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]
#![expect(
    clippy::disallowed_methods,
    reason = "the core itself reads no files; the sample clusters are in some"
)]

mod files;
mod hosts;
mod jtel;
mod leases;
mod members;
mod mutation;
mod permits;
mod power;
mod probers;
mod properties;
mod refusals;
mod rolling;
mod scope;
mod support;
mod views;
