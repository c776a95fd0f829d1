//! The coordinator half: routes events to the machines, and their effects out.
//!
//! It owns what one coordinator process knows: the applied spec, the [`View`], the operations that are not over. Every
//! call may record [`Write`]s and [`Send`]s; the caller takes them with [`take_output`](Coordinator::take_output),
//! commits the writes in order, under the guard of its leadership, and releases the sends of a call only when the
//! writes of that call and of all before it are durable (invariant I3). Claims are not kept apart: an operation that
//! is not over holds the nodes and services of its plan (invariant I8), so a claim can be neither lost nor left behind.
//!
//! | file | holds |
//! |---|---|
//! | `agents` | what agents say of themselves and of their nodes |
//! | `belief` | how much is believed of what agents say of the store's own numbers |
//! | `contest` | two agents that speak as one node |
//! | `turned_away` | agents that are not let in |
//! | `by_hand` | what people did at agents' doors |
//! | `activity` | which side of an exclusive service was active last |
//! | `forgotten` | of which that is not known any more, and why |
//! | `question` | which question a result answers |
//! | `power` | questions to power sources |
//! | `asking` | which of those are under way, and which wait for their turn |
//! | `verification`, `identity`, `uuid` | plugs that were matched with their nodes, and what proves it |
//! | `operations` | starting operations, and telling them what happens |
//! | `claims` | telling agents what operations hold of their nodes |
//! | `roles` | promotions that operations wait for, and failovers that keep operations off |
//! | `maintenance` | of what nothing moves by itself for a time |
//! | `spec`, `assignment` | the applied spec, and each agent's share of it |
//! | `let_go`, `stray` | what runs, and is in the spec no more |
//! | `budget` | how often roles move by themselves |
//! | `fencing` | machines that may be lost: whether others reach them, and switching them off |
//! | `output` | what a call wants written and sent |
//! | `message` | messages from and to agents |
//! | `records` | what lies in the store, under which keys |
//! | `recover` | from the store to a running coordinator |
//! | `status` | root causes for people |
//! | `told` | events of root causes and of instances that pause |

mod activity;
mod agents;
mod arrivals;
mod asking;
mod assignment;
mod belief;
mod budget;
mod by_hand;
mod claims;
mod contest;
mod fencing;
mod files;
mod forgotten;
mod frozen;
mod identity;
mod let_go;
mod maintenance;
mod message;
mod newcomers;
mod operations;
mod output;
mod power;
mod question;
mod reaching;
mod records;
mod recover;
mod reparted;
mod roles;
mod spec;
mod status;
mod stray;
mod told;
mod turned_away;
mod uuid;
mod verification;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlock_model::ids::{Generation, OperationId, Term};
use interlock_model::names::{NodeName, PowerName, ServiceName};
use interlock_model::observation::Observations;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

use crate::by_hand::ActId;
use crate::operation::Operation;
use crate::view::View;

pub use assignment::{assignments, runs_on};
pub use belief::Absurd;
pub use budget::{BLOCKS, Block, Blocked, COUNTED, NotUnblocked};
pub use contest::Contested;
pub use fencing::{Fencing, Lost, NotFenced};
pub use files::Comparison;
pub use identity::{ListedPlug, PlugList, Proof};
pub use maintenance::{LONGEST, MAINTENANCE, Maintenance, NotMaintained, Scope};
pub use message::{
    AssignedInstance, Assignment, CheckReport, Claim, FromAgent, Hello, Send, ToAgent,
};
pub use operations::{NotStarted, StartRequest, Wish};
pub use output::Output;
pub use power::Awaited;
pub use reaching::Tried;
pub use records::{
    ACTIVITY, AppliedSpec, BY_HAND, EVENTS, Event, FORGOTTEN, Head, KEPT_EVENTS, LET_GO,
    OPERATIONS, OUTRUN, SPECS, UNHEARD, VERIFIED, Verified, Write, head_key, journal_key, plan_key,
    spec_key,
};
pub use recover::{Loaded, LoadedOperation};
pub use roles::{Failover, LossAccepted, NotTaken};
pub use spec::{Applied, By, NoSpec, Unreadable};
pub use status::{Cause, ServiceHealth, ServiceStatus};
pub use stray::{Stray, Strays};
pub use told::Told;
pub use verification::{Finding, Standing};

/// Everything that one coordinator process knows and decides.
#[derive(Debug)]
pub struct Coordinator {
    term: Term,
    applied: Option<Applied>,
    /// The newest spec of the store, if it cannot be read; then none is applied.
    unreadable: Option<Unreadable>,
    assignments: BTreeMap<NodeName, Assignment>,
    view: View,
    operations: BTreeMap<OperationId, Operation>,
    /// What they hold, by their ids.
    holds: BTreeMap<OperationId, claims::Hold>,
    /// The nodes whose claims changed since their agents were told.
    untold: BTreeSet<NodeName>,
    batches: BTreeMap<OperationId, u64>,
    turned: BTreeSet<OperationId>,
    next_operation: OperationId,
    activity: BTreeMap<ServiceName, NodeName>,
    /// Why nothing is remembered of services of which something was.
    forgotten: BTreeMap<ServiceName, String>,
    trails: BTreeMap<ServiceName, activity::Trail>,
    verified: BTreeMap<NodeName, Verified>,
    /// The acts by hand that there is an event of, in the order in which they were told.
    acts: BTreeMap<NodeName, Vec<ActId>>,
    next_event: u64,
    askings: asking::Askings,
    doubts: BTreeMap<NodeName, power::Doubt>,
    lists: BTreeMap<PowerName, power::Listing>,
    /// The number of the last question to an agent.
    last_ask: u64,
    /// The agents that were not let in when they last said hello.
    turned_away: BTreeMap<NodeName, turned_away::TurnedAway>,
    /// Who has spoken as each node.
    voices: BTreeMap<NodeName, contest::Voices>,
    /// What ran when a spec was applied that does not have it any more.
    strays: Strays,
    /// The names by which nobody has been heard since a generation of the spec brought them.
    newcomers: BTreeMap<NodeName, Generation>,
    /// What automatic failover has taken.
    failovers: BTreeMap<ServiceName, Failover>,
    /// Of what nothing moves by itself for a time.
    maintenance: BTreeMap<Scope, Maintenance>,
    /// When roles moved by themselves, as far as budgets ask for it.
    counted: BTreeMap<ServiceName, Vec<Timestamp>>,
    /// Primaries that are well and were asked to give their roles back, so that these move by themselves, and when.
    prepared: BTreeMap<ServiceName, budget::Prepared>,
    /// Of what nothing moves by itself before a person says so.
    blocks: BTreeMap<Blocked, Block>,
    observers: reaching::Observers,
    fencings: fencing::Fencings,
    comparisons: files::Questions,
    /// Addresses of services that nodes were asked to try, by the question.
    trying: BTreeMap<u64, arrivals::Trying>,
    looked: frozen::Looked,
    /// What events have told of how things are.
    told: Told,
    output: Output,
}

impl Coordinator {
    /// The applied spec, if there is one.
    #[must_use]
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_ref()
    }
    /// The applied spec alone: a handle on it, since its source may be long.
    fn spec(&self) -> Option<Arc<Spec>> {
        self.applied
            .as_ref()
            .map(|applied| Arc::clone(&applied.spec))
    }
    /// The generation of the applied spec; 0 if there is none.
    #[must_use]
    pub fn generation(&self) -> Generation {
        match (&self.applied, &self.unreadable) {
            (Some(applied), _) => applied.record.generation,
            (None, Some(unreadable)) => unreadable.generation,
            (None, None) => Generation(0),
        }
    }
    /// The term of this process.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }
    /// What is known of the nodes.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }
    /// A snapshot of what is known of the nodes.
    #[must_use]
    pub fn observations(&self, now: Now) -> Observations {
        let applied = self.applied.as_ref();
        let seen = applied.map(|applied| self.view.snapshot(&applied.spec, now));
        let mut seen = seen.unwrap_or_default();
        for (node, seen) in &mut seen.nodes {
            seen.let_go = self.strays.may_run_on(node, &self.view);
        }
        seen
    }
    /// Operations that are not over, and those that ended in this process's life and were not yet let go.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }
    /// The highest operation that was ever started.
    #[must_use]
    pub fn last_operation(&self) -> OperationId {
        OperationId(self.next_operation.0.saturating_sub(1))
    }
    /// The number of the last event.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.next_event.saturating_sub(1)
    }
    /// One of them.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(&id)
    }

    /// The operation that holds a node or a service. By the index: this is asked many times a second, and a plan may have a
    /// thousand steps.
    #[must_use]
    pub fn holder(
        &self,
        node: Option<&NodeName>,
        service: Option<&ServiceName>,
    ) -> Option<OperationId> {
        let goes_on = |id: &OperationId| {
            let operation = self.operations.get(id);
            operation.is_some_and(|operation| !operation.state().is_over())
        };
        let mut held = self
            .holds
            .values()
            .filter_map(|hold| hold.has(node, service));
        held.find(goes_on)
    }

    /// Leadership was renewed under a higher term.
    pub fn set_term(&mut self, term: Term) {
        self.term = term;
    }

    /// Time has passed. To be called a few times a second.
    pub fn tick(&mut self, now: Now) {
        self.look(now);
        self.expire_maintenance(now);
        self.give_up_fencing(now);
        self.tell_claims();
        let Some(spec) = self.spec() else {
            return;
        };
        let control = &spec.control;
        if !self.looked.is_hearing(now) {
            for change in self.view.tick(now, control.late, control.lost) {
                self.liveness_changed(&change, now);
            }
        }
        self.doubt_what_answers(&spec, now);
        self.ask_silent_nodes(&spec, now);
        self.ask_what_waits(now);
        if !self.looked.is_hearing(now) {
            self.tell_how_things_are(now);
        }
        self.advance(now);
    }

    /// Lets every operation go on as far as it can now. To be called after each batch of events.
    pub fn advance(&mut self, now: Now) {
        self.look(now);
        let ids: Vec<OperationId> = self.operations.keys().copied().collect();
        for id in ids {
            self.with_operation(id, now, |operation, ctx| operation.advance(ctx));
        }
    }
}
