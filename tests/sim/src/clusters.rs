//! The clusters that runs are about.

use std::sync::Arc;
use std::time::Duration;

use interlock_model::spec::{GuardPolicy, Spec};

use crate::random::Random;

/// JTEL "Large V2", as it is deployed.
#[must_use]
pub fn large() -> Arc<Spec> {
    brisk(include_str!("../../../deploy/clusters/jtel-large-v2.yaml"))
}

/// JTEL "Small V2": the first service of a startup and one of the last share a machine.
#[must_use]
pub fn small() -> Arc<Spec> {
    brisk(include_str!("../../../deploy/clusters/jtel-small-v2.yaml"))
}

/// Two services, and a node that does nothing but tell whether the first one can be reached. No other check does.
#[must_use]
pub fn watched() -> Arc<Spec> {
    brisk(
        "cluster: watched\ncontrol: { coordinators: [mgmt] }\n\
         nodes:\n  mgmt: { address: 10.0.0.1 }\n  a: { address: 10.0.0.2 }\n  b: { address: 10.0.0.3 }\n  \
         watch: { address: 10.0.0.4 }\n\
         services:\n  base:\n    nodes: [a]\n    active: all\n    manager: { systemd: { unit: base.service } }\n    \
         checks: { path: { tcp: \"10.0.0.2:80\", from: [watch] } }\n  \
         top:\n    nodes: [b]\n    active: all\n    manager: { systemd: { unit: top.service } }\n    \
         requires: { base: { start: healthy, stop: down } }\n",
    )
}

/// Three instances behind two load balancers, of which one shares a machine with them.
#[must_use]
pub fn fronted() -> Arc<Spec> {
    brisk(
        "cluster: fronted\ncontrol: { coordinators: [mgmt] }\npower: { box: { fence: fence_sim, via: [mgmt] } }\n\
         nodes:\n  mgmt: { address: 10.0.0.1 }\n  d1: { address: 10.0.0.2, power: { by: box, plug: d1 } }\n  \
         l1: { address: 10.0.0.3, power: { by: box, plug: l1 } }\n  \
         \"w[1-3]\": { address: \"10.0.0.[11-13]\", power: { by: box, plug: \"w[1-3]\" } }\n\
         services:\n  db:\n    nodes: [d1]\n    manager: { systemd: { unit: db.service } }\n    \
         checks: { port: { tcp: \"{address}:80\" }, path: { tcp: \"10.0.0.2:80\", from: consumers } }\n  \
         web:\n    nodes: \"w[1-3]\"\n    active: all\n    manager: { systemd: { unit: web.service } }\n    \
         requires: { db: { start: healthy, stop: down } }\n    member_of: { lb: { backend: web, drain: 5s } }\n    files: { config: { values: { workers: \"4\" } } }\n    \
         checks: { port: { tcp: \"{address}:80\" } }\n  \
         lb:\n    nodes: [l1, w3]\n    active: all\n    manager: { systemd: { unit: haproxy.service } }\n    \
         balancer: { haproxy: { socket: /run/haproxy/admin.sock } }\n    checks: { port: { tcp: \"{address}:80\" } }\n",
    )
}

/// A cluster that nobody would build: services on random nodes, with random dependencies and wait conditions.
#[must_use]
pub fn random(seed: u64) -> Arc<Spec> {
    let mut random = Random::new(seed ^ 0x005e_edc1_u64);
    let nodes = 2 + random.below(4);
    let services = 2 + random.below(5);
    let mut text = String::from(
        "cluster: random\ncontrol: { coordinators: [mgmt] }\n\
         power: { box: { fence: fence_sim, via: [mgmt] } }\n\
         nodes:\n  mgmt: { address: 10.0.0.1 }\n",
    );
    for node in 1..=nodes {
        text.push_str(&format!(
            "  n{node}: {{ address: 10.0.0.{}, power: {{ by: box, plug: p{node} }} }}\n",
            10 + node
        ));
    }
    text.push_str("services:\n");
    for service in 1..=services {
        text.push_str(&service_text(service, nodes, &mut random));
    }
    brisk(&text)
}

fn service_text(number: u64, nodes: u64, random: &mut Random) -> String {
    let first = 1 + random.below(nodes);
    let second = 1 + random.below(nodes);
    let exclusive = first != second && random.chance(40);
    let on = if first == second {
        format!("[n{first}]")
    } else {
        format!("[n{first}, n{second}]")
    };
    let mut text = format!(
        "  s{number}:\n    nodes: {on}\n    manager: {{ systemd: {{ unit: s{number}.service }} }}\n"
    );
    if exclusive {
        text.push_str("    active: one\n    active_when: [leads]\n");
    } else {
        text.push_str("    active: all\n");
    }
    if !exclusive && random.chance(20) {
        text.push_str("    boot: autostart\n");
    }
    text.push_str("    checks:\n      port: { tcp: \"{address}:80\" }\n");
    if exclusive {
        text.push_str("      leads: { exec: leads }\n");
    }
    if random.chance(50) {
        text.push_str("      path: { tcp: \"10.0.0.9:80\", from: consumers }\n");
    }
    let mut needs = String::new();
    let mut order = String::new();
    for other in 1..number {
        let start = random
            .pick(&["issued", "up", "healthy", "healthy"])
            .copied();
        let stop = random
            .pick(&["issued", "going-down", "down", "down"])
            .copied();
        let edge = format!(
            "s{other}: {{ start: {}, stop: {} }}",
            start.unwrap_or("up"),
            stop.unwrap_or("down")
        );
        match random.below(10) {
            0..=3 => needs.push_str(&format!("      {edge}\n")),
            4 => order.push_str(&format!("      {edge}\n")),
            _ => {}
        }
    }
    if !needs.is_empty() {
        text.push_str(&format!("    requires:\n{needs}"));
    }
    if !order.is_empty() {
        text.push_str(&format!("    after:\n{order}"));
    }
    text
}

/// Reads a spec, and makes its time limits short: what fails in a run shall not be waited for longer than it takes.
fn brisk(text: &str) -> Arc<Spec> {
    let parsed = Spec::parse(text.as_bytes(), "cluster.yaml");
    let mut spec = match parsed {
        Ok(parsed) => parsed.spec,
        Err(problems) => panic!("{}", problems.render(text.as_bytes())),
    };
    for service in spec.services.values_mut() {
        service.start_within = Duration::from_secs(30);
        service.stop_within = Duration::from_secs(30);
        service.guard = GuardPolicy {
            budget: 3,
            window: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
        };
        for check in service.checks.values_mut() {
            check.every = Duration::from_secs(6);
            check.fresh = Duration::from_secs(18);
        }
    }
    for node in spec.nodes.values_mut() {
        if let Some(power) = &mut node.power {
            power.off_within = Duration::from_secs(40);
            power.on_within = Duration::from_secs(40);
        }
    }
    Arc::new(spec)
}
