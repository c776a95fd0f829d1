//! Coordinator processes: the shipped engine, its writes one after the other, its sends when they are durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use interlock_engine::coordinator::{
    ACTIVITY, Coordinator, FromAgent, Loaded, Output, Proof, Send, ToAgent,
};
use interlock_model::action::Power;
use interlock_model::ids::{OperationId, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::SealedPlan;
use interlock_model::time::{Now, Timestamp};

use super::{Event, SessionId, Simulation};
use crate::fact::Fact;
use crate::mutant::{self, Mutant};
use crate::setup::{Crash, WriteMoment};

/// How often a process looks at the clock, as the program does.
const TICK: Duration = Duration::from_millis(250);

/// One coordinator process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) engine: Coordinator,
    pub(super) term: Term,
    /// The agents that know the term from this process.
    pub(super) welcomed: BTreeSet<NodeName>,
    /// The zero of its monotonic clock.
    zero: Duration,
    queue: VecDeque<Output>,
    storing: bool,
    sessions: BTreeMap<NodeName, SessionId>,
}

impl Simulation {
    /// The store of a cluster whose spec was applied and whose plugs were verified long ago; of one that is down, with
    /// the memory of what was active.
    pub(super) fn found_store(&mut self) {
        let mut engine = Coordinator::recover(Term(0), Loaded::default())
            .expect("an empty store holds no journal that could be corrupt");
        let now = Now::default();
        let spec = self.setup.spec.clone();
        engine.apply_spec(
            spec.clone(),
            "simulated".into(),
            "cluster.yaml".into(),
            "admin",
            now,
        );
        for node in spec.nodes.values().filter(|node| node.power.is_some()) {
            engine.verify(&node.name, Proof::Alias, "listed", "admin", now);
        }
        self.store.apply(&engine.take_output().writes);
        if self.setup.down {
            for service in spec.services.values() {
                if let Some(active) = self.world.active(&service.name) {
                    self.store.remember(&service.name, active);
                }
            }
        }
    }

    /// Both clocks of a process. They have nothing to do with those of the process before it.
    pub(super) fn clocks(&self) -> Now {
        let zero = self
            .process
            .as_ref()
            .map_or(Duration::ZERO, |process| process.zero);
        let wall = 1_700_000_000_000 + self.now().as_millis();
        Now {
            mono: self.now() + zero,
            wall: Timestamp(u64::try_from(wall).unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn coordinator_up(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.tell_all(&Fact::Opened);
        if !self.report.violations.is_empty() {
            return;
        }
        self.processes += 1;
        self.term = self.term.next();
        if self.setup.mutant == Some(Mutant::ForgetsActivity) && self.processes > 1 {
            self.store.forget(ACTIVITY);
        }
        let mut loaded = self.store.load();
        match self.setup.mutant {
            Some(Mutant::ForgetsOperations) => loaded.operations.clear(),
            Some(Mutant::PlansAnew) => self.plan_anew(&mut loaded),
            _ => {}
        }
        let engine = Coordinator::recover(self.term, loaded)
            .expect("what the engine wrote it can go on with");
        let number = self.processes;
        let zero = self.random.millis(0, 10_000_000);
        self.process = Some(Process {
            number,
            engine,
            term: self.term,
            welcomed: BTreeSet::new(),
            zero,
            queue: VecDeque::new(),
            storing: false,
            sessions: BTreeMap::new(),
        });
        let term = self.term;
        self.say(|| format!("coordinator {number} starts, term {term}"));
        self.schedule.after(TICK, Event::Tick { process: number });
        self.drive();
    }

    /// The plan of each operation loses its last step, as if it had been made anew from a changed spec.
    fn plan_anew(&mut self, loaded: &mut Loaded) {
        for operation in &mut loaded.operations {
            let mut plan = operation.plan.plan().clone();
            for step in &mut plan.steps {
                step.after.clear();
            }
            if let Ok(sealed) = SealedPlan::seal(plan) {
                self.store.replace_plan(operation.head.id, sealed.bytes());
                operation.plan = sealed;
            }
        }
    }

    /// The process is gone, and with it all that is not durable.
    pub(super) fn coordinator_dies(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        if self.setup.mutant == Some(Mutant::TearsTransactions)
            && process.storing
            && let Some(output) = process.queue.front()
        {
            self.store.apply(&output.writes[..output.writes.len() / 2]);
        }
        self.report.deaths += 1;
        self.say(|| format!("coordinator {} dies", process.number));
        for session in self.network.open_of(None) {
            self.drop_session(session);
        }
        self.may_restore();
        let again = self.random.millis(300, 2500);
        self.schedule.after(again, Event::CoordinatorUp);
    }

    /// This very process dies, if it is still there.
    pub(super) fn coordinator_down(&mut self, number: u32) {
        if self
            .process
            .as_ref()
            .is_some_and(|process| process.number == number)
        {
            self.coordinator_dies();
        }
    }

    pub(super) fn tick(&mut self, number: u32) {
        let now = self.clocks();
        let Some(process) = self
            .process
            .as_mut()
            .filter(|process| process.number == number)
        else {
            return;
        };
        process.engine.tick(now);
        self.schedule.after(TICK, Event::Tick { process: number });
        self.drive();
    }

    pub(super) fn arrive_at_coordinator(&mut self, id: SessionId, message: FromAgent) {
        let now = self.clocks();
        let Some(session) = self.network.session(id) else {
            return;
        };
        let node = session.node.clone();
        let Some(process) = self
            .process
            .as_mut()
            .filter(|process| process.number == session.process)
        else {
            return;
        };
        // A hello that comes too late, after that of a newer session perhaps, opens nothing.
        if !self.network.is_open(id) {
            return;
        }
        let message = match message {
            FromAgent::Hello(hello) => {
                if !self.welcomes(&node, &hello, id) {
                    return;
                }
                if let Some(process) = &mut self.process {
                    process.sessions.insert(node.clone(), id);
                }
                FromAgent::Hello(Box::new(self.without_memory(*hello)))
            }
            _ if process.sessions.get(&node) != Some(&id) => return,
            other if self.setup.mutant == Some(Mutant::DatesByArrival) => {
                mutant::dated_by_arrival(other, now)
            }
            other => other,
        };
        if self.tells && !matches!(message, FromAgent::Heartbeat | FromAgent::Observed { .. }) {
            let line = match &message {
                FromAgent::Attempt(report) => {
                    format!(
                        "{node} says {} is {:?}: {}",
                        report.id, report.state, report.evidence
                    )
                }
                FromAgent::Power {
                    node: about, power, ..
                } => {
                    format!("{node} says the power of {about} is {power}")
                }
                FromAgent::Hello(hello) => format!("{node} says hello, boot {}", hello.boot),
                FromAgent::Goodbye(_) => format!("{node} says goodbye"),
                FromAgent::Heartbeat
                | FromAgent::Observed { .. }
                | FromAgent::ByHand(_)
                | FromAgent::Tried { .. }
                | FromAgent::File { .. }
                | FromAgent::ResourceAgents(_)
                | FromAgent::Plugs { .. }
                | FromAgent::Busy { .. } => String::new(),
            };
            self.say(|| line);
        }
        if let Some(process) = &mut self.process {
            process.engine.agent(&node, message, now);
        }
        self.drive();
    }

    pub(super) fn closed(&mut self, id: SessionId) {
        let Some(session) = self.network.session(id) else {
            return;
        };
        let node = session.node.clone();
        let Some(process) = &mut self.process else {
            return;
        };
        if process.sessions.get(&node) != Some(&id) {
            return;
        }
        process.sessions.remove(&node);
        process.engine.session_closed(&node);
        self.drive();
    }

    /// Lets the engine go on, and queues what it wants done.
    pub(super) fn drive(&mut self) {
        let now = self.clocks();
        let Some(process) = &mut self.process else {
            return;
        };
        process.engine.advance(now);
        let mut output = process.engine.take_output();
        if !output.is_empty() {
            let early = if self.setup.mutant == Some(Mutant::SendsBeforeDurable) {
                std::mem::take(&mut output.sends)
            } else {
                Vec::new()
            };
            process.queue.push_back(output);
            self.release(early);
        }
        self.pump();
    }

    /// Begins the next write, and releases what need not wait for one.
    fn pump(&mut self) {
        loop {
            let Some(process) = self.process.as_mut().filter(|process| !process.storing) else {
                return;
            };
            let Some(first) = process.queue.front() else {
                return;
            };
            if !first.writes.is_empty() {
                process.storing = true;
                let event = Event::Stored {
                    process: process.number,
                };
                let number = process.number;
                let delay = self.random.millis(1, 12);
                self.schedule.after(delay, event);
                if self.setup.harsh && self.troubled() && self.fates.chance(1) {
                    // In the middle of the write.
                    let event = Event::CoordinatorDown { process: number };
                    self.schedule.after(delay / 2, event);
                }
                return;
            }
            let sends = process.queue.pop_front().map(|output| output.sends);
            self.release(sends.unwrap_or_default());
        }
    }

    /// The oldest write is durable, unless the process dies right now.
    pub(super) fn stored(&mut self, number: u32) {
        let Some(process) = self
            .process
            .as_mut()
            .filter(|process| process.number == number)
        else {
            return;
        };
        process.storing = false;
        let Some(output) = process.queue.pop_front() else {
            return;
        };
        let is_journal = output
            .writes
            .iter()
            .any(|write| write.key.contains("/journal/"));
        let moment = match &self.setup.crash {
            Some(Crash::Coordinator { write, moment })
                if is_journal && *write == self.report.journal_writes =>
            {
                Some(*moment)
            }
            _ => None,
        };
        self.report.journal_writes += usize::from(is_journal);
        if moment.is_some() {
            self.report.crashed = true;
        }
        if moment == Some(WriteMoment::Before) {
            return self.coordinator_dies();
        }
        self.store.apply(&output.writes);
        self.tell_journal(&output);
        self.tell_all(&Fact::Stored(&output.writes));
        if moment == Some(WriteMoment::Between) {
            return self.coordinator_dies();
        }
        self.release(output.sends);
        if moment == Some(WriteMoment::After) {
            return self.coordinator_dies();
        }
        self.pump();
    }

    fn tell_journal(&mut self, output: &Output) {
        if !self.tells {
            return;
        }
        for write in &output.writes {
            if let Some(service) = write.key.strip_prefix(ACTIVITY) {
                let active = write.value.as_deref().map(String::from_utf8_lossy);
                self.say(|| format!("memory: {service}: {active:?}"));
            }
        }
        for write in output
            .writes
            .iter()
            .filter(|write| write.key.contains("/journal/"))
        {
            let value = write.value.as_deref().unwrap_or_default();
            let entries: Vec<interlock_engine::operation::Entry> =
                serde_json::from_slice(value).unwrap_or_default();
            for entry in entries {
                let step = entry
                    .what
                    .step()
                    .map(|step| format!(" {step}"))
                    .unwrap_or_default();
                self.say(|| {
                    format!(
                        "journal: {}{step}: {}",
                        entry.what.word(),
                        entry.what.detail()
                    )
                });
            }
        }
    }

    /// Puts messages on the wire.
    fn release(&mut self, sends: Vec<Send>) {
        for send in sends {
            // Nobody acts by hand here: that would be one message more in each session, and tell nothing.
            if matches!(send.message, ToAgent::KnownActs(_)) {
                continue;
            }
            self.tell_all(&Fact::Sent { send: &send });
            if self.setup.mutant == Some(Mutant::TakesSilenceForDown) {
                self.answer_itself(&send);
            }
            let Some(process) = &self.process else { return };
            let term = process.term;
            if let Some(session) = process.sessions.get(&send.to).copied() {
                if self.tells && !matches!(send.message, ToAgent::Probe { .. } | ToAgent::Assign(_))
                {
                    let line = match &send.message {
                        ToAgent::Dispatch { id, command, .. } => {
                            format!("sends {} ({id}) to {}", command.word(), send.to)
                        }
                        ToAgent::AskPower { call, .. } => {
                            format!("asks {} for the power of {}", send.to, call.node)
                        }
                        other => format!("sends {other:?} to {}", send.to),
                    };
                    self.say(|| line);
                }
                let is_dispatch = matches!(send.message, ToAgent::Dispatch { .. });
                self.send_down(session, term, send.message);
                if is_dispatch && std::mem::take(&mut self.dies_after_dispatch) {
                    return self.coordinator_dies();
                }
            }
        }
    }

    /// Answers a question to a power source: a node that is not heard is off, is it not?
    fn answer_itself(&mut self, send: &Send) {
        let now = self.clocks();
        let (Some(process), ToAgent::AskPower { ask, call }) = (&mut self.process, &send.message)
        else {
            return;
        };
        if !process.sessions.contains_key(&call.node) {
            let power = FromAgent::Power {
                ask: *ask,
                node: call.node.clone(),
                power: Power::Off,
                detail: "nothing is heard of it".into(),
            };
            process.engine.agent(&send.to, power, now);
        }
    }

    /// Is an operation really under way, as far as is durable?
    pub(super) fn is_durable(&self, id: OperationId) -> bool {
        self.store.heads().iter().any(|head| head.id == id)
    }
}
