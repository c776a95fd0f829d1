//! An evacuation begins when all is well, and takes nothing away that somebody elsewhere requires.
//!
//! Unknown is never OK: what is not known to run elsewhere is nothing that is left, and what is not known to be down elsewhere is
//! somebody who requires.

use interlock_model::action::{Action, Power};
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness, Observations, Wanted};
use interlock_model::plan::{Gate, Plan, PlanKind};
use interlock_model::spec::{Service, Spec};

use super::Violation;
use super::paths::Paths;

pub(super) fn check(
    spec: &Spec,
    plan: &Plan,
    paths: &Paths<'_>,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    witnesses(spec, plan, observations, found);
    if plan.kind != PlanKind::Evacuate {
        return;
    }
    let of = World {
        spec,
        paths,
        observations,
    };
    of.all_checks_are_gates(plan, found);
    of.nobody_is_left_behind(plan, found);
}

/// Somebody outside tries the addresses of a role that has moved, if anybody is heard there who could.
fn witnesses(
    spec: &Spec,
    plan: &Plan,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    for step in &plan.steps {
        let (Action::VerifyRole { addresses, from }, Some(service)) = (&step.action, &step.service)
        else {
            continue;
        };
        let members = spec.services.get(service).map(|it| &it.nodes);
        let mut outside = spec.nodes.values().filter(|node| {
            node.agentless.is_none() && members.is_some_and(|it| !it.contains(&node.name))
        });
        let is_heard = |node: &NodeName| {
            let seen = observations.map(|seen| seen.node(node).map(|it| it.liveness));
            seen.is_none_or(|liveness| liveness == Some(Liveness::Alive))
        };
        let witness = outside.find(|node| is_heard(&node.name));
        if let Some(witness) = witness.filter(|_| from.is_empty() && !addresses.is_empty()) {
            found.push(Violation::RoleNotSecured {
                step: step.id.clone(),
                expected: format!("a try from {}", witness.name),
            });
        }
    }
}

/// What is there, and what of it goes.
struct World<'a> {
    spec: &'a Spec,
    paths: &'a Paths<'a>,
    observations: Option<&'a Observations>,
}

impl World<'_> {
    fn is_agentless(&self, node: &NodeName) -> bool {
        let node = self.spec.nodes.get(node);
        node.is_some_and(|node| node.agentless.is_some())
    }

    /// Of an instance without an agent only the power source of its machine says anything; without one it is taken to be there.
    fn state(&self, service: &ServiceName, node: &NodeName) -> InstanceState {
        let Some(observations) = self.observations else {
            return InstanceState::Running;
        };
        if !self.is_agentless(node) {
            return observations.instance(node, service);
        }
        let has_power = self
            .spec
            .nodes
            .get(node)
            .is_some_and(|it| it.power.is_some());
        let seen = observations.node(node);
        match seen.map_or(Power::Unknown, |seen| seen.power) {
            _ if seen.is_some_and(|seen| seen.contradicted.is_some()) => InstanceState::Unknown,
            Power::Off => InstanceState::Stopped,
            Power::Unknown if has_power => InstanceState::Unknown,
            Power::On | Power::Unknown => InstanceState::Running,
        }
    }

    /// Does the plan stop it?
    fn goes(&self, service: &ServiceName, node: &NodeName) -> bool {
        let stop = self.paths.stop(service, node, self.is_agentless(node));
        stop.is_some()
    }

    /// Is it known to be down, with nobody who would start it again?
    fn is_down(&self, service: &ServiceName, node: &NodeName) -> bool {
        let seen = self.observations.and_then(|seen| seen.node(node));
        let wanted = seen.and_then(|seen| seen.instances.get(service)?.wanted);
        self.state(service, node).is_down() && wanted != Some(Wanted::Running)
    }

    /// Each check of what runs is asked in the first step, but for those that a person has overridden by name.
    fn all_checks_are_gates(&self, plan: &Plan, found: &mut Vec<Violation>) {
        let gate = plan
            .steps
            .iter()
            .find(|it| it.id.as_str() == "check:evacuate");
        let Some(gate) = gate else {
            // That there is one is said elsewhere.
            return;
        };
        for service in self.spec.services.values().filter(|it| !it.external) {
            let active = plan.assumptions.get(&service.name).map(|it| &it.active);
            let may_run = |node: &&NodeName| !self.state(&service.name, node).is_down();
            for node in service.nodes.iter().filter(may_run) {
                let is_active = !service.is_exclusive() || active.is_none_or(|it| it == node);
                // Its checks speak of its primary.
                if service.is_leased() && !is_active {
                    continue;
                }
                for (name, check) in &service.checks {
                    let id = CheckId {
                        service: service.name.clone(),
                        check: name.clone(),
                    };
                    let of_active = service.active_when.contains(name);
                    let counts = check.from == CheckFrom::Own
                        && !matches!(check.kind, CheckKind::Same { .. })
                        && !plan.forced.contains(&id)
                        && (is_active || !of_active);
                    let probers = self.spec.probers(service, node);
                    let asks = |gate: &Gate| gate.check == id && probers.contains(&&gate.on);
                    if counts && !gate.gates.iter().any(asks) {
                        found.push(Violation::MissingCheck {
                            step: gate.id.clone(),
                            check: id,
                            on: node.clone(),
                        });
                    }
                }
            }
        }
    }

    /// What has nothing left elsewhere may go only with all that requires it.
    fn nobody_is_left_behind(&self, plan: &Plan, found: &mut Vec<Violation>) {
        for service in self.spec.services.values() {
            let stop = |node: &NodeName| {
                self.paths
                    .stop(&service.name, node, self.is_agentless(node))
            };
            let Some(stop) = service.nodes.iter().find_map(stop) else {
                continue;
            };
            if self.anything_stays(plan, service) {
                continue;
            }
            for other in self.spec.services.values() {
                let edge = other.dependencies.get(&service.name);
                if !edge.is_some_and(|edge| edge.needed) {
                    continue;
                }
                let requires = |node: &&NodeName| {
                    !self.goes(&other.name, node) && !self.is_down(&other.name, node)
                };
                for node in other.nodes.iter().filter(requires) {
                    found.push(Violation::LeftBehind {
                        step: self.paths.steps[stop].id.clone(),
                        service: other.name.clone(),
                        node: node.clone(),
                    });
                }
            }
        }
    }

    /// Is anything left that is known to run, and not on its way down by itself? Of an exclusive service it is its active side
    /// that counts.
    fn anything_stays(&self, plan: &Plan, service: &Service) -> bool {
        let active = self.final_side(plan, service);
        let mut nodes = service.nodes.iter();
        nodes.any(|node| {
            let runs = matches!(
                self.state(&service.name, node),
                InstanceState::Starting | InstanceState::Running | InstanceState::Paused
            );
            runs && !self.goes(&service.name, node) && active.is_none_or(|it| it == node)
        })
    }

    /// Where the active side of an exclusive service is at the end.
    fn final_side<'b>(&self, plan: &'b Plan, service: &'b Service) -> Option<&'b NodeName> {
        let mut nodes = service.nodes.iter();
        let moved = nodes.rfind(|node| self.paths.promote(&service.name, node).is_some());
        let assumed = plan.assumptions.get(&service.name);
        moved.or(assumed.map(|it| &it.active))
    }
}
