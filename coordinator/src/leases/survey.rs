//! What the engine knows that leaders have to know, looked up together and told to all keepers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::coordinator::{Fencing, LossAccepted, Tried};
use interlock_engine::lease::Clock;
use interlock_engine::lease::leader::Event;
use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Terms};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Liveness, Loss, Side, Wanted};
use interlock_model::spec::{Fence, Service};

use crate::clock;
use crate::driver::Desk;

/// What concerns the lease of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// What the applied spec says.
    pub(super) terms: Terms,
    /// Does the role move by itself now? The spec says so, no operation holds the service, and it is not in maintenance.
    pub(super) automatic: bool,
    /// Why nothing of the service moves by itself, if a person wants it so for a time.
    pub(super) rest: Option<String>,
    /// The same of members: none of them gets a role by itself, or loses one.
    pub(super) resting: BTreeMap<NodeName, String>,
    /// The operation that holds the service.
    pub(super) operation: Option<OperationId>,
    /// The promotion that an operation waits for.
    pub(super) wanted: Option<(OperationId, NodeName)>,
    /// What that operation may lose of what was written, by a person's word; and how much that is, for people.
    pub(super) accepted: Option<(LossAccepted, String)>,
    /// Members that another operation holds.
    pub(super) busy: BTreeMap<NodeName, OperationId>,
    /// Members whose agents are not heard any more.
    pub(super) lost: BTreeSet<NodeName>,
    /// May a holder that is lost be switched off?
    pub(super) fences: bool,
    /// How long a stop of it may take.
    pub(super) stop_within: Duration,
    /// For how long after its start a machine is young.
    pub(super) boot_dead: Duration,
    /// Why this coordinator doubts what it sees.
    pub(super) doubted: Option<String>,
    /// What others found when they tried to reach the machines of members: by the member, and by who tried.
    pub(super) tries: BTreeMap<NodeName, BTreeMap<NodeName, Tried>>,
    /// The last order to switch off each member that is for this service.
    pub(super) fencings: BTreeMap<NodeName, Fencing>,
    /// Members whose agents say that their instance is primary, and in which epoch.
    pub(super) primaries: BTreeMap<NodeName, Epoch>,
    /// What members have lost by following another one, by the word of their agents.
    pub(super) losses: BTreeMap<NodeName, Loss>,
    /// Members whose machines are down by a person's word: who gave it, and why.
    pub(super) attested: BTreeMap<NodeName, (String, String)>,
    /// Should any instance run? Where none should, nobody misses a primary.
    pub(super) runs: bool,
}

impl Facts {
    /// What the operation that holds the service may lose of what was written.
    pub(super) fn accepts(&self) -> Event {
        let accepted = self.accepted.as_ref();
        Event::Accepts(accepted.map(|(accepted, _)| (accepted.operation, accepted.lost)))
    }

    /// What others have found since, when they tried to reach the machines of members.
    pub(super) fn tried_since(&self, before: &Self) -> Vec<Event> {
        let (clock, mono) = (clock::of_leases(), clock::now().mono);
        let mut news = Vec::new();
        for (node, of_node) in &self.tries {
            let known = before.tries.get(node);
            for (observer, tried) in of_node {
                if known.and_then(|known| known.get(observer)) == Some(tried) {
                    continue;
                }
                let age = mono.saturating_sub(tried.asked);
                news.push(Event::Tried {
                    observer: observer.clone(),
                    node: node.clone(),
                    reached: tried.reached,
                    asked: Clock {
                        boottime: clock.boottime.saturating_sub(age),
                        raw: clock.raw.saturating_sub(age),
                    },
                });
            }
        }
        news
    }
}

/// The facts of every leased service of the applied spec.
pub(super) type Survey = BTreeMap<ServiceName, Facts>;

/// Looks at the desk.
pub(super) fn survey(desk: &Desk) -> Survey {
    let Some(applied) = desk.coordinator.applied() else {
        return Survey::new();
    };
    let leased = || {
        let services = applied.spec.services.values();
        services.filter(|service| service.is_leased())
    };
    // A cluster without leases pays nothing for them.
    if leased().next().is_none() {
        return Survey::new();
    }
    let wanted = desk.coordinator.roles_wanted();
    let doubted = desk.coordinator.doubts_itself(clock::now());
    leased()
        .filter_map(|service| {
            let facts = facts(desk, service, &wanted, doubted.as_deref())?;
            Some((service.name.clone(), facts))
        })
        .collect()
}

fn facts(
    desk: &Desk,
    service: &Service,
    wanted: &[(ServiceName, OperationId, NodeName)],
    doubted: Option<&str>,
) -> Option<Facts> {
    let failover = service.failover.as_ref()?;
    let coordinator = &desk.coordinator;
    let view = coordinator.view();
    let operation = coordinator.is_held(&service.name);
    let wanted = wanted.iter().find(|(wanted, ..)| *wanted == service.name);
    let busy = service.nodes.iter().filter_map(|node| {
        let holder = coordinator.is_node_held(node)?;
        (Some(holder) != operation).then(|| (node.clone(), holder))
    });
    // Its session is over, and it has been silent for long: two signals of one path, for people. Its power is touched only when
    // other nodes do not reach it either.
    let lost = service.nodes.iter().filter(|node| {
        let is_lost = |liveness| liveness == Liveness::Lost;
        !view.connected(node) && view.node(node).is_some_and(|seen| is_lost(seen.liveness))
    });
    let instances = service.nodes.iter().filter_map(|node| {
        let seen = view.node(node)?.instances.get(&service.name)?;
        Some((node, seen))
    });
    let primaries = instances.clone().filter_map(|(node, seen)| {
        let role = seen.role.as_ref()?;
        (role.side == Side::Primary).then(|| (node.clone(), role.epoch))
    });
    let losses = instances.clone().filter_map(|(node, seen)| {
        let lost = seen.role.as_ref()?.lost.clone()?;
        Some((node.clone(), lost))
    });
    let rest = coordinator.maintenance_of_service(&service.name);
    let rest = rest.map(ToString::to_string);
    let block = || coordinator.block_of(&service.name).map(ToString::to_string);
    let rest = rest.or_else(block);
    let tries = service.nodes.iter().map(|node| {
        let of_node = coordinator.tries(node);
        let of_node = of_node.map(|(observer, tried)| (observer.clone(), tried.clone()));
        (node.clone(), of_node.collect())
    });
    let fencings = service.nodes.iter().filter_map(|node| {
        let fencing = coordinator.fencing(node, &service.name)?;
        Some((node.clone(), fencing.clone()))
    });
    let resting = service.nodes.iter().filter_map(|node| {
        let maintenance = coordinator.maintenance_of_node(node)?;
        Some((node.clone(), maintenance.to_string()))
    });
    Some(Facts {
        terms: failover.terms(service.nodes.iter().cloned()),
        automatic: failover.automatic && operation.is_none() && rest.is_none(),
        rest,
        resting: resting.collect(),
        operation,
        wanted: wanted.map(|(_, id, node)| (*id, node.clone())),
        accepted: coordinator.loss_accepted(&service.name).map(|accepted| {
            let told = service.told_loss(accepted.lost);
            (accepted, told)
        }),
        busy: busy.collect(),
        lost: lost.cloned().collect(),
        fences: failover.fence == Fence::Off,
        stop_within: service.stop_within,
        boot_dead: failover.boot_dead,
        doubted: doubted.map(str::to_owned),
        tries: tries.collect(),
        fencings: fencings.collect(),
        primaries: primaries.collect(),
        losses: losses.collect(),
        attested: desk
            .attested
            .iter()
            .filter(|(node, _)| service.nodes.contains(node))
            .map(|(node, word)| (node.clone(), word.clone()))
            .collect(),
        runs: instances
            .clone()
            .any(|(_, seen)| seen.wanted == Some(Wanted::Running)),
    })
}
