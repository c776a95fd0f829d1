//! One piece of work on the machine: whose it is, when it must end, and what its runs are called.

use std::sync::atomic::{AtomicBool, Ordering};

use interlock_engine::agent::ledger::Outcome;
use interlock_model::ids::AttemptId;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::session::{Attempt, Halt};
use crate::shim::RunId;

/// The longest part of a step's name in a run's id; the digest tells long names apart.
const STEP: usize = 60;

/// A piece of work: an attempt, or a restart by the guard.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    /// The attempt; none for the guard.
    attempt: Option<&'a Attempt>,
    /// When it must have ended.
    deadline: Instant,
    /// What the ids of its runs begin with. The same after a restart of the agent, so that its runs are found again.
    tag: String,
    told: AtomicBool,
}

/// Why a piece of work is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing of it is left.
    Failed(String),
    /// It was begun, and something of it may be left or may have happened.
    Unknown {
        /// What is known.
        evidence: String,
        /// May it be begun again all the same?
        repeatable: bool,
    },
}

impl Trouble {
    pub(super) fn unknown(evidence: impl Into<String>, repeatable: bool) -> Self {
        Self::Unknown {
            evidence: evidence.into(),
            repeatable,
        }
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(evidence) => Self::Failed { evidence },
            Trouble::Unknown {
                evidence,
                repeatable,
            } => Self::Unknown {
                evidence,
                repeatable,
            },
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(evidence) | Self::Unknown { evidence, .. } => f.write_str(evidence),
        }
    }
}

impl<'a> Errand<'a> {
    /// The work of an attempt.
    pub(super) fn of(attempt: &'a Attempt) -> Self {
        Self {
            attempt: Some(attempt),
            deadline: attempt.deadline,
            tag: tag(&attempt.id),
            told: AtomicBool::new(false),
        }
    }

    /// Work of the guard, with a name that no other has.
    pub(super) fn guard(name: &str, deadline: Instant) -> Self {
        Self {
            attempt: None,
            deadline,
            tag: format!("guard.{name}"),
            told: AtomicBool::new(false),
        }
    }

    /// Waits until the work is to end.
    pub(super) async fn halted(&self) -> Halt {
        match self.attempt {
            Some(attempt) => attempt.halted().await,
            None => {
                tokio::time::sleep_until(self.deadline).await;
                Halt::TimeLimit
            }
        }
    }

    pub(super) fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The way down is confirmed. Told once, for the first part that goes.
    pub(super) fn going_down(&self, evidence: impl Into<String>) {
        if let Some(attempt) = self.attempt
            && !self.told.swap(true, Ordering::Relaxed)
        {
            attempt.going_down(evidence);
        }
    }

    /// The id of the run that does `verb` to the part of this index.
    pub(super) fn run_id(&self, index: usize, verb: &str) -> Result<RunId, Trouble> {
        let id = format!("{}.p{index}.{verb}", self.tag);
        id.parse()
            .map_err(|error| Trouble::Failed(format!("no run can be named {id}: {error}")))
    }
}

/// What the ids of an attempt's runs begin with.
pub(super) fn tag(id: &AttemptId) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
            c
        } else {
            '_'
        }
    };
    let step: String = id.step.as_str().chars().map(plain).take(STEP).collect();
    let digest = Sha256::digest(id.step.as_str());
    let short: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("op-{}.{step}.{}-{short}", id.operation.0, id.attempt)
}

#[cfg(test)]
mod tests {
    use interlock_model::ids::{AttemptNo, OperationId};
    use interlock_model::plan::StepId;

    use super::*;

    #[test]
    fn runs_of_different_attempts_never_share_an_id() {
        let id = |step: &str, attempt| AttemptId {
            operation: OperationId(1),
            step: StepId::new(step),
            attempt: AttemptNo(attempt),
        };
        let long = "x".repeat(200);
        let tags = [
            tag(&id("stop:web", 1)),
            tag(&id("stop/web", 1)),
            tag(&id("stop/web", 2)),
            tag(&id(&long, 1)),
            tag(&id(&format!("{long}y"), 1)),
        ];
        let different: std::collections::BTreeSet<_> = tags.iter().collect();
        assert_eq!(different.len(), tags.len(), "{tags:?}");
        for tag in &tags {
            assert!(format!("{tag}.p99.start").parse::<RunId>().is_ok(), "{tag}");
        }
    }
}
