//! Roles that an operation moves: has one arrived, and has a standby what its primary has?
//!
//! Nobody is asked to do anything by these steps. They wait until what is known says so, and are proven by that.
//!
//! | what a `verify-role` waits for | by whose word |
//! |---|---|
//! | the instance is primary, and so takes writes | its agent |
//! | the one that the plan moves the role from is a standby, or down, and so takes none | its agent, or its power source |
//! | nobody else says to be primary | their agents, as far as they are heard: the lease keeps off who is not |
//! | each address of the service answers | a node that is no member of it, asked since the step's turn came |
//!
//! Where no such node was heard when the plan was made, or the service has no address, the proof says so. A machine that is
//! down by a person's word is what a failover by hand rests on: nothing more can be known of it.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Fitness, Liveness, RoleObservation, Side};
use interlock_model::plan::Assumption;
use interlock_model::spec::Service;

use super::gates::Readiness;
use super::{Ctx, Effect, Operation, Phase};

impl Operation {
    /// The active side that a step reckons with: where a promotion of this very operation has moved the role meanwhile, that
    /// is where it is.
    pub(super) fn expected_side(&self, at: usize, service: &ServiceName) -> Option<Assumption> {
        let assumption = self.plan().assumptions.get(service)?;
        let moved = self.steps().take(at).filter(|(step, state)| {
            step.action == Action::Promote
                && step.service.as_ref() == Some(service)
                && matches!(state.phase, Phase::Done | Phase::Skipped)
        });
        let active = moved.filter_map(|(step, _)| step.node.clone()).last();
        Some(Assumption {
            active: active.unwrap_or_else(|| assumption.active.clone()),
            known: assumption.known,
        })
    }

    /// Where the role of a service is once the plan is carried out; none if the plan takes nothing for granted of it.
    pub(super) fn final_side(&self, service: &ServiceName) -> Option<NodeName> {
        let promoted = self.steps().filter(|(step, _)| {
            step.action == Action::Promote && step.service.as_ref() == Some(service)
        });
        let last = promoted.filter_map(|(step, _)| step.node.clone()).last();
        last.or_else(|| Some(self.plan().assumptions.get(service)?.active.clone()))
    }

    /// Is what a step looks for so?
    pub(super) fn arrival(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let Some((service, node)) = self.of_role(at, ctx) else {
            return Readiness::Yes;
        };
        match &self.step(at).action {
            Action::VerifyRole { addresses, from } => self
                .takes_writes(service, node, ctx)
                .and(|| self.source_takes_none(service, node, ctx))
                .and(|| is_alone(service, node, ctx))
                .and(|| {
                    if from.is_empty() {
                        return Readiness::Yes;
                    }
                    let open = addresses.iter().find_map(|address| {
                        let answer = ctx.view.answer_since(&service.name, address, ready);
                        match answer {
                            Some(answer) if answer.answered => None,
                            Some(answer) => Some(format!(
                                "{address} does not answer {}: {}",
                                answer.by, answer.detail
                            )),
                            None => Some(format!("{} tries {address}", asked(from, ctx))),
                        }
                    });
                    open.map_or(Readiness::Yes, Readiness::NotYet)
                }),
            Action::CatchUp => match ctx.view.fitness_since(&service.name, node, ready) {
                Fitness::Fit => Readiness::Yes,
                Fitness::Unfit(why) => Readiness::NotYet(format!(
                    "{} on {node} has not caught up: {why}",
                    service.name
                )),
                Fitness::Unknown => Readiness::NotYet(format!(
                    "nobody has said yet whether {} on {node} has caught up",
                    service.name
                )),
            },
            _ => Readiness::Yes,
        }
    }

    /// What was seen, for the journal.
    pub(super) fn arrival_seen(&self, at: usize, ctx: &Ctx<'_>) -> String {
        let Some((service, node)) = self.of_role(at, ctx) else {
            return "reached".to_owned();
        };
        let Action::VerifyRole { addresses, from } = &self.step(at).action else {
            return format!("{} on {node} has what its primary has", service.name);
        };
        let mut seen = vec![match role(service, node, ctx) {
            Some(role) if role.detail.is_empty() => {
                format!("{node} takes writes in {}", role.epoch)
            }
            Some(role) => format!("{node} takes writes in {} ({})", role.epoch, role.detail),
            None => format!("{node} takes writes"),
        }];
        let source = self.plan().assumptions.get(&service.name);
        match source.map(|it| &it.active).filter(|it| *it != node) {
            Some(source) if ctx.view.is_off(source) => {
                seen.push(format!("{source} is off"));
            }
            Some(source) => seen.push(format!("{source} takes none")),
            None => {}
        }
        let unheard = service
            .nodes
            .iter()
            .filter(|other| *other != node && !ctx.view.alive(other) && !ctx.view.is_off(other));
        seen.extend(
            unheard.map(|other| {
                format!("{other} is not heard: only the lease says that it takes none")
            }),
        );
        match (addresses.is_empty(), from.is_empty()) {
            (true, _) => seen.push("it has no address that another machine could try".to_owned()),
            (false, true) => seen.push(
                "its address was tried by nobody else: no node outside of it was heard".to_owned(),
            ),
            (false, false) => seen.extend(addresses.iter().filter_map(|address| {
                let answer = ctx
                    .view
                    .answer_since(&service.name, address, Duration::ZERO)?;
                Some(format!("{address} answers {}", answer.by))
            })),
        }
        seen.join("; ")
    }

    /// Has a node outside of the service try its addresses.
    pub(super) fn try_addresses(&self, at: usize, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        let (Action::VerifyRole { addresses, from }, Some(service), Some(node)) =
            (&step.action, &step.service, &step.node)
        else {
            return;
        };
        let Some(on) = from.iter().find(|on| ctx.view.alive(on)) else {
            return;
        };
        let tries = addresses.iter().map(|address| Effect::TryAddress {
            on: on.clone(),
            service: service.clone(),
            node: node.clone(),
            address: address.clone(),
        });
        ctx.effects.extend(tries);
    }

    fn of_role<'a>(&'a self, at: usize, ctx: &Ctx<'a>) -> Option<(&'a Service, &'a NodeName)> {
        let step = self.step(at);
        let service = ctx.spec.services.get(step.service.as_ref()?)?;
        Some((service, step.node.as_ref()?))
    }

    fn takes_writes(&self, service: &Service, node: &NodeName, ctx: &Ctx<'_>) -> Readiness {
        if !ctx.view.alive(node) {
            return Readiness::NotYet(format!("the agent of {node} is not heard"));
        }
        match role(service, node, ctx) {
            Some(role) if role.side == Side::Primary => Readiness::Yes,
            Some(role) => Readiness::NotYet(format!(
                "{} on {node} is not its primary: its side is {} ({})",
                service.name, role.side, role.detail
            )),
            None => Readiness::NotYet(format!("{node} has not said which side it is")),
        }
    }

    /// Whoever had the role when the plan was made is to say that it takes no writes any more, or its power source that it is off.
    fn source_takes_none(&self, service: &Service, node: &NodeName, ctx: &Ctx<'_>) -> Readiness {
        let source = self.plan().assumptions.get(&service.name);
        let Some(source) = source.map(|it| &it.active).filter(|it| *it != node) else {
            return Readiness::Yes;
        };
        if ctx.view.is_off(source) {
            return Readiness::Yes;
        }
        let liveness = ctx.view.node(source).map(|seen| seen.liveness);
        if liveness != Some(Liveness::Alive) || !ctx.view.connected(source) {
            return Readiness::NotYet(format!(
                "the agent of {source} is not heard, so nobody says that {} takes no writes there",
                service.name
            ));
        }
        if ctx.view.state(ctx.spec, source, &service.name).is_down() {
            return Readiness::Yes;
        }
        match role(service, source, ctx) {
            Some(role) if role.side == Side::Standby => Readiness::Yes,
            Some(role) => Readiness::NotYet(format!(
                "{} on {source} may take writes: its side is {}",
                service.name, role.side
            )),
            None => Readiness::NotYet(format!("{source} has not said which side it is")),
        }
    }
}

/// Does nobody else say to be primary?
fn is_alone(service: &Service, node: &NodeName, ctx: &Ctx<'_>) -> Readiness {
    let says_so = |other: &&NodeName| {
        let role = role(service, other, ctx);
        *other != node
            && ctx.view.alive(other)
            && role.is_some_and(|role| role.side == Side::Primary)
    };
    match service.nodes.iter().find(says_so) {
        Some(other) => Readiness::NotYet(format!(
            "{} on {other} says to be primary as well",
            service.name
        )),
        None => Readiness::Yes,
    }
}

fn role<'a>(service: &Service, node: &NodeName, ctx: &Ctx<'a>) -> Option<&'a RoleObservation> {
    let (instance, _) = ctx.view.instance(node, &service.name)?;
    instance.role.as_ref()
}

fn asked(from: &[NodeName], ctx: &Ctx<'_>) -> String {
    match from.iter().find(|on| ctx.view.alive(on)) {
        Some(on) => on.to_string(),
        None => "none of those that were to try it is heard any more; nobody".to_owned(),
    }
}
