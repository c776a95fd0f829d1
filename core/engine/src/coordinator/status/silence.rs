//! Agents that are not heard, as causes.
//!
//! A node without services carries weight as well: it may be the only way to a power device, or the place that checks run
//! from. Its silence is a cause of its own, unless a service that is not well tells of it already.
//!
//! No cause is the silence that is expected: of a node on which no agent runs, of a machine that is off by its power
//! source's word, and of an agent that said goodbye to an operation that has its node in hand.

use std::collections::BTreeSet;

use interlock_model::action::Power;
use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::super::Coordinator;
use super::Cause;
use crate::view::SeenNode;

impl Coordinator {
    /// A cause per agent that is not heard, apart from those of the nodes in `told`.
    pub(super) fn silent_agents(
        &self,
        spec: &Spec,
        told: &BTreeSet<NodeName>,
        now: Now,
    ) -> Vec<Cause> {
        spec.nodes
            .values()
            .filter(|node| node.agentless.is_none() && !told.contains(&node.name))
            .filter(|node| self.contested(&node.name, now).is_none())
            .filter(|node| self.turned_away(&node.name, now).is_none())
            .filter_map(|node| {
                let what = self.silence(&node.name, now)?;
                Some(Cause {
                    subject: node.name.to_string(),
                    what,
                    dependants: self.unreachable_power(spec, &node.name),
                })
            })
            .collect()
    }

    /// How silent a node's agent is, if it should be heard and is not.
    fn silence(&self, node: &NodeName, now: Now) -> Option<String> {
        let Some(seen) = self.view.node(node) else {
            return Some(never_heard());
        };
        let liveness = seen.liveness;
        let expected = match liveness {
            Liveness::Alive => true,
            Liveness::Left => is_off(seen) || self.holder(Some(node), None).is_some(),
            Liveness::Late | Liveness::Lost | Liveness::Unheard => is_off(seen),
        };
        if expected {
            return None;
        }
        Some(match seen.heard {
            Some(heard) => {
                let seconds = now.since(heard).as_secs();
                format!("{liveness}: its agent was last heard {seconds}s ago")
            }
            None => never_heard(),
        })
    }

    /// Power devices that nobody reaches while this node is silent: of the nodes that may talk to them, none is heard.
    fn unreachable_power(&self, spec: &Spec, node: &NodeName) -> Vec<String> {
        spec.power
            .iter()
            .filter(|(_, device)| device.via.contains(node))
            .filter(|(_, device)| {
                let mut others = device.via.iter().filter(|other| *other != node);
                !others.any(|other| self.view.alive(other))
            })
            .map(|(name, _)| format!("power device {name}"))
            .collect()
    }
}

/// Its power source has said *off*, and nothing was heard of it since.
fn is_off(seen: &SeenNode) -> bool {
    match &seen.power {
        Some((Power::Off, at, _)) => seen.heard.is_none_or(|heard| heard <= *at),
        Some((Power::On | Power::Unknown, _, _)) | None => false,
    }
}

fn never_heard() -> String {
    "unheard: its agent has not been heard since this coordinator started".to_owned()
}
