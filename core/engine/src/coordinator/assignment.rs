//! What each agent is to observe and to guard, by the spec.

use std::collections::BTreeMap;

use interlock_model::action::{FenceAction, FenceCall, ShutdownBy};
use interlock_model::check::{Check, CheckFrom, CheckId, CheckKind};
use interlock_model::ids::Generation;
use interlock_model::member::{HeldMember, Member};
use interlock_model::names::NodeName;
use interlock_model::postgres::Peer;
use interlock_model::spec::{Boot, Node, Service, Spec};

use super::message::{AssignedInstance, Assignment};
use super::power::power_ref;
use crate::operation::fence_call;

/// The nodes on which a check of `service` runs, each with the node whose address it is about: from elsewhere that of the
/// only instance. An agentless node is probed from the nodes that the spec names for it; what is compared, from the first.
#[must_use]
pub fn runs_on<'a>(
    spec: &'a Spec,
    service: &'a Service,
    check: &'a Check,
) -> Vec<(&'a NodeName, &'a NodeName)> {
    let elsewhere = |on: &'a NodeName| match service.nodes.as_slice() {
        [only] => (on, only),
        _ => (on, on),
    };
    let mut nodes: Vec<(&NodeName, &NodeName)> = match &check.from {
        CheckFrom::Own => {
            let most = match check.kind {
                CheckKind::Same { .. } => 1,
                _ => usize::MAX,
            };
            let instances = service.nodes.iter();
            instances
                .flat_map(|node| {
                    let probers = spec.probers(service, node).into_iter().take(most);
                    probers.map(move |prober| (prober, node))
                })
                .collect()
        }
        CheckFrom::Nodes(nodes) => nodes.iter().map(elsewhere).collect(),
        CheckFrom::Consumers => spec
            .services
            .values()
            .filter(|other| {
                let edge = other.dependencies.get(&service.name);
                edge.is_some_and(|edge| edge.needed)
            })
            .flat_map(|other| &other.nodes)
            .map(elsewhere)
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
                    shutdown: shutdown(node),
                    reboot: spec.reboots_by_agent(node),
                    fences: fences(spec, &node.name),
                },
            )
        })
        .collect();
    for service in spec.services.values() {
        for node in &service.nodes {
            if let Some(assignment) = all.get_mut(node) {
                assignment.instances.push(instance(spec, service, node));
            }
        }
        for (name, check) in &service.checks {
            for (on, about) in runs_on(spec, service, check) {
                // What looks inside of a machine is about that one.
                let about = if check.kind.looks_inside() { on } else { about };
                if let (Some(assignment), Some(node)) = (all.get_mut(on), spec.nodes.get(about)) {
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

/// Who shuts a machine down, if a plan may have its agent do so.
fn shutdown(node: &Node) -> Option<ShutdownBy> {
    let by = node.power.as_ref()?.shutdown;
    (by != ShutdownBy::Manual).then_some(by)
}

/// For each device that is reached through a node, what is asked of it about the first node that it switches.
fn fences(spec: &Spec, via: &NodeName) -> Vec<FenceCall> {
    let through = spec.power.iter().filter(|(_, it)| it.via.contains(via));
    through
        .filter_map(|(device, _)| {
            let switches = |node: &&Node| {
                let power = node.power.as_ref();
                power.is_some_and(|power| power.by == *device)
            };
            let node = spec.nodes.values().find(switches)?;
            let power = power_ref(spec, &node.name)?;
            fence_call(spec, &node.name, &power, FenceAction::Status)
        })
        .collect()
}

/// The members of a load balancer, which each of its instances is told of.
fn members(spec: &Spec, balancer: &Service) -> Vec<HeldMember> {
    let Some(by) = &balancer.balancer else {
        return Vec::new();
    };
    let mut members = Vec::new();
    for service in spec.services.values() {
        let Some(how) = service.member_of.get(&balancer.name) else {
            continue;
        };
        let nodes = service.nodes.iter();
        members.extend(nodes.filter_map(|node| {
            let about = spec.nodes.get(node)?;
            let checks = how.checks.iter().filter_map(|name| {
                let mut check = service.checks.get(name)?.clone();
                check.kind = check.kind.resolve(about);
                let id = CheckId {
                    service: service.name.clone(),
                    check: name.clone(),
                };
                Some((id, check))
            });
            Some(HeldMember {
                member: Member {
                    service: service.name.clone(),
                    node: node.clone(),
                    by: by.clone(),
                    backends: how.backends.clone(),
                    server: how.server_on(about),
                },
                every: how.every,
                watch_only: how.watch_only,
                checks: checks.collect(),
                at_least: service.at_least,
            })
        }));
    }
    members
}

fn instance(spec: &Spec, service: &Service, node: &NodeName) -> AssignedInstance {
    let promoted = service.parts.iter().filter(|part| part.is_promoted());
    AssignedInstance {
        service: service.name.clone(),
        members: members(spec, service),
        parts: service.parts.clone(),
        guard: service.guard,
        exclusive: service.is_exclusive(),
        autostart: service.boot == Boot::Autostart,
        primary_parts: promoted.chain(&service.primary_parts).cloned().collect(),
        lease: service.failover.as_ref().map(|failover| failover.clients),
        peers: peers(spec, service, node),
        files: service.files.keys().cloned().collect(),
    }
}

/// Where the other instances of a leased service are: what follows the primary's data finds it there, and a primary that
/// reaches no coordinator asks them.
fn peers(spec: &Spec, service: &Service, node: &NodeName) -> Vec<Peer> {
    if service.failover.is_none() {
        return Vec::new();
    }
    let others = service.nodes.iter().filter(|other| *other != node);
    let declared = others.filter_map(|other| spec.nodes.get(other));
    let peer = |other: &Node| Peer {
        node: other.name.clone(),
        address: other.address.clone(),
    };
    declared.map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_from_elsewhere_is_asked_of_the_instance_and_not_of_who_asks() {
        let text = "
cluster: c
nodes:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
  c: { address: 10.0.0.3 }
services:
  db:
    nodes: [a]
    manager: { systemd: { unit: db.service } }
    checks: { sql: { tcp: '{address}:3306', from: consumers }, far: { tcp: '{node}:3306', from: [c] } }
  web: { nodes: [b], manager: { systemd: { unit: web.service } }, requires: [db] }
";
        let spec = Spec::parse(text.as_bytes(), "test")
            .map_err(|problems| problems.render(text.as_bytes()));
        let all = assignments(&spec.unwrap().spec, Generation(1));
        for (on, wanted) in [("b", "10.0.0.1:3306"), ("c", "a:3306")] {
            let (_, check) = &all[on].checks[0];
            let CheckKind::Tcp { target } = &check.kind else {
                panic!("{check:?}")
            };
            assert_eq!(target, wanted, "on {on}");
        }
    }

    #[test]
    fn an_agentless_node_is_probed_from_elsewhere_at_its_own_address() {
        let text = "
cluster: c
nodes:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
  box: { address: 10.0.0.9, agentless: { probes_from: [a, b] } }
services:
  pbx: { nodes: [box], checks: { sip: { tcp: '{address}:5060' } } }
";
        let spec = Spec::parse(text.as_bytes(), "test")
            .map_err(|problems| problems.render(text.as_bytes()));
        let all = assignments(&spec.unwrap().spec, Generation(1));
        for prober in ["a", "b"] {
            let (_, check) = &all[prober].checks[0];
            let CheckKind::Tcp { target } = &check.kind else {
                panic!("{check:?}")
            };
            assert_eq!(target, "10.0.0.9:5060", "from {prober}");
        }
        assert!(!all.contains_key("box"));
    }
}
