//! Agents that are not heard, as causes.
//!
//! A node without services carries weight as well: it may be the only way to a power device, or the place that checks run
//! from. Its silence is a cause of its own, unless a service that is not well tells of it already.
//!
//! No cause is the silence that is expected: of a node on which no agent runs, of a machine that is off by its power
//! source's word, and of an agent that said goodbye to an operation that has its node in hand.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::Power;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Liveness;
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::super::Coordinator;
use super::{Cause, ServiceStatus, collect_dependants};
use crate::view::SeenNode;

impl Coordinator {
    /// A cause per agent that is not heard, apart from those of which a service tells; with the services that are silenced
    /// by those that are told by themselves, and whoever suffers from these.
    pub(super) fn silent_agents(
        &self,
        spec: &Spec,
        sick: &BTreeMap<ServiceName, ServiceStatus>,
        silenced: &BTreeMap<NodeName, BTreeSet<ServiceName>>,
        now: Now,
    ) -> Vec<Cause> {
        let told: BTreeSet<&NodeName> = sick.values().flat_map(|it| &it.untold).collect();
        spec.nodes
            .values()
            .filter(|node| node.agentless.is_none())
            .filter(|node| silenced.contains_key(&node.name) || !told.contains(&node.name))
            .filter(|node| self.contested(&node.name, now).is_none())
            .filter(|node| self.turned_away(&node.name, now).is_none())
            .filter_map(|node| {
                let what = self.silence(&node.name, now)?;
                let mut suffer = BTreeSet::new();
                for service in silenced.get(&node.name).into_iter().flatten() {
                    suffer.insert(service.clone());
                    collect_dependants(spec, service, sick, &mut suffer);
                }
                let mut dependants: Vec<String> = suffer.iter().map(ToString::to_string).collect();
                dependants.extend(self.unreachable_power(spec, &node.name));
                Some(Cause {
                    subject: node.name.to_string(),
                    what,
                    dependants,
                })
            })
            .collect()
    }

    /// Should an agent run there, and is it not heard?
    pub(super) fn is_silent(&self, spec: &Spec, node: &NodeName) -> bool {
        let declared = spec.nodes.get(node);
        let liveness = self.view.node(node).map(|seen| seen.liveness);
        declared.is_some_and(|node| node.agentless.is_none())
            && !matches!(liveness, Some(Liveness::Alive | Liveness::Late))
    }

    /// The nodes whose silence is a cause of its own, with the services of which nothing else is wrong: those whose agents
    /// are refused or contested, which is told with its reason; and those that silence more than one service, which is one
    /// fact and not one for each of them. Whatever else silences such a service is told in the same way.
    pub(in crate::coordinator) fn silent_by_themselves(
        &self,
        sick: &BTreeMap<ServiceName, ServiceStatus>,
        now: Now,
    ) -> BTreeMap<NodeName, BTreeSet<ServiceName>> {
        let mut silenced: BTreeMap<NodeName, BTreeSet<ServiceName>> = BTreeMap::new();
        let only_silenced = sick.values().filter(|status| status.is_only_silenced());
        for status in only_silenced.clone() {
            for node in &status.silent {
                let here = silenced.entry(node.clone()).or_default();
                here.insert(status.service.clone());
            }
        }
        let known = |node: &NodeName| {
            self.turned_away(node, now).is_some() || self.contested(node, now).is_some()
        };
        let tellable = |node: &NodeName| known(node) || self.silence(node, now).is_some();
        let mut told: BTreeSet<NodeName> = silenced
            .iter()
            .filter(|(node, services)| known(node) || services.len() > 1 && tellable(node))
            .map(|(node, _)| node.clone())
            .collect();
        loop {
            let more: Vec<NodeName> = only_silenced
                .clone()
                .filter(|status| status.silent.iter().any(|node| told.contains(node)))
                .flat_map(|status| &status.silent)
                .filter(|node| !told.contains(*node) && tellable(node))
                .cloned()
                .collect();
            if more.is_empty() {
                silenced.retain(|node, _| told.contains(node));
                return silenced;
            }
            told.extend(more);
        }
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
