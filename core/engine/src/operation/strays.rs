//! What may run on a machine that goes, and that no step of the plan stops.
//!
//! What the spec has there no more is stopped by no plan; one that takes the machine down asks a person first, in
//! `approve:let-go.SERVICE.NODE`. Right before the machine goes it is looked again, on the way back too: what the plan did not
//! ask for, because its agent was not heard then, keeps the machine on, and keeps a person from being asked to take it down.
//! So does what the spec has there and is not known to be down, whether the plan has a step for it or not: what was down when
//! the plan was made, what came up with its machine before its turn, what a person has started again or taken for stopped.

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::StepId;

use super::gates::Readiness;
use super::word::Word;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// May a machine go, as far as what the spec has there no more goes?
    pub(super) fn leaves_no_stray(
        &self,
        action: &Action,
        node: &NodeName,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        if !matches!(action, Action::PowerOff { .. } | Action::Reboot) {
            return Readiness::Yes;
        }
        let strays = ctx.strays.may_run_on(node, ctx.view).into_iter();
        let mut unasked = strays.filter(|(service, _)| !self.is_let_go(service, node));
        if let Some((service, why)) = unasked.next() {
            return Readiness::Never(format!(
                "{why}; nothing stops it, and this plan was made without it: stop {service} on {node} by hand, abort, and \
                 plan again"
            ));
        }
        let up = self.may_run(node, ctx);
        up.map_or(Readiness::Yes, Readiness::NotYet)
    }

    /// Does a step ask a person to take down a machine on which something runs that the plan did not ask for?
    pub(super) fn asks_over_stray(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let (Action::Approve { .. }, None, Some(node)) = (&step.action, &step.service, &step.node)
        else {
            return Readiness::Yes;
        };
        let goes = self.behind[at].iter().map(|&later| self.step(later));
        let mut goes = goes.filter(|later| later.node.as_ref() == Some(node));
        let strays = || ctx.strays.may_run_on(node, ctx.view).into_keys();
        match goes.find(|later| matches!(later.action, Action::PowerOff { .. })) {
            Some(off) if strays().all(|it| StepId::of_let_go(&it, node) != step.id) => {
                self.leaves_no_stray(&off.action, node, ctx)
            }
            _ => Readiness::Yes,
        }
    }

    /// Why a service of the spec may run on a node that goes; nothing known is not nothing there. Where no agent runs
    /// everything goes with its machine.
    fn may_run(&self, node: &NodeName, ctx: &Ctx<'_>) -> Option<String> {
        let here = ctx.spec.services.values();
        let mut here = here.filter(|it| it.nodes.contains(node));
        here.find_map(|service| {
            let name = &service.name;
            let planned = !self.places_of(name, node).is_empty();
            match self.word(node, name, ctx) {
                Word::Up(_, told) | Word::GoingDown(told)
                    if planned && told.last < self.proven_down(node, name) =>
                {
                    None
                }
                Word::Up(state, _) if planned => Some(format!(
                    "{name} on {node} is {state}, and its machine is about to go: stop it there, or abort and plan again"
                )),
                Word::Up(..) => Some(format!(
                    "{name} on {node} runs, which was down when the plan was made, and no step stops it: stop it there, or abort \
                     and plan again"
                )),
                Word::GoingDown(_) => Some(format!(
                    "{name} on {node} is still stopping, and its machine is about to go"
                )),
                Word::Awaited(_) if self.is_vouched_down(node, name, ctx) => None,
                Word::Awaited(why) if planned => {
                    Some(format!("{why}, and its machine is about to go"))
                }
                Word::Awaited(why) => Some(format!("{why}; no step of the plan stops it")),
                Word::Down | Word::Silent => None,
            }
        })
    }

    /// Has a person said that this may go down with its machine?
    fn is_let_go(&self, service: &ServiceName, node: &NodeName) -> bool {
        let asked = self.index.get(&StepId::of_let_go(service, node));
        asked.is_some_and(|at| {
            let is_there = self.step(*at).node.as_ref() == Some(node);
            is_there && matches!(self.steps[*at].phase, Phase::Done | Phase::Skipped)
        })
    }
}
