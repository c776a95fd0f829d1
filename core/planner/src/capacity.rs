//! Capacity: how many healthy instances a plan leaves at its lowest point.
//!
//! Counted for services whose instances all work. One with a single instance, and an exclusive one, has no capacity to
//! keep: it is interrupted, and the report says so.

use std::collections::BTreeSet;

use interlock_model::names::NodeName;
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::report::Entry;
use crate::world::Presence;

/// Does the service have a capacity that a plan must keep?
pub(crate) fn counts(service: &Service) -> bool {
    !service.is_exclusive() && service.nodes.len() > 1
}

impl Draft<'_> {
    /// The instances that are up and known to be healthy.
    pub(crate) fn healthy_instances<'s>(&self, service: &'s Service) -> BTreeSet<&'s NodeName> {
        let up = |node: &&NodeName| self.world.instance(&service.name, node) == Presence::Up;
        service
            .nodes
            .iter()
            .filter(up)
            .filter(|node| self.is_healthy(service, node))
            .collect()
    }

    /// Refuses with the arithmetic if one of the batches takes too many healthy instances at once.
    pub(crate) fn keep_capacity<'n>(
        &mut self,
        service: &Service,
        batches: impl IntoIterator<Item = Vec<&'n NodeName>>,
    ) {
        if !counts(service) {
            return;
        }
        let healthy = self.healthy_instances(service);
        let taken = batches
            .into_iter()
            .map(|batch| batch.iter().filter(|node| healthy.contains(*node)).count())
            .max();
        self.require_capacity(service, healthy.len(), healthy.len() - taken.unwrap_or(0));
    }

    /// Refuses if fewer than `at_least` would be left.
    pub(crate) fn require_capacity(&mut self, service: &Service, have: usize, would_leave: usize) {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        if number(would_leave) < service.at_least {
            self.report.add(Entry::CapacityShort {
                service: service.name.clone(),
                have: number(have),
                would_leave: number(would_leave),
                at_least: service.at_least,
            });
        }
    }
}
