//! Roles that an operation moves: has one arrived, and has a standby what its primary has?
//!
//! Nobody is asked to do anything by these steps. They wait until what is known says so, and are proven by that.
//!
//! | what a `verify-role` waits for | by whose word |
//! |---|---|
//! | the instance is primary, and so takes writes | its agent |
//! | the one that the plan moves the role from is a standby, or down, and so takes none | its agent, or its power source |
//! | nobody else says to be primary | their agents, as far as they are heard: the lease keeps off who is not |
//! | each address of the service answers | one of the nodes that are no members of it: all that are heard are asked |
//!
//! A word counts if its agent was heard since the step's turn came: agents tell what has changed before they say that they live.
//! What is not known is not so. The proof names who has said what, and how old that is.
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
                .takes_writes(service, node, ready, ctx)
                .and(|| self.source_takes_none(service, node, ready, ctx))
                .and(|| is_alone(service, node, ctx))
                .and(|| {
                    if from.is_empty() {
                        return Readiness::Yes;
                    }
                    let open = addresses
                        .iter()
                        .find_map(|address| unanswered(service, address, from, ready, ctx));
                    open.map_or(Readiness::Yes, Readiness::NotYet)
                }),
            Action::CatchUp => has_caught_up(service, node, ready, ctx),
            _ => Readiness::Yes,
        }
    }

    /// May a member be let in again on the way back? Not a standby that has not caught up since it was started.
    pub(super) fn may_be_let_in(&self, undo: &Action, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let Action::Admit { member } = undo else {
            return Readiness::Yes;
        };
        let service = ctx.spec.services.get(&member.service);
        let Some(service) = service.filter(|service| service.is_leased()) else {
            return Readiness::Yes;
        };
        match self.takes_writes(service, &member.node, ready, ctx) {
            Readiness::Yes => Readiness::Yes,
            Readiness::NotYet(_) | Readiness::Never(_) => {
                has_caught_up(service, &member.node, ready, ctx)
            }
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
        let word = |of: &NodeName| match ctx.view.node(of).and_then(|seen| seen.heard) {
            Some(heard) => format!("by its agent, {} ago", age(heard, ctx)),
            None => "by its agent".to_owned(),
        };
        let mut seen = vec![match role(service, node, ctx) {
            Some(role) if role.detail.is_empty() => {
                format!("{node} takes writes in {} ({})", role.epoch, word(node))
            }
            Some(role) => format!(
                "{node} takes writes in {} ({}; {})",
                role.epoch,
                role.detail,
                word(node)
            ),
            None => format!("{node} takes writes"),
        }];
        let source = self.plan().assumptions.get(&service.name);
        match source.map(|it| &it.active).filter(|it| *it != node) {
            Some(source) if ctx.view.is_off(source) => {
                seen.push(format!("{source} is off"));
            }
            Some(source) => seen.push(format!("{source} takes none ({})", word(source))),
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
            (false, false) => seen.extend(addresses.iter().flat_map(|address| {
                let answers = ctx
                    .view
                    .answers_since(&service.name, address, Duration::ZERO);
                answers.map(move |answer| {
                    let what = match answer.answered {
                        Some(true) => "answers",
                        Some(false) => "does not answer",
                        None => "could not be tried by",
                    };
                    let ago = age(answer.asked, ctx);
                    format!("{address} {what} {}, asked {ago} ago", answer.by)
                })
            })),
        }
        seen.join("; ")
    }

    /// Has nodes outside of the service try its addresses: what one cannot reach, another one may.
    pub(super) fn try_addresses(&self, at: usize, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        let (Action::VerifyRole { addresses, from }, Some(service), Some(node)) =
            (&step.action, &step.service, &step.node)
        else {
            return;
        };
        for on in from.iter().filter(|on| ctx.view.alive(on)) {
            let tries = addresses.iter().map(|address| Effect::TryAddress {
                on: on.clone(),
                service: service.clone(),
                node: node.clone(),
                address: address.clone(),
            });
            ctx.effects.extend(tries);
        }
    }

    fn of_role<'a>(&'a self, at: usize, ctx: &Ctx<'a>) -> Option<(&'a Service, &'a NodeName)> {
        let step = self.step(at);
        let service = ctx.spec.services.get(step.service.as_ref()?)?;
        Some((service, step.node.as_ref()?))
    }

    fn takes_writes(
        &self,
        service: &Service,
        node: &NodeName,
        since: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        if !is_heard_since(node, since, ctx) {
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
    fn source_takes_none(
        &self,
        service: &Service,
        node: &NodeName,
        since: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let source = self.plan().assumptions.get(&service.name);
        let Some(source) = source.map(|it| &it.active).filter(|it| *it != node) else {
            return Readiness::Yes;
        };
        if ctx.view.is_off(source) {
            return Readiness::Yes;
        }
        if !is_heard_since(source, since, ctx) {
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

/// Has a standby what its primary has, as the leader of its lease has judged since then?
fn has_caught_up(service: &Service, node: &NodeName, since: Duration, ctx: &Ctx<'_>) -> Readiness {
    let name = &service.name;
    match ctx.view.fitness_since(name, node, since) {
        Fitness::Fit => Readiness::Yes,
        Fitness::Unfit(why) | Fitness::Lacks(_, why) => {
            Readiness::NotYet(format!("{name} on {node} has not caught up: {why}"))
        }
        Fitness::Unknown => Readiness::NotYet(format!(
            "nobody has said yet whether {name} on {node} has caught up"
        )),
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

/// Is the agent of a node heard without a gap, and was it since then? What it had to tell by then was told.
fn is_heard_since(node: &NodeName, since: Duration, ctx: &Ctx<'_>) -> bool {
    let seen = ctx.view.node(node).filter(|_| ctx.view.connected(node));
    seen.is_some_and(|seen| {
        seen.liveness == Liveness::Alive && seen.heard.is_some_and(|heard| heard >= since)
    })
}

/// Why nobody is known to get an answer at an address since then; none if somebody does.
fn unanswered(
    service: &Service,
    address: &str,
    from: &[NodeName],
    since: Duration,
    ctx: &Ctx<'_>,
) -> Option<String> {
    let answers = || ctx.view.answers_since(&service.name, address, since);
    if answers().any(|answer| answer.answered == Some(true)) {
        return None;
    }
    let said: Vec<String> = answers()
        .map(|answer| {
            let what = match answer.answered {
                Some(_) => "does not answer",
                None => "could not be tried by",
            };
            format!("{address} {what} {}: {}", answer.by, answer.detail)
        })
        .collect();
    if !said.is_empty() {
        return Some(said.join("; "));
    }
    let asked = from.iter().filter(|on| ctx.view.alive(on));
    let asked: Vec<&str> = asked.map(NodeName::as_str).collect();
    Some(match asked.as_slice() {
        [] => {
            format!("none of those that were to try {address} is heard any more; nobody tries it")
        }
        [one] => format!("{one} tries {address}"),
        several => format!("{} try {address}", several.join(", ")),
    })
}

fn age(at: Duration, ctx: &Ctx<'_>) -> String {
    format!("{:.1}s", ctx.now.since(at).as_secs_f64())
}
