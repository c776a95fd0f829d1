//! From entries to state: the only mutator of what is durable, live and in replay.

use interlock_model::plan::Wait;

use super::{Entry, Operation, Phase, State, What};

impl Operation {
    /// The one place where durable state changes.
    pub(super) fn apply(&mut self, entry: &Entry) {
        let at = entry
            .what
            .step()
            .and_then(|step| self.index.get(step))
            .copied();
        self.remember_asked(entry);
        match &entry.what {
            What::Started {
                by,
                reason,
                single_step,
            } => {
                self.started_by.clone_from(by);
                self.reason.clone_from(reason);
                self.single_step = *single_step;
                self.started = entry.at;
            }
            What::Next { .. } => self.granted.extend(at),
            What::AllSteps { .. } => self.single_step = false,
            What::Turned { to, reason, .. } => {
                self.state = *to;
                if matches!(to, State::Pausing | State::NeedsAttention) {
                    // What was let begin and has not is to ask again: something else would begin for it.
                    self.granted.clear();
                }
                self.attention = if *to == State::NeedsAttention {
                    reason.clone()
                } else {
                    String::new()
                };
                if to.is_over() {
                    self.ended = Some(entry.at);
                }
            }
            _ => {
                if let Some(at) = at {
                    self.apply_to_step(at, entry);
                }
            }
        }
    }

    /// Does a step begin by this for which a person's `next` was needed? One that only looks has no attempt.
    fn begins(&self, at: usize, what: &What) -> bool {
        self.single_step
            && match what {
                What::Intent { attempt, undo, .. } => !undo && attempt.0 == 1,
                What::Proven { .. } => self.steps[at].phase == Phase::Waiting,
                _ => false,
            }
    }

    fn apply_to_step(&mut self, at: usize, entry: &Entry) {
        let takes_down = self.step(at).action.takes_down();
        let checked = !self.step(at).healthy.is_empty();
        if self.begins(at, &entry.what) {
            self.granted.remove(&at);
        }
        let state = &mut self.steps[at];
        let from = state.phase;
        state.took |= !state.takes_back && may_have_taken(&entry.what);
        let mut settle = false;
        match &entry.what {
            What::Intent {
                attempt,
                on,
                boot,
                undo,
                ..
            } => {
                state.phase = if *undo {
                    Phase::Undoing
                } else {
                    Phase::Running
                };
                state.attempt = *attempt;
                state.on.clone_from(on);
                state.acted_before = state.acted;
                state.acted |= on.is_some() && !undo;
                state.takes_back = *undo;
                state.boot.clone_from(boot);
                state.began.get_or_insert(entry.at);
                state.intended = Some(entry.at);
                // What was seen of an earlier attempt, or of what is now taken back, says nothing of this one.
                state.reached.clear();
                state.evidence.clear();
                state.ended = None;
            }
            What::Reached {
                until, evidence, ..
            } => {
                state.reached.insert(*until, entry.at);
                state.evidence.clone_from(evidence);
                // An undo that came up after its limit has yet to turn healthy.
                if *until == Wait::Up && state.phase == Phase::UndoFailed {
                    state.phase = Phase::Undoing;
                }
                if *until == Wait::Healthy && state.phase == Phase::Checking {
                    state.phase = Phase::Done;
                    settle = true;
                }
            }
            What::Proven { evidence, .. } => {
                state.evidence.clone_from(evidence);
                state.reached.entry(Wait::Issued).or_insert(entry.at);
                if matches!(state.phase, Phase::Undoing | Phase::UndoFailed) {
                    state.phase = Phase::Undone;
                    settle = true;
                } else {
                    state.proven_in.clone_from(&state.boot);
                    if takes_down {
                        state.reached.entry(Wait::GoingDown).or_insert(entry.at);
                    }
                    state
                        .reached
                        .insert(if takes_down { Wait::Down } else { Wait::Up }, entry.at);
                    state.phase = if checked {
                        Phase::Checking
                    } else {
                        Phase::Done
                    };
                    settle = !checked;
                }
            }
            What::Failed {
                unknown,
                refused,
                evidence,
                ..
            } => {
                if *refused {
                    state.acted = state.acted_before;
                }
                state.evidence.clone_from(evidence);
                state.phase = match (state.phase, unknown) {
                    (Phase::Undoing | Phase::UndoFailed, _) => Phase::UndoFailed,
                    (_, true) => Phase::Unknown,
                    (_, false) => Phase::Failed,
                };
            }
            What::Blocked { evidence, .. } => {
                state.evidence.clone_from(evidence);
                state.phase = Phase::Blocked;
            }
            What::UndoFailed { evidence, .. } => {
                state.evidence.clone_from(evidence);
                state.phase = Phase::UndoFailed;
            }
            What::Retried { .. } => {
                // An undo is tried again as an undo; everything else begins anew with its gates.
                state.phase = match state.phase {
                    Phase::Undoing | Phase::UndoFailed => Phase::Done,
                    // How far the failed attempt got is nothing that a later step may begin upon.
                    _ => {
                        state.reached.clear();
                        Phase::Waiting
                    }
                };
                self.open.insert(at);
            }
            What::Skipped { by, reason, .. } => {
                state.evidence = format!("skipped by {by}: {reason}");
                state.phase = if state.phase == Phase::UndoFailed {
                    Phase::Undone
                } else {
                    Phase::Skipped
                };
                settle = true;
            }
            What::Approved { by, .. } => {
                state.evidence = format!("approved by {by}");
                state.began.get_or_insert(entry.at);
                state.phase = Phase::Done;
                settle = true;
            }
            What::Started { .. }
            | What::Next { .. }
            | What::AllSteps { .. }
            | What::Turned { .. } => {}
        }
        let to = state.phase;
        self.tally.turned(from, to);
        let reported = to == Phase::Running && !self.step(at).action.is_power();
        if settle {
            self.steps[at].ended = Some(entry.at);
            self.open.remove(&at);
            self.reported.remove(&at);
        } else if reported && self.open.remove(&at) {
            self.reported.insert(at);
        } else if !reported && self.reported.remove(&at) {
            self.open.insert(at);
        }
    }
}

/// Does it say of an attempt that it takes something away, or that nobody knows whether it has? One that was asked for again
/// unasked may have.
fn may_have_taken(what: &What) -> bool {
    match what {
        What::Reached { until, .. } => *until == Wait::GoingDown,
        What::Failed { unknown, .. } => *unknown,
        What::Retried { by, .. } => by.is_empty(),
        What::Proven { .. } => true,
        _ => false,
    }
}
