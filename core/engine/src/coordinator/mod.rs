//! The coordinator half: routes events to the machines, and their effects out.
//!
//! It owns what one coordinator process knows: the applied spec, the [`View`], the operations that are not over. Every
//! call may record [`Write`]s and [`Send`]s; the caller takes them with [`take_output`](Coordinator::take_output),
//! commits the writes in order, under the guard of its leadership, and releases the sends of a call only when the
//! writes of that call and of all before it are durable (invariant I3). Claims are not kept apart: an operation that
//! is not over holds the nodes and services of its plan (invariant I8), so a claim can be neither lost nor left behind.

mod activity;
mod assignment;
mod message;
mod operations;
mod power;
mod records;
mod recover;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlock_model::check::CheckId;
use interlock_model::ids::{Generation, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness, Observations};
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use crate::operation::{Effect, Operation};
use crate::view::{LivenessChange, SeenCheck, View};

pub use assignment::{assignments, runs_on};
pub use message::{AssignedInstance, Assignment, CheckReport, FromAgent, Hello, Send, ToAgent};
pub use operations::{NotStarted, StartRequest, Wish};
pub use records::{
    ACTIVITY, AppliedSpec, EVENTS, Event, Head, KEPT_EVENTS, OPERATIONS, SPECS, VERIFIED, Verified,
    Write, head_key, journal_key, plan_key, spec_key,
};
pub use recover::{Loaded, LoadedOperation};
pub use status::{Cause, ServiceHealth, ServiceStatus};

/// A spec under its generation.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The record in the store.
    pub record: AppliedSpec,
    /// What it says.
    pub spec: Arc<Spec>,
}

/// What a call wants done: the writes, and once they are durable the sends.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of the store that belong together.
    pub writes: Vec<Write>,
    /// Messages to agents.
    pub sends: Vec<Send>,
}

impl Output {
    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.sends.is_empty()
    }
}

/// Everything that one coordinator process knows and decides.
#[derive(Debug)]
pub struct Coordinator {
    term: Term,
    applied: Option<Applied>,
    assignments: BTreeMap<NodeName, Assignment>,
    view: View,
    operations: BTreeMap<OperationId, Operation>,
    batches: BTreeMap<OperationId, u64>,
    turned: BTreeSet<OperationId>,
    next_operation: OperationId,
    activity: BTreeMap<ServiceName, NodeName>,
    trails: BTreeMap<ServiceName, activity::Trail>,
    verified: BTreeMap<NodeName, Verified>,
    next_event: u64,
    asked: BTreeMap<NodeName, power::Asked>,
    next_ask: u64,
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
        self.applied
            .as_ref()
            .map_or(Generation(0), |applied| applied.record.generation)
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
        self.applied
            .as_ref()
            .map(|applied| self.view.snapshot(&applied.spec, now))
            .unwrap_or_default()
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
    /// The nodes whose plug is verified, as the current spec names it.
    #[must_use]
    pub fn verified_nodes(&self) -> BTreeSet<NodeName> {
        let Some(applied) = &self.applied else {
            return BTreeSet::new();
        };
        applied
            .spec
            .nodes
            .values()
            .filter(|node| self.verification(&node.name).is_some())
            .map(|node| node.name.clone())
            .collect()
    }
    /// How a node's plug was verified, if it was and is still the same.
    #[must_use]
    pub fn verification(&self, node: &NodeName) -> Option<&Verified> {
        let power = self
            .applied
            .as_ref()?
            .spec
            .nodes
            .get(node)?
            .power
            .as_ref()?;
        self.verified
            .get(node)
            .filter(|seen| seen.device == power.by.as_str() && seen.plug == power.plug)
    }
    /// The operation that holds a node or a service.
    #[must_use]
    pub fn holder(
        &self,
        node: Option<&NodeName>,
        service: Option<&ServiceName>,
    ) -> Option<OperationId> {
        self.operations
            .values()
            .find(|operation| operation.holds(node, service))
            .map(Operation::id)
    }

    /// Takes what is to be done since this was last called.
    pub fn take_output(&mut self) -> Output {
        self.write_journals();
        self.let_go();
        std::mem::take(&mut self.output)
    }

    /// An agent said something.
    pub fn agent(&mut self, node: &NodeName, message: FromAgent, now: Now) {
        // The last words of a machine that its power source has declared off do not make it alive again.
        let in_session = self.view.connected(node) || matches!(message, FromAgent::Hello(_));
        if !in_session {
            return;
        }
        if let Some(change) = self.view.heard(node, now) {
            self.liveness_changed(&change, now);
        }
        match message {
            FromAgent::Hello(hello) => self.hello(node, &hello, now),
            FromAgent::Observed {
                full,
                generation,
                instances,
                checks,
            } => {
                self.observed(node, full, generation, instances, checks, now);
            }
            FromAgent::Heartbeat => {}
            FromAgent::Attempt(report) => self.attempt(node, &report, now),
            FromAgent::Power {
                ask,
                node: about,
                power,
                detail,
            } => self.power_answer(ask, &about, power, &detail, now),
            FromAgent::Goodbye(reason) => {
                self.view.entry(node).liveness = Liveness::Left;
                self.view.closed(node);
                self.event("node-left", now, |event| {
                    event.node = node.to_string();
                    event.text = format!("the agent of {node} stops: {reason}");
                });
            }
        }
    }

    /// The session of an agent is over, for whatever reason. Says nothing about the node: silence takes its time.
    pub fn session_closed(&mut self, node: &NodeName) {
        self.view.closed(node);
    }

    /// Leadership was renewed under a higher term.
    pub fn set_term(&mut self, term: Term) {
        self.term = term;
    }

    /// Time has passed. To be called a few times a second.
    pub fn tick(&mut self, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let control = &spec.control;
        for change in self.view.tick(now, control.late, control.lost) {
            self.liveness_changed(&change, now);
        }
        self.ask_silent_nodes(&spec, now);
        self.advance(now);
    }

    /// Lets every operation go on as far as it can now. To be called after each batch of events.
    pub fn advance(&mut self, now: Now) {
        let ids: Vec<OperationId> = self.operations.keys().copied().collect();
        for id in ids {
            self.with_operation(id, now, |operation, ctx| operation.advance(ctx));
        }
    }

    fn hello(&mut self, node: &NodeName, hello: &Hello, now: Now) {
        self.view.opened(node, now);
        let seen = self.view.entry(node);
        let new_boot = seen.boot.as_ref() != Some(&hello.boot);
        seen.boot = Some(hello.boot.clone());
        seen.generation = hello.generation;
        seen.version.clone_from(&hello.version);
        seen.machine_uuid.clone_from(&hello.machine_uuid);
        // Who speaks is on, whatever its source said before.
        seen.power = None;
        if new_boot {
            seen.instances.clear();
            seen.checks.clear();
            self.event("node-joined", now, |event| {
                event.node = node.to_string();
                event.text = format!(
                    "the agent of {node} is here, version {}, boot {}",
                    hello.version, hello.boot
                );
            });
        }
        self.next_operation = self.next_operation.max(hello.highest_operation.next());
        if let Some(assignment) = self.assignments.get(node) {
            self.output.sends.push(Send {
                to: node.clone(),
                message: ToAgent::Assign(assignment.clone()),
            });
        }
        for report in &hello.attempts {
            self.attempt(node, report, now);
        }
        if let Some(below) = self.closed_below() {
            self.output.sends.push(Send {
                to: node.clone(),
                message: ToAgent::Close(below),
            });
        }
    }

    fn closed_below(&self) -> Option<OperationId> {
        let first = self
            .operations
            .values()
            .filter(|operation| !operation.state().is_over())
            .map(Operation::id)
            .min();
        let below = first.unwrap_or(self.next_operation);
        (below.0 > 1).then_some(below)
    }

    fn observed(
        &mut self,
        node: &NodeName,
        full: bool,
        generation: Generation,
        instances: Vec<(
            ServiceName,
            interlock_model::observation::InstanceObservation,
        )>,
        checks: Vec<CheckReport>,
        now: Now,
    ) {
        let mut noted = Vec::new();
        let seen = self.view.entry(node);
        seen.generation = generation;
        if full {
            seen.instances.clear();
            seen.checks.clear();
        }
        for (service, instance) in instances {
            let before = seen.instances.get(&service);
            if before.is_some_and(|before| instance.restarts > before.restarts) {
                noted.push(("guard-restarted", service.clone(), instance.reason.clone()));
            }
            if instance.state == InstanceState::Failed
                && before.is_some_and(|before| before.state != InstanceState::Failed)
            {
                noted.push(("instance-failed", service.clone(), instance.reason.clone()));
            }
            seen.instances.insert(service, instance);
        }
        for check in checks {
            let at = now.mono.saturating_sub(check.age);
            let CheckReport {
                id,
                verdict,
                evidence,
                value,
                ..
            } = check;
            seen.checks.insert(
                id,
                SeenCheck {
                    verdict,
                    evidence,
                    value,
                    at,
                },
            );
        }
        for (kind, service, reason) in noted {
            self.event(kind, now, |event| {
                event.node = node.to_string();
                event.service = service.to_string();
                event.text = format!("{service} on {node}: {reason}");
            });
        }
        self.remember_activity(node, now);
    }

    fn liveness_changed(&mut self, change: &LivenessChange, now: Now) {
        // A node that is heard again after a hello tells so itself; beats that are merely late come and go.
        let kind = match (change.from, change.to) {
            (Liveness::Lost, Liveness::Alive) => "node-alive",
            (_, Liveness::Late) => "node-late",
            (_, Liveness::Lost) => "node-lost",
            _ => return,
        };
        self.event(kind, now, |event| {
            event.node = change.node.to_string();
            event.text = format!("{} was {} and is {}", change.node, change.from, change.to);
        });
    }

    /// Records something for people.
    pub fn event(&mut self, kind: &str, now: Now, fill: impl FnOnce(&mut Event)) {
        let mut event = Event {
            sequence: self.next_event,
            at: now.wall,
            kind: kind.to_owned(),
            node: String::new(),
            service: String::new(),
            operation: String::new(),
            who: String::new(),
            text: String::new(),
        };
        fill(&mut event);
        self.output
            .writes
            .push(Write::json(records::event_key(self.next_event), &event));
        if let Some(old) = self.next_event.checked_sub(KEPT_EVENTS) {
            self.output
                .writes
                .push(Write::delete(records::event_key(old)));
        }
        self.next_event += 1;
    }

    /// Applies a spec as the next generation. Starts and stops nothing.
    pub fn apply_spec(
        &mut self,
        spec: Arc<Spec>,
        source: String,
        file_name: String,
        by: &str,
        now: Now,
    ) -> Generation {
        let generation = self.generation().next();
        let record = AppliedSpec {
            generation,
            source,
            file_name,
            by: by.to_owned(),
            at: now.wall,
        };
        self.output
            .writes
            .push(Write::json(spec_key(generation), &record));
        self.event("spec-applied", now, |event| {
            event.who = by.to_owned();
            event.text = format!(
                "generation {generation} of the spec, from {}",
                record.file_name
            );
        });
        self.set_applied(Applied { record, spec });
        for (node, assignment) in &self.assignments {
            if self.view.connected(node) {
                self.output.sends.push(Send {
                    to: node.clone(),
                    message: ToAgent::Assign(assignment.clone()),
                });
            }
        }
        generation
    }

    fn set_applied(&mut self, applied: Applied) {
        self.assignments = assignments(&applied.spec, applied.record.generation);
        self.view.retain(&applied.spec);
        self.trails
            .retain(|service, _| applied.spec.services.contains_key(service));
        self.applied = Some(applied);
    }

    fn send(&mut self, to: NodeName, message: ToAgent) {
        self.output.sends.push(Send { to, message });
    }

    /// Asks a node to run checks at once.
    fn probe(&mut self, on: NodeName, checks: Vec<CheckId>) {
        self.send(on, ToAgent::Probe(checks));
    }

    fn carry_out(&mut self, effects: Vec<Effect>, now: Now) {
        for effect in effects {
            match effect {
                Effect::Dispatch {
                    to,
                    id,
                    limit,
                    command,
                } => self.send(to, ToAgent::Dispatch { id, limit, command }),
                Effect::Query { to, id } => self.send(to, ToAgent::Query(id)),
                Effect::Cancel { to, id } => self.send(to, ToAgent::Cancel(id)),
                Effect::Probe { on, checks } => self.probe(on, checks),
                Effect::AskPower(node) => self.ask_power(&node, now),
            }
        }
    }
}
