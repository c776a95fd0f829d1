//! What an operation holds (invariant I8): for itself alone what its plan changes, and together with others what it looks at.
//!
//! A plan *changes* what its steps act upon, and a person is asked to act upon. It *looks at* what a step only asks for its
//! health, and at every service whose checks a gate waits for: a startup of web servers upon a database that runs already.
//! Two that look at the same thing do not disturb each other. One that changes it would take it from under those that rely on
//! it; so either keeps the other out, whichever begins first.
//!
//! | one | the other | |
//! |---|---|---|
//! | changes a service, or anything on a node | changes the same service, or anything on that node | one after the other |
//! | looks at a service | changes that service | one after the other |
//! | looks at an instance | switches or reboots its machine | one after the other |
//! | looks at an instance | changes another service on its node | both |
//! | looks | looks | both |

use std::collections::BTreeSet;
use std::fmt;

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Plan;

use super::Operation;

/// What a plan holds while it is carried out.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    nodes: BTreeSet<NodeName>,
    services: BTreeSet<ServiceName>,
    /// The nodes that are themselves switched or rebooted.
    machines: BTreeSet<NodeName>,
    looked_at: BTreeSet<ServiceName>,
    instances_looked_at: BTreeSet<(ServiceName, NodeName)>,
}

/// What keeps two plans from being carried out at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// Both change it.
    Held(String),
    /// The one that is there looks at it, and the other one would change it.
    ReliedUpon(String),
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(what) => write!(f, "{what} is held"),
            Self::ReliedUpon(what) => write!(f, "{what} is relied upon"),
        }
    }
}

impl Claims {
    /// What a plan holds.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut claims = Self::default();
        for step in &plan.steps {
            let gates = step.gates.iter();
            let asked = gates.map(|gate| gate.check.service.clone());
            claims.looked_at.extend(asked);
            if step.action == Action::Check {
                claims.looked_at.extend(step.service.clone());
                let instance = step.service.clone().zip(step.node.clone());
                claims.instances_looked_at.extend(instance);
                continue;
            }
            claims.nodes.extend(step.node.clone());
            claims.services.extend(step.service.clone());
            if step.service.is_none() {
                claims.machines.extend(step.node.clone());
            }
        }
        claims
    }

    /// Does it change this node or this service?
    #[must_use]
    pub fn changes(&self, node: Option<&NodeName>, service: Option<&ServiceName>) -> bool {
        node.is_some_and(|node| self.nodes.contains(node))
            || service.is_some_and(|service| self.services.contains(service))
    }

    /// Has it a step that asks the instance of a service on a node for its health?
    #[must_use]
    pub fn asks_after(&self, service: &ServiceName, node: &NodeName) -> bool {
        let instance = (service.clone(), node.clone());
        self.instances_looked_at.contains(&instance)
    }

    /// What keeps another plan out while this one is carried out; none if both can be.
    #[must_use]
    pub fn clash(&self, other: &Self) -> Option<Clash> {
        let held = |what: &dyn fmt::Display| Clash::Held(what.to_string());
        let relied = |what: &dyn fmt::Display| Clash::ReliedUpon(what.to_string());
        let mut services = other.services.iter();
        if let Some(service) = services.find(|it| self.services.contains(*it)) {
            return Some(held(service));
        }
        let mut nodes = other.nodes.iter();
        if let Some(node) = nodes.find(|it| self.nodes.contains(*it)) {
            return Some(held(node));
        }
        let mut services = other.looked_at.iter();
        if let Some(service) = services.find(|it| self.services.contains(*it)) {
            return Some(held(service));
        }
        let mut instances = other.instances_looked_at.iter();
        if let Some((_, node)) = instances.find(|(_, node)| self.machines.contains(node)) {
            return Some(held(node));
        }
        let mut services = other.services.iter();
        if let Some(service) = services.find(|it| self.looked_at.contains(*it)) {
            return Some(relied(service));
        }
        let mut instances = self.instances_looked_at.iter();
        let under = instances.find(|(_, node)| other.machines.contains(node));
        under.map(|(_, node)| relied(node))
    }
}

impl Operation {
    /// What it holds while it is not over; over, it holds nothing.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}
