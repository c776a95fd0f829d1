//! I2: no step starts before the wait condition of each of its edges is met.
//!
//! Met in the world, not in the journal: at the moment when an action begins on its machine, the steps that it waited
//! for have really got as far as its edges say, and its gates have really been green since then. How far a step got is
//! found out here, from the machines, by rules of our own.
//!
//! On the way back the same edges hold in reverse: nothing is taken back while a step behind it that was asked of an agent
//! still stands, whether it is done, has failed, or was skipped by a person.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::agent::ledger::{Outcome, Record};
use interlock_engine::operation::{self, What};
use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::names::NodeName;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Gate, SealedPlan, Step, StepId, Wait};

use super::{Invariant, Number};
use crate::fact::{Decision, Fact, Sight};
use crate::world::Os;

/// How far a step really is.
#[derive(Debug, Default, Clone)]
struct Real {
    /// Its attempt is in a ledger.
    issued: bool,
    /// When its action began, and in which boot of its machine.
    began: Option<(Duration, u64)>,
    /// When it got this far.
    got: BTreeMap<Wait, Duration>,
    /// When its edges were met.
    armed: Option<Duration>,
    /// A person confirmed it, or took it for done.
    granted: bool,
}

/// A gate of a plan, and when it was last really green.
#[derive(Debug)]
struct Watched {
    gate: Gate,
    green: Option<Duration>,
}

/// What is followed of one operation. Everything is numbered, because it is looked at after every event.
#[derive(Debug)]
struct Followed {
    plan: Arc<SealedPlan>,
    before: Vec<Vec<(usize, Wait)>>,
    /// Of each step, the checks that make it healthy; of one that only looks, its gates as well.
    healthy: Vec<Vec<usize>>,
    gates: Vec<Vec<usize>>,
    watched: Vec<Watched>,
    steps: Vec<Real>,
}

/// What is followed of every operation.
#[derive(Debug, Default)]
pub(crate) struct Order(BTreeMap<OperationId, Followed>);

impl Invariant for Order {
    fn number(&self) -> Number {
        Number::I2
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            // The builder and the checker see the order differently: one of them is wrong.
            Fact::NotPlanned(why) if why.contains("internal: ") => Err((*why).to_owned()),
            Fact::Recorded { records, .. } => {
                for record in *records {
                    if let Record::Entry(entry) = record
                        && entry.is_open()
                        && let Some(real) = self.real(&entry.id.operation, &entry.id.step, sight)
                    {
                        real.issued = true;
                    }
                }
                Ok(())
            }
            Fact::Decided {
                operation,
                step,
                what: Decision::Approve | Decision::Skip,
            } => {
                if let Some(real) = self.real(operation, step, sight) {
                    real.granted = true;
                }
                Ok(())
            }
            Fact::Began { node, id, .. } => self.began(node, id, sight),
            // Operations of the other line of the store are not those of this one, whatever their numbers.
            Fact::Restored => {
                let store = &mut *sight.store;
                self.0
                    .retain(|id, followed| store.digest(*id) == followed.plan.digest());
                Ok(())
            }
            Fact::Moment => {
                self.look(sight);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Order {
    /// An operation that the store knows; followed from its start on.
    fn operation(&mut self, id: OperationId, sight: &mut Sight<'_>) -> Option<&mut Followed> {
        match self.0.entry(id) {
            Entry::Occupied(followed) => Some(followed.into_mut()),
            Entry::Vacant(place) => Some(place.insert(Followed::new(sight.store.plan(id)?))),
        }
    }

    fn real(
        &mut self,
        id: &OperationId,
        step: &StepId,
        sight: &mut Sight<'_>,
    ) -> Option<&mut Real> {
        let followed = self.operation(*id, sight)?;
        let at = followed.number(step)?;
        followed.steps.get_mut(at)
    }

    fn began(
        &mut self,
        node: &NodeName,
        id: &AttemptId,
        sight: &mut Sight<'_>,
    ) -> Result<(), String> {
        // The action begins in the world before anybody looks at it again.
        self.look(sight);
        let undo = sight.store.journal(id.operation).any(|entry| {
            matches!(&entry.what, What::Intent { step, attempt, undo: true, .. }
                if *step == id.step && *attempt == id.attempt)
        });
        if undo {
            return self.may_be_taken_back(id, sight);
        }
        let Some(followed) = self.operation(id.operation, sight) else {
            return Ok(());
        };
        let Some(at) = followed.number(&id.step) else {
            return Ok(());
        };
        followed.may_begin(at, id)?;
        let on = followed.plan.plan().steps[at].node.as_ref().unwrap_or(node);
        let boots = sight.world.machine(on).boots;
        let real = &mut followed.steps[at];
        real.issued = true;
        real.began = Some((sight.now, boots));
        Ok(())
    }

    /// Is everything behind a step taken back that can be?
    fn may_be_taken_back(&mut self, id: &AttemptId, sight: &mut Sight<'_>) -> Result<(), String> {
        let Some(plan) = sight.store.plan(id.operation) else {
            return Ok(());
        };
        let steps = &plan.plan().steps;
        let mut behind: BTreeSet<&StepId> = BTreeSet::from([&id.step]);
        // Plan order is topological: whatever is behind a step comes later.
        for step in steps {
            if step.after.iter().any(|edge| behind.contains(&edge.step)) {
                behind.insert(&step.id);
            }
        }
        let standing = steps.iter().find(|step| {
            step.id != id.step
                && step.undo.is_some()
                && behind.contains(&step.id)
                && stands(&step.id, sight.store.journal(id.operation))
        });
        match standing {
            Some(step) => Err(format!("{id} is taken back while {} stands", step.id)),
            None => Ok(()),
        }
    }

    /// Looks how far everything under way really is.
    fn look(&mut self, sight: &mut Sight<'_>) {
        let under_way: Vec<OperationId> = sight.store.heads_under_way().collect();
        for id in under_way {
            if let Some(followed) = self.operation(id, sight) {
                followed.look(sight);
            }
        }
    }
}

impl Followed {
    fn new(plan: Arc<SealedPlan>) -> Self {
        let steps = &plan.plan().steps;
        let number: BTreeMap<&StepId, usize> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| (&step.id, at))
            .collect();
        let mut watched: Vec<Watched> = Vec::new();
        let mut watch = |gate: &Gate| {
            watched
                .iter()
                .position(|known| known.gate == *gate)
                .unwrap_or_else(|| {
                    let gate = gate.clone();
                    watched.push(Watched { gate, green: None });
                    watched.len() - 1
                })
        };
        let mut before = Vec::new();
        let mut healthy = Vec::new();
        let mut gates = Vec::new();
        for step in steps {
            before.push(
                step.after
                    .iter()
                    .map(|edge| (number[&edge.step], edge.until))
                    .collect(),
            );
            let looks = (step.action == Action::Check).then_some(&step.gates);
            healthy.push(
                step.healthy
                    .iter()
                    .chain(looks.into_iter().flatten())
                    .map(&mut watch)
                    .collect(),
            );
            let wanted = |gate: &&Gate| !plan.plan().forced.contains(&gate.check);
            gates.push(step.gates.iter().filter(wanted).map(&mut watch).collect());
        }
        Self {
            before,
            healthy,
            gates,
            watched,
            steps: vec![Real::default(); steps.len()],
            plan,
        }
    }

    fn number(&self, step: &StepId) -> Option<usize> {
        self.plan
            .plan()
            .steps
            .iter()
            .position(|other| other.id == *step)
    }

    /// Are the edges of a step really met, and have its gates been green since?
    fn may_begin(&self, at: usize, id: &AttemptId) -> Result<(), String> {
        let steps = &self.plan.plan().steps;
        for (before, until) in &self.before[at] {
            if !satisfied(&steps[*before], &self.steps[*before], *until) {
                return Err(format!(
                    "{id} began before {} was really {until}",
                    steps[*before].id
                ));
            }
        }
        let armed = self.steps[at].armed.unwrap_or_default();
        for gate in &self.gates[at] {
            let Watched { gate, green } = &self.watched[*gate];
            if green.is_none_or(|green| green < armed) {
                return Err(format!(
                    "{id} began although {} on {} was last green at {green:?}, before its turn came at {armed:?}",
                    gate.check, gate.on
                ));
            }
        }
        Ok(())
    }

    /// Looks at the checks of the steps whose turn has come or comes next.
    fn look_at_checks(&mut self, sight: &Sight<'_>) {
        let steps = &self.plan.plan().steps;
        for (at, step) in steps.iter().enumerate() {
            let near = |(before, _): &(usize, Wait)| self.steps[*before].armed.is_some();
            if is_through(step, &self.steps[at]) || !self.before[at].iter().all(near) {
                continue;
            }
            for check in self.gates[at].iter().chain(&self.healthy[at]) {
                let watched = &mut self.watched[*check];
                if watched.green != Some(sight.now) && is_green(&watched.gate, sight) {
                    watched.green = Some(sight.now);
                }
            }
        }
    }

    fn look(&mut self, sight: &Sight<'_>) {
        self.look_at_checks(sight);
        // Plan order is topological: what settles here arms what comes after it.
        for (at, step) in self.plan.plan().steps.iter().enumerate() {
            if self.steps[at].armed.is_some() && is_through(step, &self.steps[at]) {
                continue;
            }
            if self.steps[at].armed.is_none() {
                let steps = &self.plan.plan().steps;
                let armed = self.before[at].iter().all(|(before, until)| {
                    satisfied(&steps[*before], &self.steps[*before], *until)
                });
                self.steps[at].armed = armed.then_some(sight.now);
            }
            let real = &mut self.steps[at];
            look_at(step, real, sight);
            if let Some(up) = real.got.get(&Wait::Up) {
                let green = self.healthy[at]
                    .iter()
                    .all(|check| self.watched[*check].green.is_some_and(|green| green >= *up));
                if green {
                    real.got.insert(Wait::Healthy, sight.now);
                }
            }
        }
    }
}

fn is_green(gate: &Gate, sight: &Sight<'_>) -> bool {
    let id = &gate.check;
    let service = sight.world.spec.services.get(&id.service);
    service
        .and_then(|service| service.checks.get(&id.check))
        .is_some_and(|check| {
            let name = id.check.as_str();
            sight
                .world
                .probe(&gate.on, &id.service, name, check, sight.now)
                == Verdict::Ok
        })
}

/// By the journal, was a step asked of an agent, and neither taken back nor given up on the way back?
fn stands<'a>(step: &StepId, journal: impl Iterator<Item = &'a operation::Entry>) -> bool {
    let (mut acted, mut goes_back, mut back) = (false, false, false);
    for entry in journal.filter(|entry| entry.what.step() == Some(step)) {
        match &entry.what {
            What::Intent { undo: true, .. } | What::UndoFailed { .. } => goes_back = true,
            What::Intent { on: Some(_), .. } => acted = true,
            What::Proven { .. } | What::Skipped { .. } if goes_back => back = true,
            _ => {}
        }
    }
    acted && !back
}

/// Is there nothing left to find out about a step?
fn is_through(step: &Step, real: &Real) -> bool {
    let end = if step.action.takes_down() {
        Wait::Down
    } else {
        Wait::Healthy
    };
    real.granted || real.got.contains_key(&end)
}

/// Has a step really got as far as an edge says? What is through with everything is past every condition.
fn satisfied(step: &Step, real: &Real, until: Wait) -> bool {
    is_through(step, real)
        || match until {
            Wait::None => true,
            Wait::Issued => real.issued,
            other => real.got.contains_key(&other),
        }
}

/// Has the last attempt of a step come to a good end on its machine?
fn has_ended(step: &Step, node: &NodeName, sight: &Sight<'_>) -> bool {
    let jobs = sight.world.machine(node).jobs.iter().rev();
    let mut jobs = jobs.filter(|(id, _)| id.step == step.id);
    let last = jobs.next().and_then(|(_, job)| job.outcome.as_ref());
    matches!(last, Some(Outcome::Done { .. }))
}

/// How far is a step, by what its machine shows?
fn look_at(step: &Step, real: &mut Real, sight: &Sight<'_>) {
    let world = sight.world;
    let mut got = |wait: Wait| {
        real.got.entry(wait).or_insert(sight.now);
    };
    match (&step.action, &step.node, &step.service) {
        (Action::Check, _, _) if real.armed.is_some() => got(Wait::Up),
        (Action::Start | Action::Verify, Some(node), Some(service)) => {
            let Some((began, _)) = real.began else { return };
            let instance = world.machine(node).instances.get(service);
            let is_up = instance.is_some_and(|instance| {
                instance.state == InstanceState::Running
                    && (step.action == Action::Start || instance.since >= began)
            });
            if is_up {
                got(Wait::Up);
            }
        }
        (Action::Stop, Some(node), Some(service)) if real.began.is_some() => {
            let state = world.state(node, service);
            if state == InstanceState::Stopping || state.is_down() {
                got(Wait::GoingDown);
            }
            if state.is_down() {
                got(Wait::Down);
            }
        }
        (Action::PowerOff { .. }, Some(node), _) => {
            let off = !world.plug(node);
            if off || world.machine(node).os == Os::GoingDown {
                got(Wait::GoingDown);
            }
            if off {
                got(Wait::Down);
            }
        }
        (Action::PowerOn { .. }, Some(node), _)
            if real.armed.is_some() && world.machine(node).os == Os::Up =>
        {
            got(Wait::Up);
        }
        // Whether its machine shows what was said of it is the business of `members` and `files`.
        (Action::Drain { .. }, Some(node), _)
            if real.began.is_some() && has_ended(step, node, sight) =>
        {
            got(Wait::GoingDown);
            got(Wait::Down);
        }
        (
            Action::Admit { .. } | Action::TryFile { .. } | Action::WriteFile { .. },
            Some(node),
            _,
        ) if real.began.is_some() && has_ended(step, node, sight) => got(Wait::Up),
        (Action::Reboot, Some(node), _) => {
            let machine = world.machine(node);
            let again = real.began.is_some_and(|(_, boots)| machine.boots > boots);
            if again && machine.os == Os::Up {
                got(Wait::Up);
            }
        }
        _ => {}
    }
}
