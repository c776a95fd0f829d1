//! Capacity: is enough of a service left in service while a step takes away a part of it?
//!
//! A plan that keeps a service running is refused if it would leave fewer instances in service than `at_least`. That was
//! counted when the plan was made. An instance that dies later, in the middle of a rolling restart, is one that the next
//! batch must not count upon. So it is counted again right before each step that takes an instance away: its drain, its
//! stop, or the power-off of a machine without an agent, which stands for the stop of all that it carries. Where a person is
//! asked to do it by hand, that is what takes it away: nobody is asked, and nobody can confirm, while too few would be left.
//!
//! What is counted is what would be left: the other instances that are in service, without those that this plan has taken
//! away and not brought back yet, and in a shutdown without all those that it takes. So the dips that the planner allowed
//! go by, and no deeper ones. Too few are waited for like a gate: the guard may bring one back. Only an instance that is
//! down is stopped all the same, for its turn may be to start again.
//!
//! On the way back a stop that takes back a start is held in the same way, and so is a drain; what was started again by
//! taking its stop back is there.
//!
//! In service is what the planner takes for it: running, its own checks green by their last fresh results, and taking part
//! in the load balancers that run.

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceState, Observations};
use interlock_model::plan::Gate;
use interlock_model::spec::Service;

use super::gates::Readiness;
use super::instances::is_agentless;
use super::{Ctx, Operation, Phase};

/// How many of those that are missing are told in a line.
const TOLD: usize = 2;

impl Operation {
    /// Is enough left in service of everything that a step takes a part of?
    pub(super) fn capacity(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let taken = self.taken(at, ctx).into_iter();
        // What is down anyway is not taken away from anybody, and may be what is missed.
        let taken = taken.filter(|(service, node)| {
            let state = ctx.view.state(ctx.spec, node, &service.name);
            !state.is_down()
        });
        taken.fold(Readiness::Yes, |so_far, (service, node)| {
            so_far.and(|| self.leaves_enough(service, node, ctx))
        })
    }

    /// Has the checks looked at again that [`capacity`](Self::capacity) goes by.
    pub(super) fn probe_capacity(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let mut gates = Vec::new();
        for (service, node) in self.taken(at, ctx) {
            for other in service.nodes.iter().filter(|other| *other != node) {
                let own = own_checks(service);
                gates.extend(own.map(|check| Gate {
                    check,
                    on: ctx.view.observer(ctx.spec, service, other).clone(),
                }));
            }
        }
        self.probe(&gates, self.since_its_turn(at, ctx), ctx);
    }

    /// The instances that a step takes out of service, of services whose capacity the plan keeps: while it is taken back,
    /// those that this takes.
    fn taken<'a>(&'a self, at: usize, ctx: &Ctx<'a>) -> Vec<(&'a Service, &'a NodeName)> {
        let action = self.undoes(at).unwrap_or(&self.step(at).action);
        self.taken_by(at, action, ctx)
    }

    fn taken_by<'a>(
        &'a self,
        at: usize,
        action: &'a Action,
        ctx: &Ctx<'a>,
    ) -> Vec<(&'a Service, &'a NodeName)> {
        let step = self.step(at);
        let mut taken = Vec::new();
        match (action, &step.service, &step.node) {
            (Action::Stop, Some(service), Some(node)) => {
                taken.extend(ctx.spec.services.get(service).map(|it| (it, node)));
            }
            (Action::Drain { member, .. }, _, _) => {
                let service = ctx.spec.services.get(&member.service);
                taken.extend(service.map(|it| (it, &member.node)));
            }
            (Action::Approve { .. }, Some(service), Some(node)) => {
                taken.extend(ctx.spec.services.get(service).map(|it| (it, node)));
            }
            (Action::PowerOff { .. } | Action::Approve { .. }, None, Some(node))
                if is_agentless(node, ctx) && !self.is_confirmed(at, node) =>
            {
                let here = ctx.spec.services.values();
                let here = here.filter(|service| service.nodes.contains(node));
                taken.extend(here.map(|service| (service, node)));
            }
            _ => {}
        }
        taken.retain(|(service, _)| self.plan().keeps.contains(&service.name));
        taken
    }

    /// What takes a step back, if it is taken back, or about to be.
    fn undoes(&self, at: usize) -> Option<&Action> {
        let is_taken_back = self.live[at].undoing
            || matches!(
                self.steps[at].phase,
                Phase::Undoing | Phase::Undone | Phase::UndoFailed
            );
        let undo = self.step(at).undo.as_ref().filter(|_| is_taken_back);
        undo.map(|undo| &*undo.0)
    }

    /// Is a person asked to take down a machine before the step that proves it? By then it goes down already.
    fn is_confirmed(&self, at: usize, node: &NodeName) -> bool {
        self.before[at].iter().any(|(other, _)| {
            let first = self.step(*other);
            matches!(first.action, Action::Approve { .. }) && first.node.as_ref() == Some(node)
        })
    }

    fn leaves_enough(&self, service: &Service, taken: &NodeName, ctx: &Ctx<'_>) -> Readiness {
        let at_least = usize::try_from(service.at_least).unwrap_or(usize::MAX);
        let balancers = service.member_of.keys();
        let balancers = balancers.filter_map(|name| ctx.spec.services.get(name));
        let places: Vec<NodeName> = balancers.flat_map(|it| it.nodes.clone()).collect();
        let places = ctx.view.snapshot_of(ctx.spec, &places, ctx.now);
        let away = self.away(service, ctx);
        let mut left = 0;
        let mut missing = Vec::new();
        for other in service.nodes.iter().filter(|node| *node != taken) {
            let why = match away.contains(other) {
                true => Some(format!("this plan takes {other}")),
                false => self.out_of_service(service, other, &places, ctx),
            };
            match why {
                None => left += 1,
                Some(why) => missing.push(why),
            }
            if left >= at_least {
                return Readiness::Yes;
            }
        }
        let mut why: Vec<String> = missing.iter().take(TOLD).cloned().collect();
        if let Some(more @ 1..) = missing.len().checked_sub(TOLD) {
            why.push(format!("and {more} more"));
        }
        Readiness::NotYet(format!(
            "at least {at_least} of {} must stay in service, and {left} would be left: {}",
            service.name,
            why.join("; ")
        ))
    }

    /// Why an instance is not in service; none if it is.
    fn out_of_service(
        &self,
        service: &Service,
        node: &NodeName,
        balancers: &Observations,
        ctx: &Ctx<'_>,
    ) -> Option<String> {
        let state = ctx.view.state(ctx.spec, node, &service.name);
        if state != InstanceState::Running {
            return Some(format!("{} on {node} is {state}", service.name));
        }
        let on = ctx.view.observer(ctx.spec, service, node);
        let wanted = own_checks(service).filter(|check| !self.plan().forced.contains(check));
        for check in wanted {
            let seen = ctx.view.check(ctx.spec, on, &check, ctx.now);
            if seen.verdict != Verdict::Ok {
                return Some(format!(
                    "{check} on {on} is {}: {}",
                    seen.verdict, seen.evidence
                ));
            }
        }
        let apart = balancers.apart(ctx.spec, service, node)?;
        Some(format!("{} on {node} is {}", service.name, apart.text))
    }

    /// The nodes whose instances of a service this plan takes away for good, or has taken and not brought back yet: by a
    /// start, or by taking the stop back.
    fn away<'a>(&'a self, service: &Service, ctx: &Ctx<'a>) -> BTreeSet<&'a NodeName> {
        let for_good = self.plan().kind.goes_down();
        let (mut taken, mut back) = (BTreeSet::new(), BTreeSet::new());
        for (at, (step, state)) in self.steps().enumerate() {
            let is_back = match step.action {
                Action::Start | Action::Verify => {
                    matches!(state.phase, Phase::Done | Phase::Skipped) && self.undoes(at).is_none()
                }
                Action::Stop => state.phase == Phase::Undone,
                _ => false,
            };
            if is_back && step.service.as_ref() == Some(&service.name) {
                back.extend(step.node.as_ref());
            }
            let has_begun = state.acted || !matches!(state.phase, Phase::Waiting | Phase::Blocked);
            // A drain that is taken back takes nothing, whether or not its stop came to be.
            let stands = has_begun && state.phase != Phase::Undone;
            let forward = (stands || for_good).then_some(&step.action);
            for action in forward.into_iter().chain(self.undoes(at)) {
                let all = self.taken_by(at, action, ctx).into_iter();
                taken.extend(
                    all.filter(|(of, _)| of.name == service.name)
                        .map(|(_, node)| node),
                );
            }
        }
        taken.retain(|node| !back.contains(node));
        taken
    }
}

/// The checks by which one instance of a service is healthy by itself. Not those that compare it with the others: what is taken
/// away or put back one by one differs from the rest until all of it is.
pub(super) fn own_checks(service: &Service) -> impl Iterator<Item = CheckId> + '_ {
    let own = service.checks.iter().filter(|(name, check)| {
        check.from == CheckFrom::Own
            && !matches!(check.kind, CheckKind::Same { .. })
            && !service.active_when.contains(name)
    });
    own.map(|(name, _)| CheckId {
        service: service.name.clone(),
        check: name.clone(),
    })
}
