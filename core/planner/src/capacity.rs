//! Capacity: how many instances in service a plan leaves at its lowest point.
//!
//! In service is what runs, is healthy, and takes part in the load balancers that it is a member of, wherever those run: one
//! that was drained serves nobody, however healthy it is, nor does one that is stopping and whose checks have not seen it yet.
//!
//! Counted for services whose instances all work. One with a single instance, and an exclusive one, has no capacity to
//! keep: it is interrupted, and the report says so.

use std::collections::BTreeSet;

use interlock_model::names::NodeName;
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::report::{Entry, Subject};

/// Does the service have a capacity that a plan must keep?
pub(crate) fn counts(service: &Service) -> bool {
    !service.is_exclusive() && service.nodes.len() > 1
}

impl Draft<'_> {
    /// The instances that are up, known to be healthy, and known to take part in their load balancers. The report names
    /// those that are left out for the latter.
    pub(crate) fn serving_instances<'s>(&mut self, service: &'s Service) -> BTreeSet<&'s NodeName> {
        let mut serving = BTreeSet::new();
        for node in &service.nodes {
            if !self.world.runs(&service.name, node) || !self.is_healthy(service, node) {
                continue;
            }
            match self.world.apart(service, node) {
                None => drop(serving.insert(node)),
                Some(apart) => {
                    let text = format!("healthy, but does not count: it is {}", apart.text);
                    self.report
                        .warn(Subject::instance(&service.name, node), text);
                }
            }
        }
        serving
    }

    /// Refuses with the arithmetic if one of the batches takes too many serving instances at once.
    pub(crate) fn keep_capacity<'n>(
        &mut self,
        service: &Service,
        batches: impl IntoIterator<Item = Vec<&'n NodeName>>,
    ) {
        if !counts(service) {
            return;
        }
        let serving = self.serving_instances(service);
        let taken = batches
            .into_iter()
            .map(|batch| batch.iter().filter(|node| serving.contains(*node)).count())
            .max();
        self.require_capacity(service, serving.len(), serving.len() - taken.unwrap_or(0));
    }

    /// Refuses if fewer than `at_least` would be left. What the plan keeps by this is looked at again while it runs.
    pub(crate) fn require_capacity(&mut self, service: &Service, have: usize, would_leave: usize) {
        if service.at_least > 0 {
            self.keeps.insert(service.name.clone());
        }
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let (have, would_leave) = (number(have), number(would_leave));
        let (service, at_least) = (service.name.clone(), service.at_least);
        if would_leave < at_least {
            self.report.add(Entry::CapacityShort {
                service,
                have,
                would_leave,
                at_least,
            });
        } else if at_least > 0 {
            self.report.add(Entry::Keeps {
                service,
                have,
                would_leave,
                at_least,
            });
        }
    }
}
