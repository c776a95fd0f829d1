//! Is enough there of a service that another one requires?

use interlock_model::names::NodeName;
use interlock_model::spec::Service;

use crate::world::{Presence, World};

/// What is there of a service that another one requires.
pub(crate) struct Found {
    /// Instances that run or are started first; of an exclusive service, of its active side alone.
    pub(crate) up: u32,
    /// Instances that cannot be told, and why.
    pub(crate) unknown: Vec<String>,
}

impl Found {
    pub(crate) fn of(
        world: &World<'_>,
        required: &Service,
        started: &[NodeName],
        active: Option<&NodeName>,
    ) -> Self {
        let (mut up, mut unknown) = (0, Vec::new());
        for node in &required.nodes {
            if started.contains(node) {
                up += 1;
            } else if active.is_none_or(|active| active == node) {
                match world.instance(&required.name, node) {
                    Presence::Up => up += 1,
                    Presence::Down => {}
                    Presence::Unknown(why) => unknown.push(format!("{node}: {why}")),
                }
            }
        }
        Self { up, unknown }
    }

    pub(crate) fn is_enough(&self, required: &Service) -> bool {
        let needed = if required.is_exclusive() {
            1
        } else {
            required.at_least.max(1)
        };
        self.up >= needed
    }
}
