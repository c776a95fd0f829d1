//! I2: no step starts before the wait condition of each of its edges is met.
//!
//! Met in the world, not in the journal: at the moment when an action begins on its machine, the steps that it waited
//! for have really got as far as its edges say, and its gates have really been green since then. How far a step got is
//! found out here, from the machines, by rules of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::agent::ledger::Record;
use interlock_engine::operation::What;
use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::names::NodeName;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Gate, Plan, Step, StepId, Wait};

use super::{Invariant, Number, ON_THE_WAY};
use crate::fact::{Decision, Fact, Sight};
use crate::world::Os;

/// How far a step really is.
#[derive(Debug, Default)]
struct Real {
    /// Its attempt is in a ledger.
    issued: bool,
    /// When its action began, and in which boot of its machine.
    began: Option<(Duration, u64)>,
    /// When it got this far.
    got: BTreeMap<Wait, Duration>,
    /// When its edges were met.
    armed: Option<Duration>,
    /// A person took it for done.
    granted: bool,
}

/// What is followed of every operation.
#[derive(Debug, Default)]
pub(crate) struct Order {
    operations: BTreeMap<OperationId, BTreeMap<StepId, Real>>,
    /// When each check was last really green.
    green: BTreeMap<Gate, Duration>,
}

impl Invariant for Order {
    fn number(&self) -> Number {
        Number::I2
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Recorded { records, .. } => {
                for record in *records {
                    if let Record::Entry(entry) = record
                        && entry.is_open()
                    {
                        self.step(&entry.id.operation, &entry.id.step).issued = true;
                    }
                }
                Ok(())
            }
            Fact::Decided {
                operation,
                step,
                what: Decision::Approve | Decision::Skip,
            } => {
                self.step(operation, step).granted = true;
                Ok(())
            }
            Fact::Began { node, id, .. } => self.began(node, id, sight),
            Fact::Moment => {
                self.look(sight);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Order {
    fn step(&mut self, operation: &OperationId, step: &StepId) -> &mut Real {
        self.operations
            .entry(*operation)
            .or_default()
            .entry(step.clone())
            .or_default()
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
        let Some(plan) = sight.store.plan(id.operation) else {
            return Ok(());
        };
        let Some(step) = plan.plan().steps.iter().find(|step| step.id == id.step) else {
            return Ok(());
        };
        let boots = sight
            .world
            .machine(step.node.as_ref().unwrap_or(node))
            .boots;
        let now = sight.now;
        if !undo {
            self.edges_met(plan.plan(), step, id)?;
            self.gates_green(plan.plan(), step, id)?;
            let real = self.step(&id.operation, &id.step);
            real.issued = true;
            real.began = Some((now, boots));
        }
        Ok(())
    }

    fn edges_met(&mut self, plan: &Plan, step: &Step, id: &AttemptId) -> Result<(), String> {
        for edge in &step.after {
            let Some(before) = plan.steps.iter().find(|other| other.id == edge.step) else {
                continue;
            };
            if !satisfied(before, self.step(&id.operation, &edge.step), edge.until) {
                return Err(format!(
                    "{id} began before {} was really {}",
                    edge.step, edge.until
                ));
            }
        }
        Ok(())
    }

    fn gates_green(&mut self, plan: &Plan, step: &Step, id: &AttemptId) -> Result<(), String> {
        let armed = self.step(&id.operation, &id.step).armed.unwrap_or_default();
        for gate in step
            .gates
            .iter()
            .filter(|gate| !plan.forced.contains(&gate.check))
        {
            let green = self.green.get(gate);
            if green.is_none_or(|green| *green + ON_THE_WAY < armed) {
                return Err(format!(
                    "{id} began although {} on {} was last green at {green:?}, before its turn came at {armed:?}",
                    gate.check, gate.on
                ));
            }
        }
        Ok(())
    }

    /// Looks how far everything under way really is.
    fn look(&mut self, sight: &mut Sight<'_>) {
        let under_way: Vec<OperationId> = sight.store.heads_under_way().collect();
        for id in under_way {
            let Some(plan) = sight.store.plan(id) else {
                continue;
            };
            self.look_at_checks(plan.plan(), sight);
            let steps = self.operations.entry(id).or_default();
            // Plan order is topological: what settles here arms what comes after it.
            for step in &plan.plan().steps {
                if steps
                    .get(&step.id)
                    .is_some_and(|real| real.armed.is_some() && is_through(step, real))
                {
                    continue;
                }
                let armed = step.after.iter().all(|edge| {
                    let before = plan.plan().steps.iter().find(|other| other.id == edge.step);
                    before
                        .zip(steps.get(&edge.step))
                        .is_some_and(|(before, real)| satisfied(before, real, edge.until))
                });
                let real = steps.entry(step.id.clone()).or_default();
                if armed && real.armed.is_none() {
                    real.armed = Some(sight.now);
                }
                look_at(step, real, &self.green, sight);
            }
        }
    }

    fn look_at_checks(&mut self, plan: &Plan, sight: &Sight<'_>) {
        let gates: BTreeSet<&Gate> = plan
            .steps
            .iter()
            .flat_map(|step| step.gates.iter().chain(&step.healthy))
            .collect();
        for gate in gates {
            let Some(check) = sight
                .world
                .spec
                .services
                .get(&gate.check.service)
                .and_then(|service| service.checks.get(&gate.check.check))
            else {
                continue;
            };
            let verdict = sight.world.probe(
                &gate.on,
                &gate.check.service,
                gate.check.check.as_str(),
                check,
                sight.now,
            );
            if verdict == Verdict::Ok {
                match self.green.get_mut(gate) {
                    Some(at) => *at = sight.now,
                    None => {
                        self.green.insert(gate.clone(), sight.now);
                    }
                }
            }
        }
    }
}

/// Is there nothing left to find out about a step?
fn is_through(step: &Step, real: &Real) -> bool {
    if real.granted {
        true
    } else if step.action.takes_down() {
        real.got.contains_key(&Wait::Down)
    } else {
        real.got.contains_key(&Wait::Healthy)
    }
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

fn look_at(step: &Step, real: &mut Real, green: &BTreeMap<Gate, Duration>, sight: &Sight<'_>) {
    let now = sight.now;
    let world = sight.world;
    let got = |real: &mut Real, wait: Wait| {
        real.got.entry(wait).or_insert(now);
    };
    match (&step.action, &step.node, &step.service) {
        (Action::Check, _, _) => {
            if real.armed.is_none() {
                return;
            }
            got(real, Wait::Up);
        }
        (Action::Start | Action::Verify, Some(node), Some(service)) => {
            let Some((began, _)) = real.began else { return };
            let up = world
                .machine(node)
                .instances
                .get(service)
                .is_some_and(|instance| {
                    instance.state == InstanceState::Running
                        && (step.action == Action::Start || instance.since >= began)
                });
            if up {
                got(real, Wait::Up);
            }
        }
        (Action::Stop, Some(node), Some(service)) => {
            if real.began.is_none() {
                return;
            }
            match world.state(node, service) {
                InstanceState::Stopping => got(real, Wait::GoingDown),
                state if state.is_down() => {
                    got(real, Wait::GoingDown);
                    got(real, Wait::Down);
                }
                _ => {}
            }
            return;
        }
        (Action::PowerOff { .. }, Some(node), _) => {
            if matches!(world.machine(node).os, Os::GoingDown | Os::Off) {
                got(real, Wait::GoingDown);
            }
            if !world.plug(node) {
                got(real, Wait::GoingDown);
                got(real, Wait::Down);
            }
            return;
        }
        (Action::PowerOn { .. }, Some(node), _) => {
            if real.armed.is_some() && world.machine(node).os == Os::Up {
                got(real, Wait::Up);
            }
        }
        (Action::Reboot, Some(node), _) => {
            let machine = world.machine(node);
            if real.began.is_some_and(|(_, boots)| machine.boots > boots) && machine.os == Os::Up {
                got(real, Wait::Up);
            }
        }
        _ => return,
    }
    let Some(up) = real.got.get(&Wait::Up) else {
        return;
    };
    let all_green = step
        .healthy
        .iter()
        .chain(step.gates.iter().filter(|_| step.action == Action::Check))
        .all(|gate| {
            green
                .get(gate)
                .is_some_and(|green| *green + ON_THE_WAY >= *up)
        });
    if all_green {
        got(real, Wait::Healthy);
    }
}
