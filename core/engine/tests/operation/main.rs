//! The operation machine from outside: plans, reports and wishes in, journal and effects out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod attempts;
mod bench;
mod claims;
mod control;
mod edges;
mod gates;
mod held_up;
mod instances;
mod power;
mod replay;
mod risen;
mod unwind;
