//! What people have asked of an operation: read out of its journal, so that it is the same after a crash.
//!
//! One wish may be several entries: a retry that sets the operation going again is *retried* and *turned*. They are written at
//! one moment in one name, and are one wish.

use interlock_model::plan::StepId;
use interlock_model::time::Timestamp;

use super::{Entry, Operation, State, Verb, What};

/// One thing that a person has asked for, after the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub verb: Verb,
    /// Of which step, if it was about one.
    pub step: Option<StepId>,
    /// Why, in their words; empty if they gave no reason.
    pub reason: String,
}

impl Operation {
    /// What people have asked for since its start, in order.
    #[must_use]
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Remembers what a person has asked for, if the entry is that.
    pub(super) fn remember_asked(&mut self, entry: &Entry) {
        let Some(asked) = asked(entry) else {
            return;
        };
        // What sets an operation going again is a part of the wish that was written right before it.
        let goes_on = matches!(
            entry.what,
            What::Turned {
                to: State::Running | State::Unwinding,
                ..
            }
        );
        let is_part = |last: &Asked| {
            last.at == asked.at && last.by == asked.by && last.reason == asked.reason
        };
        if !(goes_on && self.asked.last().is_some_and(is_part)) {
            self.asked.push(asked);
        }
    }
}

/// The wish that an entry tells of, if a person is behind it.
fn asked(entry: &Entry) -> Option<Asked> {
    let (verb, by, reason) = match &entry.what {
        What::Approved { by, reason, .. } => (Verb::Approve, by, reason),
        What::Retried { by, reason, .. } => (Verb::Retry, by, reason),
        What::Skipped { by, reason, .. } => (Verb::Skip, by, reason),
        What::Next { by, reason, .. } => (Verb::Next, by, reason),
        What::AllSteps { by, reason } => (Verb::Resume, by, reason),
        What::Turned { to, by, reason } => {
            let verb = match to {
                State::Pausing => Verb::Pause,
                State::Running | State::Unwinding => Verb::Resume,
                State::Aborting => Verb::Abort,
                State::AbortingToUnwind => Verb::Unwind,
                State::Paused
                | State::NeedsAttention
                | State::Done
                | State::Aborted
                | State::Unwound => return None,
            };
            (verb, by, reason)
        }
        What::Started { .. }
        | What::Intent { .. }
        | What::Reached { .. }
        | What::Proven { .. }
        | What::Failed { .. }
        | What::Blocked { .. }
        | What::UndoFailed { .. } => return None,
    };
    // By itself an operation turns, and tries again, in nobody's name.
    (!by.is_empty()).then(|| Asked {
        at: entry.at,
        by: by.clone(),
        verb,
        step: entry.what.step().cloned(),
        reason: reason.clone(),
    })
}
