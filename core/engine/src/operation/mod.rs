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
//!   `Live`, and can be lost at any moment: after a restart whatever is under way has its limit anew, and the agents are
//!   asked how far their attempts are.
//! * Nothing here sends anything. Effects are handed to the caller, who releases them only when the entries recorded
//!   with them are durable.
//!
//! | file | holds |
//! |---|---|
//! | `entry` | the journal's vocabulary |
//! | `state` | states and phases |
//! | `apply` | what an entry makes of the state |
//! | `live` | what may be lost |
//! | `effect` | what a machine is given, and what it wants done |
//! | `forward` | the pass: what begins, what settles |
//! | `assumption` | the active side that the plan was made for |
//! | `batches` | whether the next batch of a restart begins upon the one before, and can come back itself |
//! | `capacity` | whether enough is left in service while a part is taken away |
//! | `gates` | checks that must be fresh and green |
//! | `instances` | whether what was started is still up, for its own health and for those who require it |
//! | `beside` | whether what the plan has no step for, and the spec ties to a step, is as the step needs it |
//! | `risen` | whether what was stopped is still down, for those below it and for the end |
//! | `by_hand` | whether what a person says to have stopped is down |
//! | `strays` | whether what the spec has no more may go down with its machine |
//! | `word` | the last word on what must be down, and whether one is still to come |
//! | `reached` | whether dependants that ran on reach again what was restarted |
//! | `attempt` | sending, watching and ending an attempt |
//! | `power` | the steps whose proof is a power source or a boot |
//! | `already` | what is to be taken back, is so already, and would be refused |
//! | `off` | stops that a machine which is off proves done |
//! | `tally` | how many steps are where |
//! | `report` | what agents say of attempts |
//! | `claims` | what it holds, alone or together with others |
//! | `control` | what people ask for |
//! | `asked` | what people have asked for, with who, when and why |
//! | `left` | what is left down where it ends before all is done |
//! | `unwind` | taking back what was done |
//! | `vouched` | what a person takes for done and is seen not to be, and what is built upon it |
//! | `unheard` | what is to be taken back on machines whose agents are not there |
//! | `next` | single steps: which one a person lets begin |
//! | `namesake` | agents that know another operation of its number |
//! | `questions` | what can be asked without changing anything |

mod already;
mod apply;
mod asked;
mod assumption;
mod attempt;
mod batches;
mod beside;
mod by_hand;
mod capacity;
mod claims;
mod control;
mod effect;
mod entry;
mod forward;
mod gates;
mod instances;
mod left;
mod live;
mod namesake;
mod next;
mod off;
mod power;
mod questions;
mod reached;
mod report;
mod risen;
mod roles;
mod state;
mod strays;
mod tally;
mod unheard;
mod unwind;
mod vouched;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::CheckId;
use interlock_model::ids::OperationId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{SealedPlan, Step, StepId, Wait};
use interlock_model::time::{Now, Timestamp};

pub use asked::Asked;
pub use claims::{Claims, Clash};
pub use control::{Refused, Verb};
pub use effect::{Ctx, Effect};
pub use entry::{Entry, What};
pub use left::{LeftDown, Way};
pub(crate) use power::fence_call;
pub use state::{Phase, State, StepState};

use live::{Ending, Live};
use tally::Tally;

/// One durable execution of a plan.
#[derive(Debug, Clone)]
pub struct Operation {
    id: OperationId,
    sealed: Arc<SealedPlan>,
    claims: Claims,
    state: State,
    started_by: String,
    reason: String,
    started: Timestamp,
    ended: Option<Timestamp>,
    attention: String,
    asked: Vec<Asked>,
    single_step: bool,
    /// The steps that a person has let begin, in single steps, and that have not begun yet.
    granted: BTreeSet<usize>,
    steps: Vec<StepState>,
    tally: Tally,
    live: Vec<Live>,
    index: BTreeMap<StepId, usize>,
    before: Vec<Vec<(usize, Wait)>>,
    behind: Vec<Vec<usize>>,
    /// The steps of each instance.
    places: BTreeMap<ServiceName, BTreeMap<NodeName, Vec<usize>>>,
    /// The steps that are not settled, without those in `reported`.
    open: BTreeSet<usize>,
    /// The steps under way that get on by the reports of agents alone. A pass finds nothing new in them but a deadline or
    /// another session, and a thousand of them are not looked through at every message.
    reported: BTreeSet<usize>,
    /// When a pass last looked through those.
    watched: Option<Duration>,
    /// When this process first had a look at it.
    taken: Option<Duration>,
    /// It waits for a word about what its steps have proven, and they are all settled.
    ending: Option<Ending>,
    fresh: Vec<Entry>,
    /// The view's count of sessions at the last pass.
    sessions: Option<u64>,
    /// Has any session changed since the pass before this one?
    reconnected: bool,
    /// When each check was last asked of whom.
    probed: BTreeMap<NodeName, BTreeMap<CheckId, Duration>>,
    /// Agents that know another operation of this number; they say so again in every session.
    distrusted: BTreeSet<NodeName>,
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
        let mut places = BTreeMap::<ServiceName, BTreeMap<NodeName, Vec<usize>>>::new();
        for (at, step) in plan.steps.iter().enumerate() {
            if let (Some(service), Some(node)) = (&step.service, &step.node) {
                let nodes = places.entry(service.clone()).or_default();
                nodes.entry(node.clone()).or_default().push(at);
            }
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
            claims: Claims::of(plan),
            state: State::Running,
            started_by: String::new(),
            reason: String::new(),
            started: Timestamp(0),
            ended: None,
            attention: String::new(),
            asked: Vec::new(),
            single_step: false,
            granted: BTreeSet::new(),
            steps: vec![StepState::default(); count],
            tally: Tally::default(),
            live: vec![Live::default(); count],
            index,
            before,
            behind,
            places,
            open: (0..count).collect(),
            reported: BTreeSet::new(),
            watched: None,
            taken: None,
            ending: None,
            fresh: Vec::new(),
            sessions: None,
            reconnected: true,
            probed: BTreeMap::new(),
            distrusted: BTreeSet::new(),
            sealed,
        })
    }

    /// The entries recorded since they were last taken, for the journal.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.fresh)
    }

    /// The coordinator did not run for so long: that time counts for nothing that is under way or waits.
    pub fn forgive(&mut self, pause: Duration) {
        self.live.iter_mut().for_each(|live| live.forgive(pause));
        if let Some(ending) = &mut self.ending {
            ending.since += pause;
        }
        if let Some(taken) = &mut self.taken {
            *taken += pause;
        }
    }

    fn record(&mut self, what: What, now: Now) {
        if let What::Proven { step, .. }
        | What::Approved { step, .. }
        | What::Reached {
            step,
            until: Wait::Up,
            ..
        } = &what
            && let Some(&at) = self.index.get(step)
        {
            self.live[at].proven = Some(now.mono);
        }
        let entry = Entry { at: now.wall, what };
        self.apply(&entry);
        self.fresh.push(entry);
    }

    fn step(&self, at: usize) -> &Step {
        &self.sealed.plan().steps[at]
    }

    /// The steps of an instance, in plan order.
    fn steps_of(&self, service: &ServiceName, node: &NodeName) -> impl Iterator<Item = &Step> {
        let places = self.places_of(service, node).iter();
        places.map(|at| self.step(*at))
    }

    /// Where the steps of an instance are in the plan, in its order.
    fn places_of(&self, service: &ServiceName, node: &NodeName) -> &[usize] {
        let nodes = self.places.get(service);
        let places = nodes.and_then(|nodes| nodes.get(node));
        places.map(Vec::as_slice).unwrap_or_default()
    }
}
