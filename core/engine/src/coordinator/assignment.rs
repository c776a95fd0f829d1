//! What each agent is to observe and to guard, by the spec.

use std::collections::BTreeMap;

use interlock_model::check::{CheckFrom, CheckId};
use interlock_model::ids::Generation;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::{Service, Spec};

use super::message::{AssignedInstance, Assignment};

/// The nodes on which a check of `service` runs.
#[must_use]
pub fn runs_on<'a>(spec: &'a Spec, service: &'a Service, from: &'a CheckFrom) -> Vec<&'a NodeName> {
    let mut nodes: Vec<&NodeName> = match from {
        CheckFrom::Own => service.nodes.iter().collect(),
        CheckFrom::Nodes(nodes) => nodes.iter().collect(),
        CheckFrom::Consumers => spec
            .services
            .values()
            .filter(|other| {
                other
                    .dependencies
                    .get(&service.name)
                    .is_some_and(|edge| edge.needed)
            })
            .flat_map(|other| &other.nodes)
            .collect(),
    };
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The assignments of all nodes with an agent.
#[must_use]
pub fn assignments(spec: &Spec, generation: Generation) -> BTreeMap<NodeName, Assignment> {
    let mut all: BTreeMap<NodeName, Assignment> = spec
        .nodes
        .values()
        .filter(|node| node.agentless.is_none())
        .map(|node| {
            (
                node.name.clone(),
                Assignment {
                    generation,
                    instances: Vec::new(),
                    checks: Vec::new(),
                },
            )
        })
        .collect();
    for service in spec.services.values() {
        for node in &service.nodes {
            if let Some(assignment) = all.get_mut(node) {
                assignment.instances.push(instance(&service.name, service));
            }
        }
        for (name, check) in &service.checks {
            for on in runs_on(spec, service, &check.from) {
                if let (Some(assignment), Some(node)) = (all.get_mut(on), spec.nodes.get(on)) {
                    let id = CheckId {
                        service: service.name.clone(),
                        check: name.clone(),
                    };
                    let mut check = check.clone();
                    check.kind = check.kind.resolve(node);
                    assignment.checks.push((id, check));
                }
            }
        }
    }
    all
}

fn instance(name: &ServiceName, service: &Service) -> AssignedInstance {
    AssignedInstance {
        service: name.clone(),
        parts: service.parts.clone(),
        guard: service.guard,
        exclusive: service.is_exclusive(),
    }
}
