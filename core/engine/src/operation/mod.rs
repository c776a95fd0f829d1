//! The operation machine: one durable execution of a plan.
//!
//! ```text
//!   edges met ─► gates green ─► Intent (durable) ─► dispatch ─► issued ─► going-down ─► proven ─► checks green ─► done
//!      waiting      waiting         │                              running                 checking
//!                      └ blocked    └────────── failed / unknown ──────────┘  a person: retry, skip, abort, unwind
//! ```
//!
//! * The durable state is what the journal's entries make of it ([`apply`](Operation::replay) is the only mutator), so
//!   replaying a journal after a crash and living through it are the same code (invariants I3, I4).
//! * What is not in the journal (deadlines on this process's clock, the last evidence, what was asked of whom) is
//!   `Live`, and can be lost at any moment: after a restart deadlines are set anew from the recorded times, and the
//!   agents are asked how far their attempts are.
//! * Nothing here sends anything. Effects are handed to the caller, who releases them only when the entries recorded
//!   with them are durable.
//!
//! | file | holds |
//! |---|---|
//! | `entry` | the journal's vocabulary |
//! | `state` | states and phases |
//! | `forward` | what begins, what is waited for, what has taken too long |
//! | `power` | the steps whose proof is a power source or a boot |
//! | `report` | what agents say of attempts |
//! | `control` | what people ask for |
//! | `unwind` | taking back what was done |

mod control;
mod entry;
mod forward;
mod power;
mod report;
mod state;
mod unwind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use interlock_model::action::{Action, Command};
use interlock_model::check::CheckId;
use interlock_model::ids::{AttemptId, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, SealedPlan, Step, StepId, Wait};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

use crate::view::View;

pub use control::{Refused, Verb};
pub use entry::{Entry, What};
pub(crate) use power::fence_call;
pub use state::{Phase, State, StepState};

/// What an operation looks at when it decides, and where its effects go.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The time.
    pub now: Now,
    /// The term of this coordinator.
    pub term: Term,
    /// The spec of the plan's generation.
    pub spec: &'a Spec,
    /// What is known of the nodes.
    pub view: &'a View,
    /// Effects, in order.
    pub effects: &'a mut Vec<Effect>,
}

/// What shall be done once the entries recorded with it are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send an attempt.
    Dispatch {
        /// To the agent of this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
        /// Its time limit.
        limit: Duration,
        /// What to do.
        command: Command,
    },
    /// Ask how far an attempt is.
    Query {
        /// The agent of this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
    },
    /// End an attempt.
    Cancel {
        /// On this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
    },
    /// Run checks at once.
    Probe {
        /// On this node.
        on: NodeName,
        /// Which ones.
        checks: Vec<CheckId>,
    },
    /// Ask the power source of this node.
    AskPower(NodeName),
}

/// What is known of a step in this process only.
#[derive(Debug, Clone, Default)]
struct Live {
    /// When its edges were met.
    ready: Option<Duration>,
    /// When its attempt, or its checks, must be through.
    deadline: Option<Duration>,
    /// When its attempt was dispatched or, after a restart, taken over.
    began: Option<Duration>,
    /// When its checks began to be awaited.
    checking: Option<Duration>,
    /// When its checks or its power source were last asked.
    asked: Option<Duration>,
    /// The session that last got its attempt or a query for it.
    session: Option<Duration>,
    /// It is being prepared for being taken back.
    undoing: bool,
    /// What it waits for, or the last thing seen.
    seen: String,
}

/// One durable execution of a plan.
#[derive(Debug, Clone)]
pub struct Operation {
    id: OperationId,
    sealed: Arc<SealedPlan>,
    state: State,
    started_by: String,
    reason: String,
    started: Timestamp,
    ended: Option<Timestamp>,
    attention: String,
    single_step: bool,
    tokens: u32,
    steps: Vec<StepState>,
    live: Vec<Live>,
    index: BTreeMap<StepId, usize>,
    before: Vec<Vec<(usize, Wait)>>,
    behind: Vec<Vec<usize>>,
    open: BTreeSet<usize>,
    fresh: Vec<Entry>,
    /// The view's count of sessions at the last pass.
    sessions: Option<u64>,
    /// Has any session changed since the pass before this one?
    reconnected: bool,
}

/// A journal or a plan is not what this program writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A step or an edge names a step that the plan does not have.
    #[error("{operation} names the step {step}, which its plan does not have")]
    NoSuchStep {
        /// The operation.
        operation: OperationId,
        /// The step.
        step: StepId,
    },
    /// The journal does not begin with its start.
    #[error("the journal of {0} does not begin with its start")]
    NoStart(OperationId),
}

impl Operation {
    /// A new operation; its first entry is waiting to be taken.
    ///
    /// # Errors
    /// If an edge of the plan names a step that the plan does not have.
    pub fn start(
        id: OperationId,
        sealed: Arc<SealedPlan>,
        by: &str,
        reason: &str,
        single_step: bool,
        now: Now,
    ) -> Result<Self, Corrupt> {
        let mut operation = Self::empty(id, sealed)?;
        operation.record(
            What::Started {
                by: by.to_owned(),
                reason: reason.to_owned(),
                single_step,
            },
            now,
        );
        Ok(operation)
    }

    /// The operation that a journal makes of a plan.
    ///
    /// # Errors
    /// If the journal does not belong to the plan.
    pub fn replay(
        id: OperationId,
        sealed: Arc<SealedPlan>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, Corrupt> {
        let mut operation = Self::empty(id, sealed)?;
        let mut any = false;
        for entry in entries {
            any |= matches!(entry.what, What::Started { .. });
            if let Some(step) = entry.what.step()
                && !operation.index.contains_key(step)
            {
                return Err(Corrupt::NoSuchStep {
                    operation: id,
                    step: step.clone(),
                });
            }
            operation.apply(&entry);
        }
        if any {
            Ok(operation)
        } else {
            Err(Corrupt::NoStart(id))
        }
    }

    fn empty(id: OperationId, sealed: Arc<SealedPlan>) -> Result<Self, Corrupt> {
        let plan = sealed.plan();
        let index: BTreeMap<StepId, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.clone(), at))
            .collect();
        let mut before = Vec::with_capacity(plan.steps.len());
        let mut behind = vec![Vec::new(); plan.steps.len()];
        for (at, step) in plan.steps.iter().enumerate() {
            let mut edges = Vec::with_capacity(step.after.len());
            for after in &step.after {
                let Some(&other) = index.get(&after.step) else {
                    return Err(Corrupt::NoSuchStep {
                        operation: id,
                        step: after.step.clone(),
                    });
                };
                edges.push((other, after.until));
                behind[other].push(at);
            }
            before.push(edges);
        }
        let count = plan.steps.len();
        Ok(Self {
            id,
            state: State::Running,
            started_by: String::new(),
            reason: String::new(),
            started: Timestamp(0),
            ended: None,
            attention: String::new(),
            single_step: false,
            tokens: 0,
            steps: vec![StepState::default(); count],
            live: vec![Live::default(); count],
            index,
            before,
            behind,
            open: (0..count).collect(),
            fresh: Vec::new(),
            sessions: None,
            reconnected: true,
            sealed,
        })
    }

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
    /// Does it hold the node or the service? Over, it holds nothing (invariant I8).
    #[must_use]
    pub fn holds(&self, node: Option<&NodeName>, service: Option<&ServiceName>) -> bool {
        !self.state.is_over()
            && self.plan().steps.iter().any(|step| {
                node.is_some_and(|node| step.node.as_ref() == Some(node))
                    || service.is_some_and(|service| step.service.as_ref() == Some(service))
            })
    }

    /// The entries recorded since they were last taken, for the journal.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.fresh)
    }

    /// What a step waits for, in one line; empty if for nothing.
    #[must_use]
    pub fn waits_for(&self, step: &StepId) -> String {
        let Some(&at) = self.index.get(step) else {
            return String::new();
        };
        match self.steps[at].phase {
            Phase::Waiting => {
                let mut unmet = self.before[at]
                    .iter()
                    .filter(|(other, until)| !self.steps[*other].has_reached(*until))
                    .map(|(other, until)| format!("{} {until}", self.plan().steps[*other].id));
                match (unmet.next(), unmet.count()) {
                    (None, _) => match &self.plan().steps[at].action {
                        Action::Approve { gate, text, .. } => format!("approval of {gate}: {text}"),
                        _ => self.live[at].seen.clone(),
                    },
                    (Some(first), 0) => first,
                    (Some(first), more) => format!("{first} and {more} more"),
                }
            }
            Phase::Running | Phase::Checking | Phase::Undoing => self.live[at].seen.clone(),
            _ => String::new(),
        }
    }

    /// Does a step wait for other steps, and not for its gates or a person?
    #[must_use]
    pub fn waits_for_edges(&self, step: &StepId) -> bool {
        self.index.get(step).is_some_and(|&at| {
            self.before[at]
                .iter()
                .any(|(other, until)| !self.steps[*other].has_reached(*until))
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

    fn record(&mut self, what: What, now: Now) {
        let entry = Entry { at: now.wall, what };
        self.apply(&entry);
        self.fresh.push(entry);
    }

    fn step(&self, at: usize) -> &Step {
        &self.sealed.plan().steps[at]
    }

    /// The one place where durable state changes.
    fn apply(&mut self, entry: &Entry) {
        let at = entry
            .what
            .step()
            .and_then(|step| self.index.get(step))
            .copied();
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
            What::Next { .. } => self.tokens = self.tokens.saturating_add(1),
            What::Turned { to, reason, .. } => {
                self.state = *to;
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

    fn apply_to_step(&mut self, at: usize, entry: &Entry) {
        let takes_down = self.step(at).action.takes_down();
        let checked = !self.step(at).healthy.is_empty();
        let state = &mut self.steps[at];
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
                state.acted |= on.is_some() && !undo;
                state.boot.clone_from(boot);
                state.began.get_or_insert(entry.at);
                state.intended = Some(entry.at);
                state.reached.clear();
                state.ended = None;
                if self.single_step && !undo && attempt.0 == 1 {
                    self.tokens = self.tokens.saturating_sub(1);
                }
            }
            What::Reached {
                until, evidence, ..
            } => {
                state.reached.insert(*until, entry.at);
                state.evidence.clone_from(evidence);
                if *until == Wait::Healthy && state.phase == Phase::Checking {
                    state.phase = Phase::Done;
                    settle = true;
                }
            }
            What::Proven { evidence, .. } => {
                state.evidence.clone_from(evidence);
                state.reached.entry(Wait::Issued).or_insert(entry.at);
                if state.phase == Phase::Undoing {
                    state.phase = Phase::Undone;
                    settle = true;
                } else {
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
                unknown, evidence, ..
            } => {
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
                // A failed undo is tried again as an undo; everything else begins anew with its gates.
                state.phase = match state.phase {
                    Phase::UndoFailed => Phase::Done,
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
            What::Started { .. } | What::Next { .. } | What::Turned { .. } => {}
        }
        if settle {
            state.ended = Some(entry.at);
            self.open.remove(&at);
        }
    }
}
