//! Promises among the agents of one service, in place of coordinators that cannot be reached (safety rule E2).
//!
//! # Purpose
//! Under `failsafe` a primary that nobody renews goes on for as long as *every* other member promises not to become primary. What
//! that takes is decided by the machine of a holder ([`interlock_engine::lease::holder`]); here its questions travel, straight
//! from agent to agent, over the same mutual TLS as everything else.
//!
//! ```text
//!   Keeper thread ── questions ──► Asker ──► a line for each peer ── PeerService.Promise ──► Service ──► Keeper thread there
//!        ▲                                        │                                                          │
//!        └──────────── who has promised ──────────┴──────────────────── promised, or why not ◄───────────────┘
//! ```
//!
//! # Invariants
//! * Who asks is the agent of the node that it speaks for, by its certificate; who answers is the agent of the member that was
//!   meant, by its own. Where it is comes from the spec, with the last assignment, which every agent keeps on its disk.
//! * A promise binds before its answer leaves. An agent that starts again has forgotten it, and waits a whole L anyhow.
//! * An answer says which question it belongs to, for the holder counts from asking. One that does not come is no promise.

mod asker;
mod line;
mod service;

use std::time::Duration;

use interlock_model::lease::{Epoch, Holder};
use interlock_model::names::ServiceName;
use interlock_model::postgres::Peer;

pub(crate) use asker::Asker;
pub(crate) use service::server;

/// What a primary asks one of its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Whom, and where it is.
    pub(crate) peer: Peer,
    /// Of which service.
    pub(crate) service: ServiceName,
    /// Who asks.
    pub(crate) holder: Holder,
    /// The epoch in which it is primary.
    pub(crate) epoch: Epoch,
    /// Which question, for the answer.
    pub(crate) ask: Duration,
    /// For how long a promise is to hold.
    pub(crate) life: Duration,
}
