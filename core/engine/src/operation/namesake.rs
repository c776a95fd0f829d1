//! An operation whose number an agent knows from another life of the store (safety rule E11).
//!
//! Numbers of operations are counted by the store. One that was restored from a backup counts again from there, and an
//! agent that was not connected then remembers operations of the same numbers that this store has never begun. It
//! answers what it is asked from that memory: *done*, where nothing was done. Such an operation can do nothing on that
//! node, now or later; a person aborts it, and a new one gets a number that nobody knows.

use interlock_model::attempt::AttemptReport;
use interlock_model::ids::OperationId;
use interlock_model::names::NodeName;

use super::{Ctx, Operation, Phase, State, What};

impl Operation {
    /// Does what an agent remembers come from another operation of this number? It has ended one that is not over, or
    /// knows an attempt that was not made.
    #[must_use]
    pub fn has_namesake(
        &self,
        node: &NodeName,
        closed_below: OperationId,
        attempts: &[AttemptReport],
    ) -> bool {
        !self.state.is_over()
            && (self.id < closed_below
                || attempts
                    .iter()
                    .any(|report| report.id.operation == self.id && !self.made(node, report)))
    }

    /// Was this attempt made by this operation? Its intent is in the journal before an agent hears of it.
    fn made(&self, node: &NodeName, report: &AttemptReport) -> bool {
        self.index.get(&report.id.step).is_some_and(|&at| {
            let state = &self.steps[at];
            // Which node had an earlier attempt is no longer known, and what is said of it is of no interest.
            report.id.attempt < state.attempt
                || report.id.attempt == state.attempt && state.on.as_ref() == Some(node)
        })
    }

    /// Sends this node nothing from now on, believes nothing that it says, and calls a person if it has a part in this.
    /// What it has under way came from before the store went back: it may have been done, and been taken back since.
    pub fn distrust(&mut self, node: &NodeName, ctx: &mut Ctx<'_>) {
        let is_news = self.distrusted.insert(node.clone());
        for at in 0..self.steps.len() {
            let state = &self.steps[at];
            let is_out = matches!(state.phase, Phase::Running | Phase::Undoing);
            if is_out && state.on.as_ref() == Some(node) {
                self.record(
                    What::Failed {
                        step: self.step(at).id.clone(),
                        unknown: true,
                        refused: false,
                        evidence: self.namesake(node),
                    },
                    ctx.now,
                );
            }
        }
        let goes_on = matches!(self.state, State::Running | State::Pausing | State::Paused);
        let has_part = self
            .plan()
            .steps
            .iter()
            .any(|step| step.node.as_ref() == Some(node));
        if is_news && goes_on && has_part {
            self.record(
                What::Turned {
                    to: State::NeedsAttention,
                    by: String::new(),
                    reason: self.namesake(node),
                },
                ctx.now,
            );
        }
    }

    /// Begins nothing more, and says why. What is under way is heard to its end.
    pub fn halt(&mut self, why: &str, ctx: &mut Ctx<'_>) {
        if matches!(self.state, State::Running | State::Pausing | State::Paused) {
            self.record(
                What::Turned {
                    to: State::NeedsAttention,
                    by: String::new(),
                    reason: why.to_owned(),
                },
                ctx.now,
            );
        }
    }

    /// Why nothing is sent to a node.
    pub(super) fn namesake(&self, node: &NodeName) -> String {
        format!(
            "{node} remembers {} of another line of this store, and would answer for that one: abort this one and plan \
             again, the next gets a number that {node} does not know",
            self.id
        )
    }
}
