//! The journal of an operation.
//!
//! Every durable change of an operation is an [`Entry`], written before anything depends on it. The state of an
//! operation is what its entries make of it, one by one: whether they are applied as they happen or replayed after a
//! crash is the same code, so a coordinator that restarts continues exactly where the journal ends.

use serde::{Deserialize, Serialize};

use interlock_model::ids::{AttemptNo, BootId, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::{StepId, Wait};
use interlock_model::time::Timestamp;

use super::state::State;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the coordinator's wall clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// The operation begins; from here on it holds its nodes and services.
    Started {
        /// Who started it.
        by: String,
        /// Why.
        reason: String,
        /// Each step waits for `next`.
        single_step: bool,
    },
    /// An attempt is about to be dispatched.
    Intent {
        /// The step.
        step: StepId,
        /// The dispatch number.
        attempt: AttemptNo,
        /// The node whose agent gets it; none if nothing is dispatched and only a proof is awaited.
        on: Option<NodeName>,
        /// The command's word.
        command: String,
        /// The term it is dispatched under.
        term: Term,
        /// The boot of the step's node at that time, to recognise a new one.
        boot: Option<BootId>,
        /// It takes the step back.
        undo: bool,
    },
    /// The attempt got as far as this.
    Reached {
        /// The step.
        step: StepId,
        /// How far.
        until: Wait,
        /// What was seen.
        evidence: String,
    },
    /// The action is done, and proven.
    Proven {
        /// The step.
        step: StepId,
        /// The proof.
        evidence: String,
    },
    /// The action did not happen, or it is not known whether it did.
    Failed {
        /// The step.
        step: StepId,
        /// It may have happened.
        unknown: bool,
        /// Its agent refused it before it was begun: this attempt has done nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
        /// What was seen.
        evidence: String,
    },
    /// The step cannot begin: a gate stayed closed, or the active side moved.
    Blocked {
        /// The step.
        step: StepId,
        /// Why.
        evidence: String,
    },
    /// The step cannot be taken back.
    UndoFailed {
        /// The step.
        step: StepId,
        /// Why.
        evidence: String,
    },
    /// A person confirmed a step that waited for it.
    Approved {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// There is to be another attempt: a person asks for it or, without a name, repeating does no harm.
    Retried {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person takes the step for done.
    Skipped {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person lets a step begin, in single steps.
    Next {
        /// The step; journals of versions that let any one begin name none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A person ends the single steps: what is left begins as soon as it may.
    AllSteps {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The operation as a whole changes its state.
    Turned {
        /// What it is now.
        to: State,
        /// By whom; empty if by itself.
        by: String,
        /// Why.
        reason: String,
    },
}

impl What {
    /// The step that it is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::Intent { step, .. }
            | Self::Reached { step, .. }
            | Self::Proven { step, .. }
            | Self::Failed { step, .. }
            | Self::Blocked { step, .. }
            | Self::UndoFailed { step, .. }
            | Self::Approved { step, .. }
            | Self::Retried { step, .. }
            | Self::Skipped { step, .. } => Some(step),
            Self::Next { step, .. } => step.as_ref(),
            Self::Started { .. } | Self::AllSteps { .. } | Self::Turned { .. } => None,
        }
    }

    /// The entry as a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Intent { undo: false, .. } => "intent",
            Self::Intent { undo: true, .. } => "undo",
            Self::Reached { .. } => "reached",
            Self::Proven { .. } => "proven",
            Self::Failed { unknown: false, .. } => "failed",
            Self::Failed { unknown: true, .. } => "unknown",
            Self::Blocked { .. } => "blocked",
            Self::UndoFailed { .. } => "undo-failed",
            Self::Approved { .. } => "approved",
            Self::Retried { .. } => "retried",
            Self::Skipped { .. } => "skipped",
            Self::Next { .. } => "next",
            Self::AllSteps { .. } => "all-steps",
            Self::Turned { .. } => "turned",
        }
    }

    /// One line for people.
    #[must_use]
    pub fn detail(&self) -> String {
        let because = |by: &str, reason: &str| match (by, reason) {
            ("", reason) => reason.to_owned(),
            (by, "") => format!("by {by}"),
            (by, reason) => format!("by {by}: {reason}"),
        };
        match self {
            Self::Started {
                by,
                reason,
                single_step,
            } => {
                format!(
                    "{}{}",
                    because(by, reason),
                    if *single_step {
                        ", one step at a time"
                    } else {
                        ""
                    }
                )
            }
            Self::Intent {
                attempt,
                on,
                command,
                term,
                ..
            } => match on {
                Some(on) => format!("{command} on {on}, attempt {attempt}, term {term}"),
                None => format!("{command}, attempt {attempt}, term {term}"),
            },
            Self::Reached {
                until, evidence, ..
            } => format!("{until}: {evidence}"),
            Self::Proven { evidence, .. }
            | Self::Failed { evidence, .. }
            | Self::Blocked { evidence, .. }
            | Self::UndoFailed { evidence, .. } => evidence.clone(),
            Self::Approved { by, reason, .. }
            | Self::Retried { by, reason, .. }
            | Self::Skipped { by, reason, .. }
            | Self::Next { by, reason, .. } => because(by, reason),
            Self::AllSteps { by, reason } => {
                format!("{}, no longer one step at a time", because(by, reason))
            }
            Self::Turned { to, by, reason } => format!("{to} {}", because(by, reason))
                .trim_end()
                .to_owned(),
        }
    }
}
