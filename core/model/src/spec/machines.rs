//! What plans may do to machines, as far as the spec alone says.

use crate::action::ShutdownBy;

use super::{Node, Spec};

impl Spec {
    /// Does the node run a coordinator or a member of etcd?
    #[must_use]
    pub fn runs_control(&self, node: &Node) -> bool {
        let is_here = |endpoint: &String| {
            let host = endpoint_host(endpoint);
            host == node.name.as_str()
                || host == node.address
                || node.networks.values().any(|address| address == host)
        };
        self.control.coordinators.contains(&node.name) || self.control.etcd.iter().any(is_here)
    }

    /// Do plans have the agent of the node restart its machine? One that the spec does not let its agent take down by
    /// itself is not restarted by its agent either; of one without a power source the spec says nothing like that.
    #[must_use]
    pub fn reboots_by_agent(&self, node: &Node) -> bool {
        let power = node.power.as_ref();
        node.agentless.is_none()
            && power.is_none_or(|power| power.shutdown == ShutdownBy::Agent)
            && !self.runs_control(node)
    }
}

/// The host of `https://host:port`, `host:port`, `[address]:port`.
fn endpoint_host(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_restart_what_its_own_agent_may_take_down_and_what_has_no_power_source() {
        let text = "
cluster: c
control: { coordinators: [ctl] }
power: { kvm: { fence: fence_virsh, via: [ctl] } }
nodes:
  ctl: { address: 10.0.0.1 }
  bare: { address: 10.0.0.2 }
  own: { address: 10.0.0.3, power: { by: kvm, plug: own } }
  hand: { address: 10.0.0.4, power: { by: kvm, plug: hand, shutdown: manual } }
  command: { address: 10.0.0.5, power: { by: kvm, plug: command, shutdown: command } }
  box: { address: 10.0.0.6, agentless: { probes_from: [own] } }
services: {}
";
        let spec = Spec::parse(text.as_bytes(), "test")
            .map_err(|problems| problems.render(text.as_bytes()))
            .unwrap()
            .spec;
        let nodes = spec.nodes.values();
        let restarted = nodes.filter(|node| spec.reboots_by_agent(node));
        let names: Vec<&str> = restarted.map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["bare", "own"]);
    }
}
