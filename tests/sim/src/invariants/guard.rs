//! The guard brings up only what an operation has proven to run and has not stopped since, only within its budget, and
//! nothing whose requirement an operation has taken down after it (I2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use interlock_engine::agent::ledger::{Record, Slot};
use interlock_model::action::{Action, Command};
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Wanted;
use interlock_model::plan::{Step, StepId, Wait};
use interlock_model::spec::GuardPolicy;

use super::{Invariant, Number};
use crate::fact::{Decision, Fact, Sight};
use crate::world::{Cause, instance_of};

/// An instance.
type Instance = (NodeName, ServiceName);

/// What is durable of each instance, and what was done to it.
#[derive(Debug, Default)]
pub(crate) struct Guarding {
    wanted: BTreeMap<Instance, Wanted>,
    trusted: BTreeSet<Instance>,
    /// When a guard began to bring it up, since an operation last acted on it, in this boot.
    begun: BTreeMap<Instance, (u64, VecDeque<Duration>)>,
    /// The attempt that took it down, where one did.
    taken_down: BTreeMap<Instance, AttemptId>,
    /// The operation that last began to start it.
    started: BTreeMap<Instance, OperationId>,
    /// Steps that a person took for done.
    skipped: BTreeSet<(OperationId, StepId)>,
}

impl Invariant for Guarding {
    fn number(&self) -> Number {
        Number::Guard
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Recorded {
                node,
                records,
                removed,
            } => {
                for record in *records {
                    self.recorded(node, record);
                }
                for slot in *removed {
                    if let Slot::Trust(service) = slot {
                        self.trusted.remove(&((*node).clone(), service.clone()));
                    }
                }
            }
            Fact::Began {
                node, id, command, ..
            } => {
                if let Some(service) = instance_of(command) {
                    let instance = ((*node).clone(), service.clone());
                    self.begun.remove(&instance);
                    if !matches!(command, Command::Stop { .. }) {
                        self.started.insert(instance, id.operation);
                    }
                }
            }
            Fact::Down {
                node,
                service,
                cause,
            } => {
                let instance = ((*node).clone(), (*service).clone());
                match cause {
                    Cause::Attempt(id) => drop(self.taken_down.insert(instance, id.clone())),
                    Cause::Hand | Cause::Itself => {
                        self.taken_down.remove(&instance);
                    }
                }
            }
            Fact::Decided {
                operation,
                step,
                what: Decision::Skip,
            } => drop(self.skipped.insert((*operation, step.clone()))),
            Fact::GuardBegan { node, service } => {
                let instance = ((*node).clone(), (*service).clone());
                self.is_right(&instance)?;
                self.is_within_budget(&instance, sight)?;
                self.has_what_it_needs(&instance, sight)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Guarding {
    fn recorded(&mut self, node: &NodeName, record: &Record) {
        match record {
            Record::Wanted { service, wanted } => {
                self.wanted.insert((node.clone(), service.clone()), *wanted);
            }
            Record::Trust { service, .. } => {
                self.trusted.insert((node.clone(), service.clone()));
            }
            _ => {}
        }
    }

    fn is_right(&self, instance: &Instance) -> Result<(), String> {
        let (node, service) = instance;
        match self.wanted.get(instance) {
            Some(Wanted::Running) if self.trusted.contains(instance) => Ok(()),
            Some(Wanted::Running) => Err(format!(
                "the guard brings up {service} on {node}, which no operation has proven to run"
            )),
            wanted => Err(format!(
                "the guard brings up {service} on {node}, which is wanted {wanted:?}"
            )),
        }
    }

    /// A restart counts from when it is decided, and waits for its pause before it is begun: so many of them cannot begin
    /// within the window less the longest pause.
    fn is_within_budget(&mut self, instance: &Instance, sight: &Sight<'_>) -> Result<(), String> {
        let (node, service) = instance;
        let Some(declared) = sight.world.spec.services.get(service) else {
            return Ok(());
        };
        let boots = sight.world.machine(node).boots;
        let GuardPolicy {
            budget,
            window,
            backoff,
        } = declared.guard;
        let longest = backoff
            .saturating_mul(1 << budget.saturating_sub(1).min(20))
            .min(window);
        let (boot, begun) = self.begun.entry(instance.clone()).or_default();
        if *boot != boots {
            *boot = boots;
            begun.clear();
        }
        begun.push_back(sight.now);
        while begun
            .front()
            .is_some_and(|at| *at + (window - longest) <= sight.now)
        {
            begun.pop_front();
        }
        if begun.len() > budget as usize {
            return Err(format!(
                "the guard brings up {service} on {node} for the {}th time, and its budget is {budget}",
                begun.len()
            ));
        }
        Ok(())
    }

    /// Where an operation has taken a requirement down, and this instance before that, only a start brings it up.
    fn has_what_it_needs(&self, instance: &Instance, sight: &mut Sight<'_>) -> Result<(), String> {
        let (node, service) = instance;
        let spec = sight.world.spec.clone();
        let Some(declared) = spec.services.get(service) else {
            return Ok(());
        };
        for (needed, _) in declared.dependencies.iter().filter(|(_, edge)| edge.needed) {
            for on in spec
                .services
                .get(needed)
                .iter()
                .flat_map(|needed| &needed.nodes)
            {
                let Some(by) = self.taken_down.get(&(on.clone(), needed.clone())) else {
                    continue;
                };
                if !sight.world.state(on, needed).is_down()
                    || self.started.get(instance) > Some(&by.operation)
                {
                    continue;
                }
                let Some(plan) = sight.store.plan(by.operation) else {
                    continue;
                };
                let steps = &plan.plan().steps;
                let stops_this = |step: &&Step| {
                    step.action == Action::Stop
                        && step.node.as_ref() == Some(node)
                        && step.service.as_ref() == Some(service)
                };
                let Some(stop) = steps.iter().find(stops_this) else {
                    continue;
                };
                let is_first = steps.iter().any(|step| {
                    step.id == by.step
                        && step
                            .after
                            .iter()
                            .any(|edge| edge.step == stop.id && edge.until != Wait::None)
                });
                if is_first && !self.skipped.contains(&(by.operation, stop.id.clone())) {
                    return Err(format!(
                        "the guard brings up {service} on {node}, and {by} has taken down {needed} after it"
                    ));
                }
            }
        }
        Ok(())
    }
}
