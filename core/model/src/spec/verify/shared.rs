//! Parts that two services have on one node, what only their primaries have included: who stops the one stops the other, and neither knows.

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;
use crate::action::Part;
use crate::names::{NodeName, ServiceName};
use crate::spec::Service;
use crate::spec::problem::Problem;

pub(super) fn verify(facts: &Facts<'_>) {
    interfaces(facts);
    let mut owners: BTreeMap<(&NodeName, String), &ServiceName> = BTreeMap::new();
    for (name, service) in &facts.spec.services {
        for (node, part) in places(service) {
            let Some(owner) = owners.insert((node, identity(part)), name) else {
                continue;
            };
            facts.error(&keys(facts, name), || {
                let of = match owner == name {
                    true => "twice".to_owned(),
                    false => format!("of {owner} as well"),
                };
                Problem::error(format!("{} on {node} is a part of {name}, and {of}", identity(part)))
                    .why("a stop of the one would stop the other, which would be missed, or brought back, although nobody wants that")
                    .suggest("give it to one of them, and let the other one require that")
                    .note(facts.place(&keys(facts, owner)), "the other one")
            });
        }
    }
}

/// An interface that is switched with one role carries nothing of anybody else.
fn interfaces(facts: &Facts<'_>) {
    let mut seen: BTreeMap<(&NodeName, &str), (&ServiceName, bool)> = BTreeMap::new();
    for (name, service) in &facts.spec.services {
        for (node, part) in places(service) {
            let Part::Address(address) = part else {
                continue;
            };
            let (at, whole) = (address.interface.as_str(), address.whole_interface);
            let Some((other, other_whole)) = seen.insert((node, at), (name, whole)) else {
                continue;
            };
            let is_one = other == name && whole == other_whole;
            if is_one || !(whole || other_whole) {
                continue;
            }
            facts.error(&keys(facts, name), || {
                Problem::error(format!("{at} of {node} is switched with a role, and not all that is on it goes with that role"))
                    .why("`whole_interface` switches it off wherever the role is not")
                    .suggest("write `whole_interface: true` in all addresses of that interface, which are those of one service, or in none")
                    .note(facts.place(&keys(facts, other)), "the other one")
            });
        }
    }
}

fn places(service: &Service) -> impl Iterator<Item = (&NodeName, &Part)> {
    // One that is named twice is a mistake of its own.
    let nodes: BTreeSet<&NodeName> = service.nodes.iter().collect();
    nodes.into_iter().flat_map(|node| {
        let parts = service.parts.iter().chain(&service.primary_parts);
        parts.map(move |part| (node, part))
    })
}

fn keys<'n>(facts: &Facts<'_>, service: &'n ServiceName) -> [&'n str; 3] {
    let has = |key: &&str| facts.has(&["services", service.as_str(), *key]);
    let given = ["manager", "parts"].into_iter().find(has);
    ["services", service.as_str(), given.unwrap_or("manager")]
}

/// What a part is on its machine. How it is set up does not make it another one.
fn identity(part: &Part) -> String {
    match part {
        Part::Address(address) => format!("address {}", address.ip),
        Part::Ocf(resource) => format!("ocf {} {}", resource.agent, resource.name),
        part => part.to_string(),
    }
}
