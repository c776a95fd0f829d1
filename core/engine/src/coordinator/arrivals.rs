//! Addresses of services, tried by nodes that are no members of them: has a role arrived where it was moved to?
//!
//! The question is the one that is asked about a machine that may be lost (`fencing`), at another address. Its answer proves
//! nothing about a machine, and is kept apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Fitness;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;
use crate::view::Answer;

/// How long an answer is waited for. What comes later is no answer to anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question that has not been answered.
#[derive(Debug)]
pub(super) struct Trying {
    by: NodeName,
    service: ServiceName,
    address: String,
    asked: Duration,
}

impl Coordinator {
    /// The leaders of leases have judged who could take which role, each by what was seen at its time.
    pub fn judged(
        &mut self,
        judged: BTreeMap<ServiceName, BTreeMap<NodeName, (Duration, Fitness)>>,
    ) {
        for (service, fitness) in judged {
            self.view.judged(service, fitness);
        }
    }

    pub(super) fn try_address(
        &mut self,
        on: NodeName,
        service: ServiceName,
        node: NodeName,
        address: String,
        now: Now,
    ) {
        self.trying
            .retain(|_, trying| now.since(trying.asked) < PATIENCE);
        let ask = self.new_ask();
        let trying = Trying {
            by: on.clone(),
            service,
            address: address.clone(),
            asked: now.mono,
        };
        self.trying.insert(ask, trying);
        let addresses = BTreeSet::from([address]);
        self.send(
            on,
            ToAgent::TryToReach {
                ask,
                node,
                addresses,
            },
        );
    }

    /// A node has tried something. False if that was no address of a service. What it could not try is no answer.
    pub(super) fn address_tried(
        &mut self,
        by: &NodeName,
        ask: u64,
        answered: Option<bool>,
        detail: &str,
    ) -> bool {
        let Some(trying) = self.trying.get(&ask) else {
            return false;
        };
        // Nobody else's answer ends it.
        if trying.by == *by
            && let Some(trying) = self.trying.remove(&ask)
        {
            let answer = Answer {
                by: trying.by,
                asked: trying.asked,
                answered,
                detail: detail.to_owned(),
            };
            self.view.answered(trying.service, trying.address, answer);
        }
        true
    }
}
