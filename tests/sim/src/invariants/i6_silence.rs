//! I6: silence from above is not an instruction.
//!
//! Whatever does not run any more was taken down by an attempt whose intent was durable before it was sent, or by a person, or
//! it died; never because nobody spoke. It is the world that is looked at, whoever says why: what has nobody behind it was
//! stopped by an agent of its own accord. The end of a lease, which is the one thing that an agent does act on alone, has a
//! simulation of its own.

use std::collections::{BTreeMap, BTreeSet};

use interlock_engine::coordinator::ToAgent;
use interlock_engine::operation::What;
use interlock_model::action::Command;
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};
use crate::world::Cause;

type Instance = (NodeName, ServiceName);

/// An attempt that takes something down: one instance, or all on its machine, in this boot.
#[derive(Debug)]
struct Taking {
    service: Option<ServiceName>,
    boots: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// What ran when it was last looked at.
    up: BTreeSet<Instance>,
    /// What was meant before it was sent.
    intended: BTreeSet<AttemptId>,
    under_way: BTreeMap<(NodeName, AttemptId), Taking>,
    /// Since it was last looked at: what has ended, and what died or was taken down by a person.
    ended: Vec<(NodeName, AttemptId)>,
    accounted: BTreeSet<Instance>,
}

impl Invariant for Silence {
    fn number(&self) -> Number {
        Number::I6
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { send } => {
                if let ToAgent::Dispatch { id, .. } = &send.message
                    && sight.store.journal(id.operation).any(|entry| {
                        matches!(&entry.what, What::Intent { step, attempt, .. }
                            if *step == id.step && *attempt == id.attempt)
                    })
                {
                    self.intended.insert(id.clone());
                }
            }
            Fact::Began {
                node, id, command, ..
            } if self.intended.contains(*id) => {
                let service = match command {
                    Command::Stop { service, .. } | Command::Verify { service, .. } => {
                        Some(service.clone())
                    }
                    Command::Shutdown { .. } | Command::Reboot => None,
                    _ => return Ok(()),
                };
                let boots = sight.world.machine(node).boots;
                let taking = Taking { service, boots };
                self.under_way
                    .insert(((*node).clone(), (*id).clone()), taking);
            }
            Fact::Ended { node, id, .. } => self.ended.push(((*node).clone(), (*id).clone())),
            Fact::Down {
                node,
                service,
                cause: Cause::Hand | Cause::Itself,
            } => {
                self.accounted.insert(((*node).clone(), (*service).clone()));
            }
            Fact::Moment => return self.look(sight),
            _ => {}
        }
        Ok(())
    }
}

impl Silence {
    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let machines = sight.world.machines.iter();
        let up: BTreeSet<Instance> = machines
            .flat_map(|(node, machine)| {
                let instances = machine.instances.iter();
                let up = instances.filter(|(_, it)| it.state == InstanceState::Running);
                up.map(|(service, _)| (node.clone(), service.clone()))
            })
            .collect();
        let nobody = self
            .up
            .difference(&up)
            .find(|it| !self.accounted.contains(it) && !self.is_taken(it, sight));
        if let Some((node, service)) = nobody {
            return Err(format!(
                "{service} on {node} does not run any more: no attempt took it down, no person, and it did not die"
            ));
        }
        self.up = up;
        self.accounted.clear();
        for id in self.ended.drain(..) {
            self.under_way.remove(&id);
        }
        Ok(())
    }

    fn is_taken(&self, (node, service): &Instance, sight: &Sight<'_>) -> bool {
        let boots = sight.world.machine(node).boots;
        self.under_way.iter().any(|((at, _), taking)| {
            at == node
                && taking.boots == boots
                && taking.service.as_ref().is_none_or(|it| it == service)
        })
    }
}
