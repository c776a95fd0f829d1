//! What stands beside the plan: services that the spec ties to those that a step touches, and that no step of the plan does.
//!
//! A plan has no step for what needs none: what is required and runs already, a dependant that is down already. Both may
//! change before a step's turn comes, by another operation, by a person at an agent's door, by themselves. So the spec's own
//! edges are asked once more:
//!
//! | before | is looked at |
//! |---|---|
//! | a start, going forward or back | of each service that it requires, without a step of the plan that stands for it: do enough instances run? |
//! | a stop in a shutdown that takes the service away | of each service that requires it: does an instance run that the plan does not stop? |
//! | a stop that takes back a start | the same, if fewer than `at_least` others of the service are up; what the way back has |
//! | | stopped before counts if it runs again |
//!
//! *Enough* is what the planner takes for it: the active side, or `at_least` instances and one at any rate. A standby that runs
//! is no active side; which it is must be known where the spec has checks for that. For a start only what is known to run
//! counts (invariant I5). For a stop what is seen running does, and what is not known yet is waited for (`word`); the silence
//! of an agent that is lost says nothing.

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Active, InstanceState};
use interlock_model::plan::{Known, Wait};
use interlock_model::spec::Service;

use super::gates::Readiness;
use super::instances::LATE_LOOK;
use super::word::Word;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// Does what a start requires run, where no step of the plan stands for it? `stands` tells of the others.
    pub(super) fn finds_requirements(
        &self,
        service: &Service,
        stands: impl Fn(&ServiceName) -> bool,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        for (name, dependency) in &service.dependencies {
            let waits = matches!(dependency.start, Wait::Up | Wait::Healthy);
            if !dependency.needed || !waits || stands(name) {
                continue;
            }
            let required = ctx.spec.services.get(name).filter(|it| !it.external);
            if let Some(why) = required.and_then(|required| self.too_few(required, ctx)) {
                return Readiness::NotYet(format!("it requires {name}, and {why}"));
            }
        }
        Readiness::Yes
    }

    /// Has a person taken a step for done that stands for a service?
    pub(super) fn is_vouched_for(&self, service: &ServiceName) -> bool {
        self.steps().any(|(step, state)| {
            state.phase == Phase::Skipped
                && step.service.as_ref() == Some(service)
                && matches!(
                    step.action,
                    Action::Start | Action::Verify | Action::Check | Action::Promote
                )
        })
    }

    /// Does nothing run that requires what this stop takes away, and that the plan does not stop itself?
    pub(super) fn strands_nobody(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let service = step.service.as_ref();
        let service = service.and_then(|name| ctx.spec.services.get(name));
        match (service, &step.action) {
            (Some(service), Action::Stop) if self.takes_away(service, ctx) => {
                let stops = |it: &Service, node: &NodeName| self.has(&Action::Stop, it, node);
                self.no_dependant_runs(service, stops, ctx)
            }
            _ => Readiness::Yes,
        }
    }

    /// The same for a stop that takes back a start.
    pub(super) fn strands_nobody_going_back(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let service = step.service.as_ref();
        let Some(service) = service.and_then(|name| ctx.spec.services.get(name)) else {
            return Readiness::Yes;
        };
        // It was stopped under them on the way, and starts again at once.
        let again = step.node.as_ref();
        if again.is_some_and(|node| self.has(&Action::Stop, service, node)) {
            return Readiness::Yes;
        }
        let at_least = match service.is_exclusive() {
            true => 1,
            false => usize::try_from(service.at_least)
                .unwrap_or(usize::MAX)
                .max(1),
        };
        if self.up_elsewhere(service, &Action::Start, ctx) >= at_least {
            return Readiness::Yes;
        }
        let has_its_turn = |dependant: &Service, node: &NodeName| {
            let mut places = self.places_of(&dependant.name, node).iter();
            places.any(|&it| self.needs_undo(it) || self.steps[it].phase == Phase::Undoing)
        };
        self.no_dependant_runs(service, has_its_turn, ctx)
    }

    /// Does a shutdown take a service away as a whole, as far as that can be seen?
    fn takes_away(&self, service: &Service, ctx: &Ctx<'_>) -> bool {
        if !self.plan().kind.goes_down() || self.plan().keeps.contains(&service.name) {
            return false;
        }
        if service.is_exclusive() {
            let active = self.final_side(&service.name);
            return active.is_none_or(|it| self.has(&Action::Stop, service, &it));
        }
        self.up_elsewhere(service, &Action::Stop, ctx) == 0
    }

    /// How many instances are seen running for which the plan has no such step?
    fn up_elsewhere(&self, service: &Service, action: &Action, ctx: &Ctx<'_>) -> usize {
        let up = service.nodes.iter().filter(|node| {
            !self.has(action, service, node)
                && ctx.view.state(ctx.spec, node, &service.name) == InstanceState::Running
        });
        up.count()
    }

    fn has(&self, action: &Action, service: &Service, node: &NodeName) -> bool {
        self.steps_of(&service.name, node).any(|step| {
            let starts = matches!(step.action, Action::Start | Action::Verify);
            step.action == *action || *action == Action::Start && starts
        })
    }

    /// Is nothing seen running that requires a service, but what the plan itself stops?
    fn no_dependant_runs(
        &self,
        service: &Service,
        but: impl Fn(&Service, &NodeName) -> bool,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let mut not_yet = Readiness::Yes;
        for dependant in ctx.spec.services.values() {
            let edge = dependant.dependencies.get(&service.name);
            let Some(edge) = edge.filter(|edge| edge.needed && edge.stop != Wait::None) else {
                continue;
            };
            let others = dependant.nodes.iter();
            for node in others.filter(|node| !but(dependant, node)) {
                let (name, required) = (&dependant.name, &service.name);
                let proven = self.proven_down(node, name);
                let told = match self.word(node, name, ctx) {
                    Word::Up(_, told) | Word::GoingDown(told) if told.last < proven => continue,
                    Word::Up(_, told) => told.first.max(proven),
                    // That it goes is all that some dependants are waited for.
                    Word::GoingDown(_) if edge.stop != Wait::Down => continue,
                    Word::GoingDown(_) => {
                        not_yet = Readiness::NotYet(format!(
                            "{name} on {node} is still stopping, and requires {required}"
                        ));
                        continue;
                    }
                    Word::Awaited(why) => {
                        not_yet = Readiness::NotYet(format!("{why}, and it requires {required}"));
                        continue;
                    }
                    Word::Down | Word::Silent => continue,
                };
                let what = format!("{name} on {node} runs, and requires {required}");
                if ctx.now.since(told) < LATE_LOOK || !ctx.view.alive(node) {
                    return Readiness::NotYet(what);
                }
                return Readiness::Never(format!(
                    "{what}: stop it and go on (`retry` of the step), or abort and plan again"
                ));
            }
        }
        not_yet
    }

    /// Why a service is not there for those who require it; none if it is.
    fn too_few(&self, required: &Service, ctx: &Ctx<'_>) -> Option<String> {
        let state = |node: &NodeName| ctx.view.state(ctx.spec, node, &required.name);
        let is_up =
            |node: &NodeName| matches!(state(node), InstanceState::Running | InstanceState::Paused);
        let active = required.is_exclusive().then(|| {
            let seen = ctx.view.snapshot_of(ctx.spec, &required.nodes, ctx.now);
            seen.active(required)
        });
        let tells = required.is_leased() || !self.is_overridden(required);
        let word = self.plan().assumptions.get(&required.name);
        let word = word.filter(|it| it.known != Known::Observed);
        let (counted, needed): (Vec<&NodeName>, usize) = match (&active, word) {
            (Some(Active::Unknown(_)), Some(word)) => (vec![&word.active], 1),
            (Some(Active::Unknown(why)), None) if tells && required.nodes.iter().any(is_up) => {
                return Some(why.clone());
            }
            (Some(Active::On(node)), _) => (vec![node], 1),
            (Some(Active::Nowhere | Active::Unknown(_)), _) => (required.nodes.iter().collect(), 1),
            (None, _) => {
                let at_least = usize::try_from(required.at_least).unwrap_or(usize::MAX);
                (required.nodes.iter().collect(), at_least.max(1))
            }
        };
        let missing: Vec<&NodeName> = counted
            .iter()
            .copied()
            .filter(|node| !is_up(node))
            .collect();
        if counted.len() - missing.len() >= needed {
            return None;
        }
        let node = missing.first()?;
        let name = &required.name;
        let more = match missing.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more do not run)"),
        };
        Some(format!("{name} on {node} is {}{more}", state(node)))
    }
}
