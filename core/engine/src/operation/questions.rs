//! What can be asked of an operation without changing it.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::ids::OperationId;
use interlock_model::plan::{Plan, SealedPlan, Step, StepId, Wait};
use interlock_model::time::{Now, Timestamp};

use super::{Operation, Phase, State, StepState};

impl Operation {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> OperationId {
        self.id
    }
    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.sealed.plan()
    }
    /// Its plan with the bytes that stand for it.
    #[must_use]
    pub fn sealed(&self) -> &SealedPlan {
        &self.sealed
    }
    /// Its state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }
    /// Who started it, why, when, and when it was over.
    #[must_use]
    pub fn origin(&self) -> (&str, &str, Timestamp, Option<Timestamp>) {
        (&self.started_by, &self.reason, self.started, self.ended)
    }
    /// Why it stands still, if it does.
    #[must_use]
    pub fn attention(&self) -> &str {
        &self.attention
    }
    /// Does each step wait for a person's `next`? Not any more once it goes back, or is over.
    #[must_use]
    pub fn is_single_step(&self) -> bool {
        self.single_step && !self.state.is_over() && !self.goes_back()
    }
    /// Its steps with their states, in plan order.
    pub fn steps(&self) -> impl Iterator<Item = (&Step, &StepState)> {
        self.sealed.plan().steps.iter().zip(&self.steps)
    }
    /// How many steps are done or skipped.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.phase.is_settled())
            .count()
    }

    /// What its end waits for now that all of its steps are settled, in one line; empty if it is not about to end, or waits
    /// for nothing.
    #[must_use]
    pub fn end_waits_for(&self) -> &str {
        let ending = self.ending.as_ref().filter(|_| !self.state.is_over());
        ending.map_or("", |ending| &ending.seen)
    }

    /// What a step waits for, in one line; empty if for nothing.
    #[must_use]
    pub fn waits_for(&self, step: &StepId) -> String {
        let Some(&at) = self.index.get(step) else {
            return String::new();
        };
        if self.awaits_undo(step) {
            return match self.state {
                State::NeedsAttention => format!("{} to go on, which needs attention", self.id),
                _ => self.live[at].seen.clone(),
            };
        }
        match self.steps[at].phase {
            // It will never begin, and so waits for nothing.
            Phase::Waiting if !self.goes_forward() => String::new(),
            Phase::Waiting => {
                let mut unmet = self.before[at]
                    .iter()
                    .filter(|(other, until)| !self.steps[*other].has_reached(*until))
                    .map(|(other, until)| format!("{} {until}", self.plan().steps[*other].id));
                match (unmet.next(), unmet.count()) {
                    (None, _) => match (&self.plan().steps[at].action, self.state) {
                        (Action::Approve { gate, text, .. }, _) if !self.live[at].closed => {
                            format!("approval of {gate}: {text}")
                        }
                        (_, State::NeedsAttention) => {
                            format!("{} to go on, which needs attention", self.id)
                        }
                        (_, State::Pausing | State::Paused) => {
                            format!("{} to be resumed", self.id)
                        }
                        _ => self.live[at].seen.clone(),
                    },
                    (Some(first), 0) => first,
                    (Some(first), more) => format!("{first} and {more} more"),
                }
            }
            Phase::Running | Phase::Checking | Phase::Undoing => self.seen(at),
            _ => String::new(),
        }
    }

    /// What a step under way waits for, or the last thing seen, with what the agent of a switching said of it.
    pub(super) fn seen(&self, at: usize) -> String {
        let live = &self.live[at];
        match &self.steps[at].on {
            Some(on) if !live.said.is_empty() && live.said != live.seen => {
                format!("{}; {on} said of the switching: {}", live.seen, live.said)
            }
            _ => live.seen.clone(),
        }
    }

    /// Is it a step's turn, so that only its gates or a person keep it from beginning? Once the operation goes on no
    /// more, no step has a turn.
    #[must_use]
    pub fn is_gated(&self, step: &StepId) -> bool {
        self.goes_forward()
            && self.index.get(step).is_some_and(|&at| {
                self.steps[at].phase == Phase::Waiting
                    && self.before[at]
                        .iter()
                        .all(|(other, until)| self.steps[*other].has_reached(*until))
            })
    }

    /// Is it a step's turn to be taken back, so that only what that needs keeps it from beginning?
    #[must_use]
    pub fn awaits_undo(&self, step: &StepId) -> bool {
        self.goes_back()
            && !self.state.is_over()
            && self
                .index
                .get(step)
                .is_some_and(|&at| self.live[at].undoing && self.needs_undo(at))
    }

    /// Since when it is a step's turn, by the journal: since the last of its edges was met, or the operation began. None
    /// if it is not.
    #[must_use]
    pub fn turn_since(&self, step: &StepId) -> Option<Timestamp> {
        let at = *self.index.get(step).filter(|_| self.is_gated(step))?;
        let met = self.before[at].iter().filter_map(|(other, until)| {
            let other = &self.steps[*other];
            match until {
                Wait::None => None,
                until => other.reached.get(until).copied().or(other.ended),
            }
        });
        Some(met.fold(self.started, Timestamp::max))
    }

    /// May steps that have not begun still begin? Not once it ends, goes back, or is over.
    fn goes_forward(&self) -> bool {
        match self.state {
            State::Running | State::Pausing | State::Paused => true,
            State::NeedsAttention => !self.goes_back(),
            State::Aborting
            | State::AbortingToUnwind
            | State::Unwinding
            | State::Done
            | State::Aborted
            | State::Unwound => false,
        }
    }

    /// Is it being taken back, or stands it still on the way back?
    pub(super) fn goes_back(&self) -> bool {
        self.state == State::Unwinding
            || self.steps.iter().any(|step| {
                matches!(
                    step.phase,
                    Phase::Undoing | Phase::Undone | Phase::UndoFailed
                )
            })
    }

    /// How far the attempt of a step under way is from its deadline.
    #[must_use]
    pub fn remaining(&self, step: &StepId, now: Now) -> Option<Duration> {
        let at = *self.index.get(step)?;
        self.live[at]
            .deadline
            .map(|deadline| deadline.saturating_sub(now.mono))
    }
}
