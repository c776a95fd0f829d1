//! What happens in a run, and what travels.

use std::time::Duration;

use interlock_engine::lease::holder::Facts;
use interlock_engine::lease::leader::Standing;
use interlock_engine::lease::{ReleaseReport, RenewRequest, Stored, Transaction};
use interlock_model::lease::{Epoch, Holder as Member, Terms};

use super::managers::Work;
use super::trouble::Fault;

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Node(usize),
    Coordinator(usize),
    Store,
}

/// Why a coordinator asks the store.
#[expect(clippy::large_enum_variant, reason = "few at a time")]
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Lead {
        term: u64,
    },
    Decide {
        term: u64,
        id: u64,
    },
    Renew {
        node: usize,
        request: RenewRequest,
        terms: Option<Terms>,
        tries: u8,
    },
    Release {
        node: usize,
        report: ReleaseReport,
        tries: u8,
    },
}

#[expect(clippy::large_enum_variant, reason = "few at a time")]
#[derive(Debug, Clone)]
pub(super) enum Payload {
    // From a node to a coordinator.
    Renew(RenewRequest),
    Release(ReleaseReport),
    Standing {
        said: Duration,
        standing: Box<Standing>,
    },
    Sighting {
        node: usize,
        writable: bool,
    },
    // From a coordinator to a node.
    Acknowledged {
        epoch: Epoch,
        sent: Duration,
        terms: Terms,
    },
    Superseded(Epoch),
    Heard {
        epoch: Epoch,
        holder: Option<Member>,
        witnessed: Epoch,
    },
    Cleared,
    Promote {
        epoch: Epoch,
        holder: Member,
        terms: Terms,
    },
    Propose(Terms),
    AskRelease(Epoch),
    ReleaseWritten(Epoch),
    // From a node to a node.
    Ask {
        from: Member,
        epoch: Epoch,
        ask: Duration,
        life: Duration,
    },
    Agree {
        ask: Duration,
    },
    // Between coordinators and the store.
    Read(Purpose),
    Commit {
        transaction: Transaction,
        purpose: Purpose,
    },
    HasRead(Purpose, Stored),
    HasCommitted(Purpose, bool),
}

/// What can happen.
#[expect(clippy::large_enum_variant, reason = "few at a time")]
#[derive(Debug, Clone)]
pub(super) enum Event {
    Deliver {
        from: Place,
        to: Place,
        session: (u64, u64),
        payload: Box<Payload>,
    },
    Wake {
        node: usize,
        life: u64,
        wake: u64,
    },
    Disk {
        node: usize,
        life: u64,
        batch: u64,
        facts: Facts,
    },
    Manager {
        node: usize,
        boots: u64,
        work: u64,
        what: Work,
    },
    Watchdog {
        node: usize,
        boots: u64,
    },
    Boot {
        node: usize,
        boots: u64,
    },
    AgentStart {
        node: usize,
        boots: u64,
    },
    Resume {
        node: usize,
    },
    Wrong {
        fault: Fault,
        node: usize,
    },
    Kill {
        node: usize,
        life: u64,
    },
    Hello {
        node: usize,
    },
    Look {
        node: usize,
    },
    Campaign {
        coordinator: usize,
    },
    Lead {
        coordinator: usize,
    },
    CoordinatorStart {
        coordinator: usize,
    },
    Watched {
        coordinator: usize,
        life: u64,
        stored: Stored,
    },
    FenceEnds {
        coordinator: usize,
        life: u64,
        node: usize,
        asked: interlock_engine::lease::Clock,
    },
    Tried {
        coordinator: usize,
        life: u64,
        observer: usize,
        node: usize,
        asked: interlock_engine::lease::Clock,
    },
    Write,
    Replicate,
    Operator,
    Trouble,
    /// What waited for an agent that did not run, and since when.
    Late {
        then: Duration,
        event: Box<Self>,
    },
}

impl Event {
    /// The machine whose pause holds it up, and whether it runs by its clock.
    pub(super) fn machine(&self) -> Option<(usize, bool)> {
        match self {
            Self::Deliver {
                to: Place::Node(node),
                ..
            } => Some((*node, false)),
            Self::Wake { node, .. }
            | Self::Disk { node, .. }
            | Self::Manager { node, .. }
            | Self::Watchdog { node, .. }
            | Self::Hello { node }
            | Self::Look { node } => Some((*node, true)),
            Self::Late { event, .. } => event.machine(),
            _ => None,
        }
    }

    pub(super) fn is_for_agent(&self) -> bool {
        match self {
            Self::Deliver {
                to: Place::Node(_), ..
            }
            | Self::Wake { .. }
            | Self::Disk { .. }
            | Self::Hello { .. }
            | Self::Look { .. } => true,
            Self::Late { event, .. } => event.is_for_agent(),
            _ => false,
        }
    }
}
