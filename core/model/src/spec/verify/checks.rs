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
            match &declared.from {
                CheckFrom::Nodes(nodes) => {
                    let own = ["services", name.as_str(), "checks", check.as_str(), "from"];
                    nodes.iter().for_each(|node| {
                        facts.knows_agent(&[&own[..], &[node.as_str()]].concat(), node)
                    });
                }
                CheckFrom::Consumers if !needed.contains(name) => unconsumed(facts, name, check),
                CheckFrom::Own if inside(&declared.kind) => local(facts, name, service, check),
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

/// Does the check look inside of the machine where it runs?
fn inside(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Tcp { .. }
        | CheckKind::Http { .. }
        | CheckKind::Exec { .. }
        | CheckKind::Redis(_)
        | CheckKind::Postgres(_)
        | CheckKind::Mariadb(_)
        | CheckKind::Websocket { .. } => false,
        CheckKind::Unit { .. }
        | CheckKind::Marker { .. }
        | CheckKind::Same { .. }
        | CheckKind::Address { .. }
        | CheckKind::Mount(_)
        | CheckKind::Clock(_) => true,
    }
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
