//! A hand-over: a holder that is well is asked to give its role back.
//!
//! That somebody asked is written into the record before the holder hears of it, so that it outlasts who asked: a role that is
//! given back after the operation has ended, in a maintenance that was entered meanwhile, or under another leader, is not left to
//! nobody. It costs one write per move, while the holder still serves. The bump that follows ends it; one that came to nothing is
//! ended by another write, once a stop that was begun would be over.

use std::fmt;
use std::time::Duration;

use interlock_model::ids::OperationId;
use interlock_model::names::NodeName;
use interlock_model::time::{Timestamp, human};
use serde::{Deserialize, Serialize};

/// The holder of the record's epoch is asked to give it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Who was to take the role when it was begun.
    pub to: NodeName,
    /// Why.
    pub why: Reason,
    /// Since when, by the wall clock of the leader that began it.
    pub since: Timestamp,
    /// How long the stop of the holder may take, by the spec.
    #[serde(with = "human")]
    pub within: Duration,
}

/// Why a role is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An operation moves it.
    Operation(OperationId),
    /// It moves by itself: the clients of its holder do not reach it, as its agent says.
    Unlinked(String),
}

impl Reason {
    /// Does it move by itself?
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        matches!(self, Self::Unlinked(_))
    }
}

impl fmt::Display for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, why, .. } = self;
        match why {
            Reason::Operation(id) => write!(f, "{id} moves it to {to}"),
            Reason::Unlinked(why) => write!(f, "it moves to {to}: {why}"),
        }
    }
}
