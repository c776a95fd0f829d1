//! `member_of`: is there such a load balancer, and can its members be told apart there?

use std::collections::BTreeMap;

use super::{Facts, unknown};
use crate::check::{CheckFrom, CheckKind};
use crate::member::{Balancer, Membership, Then};
use crate::names::{CheckName, ServiceName};
use crate::spec::Service;
use crate::spec::problem::{Problem, quoted};

pub(super) fn verify(facts: &Facts<'_>) {
    // By balancer, backend and server: whose instance that is.
    let mut servers: BTreeMap<(&ServiceName, &str, String), &ServiceName> = BTreeMap::new();
    for (name, service) in &facts.spec.services {
        if service.balancer.is_some() {
            has_agents(facts, &["services", name.as_str(), "balancer"], service);
        }
        for (balancer, membership) in &service.member_of {
            let keys = ["services", name.as_str(), "member_of", balancer.as_str()];
            if !is_balancer(facts, &keys, name, balancer) {
                continue;
            }
            has_agents(facts, &keys, service);
            knows_drain(facts, &keys, balancer, membership);
            can_be_checked(facts, &keys, service, membership);
            for (backend, server) in servers_of(facts, service, membership) {
                let shown = format!("{backend}/{server}");
                if let Some(first) = servers.insert((balancer, backend, server), name) {
                    same_server(facts, &keys, (name, first), &shown);
                }
            }
        }
    }
}

/// What is switched, and where that is done, is in the hands of agents.
fn has_agents(facts: &Facts<'_>, keys: &[&str], service: &Service) {
    let mut nodes = service.nodes.iter();
    if let Some(node) = nodes.find(|node| facts.is_agentless(node)) {
        facts.error(keys, || {
            Problem::error(format!("{} has an instance on {node}, which has no agent", service.name))
                .why("plans switch members where the balancer runs, before they stop an instance and after they started it")
                .note(
                    facts.place(&["nodes", node.as_str(), "agentless"]),
                    "it is agentless by this",
                )
        });
    }
}

fn is_balancer(
    facts: &Facts<'_>,
    keys: &[&str],
    name: &ServiceName,
    balancer: &ServiceName,
) -> bool {
    let services = &facts.spec.services;
    let balancers = || {
        let all = services.iter();
        all.filter(|(_, service)| service.balancer.is_some())
            .map(|(name, _)| name.as_str())
    };
    match services.get(balancer) {
        None => {
            facts.error(keys, || unknown("service", balancer.as_str(), balancers()));
            false
        }
        Some(_) if balancer == name => {
            facts.error(keys, || {
                Problem::error(format!("{name} is a member of itself"))
                    .why("it would have to run to be told that it does not take part")
            });
            false
        }
        Some(found) if found.balancer.is_none() => {
            facts.error(keys, || {
                Problem::error(format!("{} is no load balancer", quoted(balancer.as_str())))
                    .why("it has no `balancer`, so nothing says how it is told who takes part")
                    .suggest(
                        "add `balancer: { haproxy: { socket: /run/haproxy/admin.sock } }` to it",
                    )
            });
            false
        }
        Some(_) => true,
    }
}

/// Is what follows a drain something that the balancer knows?
fn knows_drain(facts: &Facts<'_>, keys: &[&str], balancer: &ServiceName, how: &Membership) {
    let found = facts.spec.services.get(balancer);
    let by = found.and_then(|it| it.balancer.as_ref());
    if matches!(by, Some(Balancer::Nginx { .. })) && how.then == Then::Drain {
        facts.error(&[keys, &["then"]].concat(), || {
            Problem::error(format!("{balancer} is nginx, which knows no `drain`"))
                .why("a server that is `down` gets nothing, from no client")
                .suggest("leave `then` out")
        });
    }
}

/// Are the checks by which an instance is left out such that another machine can run them?
fn can_be_checked(facts: &Facts<'_>, keys: &[&str], service: &Service, how: &Membership) {
    let balancer = keys.last().and_then(|name| facts.spec.services.get(*name));
    let by = balancer.and_then(|it| it.balancer.as_ref());
    for check in &how.checks {
        let keys = [keys, &["checks", check.as_str()]].concat();
        let name = &service.name;
        let Some(found) = service.checks.get(check) else {
            facts.error(&keys, || {
                let what = format!("{} is not a check of {name}", quoted(check.as_str()));
                Problem::error(what)
                    .suggest_nearest(check.as_str(), service.checks.keys().map(CheckName::as_str))
            });
            continue;
        };
        let elsewhere = matches!(
            found.kind,
            CheckKind::Http { .. } | CheckKind::Tcp { .. } | CheckKind::Websocket { .. }
        );
        if found.from != CheckFrom::Own || !elsewhere {
            facts.error(&keys, || {
                Problem::error(format!(
                    "the check {check} cannot be run by a load balancer's agent"
                ))
                .why("it has to be `http`, `tcp` or `websocket`, and run from `self`")
                .note(
                    facts.place(&["services", name.as_str(), "checks", check.as_str()]),
                    "it is this one",
                )
            });
        }
        if matches!(by, Some(Balancer::Haproxy { .. })) {
            facts.error(&keys, || {
                Problem::error("HAProxy has checks of its own")
                    .why("two that decide would contradict each other")
                    .suggest(
                        "leave `checks` out, and write `option httpchk` into its configuration",
                    )
            });
        }
    }
}

fn servers_of<'m>(
    facts: &Facts<'_>,
    service: &Service,
    membership: &'m Membership,
) -> Vec<(&'m str, String)> {
    let nodes = service.nodes.iter();
    let known = nodes.filter_map(|node| facts.spec.nodes.get(node));
    known
        .flat_map(|node| {
            let server = membership.server_on(node);
            membership
                .backends
                .iter()
                .map(move |backend| (backend.as_str(), server.clone()))
        })
        .collect()
}

fn same_server(
    facts: &Facts<'_>,
    keys: &[&str],
    (name, first): (&ServiceName, &ServiceName),
    server: &str,
) {
    facts.error(keys, || {
        let problem = Problem::error(format!("two instances are the server {server}"))
            .why("to drain one would be to drain the other");
        if name == first {
            return problem.suggest("let `server` contain {node}");
        }
        problem.note(
            facts.place(&["services", first.as_str(), "member_of", keys[3]]),
            format!("the instances of {first}"),
        )
    });
}
