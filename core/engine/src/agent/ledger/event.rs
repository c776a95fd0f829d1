//! What the ledger hears and what it asks for.

use std::time::Duration;

use interlock_model::action::Command;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, OperationId, Term};
use interlock_model::names::ServiceName;

use super::{Target, Write};
use crate::agent::Peer;
use crate::agent::guard::Memory;

/// A message of a coordinator about one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who asks.
    pub from: Peer,
    /// In which term.
    pub term: Term,
    /// About which attempt.
    pub id: AttemptId,
}

/// What the agent's own file says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// It is on the allow-list.
    Granted,
    /// It is not; with what would have to be added.
    Denied(String),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A coordinator said in which term it speaks, commanding nothing.
    Heard {
        /// Its term.
        term: Term,
        /// The store that the term is from.
        incarnation: Option<String>,
    },
    /// An attempt is asked for.
    Dispatch {
        /// By whom, which.
        ask: Ask,
        /// What to do.
        command: Command,
        /// Within what time of its acceptance.
        limit: Duration,
        /// What the agent's own file says to it.
        permit: Permit,
    },
    /// The state of an attempt is asked for.
    Query(Ask),
    /// The end of an attempt is asked for.
    Cancel(Ask),
    /// Operations below a number are over.
    CloseOperations {
        /// Says who holds this term.
        term: Term,
        /// The first operation that may not be over.
        below: OperationId,
    },
    /// The way down of an open attempt is confirmed.
    GoingDown {
        /// The attempt.
        id: AttemptId,
        /// What was seen.
        evidence: String,
    },
    /// An open attempt has ended.
    Finished {
        /// The attempt.
        id: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// The guard of an instance has something else to remember. Whoever guards goes on without waiting for the disk: a
    /// full one must not keep a dead instance down.
    Guarded {
        /// The service.
        service: ServiceName,
        /// What.
        memory: Memory,
    },
    /// A session with a coordinator begins: it is to be told what is remembered.
    Greet(Peer),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and proven.
    Done {
        /// The proof.
        evidence: String,
    },
    /// It is not done, and nothing of it is left.
    Failed {
        /// What was seen.
        evidence: String,
    },
    /// It was begun, and it cannot be told what came of it.
    Unknown {
        /// Why not.
        evidence: String,
        /// May it be repeated all the same?
        repeatable: bool,
    },
}

impl Outcome {
    /// Done, with proof.
    #[must_use]
    pub fn done(evidence: impl Into<String>) -> Self {
        Self::Done {
            evidence: evidence.into(),
        }
    }

    /// Not done, with the reason.
    #[must_use]
    pub fn failed(evidence: impl Into<String>) -> Self {
        Self::Failed {
            evidence: evidence.into(),
        }
    }

    pub(super) fn into_parts(self) -> (AttemptState, String, bool) {
        match self {
            Self::Done { evidence } => (AttemptState::Done, evidence, false),
            Self::Failed { evidence } => (AttemptState::Failed, evidence, false),
            Self::Unknown {
                evidence,
                repeatable,
            } => (AttemptState::Unknown, evidence, repeatable),
        }
    }
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make these writes durable, all or none, after those of every earlier batch; then call
    /// [`Ledger::committed`](super::Ledger::committed).
    Commit {
        /// The number of the batch, ascending.
        batch: u64,
        /// What to write.
        writes: Vec<Write>,
    },
    /// Tell this.
    Reply {
        /// To whom.
        to: Recipient,
        /// What.
        report: AttemptReport,
    },
    /// Say hello with this.
    Greet {
        /// To whom.
        to: Peer,
        /// What is remembered, all of it durable by now.
        greeting: Greeting,
    },
    /// Begin this attempt. Asked for once per attempt.
    Execute {
        /// The attempt.
        id: AttemptId,
        /// What to do.
        command: Command,
        /// When it was accepted, on the monotonic clock.
        accepted: Duration,
        /// Within what time after that.
        limit: Duration,
    },
    /// End everything that this open attempt has started. May be asked for again.
    Kill(AttemptId),
}

/// What a hello tells of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The highest term obeyed.
    pub term: Term,
    /// The highest operation seen.
    pub operation: OperationId,
    /// The closed mark.
    pub closed_below: OperationId,
    /// The store that the term came from; none if never heard.
    pub incarnation: Option<String>,
    /// Every attempt of an operation that is not closed.
    pub attempts: Vec<AttemptReport>,
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The coordinator that asked.
    Asker(Peer),
    /// Every coordinator: whoever leads by now needs it. For an act by hand: the person.
    Everyone,
}

/// A person asks for something on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Who, from the certificate.
    pub who: String,
    /// Why, in their words.
    pub why: String,
    /// What to do.
    pub command: Command,
    /// Within what time.
    pub limit: Duration,
    /// What the agent's own file says to it, and whether the instance may be acted on by hand at all (safety rule
    /// E16).
    pub permit: Permit,
}

/// Why a command may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The agent's own file forbids it.
    #[error("{0}")]
    Denied(String),
    /// Another attempt is open on the same target.
    #[error("{open} is still open on {target}")]
    Busy {
        /// The attempt that is.
        open: AttemptId,
        /// What both work on.
        target: Target,
    },
    /// What a person began on the same target is not over.
    #[error("what a person began on this node is not over: {0}")]
    ByHand(String),
    /// It could not be remembered, so it must not be begun.
    #[error("nothing was begun: the ledger of this agent cannot be written: {0}")]
    NotDurable(String),
}
