//! `control`, `hosts`, `power` and `nodes`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Facts, unknown};
use crate::action::ShutdownBy;
use crate::names::{HostName, NodeName, PowerName};
use crate::spec::problem::{Problem, quoted};
use crate::spec::read::{ends_in_a_number, is_host};
use crate::spec::{Node, NodePower};

pub(super) fn verify(facts: &Facts<'_>) {
    control(facts);
    devices(facts);
    for (name, node) in &facts.spec.nodes {
        references(facts, name, node);
        if let Some(power) = &node.power {
            powered(facts, name, node, power);
        }
    }
    no_address_twice(facts);
    no_plug_twice(facts);
}

fn control(facts: &Facts<'_>) {
    let control = &facts.spec.control;
    if control.late <= control.heartbeat {
        facts.error(&["control", "late"], || {
            Problem::error("a node would be late before its next heartbeat is due")
                .why("`late` must be longer than `heartbeat`")
                .note(facts.place(&["control", "heartbeat"]), "the heartbeat")
        });
    }
    if control.lost <= control.late {
        facts.error(&["control", "lost"], || {
            Problem::error("a node would be lost before it is late")
                .why("`lost` must be longer than `late`")
                .note(facts.place(&["control", "late"]), "late")
        });
    }
    // A machine outside of the cluster is legitimate; one that is called almost like a node is probably that node,
    // which a plan would then switch off underneath its own coordinator.
    for name in control
        .coordinators
        .iter()
        .filter(|name| !facts.spec.nodes.contains_key(*name))
    {
        let others = facts.spec.nodes.keys().map(NodeName::as_str);
        let keys = ["control", "coordinators", name.as_str()];
        let problem = Problem::warning(format!(
            "{} is not a node of this cluster",
            quoted(name.as_str())
        ))
        .why("it is taken for a machine outside of it")
        .suggest_nearest(name.as_str(), others);
        if problem.suggestion.is_some() {
            facts.warning(&keys, || problem);
        }
    }
}

fn devices(facts: &Facts<'_>) {
    for (name, device) in &facts.spec.power {
        for via in &device.via {
            facts.knows_agent(&["power", name.as_str(), "via", via.as_str()], via);
        }
        let [only] = device.via.as_slice() else {
            continue;
        };
        let own = facts
            .spec
            .nodes
            .get(only)
            .and_then(|node| node.power.as_ref());
        if own.is_some_and(|power| power.by == *name) {
            facts.warning(&["power", name.as_str(), "via", only.as_str()], || {
                Problem::warning(format!("{only} can be switched only by itself"))
                    .why("once it is off, nothing can reach the device that would switch it on")
                    .suggest("add a node to `via` that is powered otherwise, or remove the power of this one")
                    .note(facts.place(&["nodes", only.as_str(), "power"]), "it is powered by this device")
            });
        }
    }
}

fn references(facts: &Facts<'_>, name: &NodeName, node: &Node) {
    let name = name.as_str();
    if let Some(host) = node
        .host
        .as_ref()
        .filter(|host| !facts.spec.hosts.contains_key(*host))
    {
        let hosts = facts.spec.hosts.keys().map(HostName::as_str);
        facts.error(&["nodes", name, "host"], || {
            unknown("host", host.as_str(), hosts)
        });
    }
    for via in node.agentless.iter().flatten() {
        facts.knows_agent(
            &["nodes", name, "agentless", "probes_from", via.as_str()],
            via,
        );
    }
    let networks = node
        .networks
        .iter()
        .map(|(network, address)| (["networks", network], address));
    let main = std::iter::once((["address", ""], &node.address));
    for ([key, network], address) in main.chain(networks) {
        // An empty one could not be read, which is reported.
        if !address.is_empty() && !is_host(address) {
            let keys = ["nodes", name, key, network];
            let keys = if network.is_empty() {
                &keys[..3]
            } else {
                &keys[..]
            };
            facts.error(keys, || {
                let problem = Problem::error(format!("{} is not an address", quoted(address)));
                if ends_in_a_number(address) && !address.contains(':') {
                    return problem
                        .why("what ends in a number is an IPv4 address, and this is none")
                        .suggest("write four numbers from 0 to 255, such as 10.1.0.9");
                }
                if address.starts_with('-') {
                    return problem.why("no host name begins with '-'");
                }
                let problem =
                    problem.why("an address is an IP address or a host name, without a port");
                match address.rsplit_once(':').filter(|(host, _)| is_host(host)) {
                    Some((host, _)) => problem.suggest(format!("write {host}")),
                    None => problem,
                }
            });
        }
    }
}

fn powered(facts: &Facts<'_>, name: &NodeName, node: &Node, power: &NodePower) {
    let name = name.as_str();
    if !facts.spec.power.contains_key(&power.by) {
        let devices = facts.spec.power.keys().map(PowerName::as_str);
        facts.error(&["nodes", name, "power", "by"], || {
            unknown("power device", power.by.as_str(), devices)
        });
    }
    if node.agentless.is_some() && power.shutdown != ShutdownBy::Manual {
        facts.error(&["nodes", name, "power", "shutdown"], || {
            Problem::error("nothing on this node could shut it down")
                .why("it has no agent")
                .suggest("write `shutdown: manual`: a person does, and the power device proves it")
                .note(
                    facts.place(&["nodes", name, "agentless"]),
                    "it is agentless by this",
                )
        });
    }
}

/// Two nodes with one address would be taken for each other by every check. Loopback addresses are exempt: there
/// several agents run on one machine on purpose.
fn no_address_twice(facts: &Facts<'_>) {
    let mut seen: BTreeMap<&str, (&NodeName, &str)> = BTreeMap::new();
    for (name, node) in &facts.spec.nodes {
        let networks = node
            .networks
            .iter()
            .map(|(network, address)| (network.as_str(), address.as_str()));
        for (network, address) in std::iter::once(("", node.address.as_str())).chain(networks) {
            let loopback = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if address.is_empty() || loopback || address == "localhost" {
                continue;
            }
            let (first, first_network) = *seen.entry(address).or_insert((name, network));
            if first != name {
                facts.error(&address_keys(name, network), || {
                    Problem::error(format!(
                        "{name} and {first} have the same address {}",
                        quoted(address)
                    ))
                    .why("a check of one would be answered by the other")
                    .note(
                        facts.place(&address_keys(first, first_network)),
                        format!("the address of {first}"),
                    )
                });
            }
        }
    }
}

fn address_keys<'n>(node: &'n NodeName, network: &'n str) -> Vec<&'n str> {
    match network {
        "" => vec!["nodes", node.as_str(), "address"],
        network => vec!["nodes", node.as_str(), "networks", network],
    }
}

fn no_plug_twice(facts: &Facts<'_>) {
    let mut seen: BTreeMap<(&PowerName, &str), &NodeName> = BTreeMap::new();
    for (name, node) in &facts.spec.nodes {
        let Some(power) = node.power.as_ref().filter(|power| !power.plug.is_empty()) else {
            continue;
        };
        let first = *seen.entry((&power.by, &power.plug)).or_insert(name);
        if first != name {
            facts.error(&["nodes", name.as_str(), "power", "plug"], || {
                Problem::error(format!(
                    "{name} and {first} are the same plug {} of {}",
                    quoted(&power.plug),
                    power.by
                ))
                .why("switching one off would switch the other off")
                .note(
                    facts.place(&["nodes", first.as_str(), "power", "plug"]),
                    format!("the plug of {first}"),
                )
            });
        }
    }
}
