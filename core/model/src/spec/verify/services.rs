//! `services`: their nodes, managers, activity and capacity.

use super::{Facts, unknown};
use crate::check::CheckFrom;
use crate::names::{CheckName, NodeName, ServiceName};
use crate::plan::Wait;
use crate::spec::Service;
use crate::spec::problem::{Problem, quoted};

pub(super) fn verify(facts: &Facts<'_>) {
    for (name, service) in &facts.spec.services {
        nodes(facts, name, service);
        files(facts, name, service);
        dependencies(facts, name, service);
        if !service.external {
            manager(facts, name, service);
            activity(facts, name, service);
            capacity(facts, name, service);
        }
    }
}

fn nodes(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    for node in &service.nodes {
        facts.knows_node(&["services", name.as_str(), "nodes", node.as_str()], node);
    }
}

/// Values for a node where the service has no instance would never be used.
fn files(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    for (file, declared) in &service.files {
        for node in declared
            .nodes
            .keys()
            .filter(|it| !service.nodes.contains(it))
        {
            let keys = [
                "services",
                name.as_str(),
                "files",
                file.as_str(),
                "nodes",
                node.as_str(),
            ];
            facts.error(&keys, || {
                Problem::error(format!(
                    "{} has no instance on {}",
                    name,
                    quoted(node.as_str())
                ))
                .suggest_nearest(node.as_str(), service.nodes.iter().map(NodeName::as_str))
            });
        }
    }
}

fn dependencies(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    for (other, dependency) in &service.dependencies {
        let key = if dependency.needed {
            "requires"
        } else {
            "after"
        };
        let keys = ["services", name.as_str(), key, other.as_str()];
        if !facts.spec.services.contains_key(other) {
            let services = facts.spec.services.keys().map(ServiceName::as_str);
            facts.error(&keys, || unknown("service", other.as_str(), services));
        }
        if !dependency.needed && dependency.start == Wait::None && dependency.stop == Wait::None {
            facts.warning(&keys, || {
                Problem::warning(format!("this edge to {other} changes nothing"))
                    .why("`after` is an order, and both of its waits are none")
            });
        }
    }
}

fn manager(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    let own = ["services", name.as_str()];
    let agentless: Vec<&NodeName> = service
        .nodes
        .iter()
        .filter(|node| facts.is_agentless(node))
        .collect();
    let Some(given) = ["manager", "parts"]
        .into_iter()
        .find(|key| facts.has(&[own[0], own[1], key]))
    else {
        // Without an agent on any node, the service comes and goes with its nodes.
        if agentless.is_empty() || agentless.len() < service.nodes.len() {
            facts.error(&own, || {
                Problem::error(format!("{name} has no manager"))
                    .why("nothing says how it is started and stopped")
                    .suggest("write `manager: { systemd: { unit: NAME.service } }`, or a process or exec")
            });
        }
        return;
    };
    for node in agentless {
        facts.error(&["services", name.as_str(), "nodes", node.as_str()], || {
            Problem::error(format!("nothing on {node} could run the manager of {name}"))
                .why("the node has no agent")
                .note(facts.place(&[own[0], own[1], given]), "the manager")
                .note(
                    facts.place(&["nodes", node.as_str(), "agentless"]),
                    "it is agentless by this",
                )
        });
    }
}

fn activity(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    let keys = ["services", name.as_str(), "active_when"];
    if !service.is_exclusive() {
        if !service.active_when.is_empty() {
            facts.error(&keys, || {
                Problem::error(format!("every instance of {name} is active")).why("it is `active: all`").suggest(
                    "remove `active_when`, or write `active: one` if one instance is primary and the others stand by",
                )
            });
        }
        return;
    }
    let leased = facts.has(&["services", name.as_str(), "failover"]);
    if service.active_when.is_empty() && !facts.has(&keys) && !leased && service.nodes.len() > 1 {
        facts.warning(&["services", name.as_str(), "active"], || {
            Problem::warning(format!("nothing tells which instance of {name} is active"))
                .why("every plan must be told, with `--assume-active`")
                .suggest("add a check from `self` that is green on the primary alone, and name it in `active_when`")
        });
    }
    for check in &service.active_when {
        let keys = ["services", name.as_str(), "active_when", check.as_str()];
        match service.checks.get(check) {
            None => facts.error(&keys, || {
                let what = format!("{} is not a check of {name}", quoted(check.as_str()));
                Problem::error(what)
                    .suggest_nearest(check.as_str(), service.checks.keys().map(CheckName::as_str))
            }),
            Some(found) if found.from != CheckFrom::Own => facts.error(&keys, || {
                Problem::error(format!(
                    "the check {check} cannot tell which instance is active"
                ))
                .why("it does not run from `self`")
                .note(
                    facts.place(&["services", name.as_str(), "checks", check.as_str(), "from"]),
                    "it runs here",
                )
            }),
            Some(_) => {}
        }
    }
}

fn capacity(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    let keys = ["services", name.as_str(), "at_least"];
    let instances = if service.is_exclusive() {
        service.nodes.len().min(1)
    } else {
        service.nodes.len()
    };
    let wanted = usize::try_from(service.at_least).unwrap_or(usize::MAX);
    if wanted > instances && !service.nodes.is_empty() {
        facts.error(&keys, || {
            let why = match service.is_exclusive() {
                true => "of an exclusive service one instance works at a time".to_owned(),
                false => format!("it has {instances}"),
            };
            Problem::error(format!("{name} can never have {wanted} working instances")).why(why)
        });
    }
}
