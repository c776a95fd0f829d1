//! An evacuation begins when all is well, and takes nothing away that somebody elsewhere requires.

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness, Observations};
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
    of.nobody_is_left_behind(found);
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

    /// Of an instance without an agent nobody says how it is: its machine may be off.
    fn state(&self, service: &ServiceName, node: &NodeName) -> Option<InstanceState> {
        let Some(observations) = self.observations else {
            return Some(InstanceState::Running);
        };
        (!self.is_agentless(node)).then(|| observations.instance(node, service))
    }

    /// Does it go on? Not what is on its way down by itself.
    fn stays(&self, service: &ServiceName, node: &NodeName) -> bool {
        let goes = self
            .paths
            .stop(service, node, self.is_agentless(node))
            .is_some();
        let is_up = self.state(service, node).is_none_or(|state| {
            !matches!(
                state,
                InstanceState::Stopped | InstanceState::Stopping | InstanceState::Failed
            )
        });
        !goes && is_up
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
            let runs =
                |node: &&NodeName| self.state(&service.name, node) == Some(InstanceState::Running);
            for node in service.nodes.iter().filter(runs) {
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
    fn nobody_is_left_behind(&self, found: &mut Vec<Violation>) {
        for service in self.spec.services.values() {
            let stop = |node: &NodeName| {
                self.paths
                    .stop(&service.name, node, self.is_agentless(node))
            };
            let Some(stop) = service.nodes.iter().find_map(stop) else {
                continue;
            };
            if self.anything_stays(service) {
                continue;
            }
            for other in self.spec.services.values() {
                let edge = other.dependencies.get(&service.name);
                if !edge.is_some_and(|edge| edge.needed) {
                    continue;
                }
                let left = other.nodes.iter();
                for node in left.filter(|node| self.stays(&other.name, node)) {
                    found.push(Violation::LeftBehind {
                        step: self.paths.steps[stop].id.clone(),
                        service: other.name.clone(),
                        node: node.clone(),
                    });
                }
            }
        }
    }

    fn anything_stays(&self, service: &Service) -> bool {
        let mut nodes = service.nodes.iter();
        nodes.any(|node| self.stays(&service.name, node))
    }
}
