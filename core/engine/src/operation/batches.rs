//! Batches: does the next one begin only upon the one before, and upon what it will need itself to come back?
//!
//! A restart takes instances down a batch at a time, and a reboot machines. The edges of the plan say that the batch before
//! was healthy at one moment. A person may have paused the operation since, and what was started may have lost what it
//! requires: its own checks stay green while nobody can use it. So right before a stop, and the drain that leads to it, is
//! looked at again
//!
//! * each start that it comes behind, of the batch before or of a service that is restarted first: is its instance up, are
//!   its checks green by their last fresh results, and are the gates of that start green, by a look since this one's turn?
//!   For a primary by its lease the checks are those of its promotion;
//! * the gates of the start that shall bring back this very instance: what would wait for a database that cannot be reached
//!   from its node is not stopped for it.
//!
//! An instance that is down anyway is not held: nothing is taken away, and its turn may be to come back. A start that a person
//! took for done is believed, unless it is seen down (`vouched`). A gate about a service of which something is down that this plan brings back is not asked here:
//! the start waits for it. Nor are the own checks of what requires such a service, itself or by what it requires, once the plan
//! has begun to stop it: they may be red for that alone, and what would turn them green comes behind this very step.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Gate, PlanKind, Wait};

use super::gates::Readiness;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// May a step take its instance away, as far as the batch before goes, and what its own start will wait for?
    pub(super) fn batches(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let Some(start) = self.brought_back(at, ctx) else {
            return Readiness::Yes;
        };
        for other in self.started_before(at) {
            let first = self.step(other).id.clone();
            match self.stands(other, ready, ctx) {
                Readiness::Yes => {}
                Readiness::NotYet(why) => {
                    return Readiness::NotYet(format!("{first} to stand: {why}"));
                }
                Readiness::Never(why) => {
                    return Readiness::Never(format!(
                        "{why}, after {first} was done: repair that and `retry`, or abort and plan again"
                    ));
                }
            }
        }
        match self.gates(start, &self.own_gates(start, ctx), ready, ctx) {
            Readiness::NotYet(why) => Readiness::NotYet(format!(
                "what {} needs to bring it back: {why}",
                self.step(start).id
            )),
            other => other,
        }
    }

    /// Has the checks looked at again that [`batches`](Self::batches) goes by.
    pub(super) fn probe_batches(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(start) = self.brought_back(at, ctx) else {
            return;
        };
        let mut gates = self.own_gates(start, ctx);
        for other in self.started_before(at) {
            let step = self.step(other);
            gates.extend(step.gates.iter().chain(&step.healthy).cloned());
        }
        self.probe(&gates, self.since_its_turn(at, ctx), ctx);
    }

    /// The start that brings back what a step of a restart takes away; none if it takes away nothing that is there.
    fn brought_back(&self, at: usize, ctx: &Ctx<'_>) -> Option<usize> {
        if !matches!(self.plan().kind, PlanKind::Restart | PlanKind::Reboot) {
            return None;
        }
        let step = self.step(at);
        let (service, node): (&ServiceName, &NodeName) = match (&step.action, &step.service) {
            (Action::Stop, Some(service)) => (service, step.node.as_ref()?),
            (Action::Drain { member, .. }, _) => (&member.service, &member.node),
            _ => return None,
        };
        if ctx.view.state(ctx.spec, node, service).is_down() {
            return None;
        }
        let later = self.places_of(service, node).iter().copied();
        later
            .filter(|&later| later > at)
            .find(|&later| self.starts(later))
    }

    fn starts(&self, at: usize) -> bool {
        matches!(self.step(at).action, Action::Start | Action::Verify)
    }

    /// The proven starts and promotions that a step comes behind, also through what stands between them: where many meet,
    /// what joins a load balancer again, and the drain of this instance.
    fn started_before(&self, at: usize) -> BTreeSet<usize> {
        let mut started = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = self.before[at].iter().map(|(other, _)| *other).collect();
        while let Some(other) = open.pop() {
            match self.step(other).action {
                Action::Start | Action::Verify if self.steps[other].phase == Phase::Done => {
                    started.insert(other);
                }
                Action::Check
                | Action::Approve { .. }
                | Action::Promote
                | Action::Drain { .. }
                | Action::Admit { .. }
                    if seen.insert(other) =>
                {
                    if self.is_promoted(other) {
                        started.insert(other);
                    }
                    open.extend(self.before[other].iter().map(|(before, _)| *before));
                }
                _ => {}
            }
        }
        started
    }

    /// Is it a proven promotion? The checks of the primary are its own, and not those of the start before it.
    fn is_promoted(&self, at: usize) -> bool {
        self.step(at).action == Action::Promote && self.steps[at].phase == Phase::Done
    }

    /// The gates of a start, without those about a service that the plan has yet to bring back.
    fn own_gates(&self, start: usize, ctx: &Ctx<'_>) -> Vec<Gate> {
        let gates = self.step(start).gates.iter();
        let asked = gates.filter(|gate| !self.has_down(&gate.check.service, ctx));
        asked.cloned().collect()
    }

    /// Does a start that a step comes behind still stand? All is green as a rule, and then nobody needs to know what may be red.
    fn stands(&self, start: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(start);
        let all = self
            .is_still_up(start, Wait::Healthy, ctx)
            .and(|| self.gates(start, &step.gates, ready, ctx));
        if matches!(all, Readiness::Yes) {
            return all;
        }
        let below_is_down = step
            .service
            .as_ref()
            .is_some_and(|name| self.stands_upon_down(name, ctx));
        let until = match below_is_down {
            true => Wait::Up,
            false => Wait::Healthy,
        };
        self.is_still_up(start, until, ctx)
            .and(|| self.gates(start, &self.own_gates(start, ctx), ready, ctx))
    }

    /// Does a service require one, itself or by what it requires, that the plan has stopped and has yet to bring back?
    fn stands_upon_down(&self, service: &ServiceName, ctx: &Ctx<'_>) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![service];
        while let Some(name) = open.pop() {
            let Some(service) = ctx.spec.services.get(name) else {
                continue;
            };
            let needed = service.dependencies.iter().filter(|(_, edge)| edge.needed);
            for (required, _) in needed {
                if self.has_taken_down(required) {
                    return true;
                }
                if seen.insert(required) {
                    open.push(required);
                }
            }
        }
        false
    }

    /// Is an instance of a service down, or going down, that the plan brings back?
    fn has_down(&self, service: &ServiceName, ctx: &Ctx<'_>) -> bool {
        self.yet_to_start(service).any(|node| {
            self.is_stopping(service, node)
                || ctx.view.state(ctx.spec, node, service) != InstanceState::Running
        })
    }

    /// The same, of those that the plan itself has begun to stop.
    fn has_taken_down(&self, service: &ServiceName) -> bool {
        self.yet_to_start(service)
            .any(|node| self.is_stopping(service, node))
    }

    /// The nodes on which the plan has an instance of a service yet to start.
    fn yet_to_start<'a>(&'a self, service: &ServiceName) -> impl Iterator<Item = &'a NodeName> {
        let nodes = self.places.get(service).into_iter().flatten();
        let is_open = move |at: &usize| {
            let phase = self.steps[*at].phase;
            self.starts(*at) && !matches!(phase, Phase::Done | Phase::Skipped)
        };
        nodes
            .filter(move |(_, steps)| steps.iter().any(is_open))
            .map(|(node, _)| node)
    }

    /// Has the plan begun to stop an instance?
    fn is_stopping(&self, service: &ServiceName, node: &NodeName) -> bool {
        self.places_of(service, node).iter().any(|&at| {
            self.step(at).action == Action::Stop
                && !matches!(self.steps[at].phase, Phase::Waiting | Phase::Blocked)
        })
    }
}
