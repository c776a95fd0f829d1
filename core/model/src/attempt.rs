//! What an agent says of an attempt.

use serde::{Deserialize, Serialize};

use crate::ids::AttemptId;

/// How far an attempt is, as the agent's ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// In the ledger, durably: the step is *issued*.
    Accepted,
    /// The stop job is confirmed running.
    GoingDown,
    /// Done and proven.
    Done,
    /// Not done, and nothing of it is left running.
    Failed,
    /// Begun, and it cannot be told whether it happened.
    Unknown,
    /// Not begun: the allow-list, the term or a closed operation forbids it.
    Refused,
    /// The ledger has no such attempt, and will refuse it from now on (safety rule X1).
    NeverSeen,
}

impl AttemptState {
    /// Will nothing more be heard of the attempt?
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::GoingDown)
    }
}

/// What an agent says of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// The attempt.
    pub id: AttemptId,
    /// How far it is.
    pub state: AttemptState,
    /// What was seen, or why not: one line.
    pub evidence: String,
    /// May an attempt whose outcome is unknown be repeated?
    pub repeatable: bool,
}
