//! From where the instances of a service are probed.

use std::collections::BTreeSet;

use crate::names::NodeName;

use super::{Service, Spec};

impl Spec {
    /// The nodes that run the own checks of an instance: its node or, where no agent runs there, those that the spec names
    /// for it, in their order.
    ///
    /// A node has one result of each check. So one that probes an instance of the service already, by being its node, the
    /// first that is named for it, or the next one for an instance that comes before, probes no second one of it. That the
    /// first ones differ is verified.
    #[must_use]
    pub fn probers<'a>(&'a self, service: &'a Service, node: &'a NodeName) -> Vec<&'a NodeName> {
        let named = self.probed_from(node);
        let [first, rest @ ..] = named else {
            return vec![node];
        };
        let mut probers = vec![first];
        if rest.is_empty() {
            return probers;
        }
        let mut taken: BTreeSet<&NodeName> = service
            .nodes
            .iter()
            .map(|other| self.probed_from(other).first().unwrap_or(other))
            .collect();
        for other in &service.nodes {
            let own: Vec<&NodeName> = match self.probed_from(other) {
                [] => continue,
                [_, rest @ ..] => rest.iter().filter(|it| !taken.contains(it)).collect(),
            };
            if other == node {
                probers.extend(own);
                break;
            }
            taken.extend(own);
        }
        probers
    }

    /// The nodes that the spec names for probing one without an agent.
    fn probed_from(&self, node: &NodeName) -> &[NodeName] {
        let declared = self.nodes.get(node);
        declared
            .and_then(|node| node.agentless.as_deref())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_probes_one_instance_of_a_service_and_those_that_are_free_stand_in() {
        let text = "
cluster: c
nodes:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
  c: { address: 10.0.0.3 }
  d: { address: 10.0.0.4 }
  t1: { address: 10.0.0.5, agentless: { probes_from: [a, b, c] } }
  t2: { address: 10.0.0.6, agentless: { probes_from: [b, a, c, d] } }
services:
  tel: { nodes: [t1, t2], active: all, checks: { sip: { tcp: '{address}:5060' } } }
  fax: { nodes: [t1], checks: { line: { tcp: '{address}:5061' } } }
";
        let spec = Spec::parse(text.as_bytes(), "test")
            .map_err(|problems| problems.render(text.as_bytes()))
            .unwrap()
            .spec;
        let probers = |service: &str, node: &str| {
            let service = &spec.services[service];
            let node: NodeName = node.parse().unwrap();
            let probers = spec.probers(service, &node).into_iter();
            probers.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(probers("tel", "t1"), ["a", "c"]);
        assert_eq!(probers("tel", "t2"), ["b", "d"]);
        assert_eq!(probers("fax", "t1"), ["a", "b", "c"]);
        assert_eq!(probers("tel", "a"), ["a"], "it has an agent");
    }
}
