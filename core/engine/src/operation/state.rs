//! The states of an operation and of its steps, and which follow which.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use interlock_model::ids::{AttemptNo, BootId};
use interlock_model::names::NodeName;
use interlock_model::plan::Wait;
use interlock_model::time::Timestamp;

/// The state of an operation as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Steps begin as soon as they may.
    Running,
    /// Nothing new begins; what is under way goes on.
    Pausing,
    /// Nothing is under way.
    Paused,
    /// It can go neither on nor back by itself. What is under way goes on; nothing new begins.
    NeedsAttention,
    /// What is under way is being ended; then it is over.
    Aborting,
    /// What is under way is being ended; then what was done is taken back.
    AbortingToUnwind,
    /// What was done is being taken back, in reverse.
    Unwinding,
    /// Over: everything done and proven.
    Done,
    /// Over: ended by a person.
    Aborted,
    /// Over: everything that has an undo is taken back.
    Unwound,
}

impl State {
    /// Is it over? Then it holds nothing any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Aborted | Self::Unwound)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::NeedsAttention => "needs-attention",
            Self::Aborting | Self::AbortingToUnwind => "aborting",
            Self::Unwinding => "unwinding",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Unwound => "unwound",
        })
    }
}

/// The phase of a step.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not begun: edges, gates, an approval, or its turn.
    #[default]
    Waiting,
    /// It could not begin; a person must look.
    Blocked,
    /// An attempt is under way, or its proof is awaited.
    Running,
    /// The action is proven; its checks are not green yet.
    Checking,
    /// Done, proven, healthy.
    Done,
    /// It did not happen.
    Failed,
    /// It is not known whether it happened.
    Unknown,
    /// A person takes it for done.
    Skipped,
    /// An attempt to take it back is under way.
    Undoing,
    /// Taken back.
    Undone,
    /// Taking it back failed.
    UndoFailed,
}

impl Phase {
    /// Is an attempt under way?
    #[must_use]
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Running | Self::Undoing)
    }
    /// Does a person have to decide?
    #[must_use]
    pub fn needs_person(self) -> bool {
        matches!(
            self,
            Self::Blocked | Self::Failed | Self::Unknown | Self::UndoFailed
        )
    }
    /// Will nothing happen to it any more while the operation goes forward?
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Undone)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Checking => "checking",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "undo-failed",
        })
    }
}

/// What the journal says of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepState {
    /// Where it is.
    pub phase: Phase,
    /// The number of its last attempt; 0: none yet.
    pub attempt: AttemptNo,
    /// The node whose agent has the last attempt.
    pub on: Option<NodeName>,
    /// An attempt of its action was dispatched: there is something that could be taken back.
    pub acted: bool,
    /// The same before its last attempt, which counts if that was refused.
    pub acted_before: bool,
    /// An attempt of its action was seen to take something away, or nobody knows whether it did.
    pub took: bool,
    /// Its last attempt was to take it back.
    pub takes_back: bool,
    /// The boot of the step's node when the last attempt was intended.
    pub boot: Option<BootId>,
    /// The boot of the step's node in which an attempt was proven to have done its action.
    pub proven_in: Option<BootId>,
    /// How far it got, and when.
    pub reached: BTreeMap<Wait, Timestamp>,
    /// The last thing seen of it.
    pub evidence: String,
    /// When its first attempt was intended.
    pub began: Option<Timestamp>,
    /// When its last attempt was intended.
    pub intended: Option<Timestamp>,
    /// When it was settled.
    pub ended: Option<Timestamp>,
}

impl StepState {
    /// Has it reached what a later step waits for?
    #[must_use]
    pub fn has_reached(&self, until: Wait) -> bool {
        match self.phase {
            Phase::Done | Phase::Skipped => true,
            _ => until == Wait::None || self.reached.contains_key(&until),
        }
    }
}
