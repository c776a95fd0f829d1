//! What is known of the roles of leased services, beside what their agents say: who could take one, as the leaders of the
//! leases judge, and who gets an answer at the addresses of a primary.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Fitness, InstanceObservation};

use super::View;

/// What a node found that tried an address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who tried.
    pub by: NodeName,
    /// When it was asked to.
    pub asked: Duration,
    /// Was there an answer? None: it could not try, so it says nothing.
    pub answered: Option<bool>,
    /// In its words.
    pub detail: String,
}

/// Of all services.
#[derive(Debug, Clone, Default)]
pub(super) struct Roles {
    judged: BTreeMap<ServiceName, BTreeMap<NodeName, (Duration, Fitness)>>,
    answers: BTreeMap<(ServiceName, String), BTreeMap<NodeName, Answer>>,
}

impl View {
    /// The leader of a lease has judged who could take the role, each by what was seen at its time.
    pub fn judged(
        &mut self,
        service: ServiceName,
        fitness: BTreeMap<NodeName, (Duration, Fitness)>,
    ) {
        self.roles.judged.insert(service, fitness);
    }

    /// Could an instance take the role, as was last judged?
    #[must_use]
    pub fn fitness(&self, service: &ServiceName, node: &NodeName) -> Fitness {
        self.fitness_since(service, node, Duration::ZERO)
    }

    /// The same, and *unknown* if it was not judged by what was seen since then.
    #[must_use]
    pub fn fitness_since(
        &self,
        service: &ServiceName,
        node: &NodeName,
        since: Duration,
    ) -> Fitness {
        let judged = self.roles.judged.get(service);
        let judged = judged.and_then(|nodes| nodes.get(node));
        let recent = judged.filter(|(seen, _)| *seen >= since);
        recent.map_or_else(Fitness::default, |(_, fitness)| fitness.clone())
    }

    /// A node has tried an address of a service.
    pub fn answered(&mut self, service: ServiceName, address: String, answer: Answer) {
        let of_address = self.roles.answers.entry((service, address)).or_default();
        of_address.insert(answer.by.clone(), answer);
    }

    /// What was found at an address of a service by those who were asked since then.
    pub fn answers_since(
        &self,
        service: &ServiceName,
        address: &str,
        since: Duration,
    ) -> impl Iterator<Item = &Answer> {
        let key = (service.clone(), address.to_owned());
        let answers = self.roles.answers.get(&key).into_iter().flatten();
        let answers = answers.map(|(_, answer)| answer);
        answers.filter(move |answer| answer.asked >= since)
    }

    /// The instances of a node, with what is judged of those that have a role.
    pub(super) fn with_fitness(
        &self,
        node: &NodeName,
        instances: &BTreeMap<ServiceName, InstanceObservation>,
    ) -> BTreeMap<ServiceName, InstanceObservation> {
        let mut instances = instances.clone();
        for (service, instance) in &mut instances {
            if let Some(role) = &mut instance.role {
                role.fitness = self.fitness(service, node);
            }
        }
        instances
    }

    /// Forgets services that are no more.
    pub(super) fn retain_roles(&mut self, is_there: impl Fn(&ServiceName) -> bool) {
        self.roles.judged.retain(|service, _| is_there(service));
        self.roles
            .answers
            .retain(|(service, _), _| is_there(service));
    }
}
