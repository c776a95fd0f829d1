//! I4: no completed step is run again, and nothing whose outcome is unknown is repeated where that does harm.
//!
//! That no step is *lost* shows at the end of a run: every step of a finished operation is settled, and the world is as
//! the plan wanted it.

use std::collections::{BTreeMap, BTreeSet};

use interlock_engine::operation::What;
use interlock_model::action::Action;
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Plan, Step, StepId};

use super::{Invariant, Number};
use crate::fact::{AttemptEnd, Decision, Fact, Sight};
use crate::store::Store;
use crate::world::{Cause, instance_of};

/// How each attempt ended, as the machine knows it.
#[derive(Debug, Default)]
pub(crate) struct Once {
    begun: BTreeSet<AttemptId>,
    ended: BTreeMap<(OperationId, StepId), Vec<(AttemptId, AttemptEnd)>>,
    /// Attempts that a person knows of and has had made again.
    forgiven: BTreeSet<AttemptId>,
    /// Steps that a person took for done, in whatever operation.
    skipped: BTreeSet<StepId>,
    /// Instances that have died since an attempt began on them.
    died: BTreeSet<(NodeName, ServiceName)>,
}

impl Invariant for Once {
    fn number(&self) -> Number {
        Number::I4
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Began {
                node, id, command, ..
            } => {
                if let Some(service) = instance_of(command) {
                    self.died.remove(&((*node).clone(), service.clone()));
                }
                if !self.begun.insert((*id).clone()) {
                    return Err(format!("{node} began {id} twice"));
                }
                let key = (id.operation, id.step.clone());
                let undo = is_undo(id, sight);
                for (earlier, end) in self.ended.get(&key).into_iter().flatten() {
                    if is_undo(earlier, sight) != undo || self.forgiven.contains(earlier) {
                        continue;
                    }
                    match end {
                        AttemptEnd::Done => {
                            return Err(format!("{id} began although {earlier} had done it"));
                        }
                        AttemptEnd::Unknown => {
                            return Err(format!(
                                "{id} began although nobody knows what {earlier} did"
                            ));
                        }
                        AttemptEnd::Failed | AttemptEnd::Repeatable => {}
                    }
                }
                Ok(())
            }
            Fact::Ended { id, outcome, .. } => {
                let key = (id.operation, id.step.clone());
                self.ended
                    .entry(key)
                    .or_default()
                    .push(((*id).clone(), *outcome));
                Ok(())
            }
            // A person who has looked may have it done again.
            Fact::Decided {
                operation,
                step,
                what: Decision::Retry,
            } => {
                let of_step = |id: &&AttemptId| id.operation == *operation && id.step == *step;
                self.forgiven
                    .extend(self.begun.iter().filter(of_step).cloned());
                Ok(())
            }
            Fact::Decided {
                step,
                what: Decision::Skip,
                ..
            } => {
                self.skipped.insert(step.clone());
                Ok(())
            }
            Fact::Down {
                node,
                service,
                cause: Cause::Itself,
            } => {
                self.died.insert(((*node).clone(), (*service).clone()));
                Ok(())
            }
            // What was done in the other line of the store only was not done in this one.
            Fact::Restored => {
                let store = &*sight.store;
                let is_made = |id: &AttemptId| is_intended(id, store);
                self.begun.retain(is_made);
                for ended in self.ended.values_mut() {
                    ended.retain(|(id, _)| is_made(id));
                }
                Ok(())
            }
            Fact::Done(plan) => self.as_wanted(plan, sight),
            _ => Ok(()),
        }
    }
}

impl Once {
    /// Is the world as the last step about each instance and machine wanted it? What has died since is not.
    fn as_wanted(&self, plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
        let mut last: BTreeMap<(&NodeName, Option<&ServiceName>), &Step> = BTreeMap::new();
        for step in &plan.steps {
            if let Some(node) = &step.node {
                last.insert((node, step.service.as_ref()), step);
            }
        }
        for ((node, service), step) in last {
            let is_so = match (&step.action, service) {
                (Action::PowerOff { .. }, _) => !sight.world.plug(node),
                (Action::PowerOn { .. } | Action::Reboot, _) => sight.world.plug(node),
                (Action::Start | Action::Verify, Some(service)) => {
                    self.died.contains(&(node.clone(), service.clone()))
                        || sight.world.state(node, service) == InstanceState::Running
                }
                (Action::Stop, Some(service)) => sight.world.state(node, service).is_down(),
                _ => true,
            };
            if !is_so && !self.skipped.contains(&step.id) {
                return Err(format!("the operation is done, and {} is not", step.id));
            }
        }
        Ok(())
    }
}

fn is_intended(id: &AttemptId, store: &Store) -> bool {
    store.journal(id.operation).any(|entry| {
        matches!(&entry.what, What::Intent { step, attempt, .. }
            if *step == id.step && *attempt == id.attempt)
    })
}

fn is_undo(id: &AttemptId, sight: &Sight<'_>) -> bool {
    sight.store.journal(id.operation).any(|entry| {
        matches!(&entry.what, What::Intent { step, attempt, undo: true, .. }
            if *step == id.step && *attempt == id.attempt)
    })
}
