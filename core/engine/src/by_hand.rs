//! Acts by hand, as agents tell coordinators of them (invariant I11).
//!
//! A person can start and stop instances at the door of an agent, with every coordinator dead. The agent has that in its
//! ledger before it acts. When it is over it tells every coordinator in session, and after a hello whatever the leader
//! does not say that it knows; the leader writes one event for each act, and knows it from then on.
//!
//! What is known is kept by coordinators alone. An agent need not be told that an act has arrived, nor remember it, and a
//! store that was set back to an earlier copy is told again what it has lost.

use interlock_model::attempt::AttemptState;
use interlock_model::names::ServiceName;
use interlock_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which act of a node. The number alone would not do: a ledger that was lost, or is that of an earlier snapshot of its
/// machine, counts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActId {
    /// Its number in the agent's ledger.
    pub number: u64,
    /// When it was begun, by the clock of the node.
    pub begun: Timestamp,
}

/// An act by hand that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Which one.
    pub id: ActId,
    /// Whose certificate it was.
    pub who: String,
    /// The reason that they gave.
    pub why: String,
    /// What was asked for, such as `stop web`.
    pub what: String,
    /// The service that it was about.
    pub service: Option<ServiceName>,
    /// What came of it.
    pub state: AttemptState,
    /// What was seen.
    pub evidence: String,
}
