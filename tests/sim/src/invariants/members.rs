//! A member is out of its load balancers before it is stopped, and in them again when it is said to be back.
//!
//! Where a plan drains a member on a balancer, no stop of it begins while that balancer runs and sends to it. Where one admits
//! it, the balancer sends to it when the operation says that it is done. What a person has taken for done may be otherwise.

use interlock_model::action::{Action, Command};
use interlock_model::ids::AttemptId;
use interlock_model::member::Member;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, Step};

use super::decided::{Decided, entries};
use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// What was decided when.
#[derive(Debug, Default)]
pub(crate) struct Members(Decided);

impl Invariant for Members {
    fn number(&self) -> Number {
        Number::Members
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
                command: Command::Stop { service, .. },
                ..
            } => self.stops(node, service, id, sight),
            Fact::Done(plan) if self.0.nothing_is_skipped() => is_back(plan, sight),
            _ => Ok(()),
        }
    }
}

impl Members {
    fn stops(
        &self,
        node: &NodeName,
        service: &ServiceName,
        id: &AttemptId,
        sight: &mut Sight<'_>,
    ) -> Result<(), String> {
        let Some(plan) = sight.store.plan(id.operation) else {
            return Ok(());
        };
        for (step, on, balancer, member) in drains(plan.plan()) {
            let is_it = (&member.node, &member.service) == (node, service);
            if !is_it || self.0.is_skipped(id.operation, &step.id) {
                continue;
            }
            // A balancer that has come up by itself since has not been heard of.
            let there = sight.world.machine(on).instances.get(balancer);
            let known = there.is_some_and(|it| self.0.was_known(it, id));
            if known && sight.world.sends_to(on, balancer, member) {
                return Err(format!(
                    "{id} begins, and {balancer} on {on} sends to {member}"
                ));
            }
        }
        Ok(())
    }
}

/// The drains of a plan: where, by which balancer, whom.
fn drains(plan: &Plan) -> impl Iterator<Item = (&Step, &NodeName, &ServiceName, &Member)> {
    let steps = plan.steps.iter();
    steps.filter_map(|step| match &step.action {
        Action::Drain { member, .. } => {
            Some((step, step.node.as_ref()?, step.service.as_ref()?, member))
        }
        _ => None,
    })
}

/// Does everybody take part whom a plan has admitted?
fn is_back(plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
    for step in &plan.steps {
        let (Action::Admit { member }, Some(on), Some(balancer)) =
            (&step.action, &step.node, &step.service)
        else {
            continue;
        };
        let runs = sight.world.works(on, balancer, sight.now);
        if runs && !sight.world.sends_to(on, balancer, member) {
            return Err(format!(
                "the operation is done, and {balancer} on {on} leaves {member} out"
            ));
        }
    }
    Ok(())
}
