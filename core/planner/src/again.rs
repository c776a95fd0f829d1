//! What restart and reboot have in common: what they stop, they start again.
//!
//! Both take what runs, and what is down against the will of its agent, whose guard may start it at any moment: in the
//! middle of the plan, before what it requires is back. It is stopped with the others, which tells its agent to leave it
//! alone, and started with them, because it is wanted running. What was stopped on purpose stays stopped.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Gate;
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::found::Found;
use crate::report::Subject;
use crate::world::Presence;

/// The instances that stop and start again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    by_service: BTreeMap<ServiceName, BTreeSet<NodeName>>,
    by_node: BTreeMap<NodeName, BTreeSet<ServiceName>>,
    /// Those of them that are down now.
    dead: BTreeMap<ServiceName, BTreeSet<NodeName>>,
}

impl Again {
    /// Takes an instance in if it has to stop; tells what is there of it.
    pub(crate) fn take(
        &mut self,
        draft: &mut Draft<'_>,
        service: &Service,
        node: &NodeName,
    ) -> Presence {
        let standing = draft.world.standing(&service.name, node);
        if standing != Presence::Up {
            return standing;
        }
        let insert = |into: &mut BTreeMap<ServiceName, BTreeSet<NodeName>>| {
            into.entry(service.name.clone())
                .or_default()
                .insert(node.clone());
        };
        insert(&mut self.by_service);
        let here = self.by_node.entry(node.clone()).or_default();
        here.insert(service.name.clone());
        if draft.world.may_come_up(&service.name, node) {
            insert(&mut self.dead);
            draft.report.warn(
                Subject::instance(&service.name, node),
                "it is down and its agent may start it at any moment: it stops and starts with the others",
            );
        }
        standing
    }

    /// The services that are touched.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_service.keys()
    }

    /// The nodes where instances of a service stop and start again.
    pub(crate) fn nodes(&self, service: &ServiceName) -> impl Iterator<Item = &NodeName> {
        self.by_service.get(service).into_iter().flatten()
    }

    /// The services with an instance on a node that stops and starts again.
    pub(crate) fn on(&self, node: &NodeName) -> impl Iterator<Item = &ServiceName> {
        self.by_node.get(node).into_iter().flatten()
    }

    /// Does this instance stop and start again?
    pub(crate) fn has(&self, service: &ServiceName, node: &NodeName) -> bool {
        self.by_service
            .get(service)
            .is_some_and(|nodes| nodes.contains(node))
    }

    /// The nodes where instances of a service are down now and come back with the plan.
    fn dead(&self, service: &ServiceName) -> impl Iterator<Item = &NodeName> {
        self.dead.get(service).into_iter().flatten()
    }

    /// The active side of an exclusive service is the last to go and to come back. While it is down, no other side
    /// starts before it.
    pub(crate) fn active_side_is_there(
        &self,
        draft: &mut Draft<'_>,
        service: &Service,
        active: Option<&NodeName>,
    ) {
        let Some(active) = active.filter(|_| service.is_exclusive()) else {
            return;
        };
        let others = self.nodes(&service.name).any(|node| node != active);
        if others && draft.world.instance(&service.name, active) == Presence::Down {
            draft.report.blocked(
                Subject::service(&service.name),
                format!("its active side {active} is down, and goes first"),
                format!("bring it up first, or plan for {active} alone"),
            );
        }
    }

    /// What stops now must find what it requires when it starts again: running, or down now and back by then, which
    /// `is_back` tells of a node.
    pub(crate) fn requirements_run(
        &self,
        draft: &mut Draft<'_>,
        service: &Service,
        is_back: impl Fn(&NodeName) -> bool,
    ) {
        for (name, _) in service
            .dependencies
            .iter()
            .filter(|(_, dependency)| dependency.needed)
        {
            let Some(required) = draft.service(name).filter(|required| !required.external) else {
                continue;
            };
            let active = draft.observed_side(required);
            let back: Vec<NodeName> = self
                .dead(name)
                .filter(|node| is_back(node))
                .cloned()
                .collect();
            let found = Found::of(&draft.world, required, &back, active.as_ref());
            if found.is_enough(required) {
                continue;
            }
            let subject = Subject::service(&service.name);
            if found.unknown.is_empty() {
                draft.report.blocked(
                    subject,
                    format!("it requires {name}, of which {} run", found.up),
                    format!("start {name} first"),
                );
            } else {
                draft.report.unknown(
                    subject,
                    format!("it requires {name}: {}", found.unknown.join(", ")),
                    "repair its agent",
                );
            }
        }
    }

    /// The gates that can be judged now: those of services of which nothing is down that the plan brings back.
    pub(crate) fn judged_now(&self, gates: &[Gate]) -> Vec<Gate> {
        let gates = gates.iter();
        gates
            .filter(|gate| !self.dead.contains_key(&gate.check.service))
            .cloned()
            .collect()
    }
}
