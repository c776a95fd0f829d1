//! The simulated world: what is really so, whatever anybody says about it.
//!
//! Agents look at it, people change it by hand, and the invariants compare it with what was done. Nothing of the
//! product is in here.

mod files;
mod machine;
mod members;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::{Check, CheckFrom, CheckKind, Verdict};
use interlock_model::ids::{AttemptId, BootId};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::spec::Spec;

pub(crate) use machine::{Fate, Instance, Job, Machine, Os, instance_of};

/// Why an instance is not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An attempt of an operation did it.
    Attempt(AttemptId),
    /// A person at the machine did it.
    Hand,
    /// Nobody did: it died.
    Itself,
}

/// All machines with all that is on them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) spec: Arc<Spec>,
    pub(crate) machines: BTreeMap<NodeName, Machine>,
    /// Which side is active, or was when the last instance went down.
    active: BTreeMap<ServiceName, NodeName>,
}

impl World {
    /// All machines on, everything up and healthy; of each exclusive service the side that `choose` picks is active.
    pub(crate) fn up(
        spec: Arc<Spec>,
        mut choose: impl FnMut(&[NodeName]) -> Option<NodeName>,
    ) -> Self {
        let mut machines: BTreeMap<NodeName, Machine> = spec
            .nodes
            .keys()
            .map(|node| (node.clone(), Machine::on()))
            .collect();
        let mut active = BTreeMap::new();
        for service in spec.services.values() {
            for node in &service.nodes {
                if let Some(machine) = machines.get_mut(node) {
                    machine
                        .instances
                        .insert(service.name.clone(), Instance::running());
                }
            }
            if service.is_exclusive()
                && let Some(node) = choose(&service.nodes)
            {
                active.insert(service.name.clone(), node);
            }
        }
        let mut world = Self {
            spec,
            machines,
            active,
        };
        world.admit_all();
        world
    }

    /// Everything down, and every machine off that can be switched.
    pub(crate) fn all_off(&mut self) {
        let spec = Arc::clone(&self.spec);
        for node in spec.nodes.values() {
            if node.power.is_some() {
                self.unplugged(&node.name);
            } else {
                self.all_down(&node.name);
            }
        }
    }

    pub(crate) fn machine(&self, node: &NodeName) -> &Machine {
        &self.machines[node]
    }

    pub(crate) fn machine_mut(&mut self, node: &NodeName) -> &mut Machine {
        self.machines
            .get_mut(node)
            .expect("every node of the spec has its machine")
    }

    /// The boot that a machine is in.
    pub(crate) fn boot(&self, node: &NodeName) -> BootId {
        BootId(format!("{node}-{:08}", self.machine(node).boots))
    }

    /// Does the machine's plug give power?
    pub(crate) fn plug(&self, node: &NodeName) -> bool {
        self.machine(node).plug
    }

    /// The state of an instance as its manager would tell it; stopped on a machine that is off.
    pub(crate) fn state(&self, node: &NodeName, service: &ServiceName) -> InstanceState {
        self.machine(node)
            .instances
            .get(service)
            .map_or(InstanceState::Unknown, |instance| instance.state)
    }

    /// Is the instance up, and has it been for long enough to do its work?
    pub(crate) fn works(&self, node: &NodeName, service: &ServiceName, now: Duration) -> bool {
        let machine = self.machine(node);
        machine.os == Os::Up
            && machine.instances.get(service).is_some_and(|instance| {
                instance.state == InstanceState::Running && now >= instance.warm
            })
    }

    /// Which side of an exclusive service is active, or was.
    pub(crate) fn active(&self, service: &ServiceName) -> Option<&NodeName> {
        self.active.get(service)
    }

    /// Somebody moves the active side to another instance that works.
    pub(crate) fn move_active(&mut self, service: &ServiceName, now: Duration) -> bool {
        let nodes = self
            .spec
            .services
            .get(service)
            .map(|service| service.nodes.clone())
            .unwrap_or_default();
        let other = nodes
            .iter()
            .find(|node| {
                self.active(service) != Some(node)
                    && self.works(node, service, now)
                    && self
                        .active(service)
                        .is_some_and(|old| self.works(old, service, now))
            })
            .cloned();
        match other {
            Some(other) => {
                self.active.insert(service.clone(), other);
                true
            }
            None => false,
        }
    }

    /// Somebody makes an instance that is up the active one, where the active one is not. True if there was one.
    pub(crate) fn appoint_active(&mut self) -> bool {
        let spec = Arc::clone(&self.spec);
        let mut any = false;
        for (name, service) in &spec.services {
            let up = |node: &&NodeName| self.state(node, name) == InstanceState::Running;
            let lost = self.active(name).is_some_and(|active| !up(&active));
            if let Some(node) = service.nodes.iter().find(up).filter(|_| lost).cloned() {
                self.active.insert(name.clone(), node);
                any = true;
            }
        }
        any
    }

    /// An instance came up: where no other one is active, it takes over. One that goes down does not hand over: plans
    /// take it that nothing does, and a cluster manager of its own is a later issue.
    pub(super) fn came_up(&mut self, node: &NodeName, service: &ServiceName) {
        let Some(declared) = self.spec.services.get(service) else {
            return;
        };
        if !declared.is_exclusive() {
            return;
        }
        let held = self
            .active(service)
            .is_some_and(|active| self.state(active, service) == InstanceState::Running);
        if !held {
            self.active.insert(service.clone(), node.clone());
        }
    }

    /// Does the service do its work, together with all that it needs?
    fn serves(&self, service: &ServiceName, now: Duration) -> bool {
        let Some(declared) = self.spec.services.get(service) else {
            return false;
        };
        let itself = if declared.external {
            true
        } else if declared.is_exclusive() {
            self.active(service)
                .is_some_and(|active| self.works(active, service, now))
        } else {
            declared
                .nodes
                .iter()
                .any(|node| self.works(node, service, now))
        };
        itself
            && declared
                .dependencies
                .iter()
                .filter(|(_, edge)| edge.needed)
                .all(|(other, _)| self.serves(other, now))
    }

    /// What a probe on `node` would find now.
    pub(crate) fn probe(
        &self,
        node: &NodeName,
        service: &ServiceName,
        name: &str,
        check: &Check,
        now: Duration,
    ) -> Verdict {
        let Some(declared) = self.spec.services.get(service) else {
            return Verdict::Unknown;
        };
        if self.machine(node).os != Os::Up {
            return Verdict::Unknown;
        }
        let tells_active = declared
            .active_when
            .iter()
            .any(|check| check.as_str() == name);
        if tells_active && self.active(service) != Some(node) {
            return Verdict::Bad;
        }
        let green = if tells_active {
            self.works(node, service, now)
        } else {
            match (&check.kind, &check.from) {
                (CheckKind::Same { .. }, _) => true,
                // What answers over HTTP answers for all that it needs.
                (CheckKind::Http { .. }, CheckFrom::Own) => {
                    self.works(node, service, now) && self.serves(service, now)
                }
                (_, CheckFrom::Own) => self.works(node, service, now),
                (_, CheckFrom::Consumers | CheckFrom::Nodes(_)) => self.serves(service, now),
            }
        };
        let is_own = check.from == CheckFrom::Own;
        if green {
            Verdict::Ok
        } else if is_own && self.state(node, service) == InstanceState::Running {
            // It takes connections and does not answer yet.
            Verdict::Unknown
        } else {
            Verdict::Bad
        }
    }
}
