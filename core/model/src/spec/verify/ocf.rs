//! Resources of OCF resource agents: their names, and what their agents say of them.

use std::collections::BTreeMap;

use super::Facts;
use crate::action::Part;
use crate::names::{LocalName, NodeName};
use crate::ocf::{AgentName, Installed, Objection, Resource, Wrong};
use crate::spec::Service;
use crate::spec::problem::{Problem, quoted};

/// The keys that lead to a resource.
pub(super) type Keys = Vec<String>;

pub(super) fn verify(facts: &Facts<'_>) {
    let mut named: BTreeMap<&LocalName, Keys> = BTreeMap::new();
    for service in facts.spec.services.values() {
        let parts = service.parts.iter().chain(&service.primary_parts);
        for (index, part) in parts.enumerate() {
            let Part::Ocf(resource) = part else { continue };
            let keys = keys(facts, service, index);
            match (index < service.parts.len(), resource.promotable) {
                (true, false) => stands_by(facts, service, &keys),
                (true, true) => {}
                (false, true) => promoted_twice(facts, &keys, resource),
                (false, false) => {}
            }
            match named.get(&resource.name) {
                None => {
                    for node in &service.nodes {
                        if let Some(installed) = facts.agents.get(node) {
                            fits(facts, &keys, node, installed, resource);
                        }
                    }
                    named.insert(&resource.name, keys);
                }
                Some(first) => error(facts, &keys, &["name"], || {
                    Problem::error(format!(
                        "two resources are called {}",
                        quoted(resource.name.as_str())
                    ))
                    .why("an agent tells its resources apart by their names")
                    .suggest("give each a `name` of its own")
                    .note(facts.place(&texts(first)), "the other one")
                }),
            }
        }
    }
}

/// The resources of a service, each with the keys that lead to it.
pub(super) fn keys_of_resources<'a>(
    facts: &Facts<'_>,
    service: &'a Service,
) -> Vec<(Keys, &'a Resource)> {
    let parts = service.parts.iter().chain(&service.primary_parts);
    parts
        .enumerate()
        .filter_map(|(index, part)| match part {
            Part::Ocf(resource) => Some((keys(facts, service, index), resource)),
            _ => None,
        })
        .collect()
}

fn keys(facts: &Facts<'_>, service: &Service, index: usize) -> Keys {
    let name = service.name.as_str();
    let index = index.to_string();
    let keys: &[&str] = if facts.has(&["services", name, "manager"]) {
        &["services", name, "manager", "ocf"]
    } else {
        &["services", name, "parts", &index, "ocf"]
    };
    keys.iter().map(ToString::to_string).collect()
}

fn texts(keys: &Keys) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

fn error(facts: &Facts<'_>, keys: &Keys, below: &[&str], problem: impl FnOnce() -> Problem) {
    facts.error(&[&texts(keys), below].concat(), problem);
}

/// A resource has no standby side: the standby of an exclusive service would do what its primary does.
fn stands_by(facts: &Facts<'_>, service: &Service, keys: &Keys) {
    if service.is_exclusive() && service.nodes.len() > 1 {
        error(facts, keys, &[], || {
            Problem::error(format!(
                "an OCF resource cannot stand by, and {} is `active: one`",
                service.name
            ))
            .why("it would run on all of its nodes")
            .suggest("write `on: primary` in it, or `promotable: true` if its agent promotes it, and `failover: {}` for the service")
            .note(
                facts.place(&["services", service.name.as_str(), "active"]),
                "it is exclusive by this",
            )
        });
    }
}

/// What is promoted runs where the role is not, too.
fn promoted_twice(facts: &Facts<'_>, keys: &Keys, resource: &Resource) {
    error(facts, keys, &["on"], || {
        Problem::error(format!(
            "{} is to run where the primary is alone, and to be promoted there",
            quoted(resource.name.as_str())
        ))
        .why("what is promoted runs on every instance")
        .suggest("remove `on` or `promotable`")
    });
}

/// Holds a resource against what is known of a node.
fn fits(
    facts: &Facts<'_>,
    keys: &Keys,
    node: &NodeName,
    installed: &Installed,
    resource: &Resource,
) {
    let agent = &resource.agent;
    if let Some(known) = installed.types.get(agent) {
        for objection in known.objections(resource) {
            // Of one that is missing it is the place of the others, and yet not the same problem.
            let below = ["parameters", &objection.parameter];
            error(facts, keys, &below, || objected(agent, node, &objection));
        }
        for action in known.lacks(resource) {
            error(facts, keys, &["promotable"], || {
                Problem::error(format!("{agent} has no action {}", quoted(action)))
                    .why(format!(
                        "so says the agent on {node}; `interlockctl agent-types {node}` shows all of it"
                    ))
                    .suggest("remove `promotable`, and write `on: primary` if it is what only the primary has")
            });
        }
    } else if !installed.names.contains(agent) {
        // What is not there yet may be installed before it is started.
        facts.warning(&[&texts(keys), &["agent"][..]].concat(), || {
            let names: Vec<String> = installed.names.iter().map(ToString::to_string).collect();
            Problem::warning(format!(
                "the resource agent {agent} is not installed on {node}"
            ))
            .suggest_nearest(&agent.to_string(), names.iter().map(String::as_str))
        });
    }
}

fn objected(agent: &AgentName, node: &NodeName, objection: &Objection) -> Problem {
    let parameter = quoted(&objection.parameter);
    let why =
        format!("so says the agent on {node}; `interlockctl agent-types {node}` shows all of it");
    let (what, near) = match &objection.wrong {
        Wrong::Unknown(near) => (format!("{agent} has no parameter {parameter}"), near),
        Wrong::Missing => (format!("{agent} needs its parameter {parameter}"), &None),
        Wrong::Value { value, kind, near } => {
            let value = quoted(value);
            (
                format!("{value} is no value of {parameter} of {agent}, which takes {kind}"),
                near,
            )
        }
    };
    let problem = Problem::error(what).why(why);
    match near {
        Some(near) => problem.suggest(format!("did you mean {}?", quoted(near))),
        None => problem,
    }
}
