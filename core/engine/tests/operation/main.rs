//! The operation machine from outside: plans, reports and wishes in, journal and effects out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod already;
mod attempts;
mod autostart;
mod back_anew;
mod batches;
mod bench;
mod beside;
mod by_hand;
mod capacity;
mod claims;
mod control;
mod edges;
mod files;
mod gates;
mod held_up;
mod instances;
mod late_undo;
mod left;
mod moves;
mod nexts;
mod no_service;
mod off;
mod power;
mod reached;
mod replay;
mod risen;
mod roles;
mod skipped;
mod strays;
mod takeover;
mod unheard;
mod unwind;
