//! What people ask of an operation, and what is possible when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::plan::StepId;
use interlock_model::spec::Role;

use super::{Ctx, Live, Operation, Phase, State, What};

/// What a person can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Begin nothing new.
    Pause,
    /// Go on, the way it went; where single steps are not paused: without them.
    Resume,
    /// Let one step begin whose turn has come.
    Next,
    /// Another attempt of a step.
    Retry,
    /// Take a step for done.
    Skip,
    /// Stop for good.
    Abort,
    /// Stop, and take back what was done.
    Unwind,
    /// Confirm a step that waits for it.
    Approve,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Next => "next",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Unwind => "unwind",
            Self::Approve => "approve",
        })
    }
}

impl FromStr for Verb {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Pause,
            Self::Resume,
            Self::Next,
            Self::Retry,
            Self::Skip,
            Self::Abort,
            Self::Unwind,
            Self::Approve,
        ]
        .into_iter()
        .find(|verb| verb.to_string() == text)
        .ok_or(())
    }
}

/// Why a person's wish was not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The state does not allow it.
    #[error("{operation} is {state}: '{verb}' is not possible now; possible: {possible}")]
    State {
        /// The operation, as text.
        operation: String,
        /// Its state.
        state: State,
        /// What was asked for.
        verb: Verb,
        /// What could be.
        possible: String,
    },
    /// There is no such step.
    #[error(
        "{operation} has no step '{step}'; `interlockctl operation show {operation}` lists them"
    )]
    NoSuchStep {
        /// The operation, as text.
        operation: String,
        /// What was asked for.
        step: String,
    },
    /// The step is not where it can be retried, skipped or approved.
    #[error("{step} is {phase}: '{verb}' is not possible{hint}")]
    Phase {
        /// The step.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// What was asked for.
        verb: Verb,
        /// What to do instead.
        hint: &'static str,
    },
    /// A reason is required and was not given.
    #[error("say why: {0} needs a reason, which is kept in the journal (--reason)")]
    NoReason(Verb),
    /// What the person is asked for must not be done now.
    #[error("{step} must not be done now: {why}")]
    Held {
        /// The step.
        step: StepId,
        /// Why.
        why: String,
    },
    /// What would be taken for stopped is seen running.
    #[error(
        "{step} cannot be taken for done: {what}, says its agent. Stop it there and `skip` again, or `retry` the step, or \
         abort and plan again"
    )]
    Runs {
        /// The step.
        step: StepId,
        /// What runs, and how.
        what: String,
    },
    /// What would be taken for done is seen not to be, and others would begin upon it.
    #[error(
        "{step} cannot be taken for done: {what}, and {who} would begin upon it. Repair it and `retry`; or `skip` what would begin \
         first, where it is a start, the last of them before the others; or abort and plan again"
    )]
    Upon {
        /// The step.
        step: StepId,
        /// What is seen, and by whose word.
        what: String,
        /// What would begin.
        who: String,
    },
    /// No step can be let begin now, or not the one that was named.
    #[error("{operation}: `next` lets nothing begin now: {why}")]
    Next {
        /// The operation, as text.
        operation: String,
        /// What is under way, and what it waits for.
        why: String,
    },
    /// Somebody has paused the single steps.
    #[error(
        "{operation} is {state}: {by} has paused it {since} ago{why}; `resume` first, and it goes on in single steps"
    )]
    Paused {
        /// The operation, as text.
        operation: String,
        /// Its state.
        state: State,
        /// Who.
        by: String,
        /// How long ago.
        since: String,
        /// Why, in brackets; empty without a reason.
        why: String,
    },
    /// The approval needs a higher role.
    #[error("approving {step} needs the role {needed}")]
    Role {
        /// The step.
        step: StepId,
        /// The role.
        needed: Role,
    },
}

impl Operation {
    /// What can be asked for now.
    #[must_use]
    pub fn possible(&self) -> Vec<Verb> {
        let mut verbs = Vec::new();
        let undecided = self.steps.iter().any(|step| self.is_undecided(step.phase));
        match self.state {
            State::Running => verbs.push(Verb::Pause),
            State::Pausing | State::Paused => verbs.push(Verb::Resume),
            State::NeedsAttention if !undecided => {
                verbs.push(Verb::Resume);
            }
            State::NeedsAttention => {
                verbs.push(Verb::Retry);
                if (0..self.steps.len()).any(|at| self.may_skip(at)) {
                    verbs.push(Verb::Skip);
                }
            }
            State::Unwinding => verbs.push(Verb::Abort),
            State::Aborting
            | State::AbortingToUnwind
            | State::Done
            | State::Aborted
            | State::Unwound => {}
        }
        if self.single_step && self.state == State::Running {
            // To resume is to end the single steps: there is no other way out of them, and nothing else to resume.
            verbs.extend([Verb::Next, Verb::Resume]);
        } else if self.state == State::NeedsAttention
            && self.is_single_step()
            && verbs.contains(&Verb::Resume)
        {
            verbs.push(Verb::Next);
        }
        if self.approvable().next().is_some() {
            verbs.push(Verb::Approve);
        }
        if matches!(
            self.state,
            State::Running | State::Pausing | State::Paused | State::NeedsAttention
        ) {
            verbs.push(Verb::Abort);
            // On the way back it is unwinding already.
            if !self.goes_back() {
                verbs.push(Verb::Unwind);
            }
        }
        verbs
    }

    /// Does a step in this phase wait for a person's decision? On the way back only what cannot be taken back does: where the
    /// way forward ended is of no interest any more.
    fn is_undecided(&self, phase: Phase) -> bool {
        match self.goes_back() {
            true => phase == Phase::UndoFailed,
            false => phase.needs_person(),
        }
    }

    /// May a person take the step for done? An approval is given by who may give it, and by nobody else.
    fn may_skip(&self, at: usize) -> bool {
        self.is_undecided(self.steps[at].phase)
            && !matches!(self.step(at).action, Action::Approve { .. })
            || self.may_be_left_out(at)
    }

    /// The approvals whose turn it is; while it needs attention, those that nobody has given in time.
    fn approvable(&self) -> impl Iterator<Item = usize> + '_ {
        let phase = match self.state {
            State::Running => Some(Phase::Waiting),
            State::NeedsAttention if !self.goes_back() => Some(Phase::Blocked),
            _ => None,
        };
        self.open.iter().copied().filter(move |&at| {
            matches!(self.step(at).action, Action::Approve { .. })
                && Some(self.steps[at].phase) == phase
                && !self.live[at].closed
                && self.before[at]
                    .iter()
                    .all(|(other, until)| self.steps[*other].has_reached(*until))
        })
    }

    /// The approval that it waits for, if it waits for one; of several the first.
    #[must_use]
    pub fn awaits_approval(&self) -> Option<&StepId> {
        self.approvable().next().map(|at| &self.step(at).id)
    }

    /// Follows a person's wish, or says why not.
    ///
    /// # Errors
    /// If it is not possible now; nothing has changed then.
    pub fn control(
        &mut self,
        verb: Verb,
        step: Option<&str>,
        by: &str,
        role: Role,
        reason: &str,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Refused> {
        // It is what is wanted already, and nothing that the journal should tell twice.
        if verb == Verb::Pause && matches!(self.state, State::Pausing | State::Paused) {
            return Ok(());
        }
        if let Some(refused) = self
            .is_paused_by_a_person(ctx.now.wall)
            .filter(|_| verb == Verb::Next)
        {
            return Err(refused);
        }
        // That one must not be confirmed now says more than that none can be.
        let is_held = verb == Verb::Approve && self.live.iter().any(|live| live.closed);
        if !self.possible().contains(&verb) && !is_held {
            // As it is typed: an unwind is an abort that takes back.
            let typed = |verb: &Verb| match verb {
                Verb::Unwind => "abort --unwind".to_owned(),
                verb => verb.to_string(),
            };
            let possible: Vec<String> = self.possible().iter().map(typed).collect();
            return Err(Refused::State {
                operation: self.id.to_string(),
                state: self.state,
                verb,
                possible: match possible.as_slice() {
                    [] if self.state.is_over() => "nothing, it is over".to_owned(),
                    [] => "nothing until what is under way has ended".to_owned(),
                    possible => possible.join(", "),
                },
            });
        }
        let (by, reason) = (by.to_owned(), reason.to_owned());
        match verb {
            Verb::Pause => self.turn(State::Pausing, by, reason, ctx),
            Verb::Resume => {
                // A pause of single steps is a pause of these.
                let pauses = matches!(self.state, State::Pausing | State::Paused);
                if self.single_step && !pauses {
                    self.take_turns_anew();
                    let (by, reason) = (by.clone(), reason.clone());
                    self.record(What::AllSteps { by, reason }, ctx.now);
                }
                if self.goes_back() {
                    self.turn(State::Unwinding, by, reason, ctx);
                } else if self.state != State::Running {
                    self.turn(State::Running, by, reason, ctx);
                }
            }
            Verb::Next => {
                let at = self.steps_next(step.filter(|step| !step.is_empty()))?;
                self.take_turns_anew();
                let next = What::Next {
                    step: Some(self.step(at).id.clone()),
                    by: by.clone(),
                    reason: reason.clone(),
                };
                self.record(next, ctx.now);
                if self.state != State::Running {
                    self.turn(State::Running, by, reason, ctx);
                }
            }
            Verb::Abort | Verb::Unwind => {
                let to = if verb == Verb::Abort {
                    State::Aborting
                } else {
                    State::AbortingToUnwind
                };
                self.turn(to, by, reason, ctx);
                for at in 0..self.steps.len() {
                    if self.is_under_way(at) {
                        self.end_attempt(at, ctx);
                        self.ask_after_switching(at, ctx);
                    }
                }
            }
            Verb::Approve => self.approve(step, by, role, reason, ctx)?,
            Verb::Retry | Verb::Skip => self.decide(verb, step, by, reason, ctx)?,
        }
        self.advance(ctx);
        Ok(())
    }

    fn turn(&mut self, to: State, by: String, reason: String, ctx: &mut Ctx<'_>) {
        if matches!(to, State::Running | State::Unwinding) {
            self.take_turns_anew();
        }
        self.record(What::Turned { to, by, reason }, ctx.now);
    }

    /// A person lets it go on. What has not begun, or is not healthy yet, has its whole limit from now on, since until now it
    /// waited for that person; and what was seen meanwhile is looked at again. On the way back, too: what a power source said
    /// while nothing was considered is no proof of how it is now. What that person had let begin before waited for its gates.
    fn take_turns_anew(&mut self) {
        for (at, (state, live)) in self.steps.iter().zip(&mut self.live).enumerate() {
            if self.granted.contains(&at) {
                continue;
            }
            live.silent = None;
            live.cleared = None;
            let is_begun = matches!(
                state.phase,
                Phase::Undoing | Phase::UndoFailed | Phase::Undone
            );
            if live.undoing && !is_begun {
                *live = Live::default();
                continue;
            }
            match state.phase {
                Phase::Waiting => {
                    live.ready = None;
                    live.paused = Duration::ZERO;
                }
                Phase::Checking => live.checking = None,
                _ => {}
            }
        }
    }

    pub(super) fn find(&self, step: Option<&str>) -> Result<usize, Refused> {
        let step = step.unwrap_or_default();
        self.index
            .get(&StepId::new(step))
            .copied()
            .ok_or_else(|| Refused::NoSuchStep {
                operation: self.id.to_string(),
                step: step.chars().take(80).collect(),
            })
    }

    fn approve(
        &mut self,
        step: Option<&str>,
        by: String,
        role: Role,
        reason: String,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Refused> {
        // A person may name the gate instead of its step.
        let named = |at: &usize| matches!(&self.step(*at).action, Action::Approve { gate, .. } if Some(gate.as_str()) == step);
        let at = self.approvable().find(named);
        // What is over or not yet due tells so by its own name, too.
        let at = match at.or_else(|| (0..self.steps.len()).find(named)) {
            Some(at) => at,
            None => self.find(step)?,
        };
        if reason.trim().is_empty() {
            return Err(Refused::NoReason(Verb::Approve));
        }
        let id = self.step(at).id.clone();
        let Action::Approve { role: needed, .. } = &self.step(at).action else {
            return Err(Refused::Phase {
                step: id,
                phase: self.steps[at].phase,
                verb: Verb::Approve,
                hint: ": it waits for no approval",
            });
        };
        if role < *needed {
            return Err(Refused::Role {
                step: id,
                needed: *needed,
            });
        }
        if let (Phase::Waiting | Phase::Blocked, Some(why)) =
            (self.steps[at].phase, self.is_held(at, ctx))
        {
            return Err(Refused::Held { step: id, why });
        }
        if !self.approvable().any(|other| other == at) {
            return Err(Refused::Phase {
                step: id,
                phase: self.steps[at].phase,
                verb: Verb::Approve,
                hint: match self.steps[at].phase {
                    Phase::Done => ": it is approved already; `operation show` tells by whom",
                    _ => ": its turn has not come, or is over",
                },
            });
        }
        let approved = What::Approved {
            step: id,
            by: by.clone(),
            reason: reason.clone(),
        };
        self.record(approved, ctx.now);
        // One that came too late is the decision that the operation stood still for.
        let decided = !self.steps.iter().any(|step| step.phase.needs_person());
        if self.state == State::NeedsAttention && decided {
            self.turn(State::Running, by, reason, ctx);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        verb: Verb,
        step: Option<&str>,
        by: String,
        reason: String,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Refused> {
        let at = self.find(step)?;
        let (id, phase) = (self.step(at).id.clone(), self.steps[at].phase);
        let leaves_out = verb == Verb::Skip && self.may_be_left_out(at);
        if !self.is_undecided(phase) && !leaves_out {
            return Err(Refused::Phase {
                step: id,
                phase,
                verb,
                hint: match self.goes_back() {
                    true => ": it is being taken back, and only undo-failed steps can be decided",
                    false => ": only blocked, failed and unknown steps can be decided",
                },
            });
        }
        if verb == Verb::Skip && !self.may_skip(at) {
            return Err(Refused::Phase {
                step: id,
                phase,
                verb,
                hint: ": who may give it approves it, or `retry` waits for it once more",
            });
        }
        if verb == Verb::Skip && reason.trim().is_empty() {
            return Err(Refused::NoReason(verb));
        }
        if verb == Verb::Skip
            && let Some(what) = self.runs_against_its_stop(at, ctx)
        {
            return Err(Refused::Runs { step: id, what });
        }
        if verb == Verb::Skip
            && !self.goes_back()
            && let Some((what, who)) = self.would_begin_upon(at, ctx)
        {
            return Err(Refused::Upon {
                step: id,
                what,
                who,
            });
        }
        let unwinding = phase == Phase::UndoFailed;
        self.live[at] = Live::default();
        self.record(
            match verb {
                Verb::Skip => What::Skipped {
                    step: id,
                    by: by.clone(),
                    reason: reason.clone(),
                },
                _ => What::Retried {
                    step: id,
                    by: by.clone(),
                    reason: reason.clone(),
                },
            },
            ctx.now,
        );
        // The last decision sets the operation going again; nobody has to say so twice.
        let undecided = |phase: Phase| {
            if unwinding {
                phase == Phase::UndoFailed
            } else {
                phase.needs_person()
            }
        };
        if !self.steps.iter().any(|step| undecided(step.phase)) {
            let to = if unwinding {
                State::Unwinding
            } else {
                State::Running
            };
            self.turn(to, by, reason, ctx);
        }
        Ok(())
    }
}
