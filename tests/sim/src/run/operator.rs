//! The operator: plans, looks at the plan, starts it, approves, decides, until everything wanted is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{NotStarted, StartRequest, Wish};
use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Action;
use interlock_model::ids::OperationId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{PlanKind, SealedPlan, StepId};
use interlock_model::spec::Role;
use interlock_planner::{Change, Input, Request};

use super::{Event, Simulation};
use crate::fact::{Decision, Fact};
use crate::invariants::forgotten;
use crate::setup::Task;
use crate::world::Os;

/// How often she has a step tried again before she takes it for done: what it needs may be down for reasons that its
/// operation knows nothing of.
const TRIES: u32 = 4;

/// After so many plans that were refused in a row she goes about it from the other end: what cannot be brought up from
/// where it stands is taken down first.
const REFUSALS: u32 = 150;

/// Who the operator is.
const WHO: &str = "anna";

/// The operator, and what she is at.
#[derive(Debug)]
pub(super) struct Operator {
    tasks: VecDeque<Task>,
    shown: Option<Arc<SealedPlan>>,
    at: Option<OperationId>,
    /// What she found out by a look at the data, where nothing is remembered: for the next plan.
    found: BTreeMap<ServiceName, NodeName>,
    /// How often in a row no plan was made.
    refused: u32,
    /// How often she had a step tried again.
    tried: BTreeMap<(OperationId, StepId), u32>,
    /// She thinks until then.
    thinks: Duration,
}

impl Operator {
    pub(super) fn new(tasks: &[Task]) -> Self {
        Self {
            tasks: tasks.iter().cloned().collect(),
            shown: None,
            at: None,
            found: BTreeMap::new(),
            refused: 0,
            tried: BTreeMap::new(),
            thinks: Duration::ZERO,
        }
    }
}

/// What she sees of a step that needs her.
#[derive(Debug)]
struct Trouble {
    step: StepId,
    evidence: String,
    node: Option<NodeName>,
    /// It was to switch the machine off, for good.
    off: bool,
}

impl Simulation {
    /// She looks at the screen, and will again.
    pub(super) fn operate(&mut self) {
        let again = self.random.millis(300, 1200);
        self.schedule.after(again, Event::Operator);
        if self.process.is_none() || self.now() < self.operator.thinks {
            return;
        }
        match self.operator.at {
            Some(id) => self.follow(id),
            None if self.operator.tasks.is_empty() => self.report.finished = true,
            None => match self.operator.shown.clone() {
                Some(plan) => self.start(plan),
                None => self.plan(),
            },
        }
    }

    fn think(&mut self, least: u64, most: u64) {
        self.operator.thinks = self.now() + self.random.millis(least, most);
    }

    fn plan(&mut self) {
        let now = self.clocks();
        let Some(task) = self.operator.tasks.front().cloned() else {
            return;
        };
        let Some(process) = &self.process else { return };
        let Some(applied) = process.engine.applied() else {
            return;
        };
        let observations = process.engine.observations(now);
        let verified = process.engine.verified_nodes();
        let mut wanted = Request::new(task.kind, task.scope);
        wanted.assume_active = std::mem::take(&mut self.operator.found);
        wanted.change = task.text.map(|template| Change {
            file: None,
            template,
            even_if_unchanged: true,
        });
        let outcome = interlock_planner::plan(&Input {
            spec: &applied.spec,
            generation: applied.record.generation,
            request: wanted,
            observations: Some(&observations),
            memory: process.engine.activity(),
            forgotten: process.engine.forgotten(),
            power_verified: Some(&verified),
        });
        match outcome.plan {
            Some(plan) if plan.plan().steps.is_empty() => {
                self.operator.tasks.pop_front();
            }
            Some(plan) => {
                self.say(|| {
                    format!(
                        "{} plan of {} steps is shown",
                        task.kind,
                        plan.plan().steps.len()
                    )
                });
                self.tell_all(&Fact::Planned(plan.plan()));
                self.tell_all(&Fact::Shown(plan.digest()));
                self.operator.shown = Some(Arc::new(plan));
                self.operator.refused = 0;
                self.think(200, 3000);
            }
            None => {
                let why = outcome.report.to_string();
                self.say(|| format!("no plan: {why}"));
                self.tell_all(&Fact::NotPlanned(&why));
                self.look_at_data(&why);
                self.free_the_hung();
                self.operator.refused += 1;
                if self.operator.refused == REFUSALS && task.kind != PlanKind::Shutdown {
                    self.say(|| "she takes everything down first".to_owned());
                    let down = Task::all(PlanKind::Shutdown);
                    self.operator.tasks.push_front(down);
                }
            }
        }
    }

    /// Where nothing is remembered she finds out which side has the newest data.
    fn look_at_data(&mut self, why: &str) {
        for service in forgotten(why) {
            if let Some(active) = self.world.active(&service).cloned() {
                self.say(|| format!("she finds the newest data of {service} on {active}"));
                self.operator.found.insert(service, active);
            }
        }
    }

    /// Machines that hang, and services that lost their active side, and that no operation looks after, keep a plan from
    /// being made: she sees to them by hand.
    fn free_the_hung(&mut self) {
        let hung: Vec<NodeName> = self
            .world
            .machines
            .iter()
            .filter(|(_, machine)| machine.os == Os::GoingDown)
            .map(|(node, _)| node.clone())
            .collect();
        for node in hung {
            self.by_hand(&node, true);
        }
        if self.world.appoint_active() {
            self.say(|| "a person makes another instance the active one".to_owned());
        }
    }

    fn start(&mut self, plan: Arc<SealedPlan>) {
        let now = self.clocks();
        let Some(process) = &mut self.process else {
            return;
        };
        let started = process.engine.start(&request(plan), now);
        self.drive();
        match started {
            Ok(id) => {
                self.say(|| format!("{id} is started"));
                self.operator.at = Some(id);
            }
            // Her own start, of which she had no answer.
            Err(NotStarted::Held { holder, .. }) => self.operator.at = Some(holder),
            Err(_) => {}
        }
        self.operator.shown = None;
    }

    fn follow(&mut self, id: OperationId) {
        let Some(process) = &self.process else { return };
        let Some(operation) = process.engine.operation(id) else {
            return self.see_end(id);
        };
        let state = operation.state();
        let possible = operation.possible();
        let attention = operation.attention().to_owned();
        let needed: Vec<Trouble> = operation
            .steps()
            .filter(|(_, state)| state.phase.needs_person())
            .map(|(step, state)| Trouble {
                step: step.id.clone(),
                evidence: state.evidence.clone(),
                node: step.node.clone(),
                off: matches!(step.action, Action::PowerOff { .. })
                    && state.phase != Phase::UndoFailed,
            })
            .collect();
        let has_skipped = self.is_impatient()
            && operation
                .steps()
                .any(|(_, state)| state.phase == Phase::Skipped);
        let approvals: Vec<StepId> = operation
            .steps()
            .filter(|(step, state)| {
                matches!(step.action, Action::Approve { .. }) && state.phase == Phase::Waiting
            })
            .map(|(step, _)| step.id.clone())
            .collect();
        match state {
            State::NeedsAttention => {
                self.report.attention += 1;
                self.decide(id, &needed, &attention, &possible);
                self.think(1000, 4000);
            }
            State::Paused => {
                self.ask(id, Verb::Resume, None);
            }
            State::Running if possible.contains(&Verb::Approve) => {
                for step in approvals {
                    self.ask(id, Verb::Approve, Some(&step));
                }
            }
            State::Running if has_skipped && possible.contains(&Verb::Unwind) => {
                self.ask(id, Verb::Unwind, None);
            }
            State::Running if self.troubled() && self.random.chance(2) => {
                let verb = self
                    .random
                    .pick(&[Verb::Pause, Verb::Abort, Verb::Unwind])
                    .copied();
                self.ask(id, verb.unwrap_or(Verb::Pause), None);
            }
            _ => {}
        }
    }

    /// The operation is over, or its start never became durable.
    fn see_end(&mut self, id: OperationId) {
        let head = self.store.heads().into_iter().find(|head| head.id == id);
        self.operator.at = None;
        if let Some(head) = head.filter(|head| head.state == State::Done) {
            self.say(|| format!("{id} is {}", head.state));
            self.operator.tasks.pop_front();
            // What a second operator has started since is at work on the same instances by now.
            let since = self.store.heads().iter().any(|other| other.id > id);
            if let Some(plan) = self.store.plan(id).filter(|_| !since) {
                self.tell_all(&Fact::Done(plan.plan()));
            }
        }
    }

    fn decide(&mut self, id: OperationId, needed: &[Trouble], attention: &str, possible: &[Verb]) {
        let mut reasons = needed.iter().map(|trouble| trouble.evidence.as_str());
        if reasons.any(|why| why.contains("plan again")) || attention.contains("plan again") {
            self.ask(id, Verb::Abort, None);
            return;
        }
        if needed.is_empty() && possible.contains(&Verb::Resume) {
            self.ask(id, Verb::Resume, None);
            return;
        }
        // Not on the way back: what is skipped there stays as it is.
        let skips = self.is_impatient() && possible.contains(&Verb::Unwind);
        for trouble in needed {
            let evidence = &trouble.evidence;
            self.say(|| format!("she looks at {}: {evidence}", trouble.step));
            if let Some(node) = &trouble.node
                && self.world.machine(node).os == Os::GoingDown
            {
                self.by_hand(node, !trouble.off);
            }
            let tried = self
                .operator
                .tried
                .entry((id, trouble.step.clone()))
                .or_default();
            *tried += 1;
            let (verb, what) = if *tried <= TRIES && !skips {
                (Verb::Retry, Decision::Retry)
            } else {
                (Verb::Skip, Decision::Skip)
            };
            if self.ask(id, verb, Some(&trouble.step)) {
                let (operation, step) = (id, trouble.step.clone());
                self.tell_all(&Fact::Decided {
                    operation,
                    step,
                    what,
                });
            } else if verb == Verb::Skip {
                // It runs, and is not taken for stopped.
                let ways = [Verb::Unwind, Verb::Abort];
                if let Some(way) = ways.into_iter().find(|way| possible.contains(way)) {
                    self.ask(id, way, None);
                }
                return;
            }
        }
    }

    /// Does she want everything back rather than find out what is wrong?
    fn is_impatient(&self) -> bool {
        self.setup.impatient && self.troubled()
    }

    /// Asks for something; true if it was followed.
    fn ask(&mut self, id: OperationId, verb: Verb, step: Option<&StepId>) -> bool {
        let now = self.clocks();
        let text = step.map(StepId::as_str);
        if let (Verb::Approve, Some(step)) = (verb, step) {
            let (operation, step) = (id, step.clone());
            self.tell_all(&Fact::Decided {
                operation,
                step,
                what: Decision::Approve,
            });
        }
        let Some(process) = &mut self.process else {
            return false;
        };
        let wish = Wish {
            verb,
            step: step.map(ToString::to_string),
            by: WHO.into(),
            role: Role::Operator,
            reason: "it is time".into(),
        };
        let asked = process.engine.control(id, &wish, now);
        self.say(|| format!("{verb} {}: {asked:?}", text.unwrap_or_default()));
        self.drive();
        matches!(asked, Some(Ok(())))
    }

    /// A second operator starts the same once more, while the first one's operation is under way.
    pub(super) fn rival(&mut self) {
        if !self.troubled() {
            return;
        }
        let again = self.random.millis(3000, 9000);
        self.schedule.after(again, Event::Rival);
        let now = self.clocks();
        let Some(id) = self.operator.at.filter(|id| self.is_durable(*id)) else {
            return;
        };
        let under_way = self.store.heads_under_way().any(|other| other == id);
        let (Some(plan), Some(process), true) = (self.store.plan(id), &mut self.process, under_way)
        else {
            return;
        };
        let over = process
            .engine
            .operation(id)
            .is_some_and(|operation| operation.state().is_over());
        // What is over in memory is over; what is unknown to the process should not be.
        if over || process.engine.last_operation() < id {
            return;
        }
        match process.engine.start(&request(plan), now) {
            Err(NotStarted::Held { holder, .. }) => self.tell_all(&Fact::Refused(holder)),
            Ok(_) | Err(_) => self.drive(),
        }
    }
}

fn request(plan: Arc<SealedPlan>) -> StartRequest {
    StartRequest {
        plan,
        by: WHO.into(),
        reason: "maintenance".into(),
        single_step: false,
    }
}
