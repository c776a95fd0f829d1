//! Nothing goes down with its machine that should have been stopped before.
//!
//! When an operating system is told to go down or to restart, nothing that the spec has on that machine is up: neither what
//! the plan stops there, nor what it had no reason to stop because it was down. Three things may be: what a person has taken
//! for done, what came up by itself so shortly before that nobody can have heard of it, and what came up with its machine
//! (`boot: autostart`) where the plan that switched that on is taken back before it has verified it.

use std::collections::BTreeSet;

use interlock_model::action::{Action, Command};
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::Boot;

use super::decided::{Decided, entries};
use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// What was decided when.
#[derive(Debug, Default)]
pub(crate) struct Under(Decided);

impl Invariant for Under {
    fn number(&self) -> Number {
        Number::Under
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Stored(writes) => {
                for (id, entry) in entries(writes) {
                    self.0.note(id, &entry, sight.now);
                }
                Ok(())
            }
            Fact::Began {
                node,
                id,
                command: Command::Shutdown { .. } | Command::Reboot,
                ..
            } => self.goes(node, id, sight),
            _ => Ok(()),
        }
    }
}

impl Under {
    fn goes(&self, node: &NodeName, id: &AttemptId, sight: &mut Sight<'_>) -> Result<(), String> {
        let plan = sight.store.plan(id.operation);
        let steps = plan.iter().flat_map(|plan| &plan.plan().steps);
        let taken_back = steps
            .clone()
            .any(|step| step.id == id.step && matches!(step.action, Action::PowerOn { .. }));
        let comes_up = |service: &ServiceName| {
            let declared = sight.world.spec.services.get(service);
            declared.is_some_and(|it| it.boot == Boot::Autostart)
        };
        let skipped: BTreeSet<&ServiceName> = steps
            .filter(|step| step.node.as_ref() == Some(node))
            .filter(|step| self.0.is_skipped(id.operation, &step.id))
            .filter_map(|step| step.service.as_ref())
            .collect();
        let instances = sight.world.machine(node).instances.iter();
        let mut up = instances.filter(|(service, instance)| {
            let may_be_up = skipped.contains(service) || taken_back && comes_up(service);
            !instance.state.is_down() && self.0.was_known(instance, id) && !may_be_up
        });
        match up.next() {
            Some((service, instance)) => Err(format!(
                "{id} takes {node} down, and {service} is {} there",
                instance.state
            )),
            None => Ok(()),
        }
    }
}
