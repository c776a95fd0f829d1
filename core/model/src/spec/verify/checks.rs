//! `checks`: can they run where they are to run?

use std::collections::BTreeSet;

use super::Facts;
use crate::check::{CheckFrom, CheckKind};
use crate::names::{CheckName, ServiceName};
use crate::spec::Service;
use crate::spec::problem::Problem;

pub(super) fn verify(facts: &Facts<'_>) {
    let services = facts.spec.services.values();
    let needed =
        services.flat_map(|service| service.dependencies.iter().filter(|(_, edge)| edge.needed));
    let needed: BTreeSet<&ServiceName> = needed.map(|(name, _)| name).collect();
    for (name, service) in &facts.spec.services {
        for (check, declared) in &service.checks {
            if declared.from != CheckFrom::Own && !declared.kind.looks_inside() {
                one_is_meant(facts, name, service, check, &declared.kind);
            }
            match &declared.from {
                CheckFrom::Nodes(nodes) => {
                    let own = ["services", name.as_str(), "checks", check.as_str(), "from"];
                    nodes.iter().for_each(|node| {
                        facts.knows_agent(&[&own[..], &[node.as_str()]].concat(), node)
                    });
                }
                CheckFrom::Consumers if !needed.contains(name) => unconsumed(facts, name, check),
                CheckFrom::Own if declared.kind.looks_inside() => {
                    local(facts, name, service, check)
                }
                CheckFrom::Own => shared_prober(facts, name, service, check),
                CheckFrom::Consumers => {}
            }
        }
    }
}

/// Results are told apart by check and by the node where it runs: one node cannot tell of two instances.
fn shared_prober(facts: &Facts<'_>, name: &ServiceName, service: &Service, check: &CheckName) {
    let mut probers = BTreeSet::new();
    for node in &service.nodes {
        let declared = facts.spec.nodes.get(node);
        let runs_on = declared
            .and_then(|node| node.agentless.as_ref())
            .and_then(|probers| probers.first())
            .unwrap_or(node);
        if !probers.insert(runs_on) {
            let own = ["services", name.as_str(), "checks", check.as_str()];
            facts.error(&own, || {
                Problem::error(format!(
                    "the check {check} of {name} would run twice on {runs_on}"
                ))
                .why(format!(
                    "it is probed there for {node} and for another instance"
                ))
                .suggest("give each agentless node another first node in `probes_from`")
            });
        }
    }
}

/// What is asked from elsewhere is asked of the only instance, if its address is not written out.
fn one_is_meant(
    facts: &Facts<'_>,
    name: &ServiceName,
    service: &Service,
    check: &CheckName,
    kind: &CheckKind,
) {
    let has_placeholder = |node| kind.resolve(node) != *kind;
    if service.nodes.len() == 1 || !facts.spec.nodes.values().any(has_placeholder) {
        return;
    }
    let own = ["services", name.as_str(), "checks", check.as_str()];
    facts.error(&own, || {
        let instances = match service.nodes.len() {
            0 => "it has none that Interlock knows".to_owned(),
            several => format!("it has {several}"),
        };
        Problem::error(format!(
            "the check {check} of {name} does not say which instance is asked"
        ))
        .why(format!(
            "{{address}} and {{node}} stand for the node of the instance, the check runs elsewhere, and {instances}"
        ))
        .suggest("write the address that is meant, such as the virtual address of the service")
    });
}

fn unconsumed(facts: &Facts<'_>, name: &ServiceName, check: &CheckName) {
    facts.warning(
        &["services", name.as_str(), "checks", check.as_str()],
        || {
            Problem::warning(format!("the check {check} of {name} runs nowhere")).why(format!(
                "it runs from the consumers, and no service requires {name}"
            ))
        },
    );
}

fn local(facts: &Facts<'_>, name: &ServiceName, service: &Service, check: &CheckName) {
    let Some(node) = service.nodes.iter().find(|node| facts.is_agentless(node)) else {
        return;
    };
    facts.error(
        &["services", name.as_str(), "checks", check.as_str()],
        || {
            Problem::error(format!("the check {check} cannot look inside of {node}"))
                .why("the node has no agent; its checks run on others")
                .suggest(
                    "use one that connects to it, such as tcp, or name with `from` where it runs",
                )
                .note(
                    facts.place(&["nodes", node.as_str(), "agentless"]),
                    "it is agentless by this",
                )
        },
    );
}
