//! What agents say of attempts.

use std::time::Duration;

use interlock_model::action::{Action, Power};
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::names::NodeName;
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;

use super::{Ctx, Live, Operation, Phase, State, What};

/// How many attempts are made without asking a person, where repeating is harmless.
const UNASKED: u64 = 3;

/// What must be left of a step's limit for another attempt to be worth while.
pub(super) const WORTH_WHILE: Duration = Duration::from_secs(1);

impl Operation {
    /// An agent said something about an attempt. What it says about any but the current one is of no interest, nor what
    /// one says that remembers another operation of this number.
    pub fn report(&mut self, from: &NodeName, report: &AttemptReport, ctx: &mut Ctx<'_>) {
        if self.distrusted.contains(from) {
            return;
        }
        let Some(&at) = self.index.get(&report.id.step) else {
            return;
        };
        let state = &self.steps[at];
        if state.attempt != report.id.attempt || state.on.as_ref() != Some(from) {
            return;
        }
        match state.phase {
            Phase::Running | Phase::Undoing => self.progress(at, report, ctx),
            // The answer came after the deadline: better late than unknown. A person has been called by then, and
            // decides when to go on.
            Phase::Unknown if !self.doing(at).is_power() => self.late_word(at, report, ctx),
            // The same on the way back, if it is an attempt to take the step back that the answer is about.
            Phase::UndoFailed if state.takes_back && !self.doing(at).is_power() => {
                self.late_undo(at, report, ctx);
            }
            _ => {}
        }
    }

    fn progress(&mut self, at: usize, report: &AttemptReport, ctx: &mut Ctx<'_>) {
        let step = self.step(at).id.clone();
        let evidence = report.evidence.clone();
        // A machine that goes down, or comes up, is awaited before anything is taken back from under it; who aborts for good
        // need not know what becomes of it.
        let awaited = self.state == State::AbortingToUnwind && report.state == AttemptState::Done;
        let is_last = report.state.is_final() && !awaited;
        if self.is_ending() && self.doing(at).is_power() && is_last {
            self.live[at].seen.clone_from(&evidence);
            self.give_up_power(at, ctx);
            return;
        }
        match report.state {
            AttemptState::Accepted => self.reached(at, Wait::Issued, evidence, ctx),
            AttemptState::GoingDown => {
                self.reached(at, Wait::Issued, evidence.clone(), ctx);
                self.reached(at, Wait::GoingDown, evidence, ctx);
            }
            AttemptState::Done if self.doing(at).is_power() => {
                self.reached(at, Wait::Issued, evidence.clone(), ctx);
                if self.doing(at).takes_down() {
                    self.reached(at, Wait::GoingDown, evidence, ctx);
                }
            }
            AttemptState::Done => self.proven(at, evidence, ctx),
            AttemptState::Failed => {
                self.record(
                    What::Failed {
                        step,
                        unknown: false,
                        refused: false,
                        evidence,
                    },
                    ctx.now,
                );
            }
            AttemptState::Refused => {
                let evidence = match self.runs_still(at, ctx) {
                    true => format!("refused: still running; {evidence}"),
                    false => format!("refused: nothing was begun; {evidence}"),
                };
                self.record(
                    What::Failed {
                        step,
                        unknown: false,
                        // What was accepted may have been done, whatever is refused afterwards.
                        refused: !self.steps[at].reached.contains_key(&Wait::Issued),
                        evidence,
                    },
                    ctx.now,
                );
            }
            // For a power step the source will tell; only the switching itself may have to be asked for again. If the
            // source tells nothing, these words are all that anybody has.
            AttemptState::Unknown if self.doing(at).is_power() => {
                if report.repeatable {
                    self.live[at].unsure.get_or_insert(ctx.now.mono);
                }
                self.live[at].said = evidence;
            }
            AttemptState::NeverSeen if self.already_switched(at, ctx) => {}
            // The journal knows better than an agent whose ledger was lost: what it had accepted may still run.
            AttemptState::NeverSeen if self.is_forgotten(at) && !report.repeatable => {
                self.forgotten(at, ctx);
            }
            AttemptState::NeverSeen => self.again(at, "the agent never saw the attempt", ctx),
            AttemptState::Unknown if report.repeatable && self.may_repeat(at, ctx) => {
                self.again(at, &evidence, ctx);
            }
            AttemptState::Unknown => {
                self.record(
                    What::Failed {
                        step,
                        unknown: true,
                        refused: false,
                        evidence,
                    },
                    ctx.now,
                );
            }
        }
    }

    /// Was this an instance to be stopped, which its agent reports as running?
    fn runs_still(&self, at: usize, ctx: &Ctx<'_>) -> bool {
        let step = self.step(at);
        let (Some(node), Some(service)) = (&step.node, &step.service) else {
            return false;
        };
        matches!(self.doing(at), Action::Stop)
            && ctx
                .view
                .instance(node, service)
                .is_some_and(|(seen, _)| seen.state == InstanceState::Running)
    }

    fn late_word(&mut self, at: usize, report: &AttemptReport, ctx: &mut Ctx<'_>) {
        let step = self.step(at).id.clone();
        let evidence = format!("after the deadline: {}", report.evidence);
        match report.state {
            AttemptState::Done => self.proven(at, evidence, ctx),
            AttemptState::Failed => {
                self.record(
                    What::Failed {
                        step,
                        unknown: false,
                        refused: false,
                        evidence,
                    },
                    ctx.now,
                );
            }
            _ => {}
        }
    }

    /// An undo was done after its limit. What came up again counts as taken back when it is healthy, and has its limit for
    /// that; what an agent says of its attempt once more changes nothing.
    fn late_undo(&mut self, at: usize, report: &AttemptReport, ctx: &mut Ctx<'_>) {
        if report.state != AttemptState::Done || self.steps[at].reached.contains_key(&Wait::Up) {
            return;
        }
        let evidence = format!("after the deadline: {}", report.evidence);
        if self.goes_down_by_undo(at) {
            let step = self.step(at).id.clone();
            self.record(What::Proven { step, evidence }, ctx.now);
            return;
        }
        self.live[at].deadline = None;
        self.live[at].checking = None;
        self.reached(at, Wait::Up, evidence, ctx);
    }

    /// Is what takes a step back proven by its agent alone? What comes up must turn healthy besides; a file that is as it was
    /// has no health: its instance is stopped.
    fn goes_down_by_undo(&self, at: usize) -> bool {
        let doing = self.doing(at);
        doing.takes_down() || matches!(doing, Action::RestoreFile { .. })
    }

    /// The agent proved the action. Taking something back is proven only when what came back is healthy.
    fn proven(&mut self, at: usize, evidence: String, ctx: &mut Ctx<'_>) {
        if self.steps[at].phase == Phase::Undoing && !self.goes_down_by_undo(at) {
            self.reached(at, Wait::Up, evidence, ctx);
            return;
        }
        let step = self.step(at).id.clone();
        self.record(What::Proven { step, evidence }, ctx.now);
    }

    pub(super) fn reached(&mut self, at: usize, until: Wait, evidence: String, ctx: &mut Ctx<'_>) {
        self.live[at].seen.clone_from(&evidence);
        if !self.steps[at].reached.contains_key(&until) {
            let step = self.step(at).id.clone();
            self.record(
                What::Reached {
                    step,
                    until,
                    evidence,
                },
                ctx.now,
            );
        }
    }

    fn already_switched(&self, at: usize, ctx: &Ctx<'_>) -> bool {
        let Some(node) = &self.step(at).node else {
            return false;
        };
        let began = self.live[at].began.unwrap_or_default();
        let said = ctx.view.power_since(node, began).map(|(power, _)| power);
        match self.doing(at) {
            Action::PowerOff { .. } => said == Some(Power::Off),
            Action::PowerOn { .. } => said == Some(Power::On),
            _ => false,
        }
    }

    /// Has the agent said of the current attempt that it has it? Then its *never seen* is a lost memory.
    fn is_forgotten(&self, at: usize) -> bool {
        self.steps[at].reached.contains_key(&Wait::Issued)
    }

    /// An attempt that the agent had, and knows no longer: it may have happened, and may be happening.
    fn forgotten(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let on = self.steps[at].on.as_ref().map(NodeName::as_str);
        let evidence = format!(
            "its agent no longer remembers the attempt: {} had said '{}', and it may still be under way; look there \
             before you retry or skip it",
            on.unwrap_or("it"),
            self.steps[at].evidence
        );
        self.record(
            What::Failed {
                step: self.step(at).id.clone(),
                unknown: true,
                refused: false,
                evidence,
            },
            ctx.now,
        );
    }

    /// May another attempt be made without asking anybody?
    pub(super) fn may_repeat(&self, at: usize, ctx: &Ctx<'_>) -> bool {
        self.steps[at].attempt.0 < UNASKED
            && self.time_left(at, ctx) >= WORTH_WHILE
            && !self.is_ending()
    }

    /// Another attempt without asking anybody: the earlier one did not happen, or repeating it is harmless. It begins
    /// anew with its gates, for time has passed, and only if the operation still goes the same way; a person may have
    /// paused it meanwhile. One that is being ended makes no further attempt: the step is settled as what it came to.
    pub(super) fn again(&mut self, at: usize, why: &str, ctx: &mut Ctx<'_>) {
        let step = self.step(at).id.clone();
        if !self.may_repeat(at, ctx) {
            self.record(
                What::Failed {
                    step,
                    unknown: false,
                    refused: false,
                    evidence: why.to_owned(),
                },
                ctx.now,
            );
            return;
        }
        self.live[at] = Live {
            first: self.live[at].first,
            ..Live::default()
        };
        self.record(
            What::Retried {
                step,
                by: String::new(),
                reason: why.to_owned(),
            },
            ctx.now,
        );
    }
}
