//! X2: an attempt or the guard has an instance in hand, never both, and what an attempt has proven to be down no guard
//! brings up.
//!
//! With two hands on it an instance may run twice, or run although it was proven to be stopped. So nothing that a guard
//! began is under way while an attempt is.

use std::collections::BTreeSet;

use interlock_model::action::Command;
use interlock_model::names::{NodeName, ServiceName};

use super::{Invariant, Number};
use crate::fact::{AttemptEnd, Fact, Sight};
use crate::world::instance_of;

/// The instances that an attempt has stopped, and nobody has started since.
#[derive(Debug, Default)]
pub(crate) struct OneHand {
    stopped: BTreeSet<(NodeName, ServiceName)>,
}

impl Invariant for OneHand {
    fn number(&self) -> Number {
        Number::X2
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Began {
                node, id, command, ..
            } => {
                let Some(service) = instance_of(command) else {
                    return Ok(());
                };
                if !matches!(command, Command::Stop { .. }) {
                    self.stopped.remove(&((*node).clone(), service.clone()));
                }
                let machine = sight.world.machine(node);
                if machine.guarded.contains_key(service) {
                    return Err(format!(
                        "{id} began while the guard is bringing {service} up"
                    ));
                }
                match machine.in_hand(service) {
                    Some(other) => Err(format!("{id} began while {other} is under way")),
                    None => Ok(()),
                }
            }
            Fact::Ended {
                node,
                command: Command::Stop { service, .. },
                outcome: AttemptEnd::Done,
                ..
            } => {
                self.stopped.insert(((*node).clone(), service.clone()));
                Ok(())
            }
            Fact::GuardBegan { node, service } => {
                if sight.world.machine(node).guarded.contains_key(*service) {
                    return Err(format!("two guards bring up {service} on {node}"));
                }
                self.free(node, service, sight)
            }
            Fact::GuardBroughtUp { node, service } => self.free(node, service, sight),
            _ => Ok(()),
        }
    }
}

impl OneHand {
    fn free(
        &self,
        node: &NodeName,
        service: &ServiceName,
        sight: &Sight<'_>,
    ) -> Result<(), String> {
        if let Some(id) = sight.world.machine(node).in_hand(service) {
            return Err(format!(
                "the guard brings up {service} on {node} while {id} is under way"
            ));
        }
        if self.stopped.contains(&(node.clone(), service.clone())) {
            return Err(format!(
                "the guard brings up {service} on {node}, which was proven to be stopped"
            ));
        }
        Ok(())
    }
}
