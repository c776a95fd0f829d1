//! One piece of work on the machine: whose it is, when it must end, and what its runs are called.

use std::sync::atomic::{AtomicBool, Ordering};

use interlock_engine::agent::ledger::{BY_HAND, Outcome};
use interlock_model::ids::AttemptId;
use interlock_model::names::ServiceName;
use interlock_model::time::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::Instance;
use crate::session::{Attempt, Halt};
use crate::shim::RunId;

/// The longest part of a step's name in a run's id; the digest tells long names apart.
const STEP: usize = 60;

/// A piece of work: an attempt, or a restart by the guard.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    whose: Whose<'a>,
    /// When it must have ended.
    deadline: Instant,
    /// What the ids of its runs begin with. The same after a restart of the agent, so that its runs are found again.
    tag: String,
    told: AtomicBool,
    /// No agent is notified of it.
    silent: bool,
}

/// Whose work it is.
#[derive(Debug)]
enum Whose<'a> {
    Attempt(&'a Attempt),
    /// The guard's, until an attempt takes this instance.
    Guard(&'a Instance),
    /// Of who keeps the role, until this is cancelled.
    Role(&'a CancellationToken),
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
            whose: Whose::Attempt(attempt),
            deadline: attempt.deadline,
            tag: tag(&attempt.id),
            told: AtomicBool::new(false),
            silent: false,
        }
    }

    /// Work of the guard of a service, begun at this moment, which tells its runs from all others. It ends when an attempt
    /// takes the instance.
    pub(super) fn guard(
        service: &ServiceName,
        begun: Timestamp,
        instance: &'a Instance,
        deadline: Instant,
    ) -> Self {
        Self {
            whose: Whose::Guard(instance),
            deadline,
            tag: format!("{}{}", guard_tag(service), begun.0),
            told: AtomicBool::new(false),
            silent: false,
        }
    }

    /// Work for the role of a service, begun at this moment. It ends when it is cancelled.
    pub(super) fn role(
        service: &ServiceName,
        begun: Timestamp,
        halt: &'a CancellationToken,
        deadline: Instant,
    ) -> Self {
        Self {
            whose: Whose::Role(halt),
            deadline,
            tag: format!("{}{}", role_tag(service), begun.0),
            told: AtomicBool::new(false),
            silent: false,
        }
    }

    /// The same, and no agent is notified of what is done: what one makes of that may take longer than there is time.
    pub(super) fn silently(self) -> Self {
        Self {
            silent: true,
            ..self
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Waits until the work is to end.
    pub(super) async fn halted(&self) -> Halt {
        match self.whose {
            Whose::Attempt(attempt) => attempt.halted().await,
            Whose::Guard(instance) => tokio::select! {
                biased;
                () = instance.taken() => Halt::HandedOver,
                () = tokio::time::sleep_until(self.deadline) => Halt::TimeLimit,
            },
            Whose::Role(halt) => tokio::select! {
                biased;
                () = halt.cancelled() => Halt::Cancelled,
                () = tokio::time::sleep_until(self.deadline) => Halt::TimeLimit,
            },
        }
    }

    /// Waits for the turn to act on something, or until the work is to end.
    ///
    /// # Errors
    /// If it ended before that: nothing was begun.
    pub(super) async fn turn<'t>(
        &self,
        turn: &'t Mutex<()>,
    ) -> Result<MutexGuard<'t, ()>, Trouble> {
        tokio::select! {
            acting = turn.lock() => Ok(acting),
            halt = self.halted() => Err(Trouble::Failed(format!("{halt} before it was free"))),
        }
    }

    /// Has an attempt taken the instance from the guard? Then nothing more is begun.
    pub(super) fn is_handed_over(&self) -> bool {
        matches!(self.whose, Whose::Guard(instance) if instance.is_taken())
    }

    /// Does a person do it, at the door of this agent?
    pub(super) fn is_by_hand(&self) -> bool {
        matches!(self.whose, Whose::Attempt(attempt) if attempt.id.operation == BY_HAND)
    }

    pub(super) fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The way down is confirmed. Told once, for the first part that goes.
    pub(super) fn going_down(&self, evidence: impl Into<String>) {
        if let Whose::Attempt(attempt) = self.whose
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

/// What the ids of the runs for the role of a service begin with.
fn role_tag(service: &ServiceName) -> String {
    format!("role.{service}.")
}

/// What the ids of the runs of a service's guard begin with.
fn guard_tag(service: &ServiceName) -> String {
    format!("guard.{service}.")
}

/// Is this a run of the guard of this service?
pub(super) fn is_of_guard(run: &RunId, service: &ServiceName) -> bool {
    follows(run, &guard_tag(service))
}

/// Is this a run for the role of this service?
pub(super) fn is_of_role(run: &RunId, service: &ServiceName) -> bool {
    follows(run, &role_tag(service))
}

/// Does a number and a part follow this tag? Else a name that begins another one would be taken for it.
fn follows(run: &RunId, tag: &str) -> bool {
    let rest = run.as_str().strip_prefix(tag);
    let Some((number, part)) = rest.and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    number.parse::<u64>().is_ok() && part.starts_with('p')
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
    fn a_run_of_the_guard_or_for_the_role_is_that_of_one_service_alone() {
        let (instance, halt) = (Instance::default(), CancellationToken::new());
        let (web, dotted) = ("web".parse().unwrap(), "web.7".parse().unwrap());
        let of_guard = |service| {
            let errand = Errand::guard(service, Timestamp(12), &instance, Instant::now());
            errand.run_id(0, "start").unwrap()
        };
        let of_role = |service| {
            let errand = Errand::role(service, Timestamp(12), &halt, Instant::now());
            errand.run_id(0, "promote").unwrap()
        };
        for (one, other) in [(&web, &dotted), (&dotted, &web)] {
            assert!(is_of_guard(&of_guard(one), one) && is_of_role(&of_role(one), one));
            assert!(!is_of_guard(&of_guard(one), other) && !is_of_role(&of_role(one), other));
            assert!(!is_of_guard(&of_role(one), one) && !is_of_role(&of_guard(one), one));
        }
    }

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
