//! I9: a plan that is started is, byte for byte, the plan that was shown; where its assumptions no longer hold, it halts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::operation::What;
use interlock_model::action::{Action, Command};
use interlock_model::ids::AttemptId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Digest, Known, Step};

use super::{Invariant, Number, ON_THE_WAY};
use crate::fact::{Fact, Sight};

/// The plans that were shown, and since when each active side is where it is.
#[derive(Debug, Default)]
pub(crate) struct ShownPlan {
    shown: BTreeSet<Digest>,
    active: BTreeMap<ServiceName, (NodeName, Duration)>,
}

impl Invariant for ShownPlan {
    fn number(&self) -> Number {
        Number::I9
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Shown(digest) => {
                self.shown.insert(*digest);
                Ok(())
            }
            Fact::Moment => {
                self.look(sight);
                Ok(())
            }
            Fact::Began {
                node, id, command, ..
            } => self.began(node, id, command, sight),
            _ => Ok(()),
        }
    }
}

impl ShownPlan {
    fn look(&mut self, sight: &Sight<'_>) {
        for service in sight.world.spec.services.values() {
            let Some(active) = sight.world.active(&service.name) else {
                continue;
            };
            let known = self
                .active
                .entry(service.name.clone())
                .or_insert_with(|| (active.clone(), sight.now));
            // Nobody can see a side as the active one while it is down.
            let is_up = sight.world.state(active, &service.name) == InstanceState::Running;
            if known.0 != *active || !is_up {
                *known = (active.clone(), sight.now);
            }
        }
    }

    fn began(
        &self,
        node: &NodeName,
        id: &AttemptId,
        command: &Command,
        sight: &mut Sight<'_>,
    ) -> Result<(), String> {
        let digest = sight.store.digest(id.operation);
        if !self.shown.contains(&digest) {
            return Err(format!(
                "{id} belongs to the plan {digest}, which nobody was shown"
            ));
        }
        let plan = sight.store.plan(id.operation);
        let Some(plan) = plan.as_ref().map(|plan| plan.plan()) else {
            return Err(format!("{id} belongs to a plan that cannot be read"));
        };
        let Some(step) = plan.steps.iter().find(|step| step.id == id.step) else {
            return Err(format!("{id} belongs to no step of its plan"));
        };
        // What an earlier attempt has verified is not what came up with the machine any more: another one starts it.
        let is_verified = || {
            let proven =
                |what: &What| matches!(what, What::Proven { step, .. } if *step == id.step);
            let mut journal = sight.store.journal(id.operation);
            journal.any(|entry| proven(&entry.what))
        };
        let starts_again = matches!(
            (&step.action, command, &step.node),
            (Action::Verify, Command::Start { service, .. }, Some(on))
                if step.service.as_ref() == Some(service) && on == node
        );
        if !(as_planned(step, node, command) || starts_again && is_verified()) {
            return Err(format!(
                "{id} does {} on {node}, which its step does not say",
                command.word()
            ));
        }
        let (Command::Stop { service, .. }, Action::Stop) = (command, &step.action) else {
            return Ok(());
        };
        match (plan.assumptions.get(service), self.active.get(service)) {
            (Some(assumed), Some((active, since)))
                if assumed.known == Known::Observed
                    && assumed.active != *active
                    && sight.now.saturating_sub(*since) > ON_THE_WAY
                    && sight.world.state(active, service) == InstanceState::Running =>
            {
                Err(format!(
                    "{id} began although {service} has been active on {active} and no longer on {}",
                    assumed.active
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Does the step, or what takes it back, ask for this command there?
fn as_planned(step: &Step, node: &NodeName, command: &Command) -> bool {
    let undo = step.undo.as_ref().map(|undo| &*undo.0);
    [Some(&step.action), undo]
        .into_iter()
        .flatten()
        .any(|action| match (action, command) {
            (Action::Start, Command::Start { service, .. })
            | (Action::Stop, Command::Stop { service, .. })
            | (Action::Verify, Command::Verify { service, .. }) => {
                step.service.as_ref() == Some(service) && step.node.as_ref() == Some(node)
            }
            (Action::PowerOff { .. }, Command::Shutdown { .. })
            | (Action::Reboot, Command::Reboot) => step.node.as_ref() == Some(node),
            (
                Action::Drain { member, .. },
                Command::Drain {
                    balancer,
                    member: asked,
                    ..
                },
            )
            | (
                Action::Admit { member },
                Command::Admit {
                    balancer,
                    member: asked,
                },
            ) => {
                step.service.as_ref() == Some(balancer)
                    && step.node.as_ref() == Some(node)
                    && member == asked
            }
            (
                Action::TryFile { .. } | Action::WriteFile { .. } | Action::RestoreFile { .. },
                Command::File { service, .. },
            ) => {
                action.word() == command.word()
                    && step.service.as_ref() == Some(service)
                    && step.node.as_ref() == Some(node)
            }
            (Action::PowerOn { power }, Command::Fence { request }) => {
                power.via.contains(node) && step.node.as_ref() == Some(&request.node)
            }
            _ => false,
        })
}
