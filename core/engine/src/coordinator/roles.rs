//! Roles of leased services: who wants one moved, and what automatic failover holds (invariant I8, safety rule E18).
//!
//! The leases themselves are not the coordinator half's: their machines are `crate::lease`, and whoever runs them asks here
//! which operation holds a service, and which one waits for a promotion. Before a failover begins an epoch it *takes* the
//! service, and gives it back when the new holder has renewed. As an operation that is not over is its own claim, and one
//! process leads, that is all the mutual exclusion that it takes: what is taken begins no operation, and what an operation
//! holds is not taken.

use std::collections::BTreeMap;

use interlock_model::action::Action;
use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Shortfall};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Plan;

use super::Coordinator;
use super::operations::NotStarted;
use crate::operation::{Operation, Phase, State};

/// A failover that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// Which epoch it begins.
    pub epoch: Epoch,
    /// Where the role goes.
    pub node: NodeName,
}

/// That writes of a service are lost is accepted by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossAccepted {
    /// In which operation.
    pub operation: OperationId,
    /// How much.
    pub lost: Shortfall,
    /// Who accepts it.
    pub by: String,
    /// Why, in their words.
    pub why: String,
}

/// Automatic failover may not touch what an operation holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is held by {holder}")]
pub struct NotTaken {
    /// The service, or the node that the role would go to.
    pub what: String,
    /// The operation.
    pub holder: OperationId,
}

impl Coordinator {
    /// The operation that holds a service, if one does.
    #[must_use]
    pub fn is_held(&self, service: &ServiceName) -> Option<OperationId> {
        self.holder(None, Some(service))
    }

    /// The operation that holds a node, if one does.
    #[must_use]
    pub fn is_node_held(&self, node: &NodeName) -> Option<OperationId> {
        self.holder(Some(node), None)
    }

    /// The promotions that operations wait for: of which service, in whose name, to which node.
    #[must_use]
    pub fn roles_wanted(&self) -> Vec<(ServiceName, OperationId, NodeName)> {
        self.operations.values().flat_map(wanted).collect()
    }

    /// What the operation that holds a service may lose of its writes, by the word of who started it.
    #[must_use]
    pub fn loss_accepted(&self, service: &ServiceName) -> Option<LossAccepted> {
        let operation = self.operations.get(&self.is_held(service)?)?;
        let lost = *operation.plan().accepted.get(service)?;
        let (by, why, ..) = operation.origin();
        Some(LossAccepted {
            operation: operation.id(),
            lost,
            by: by.to_owned(),
            why: why.to_owned(),
        })
    }

    /// Automatic failover takes a service, in order to begin this epoch on this node. A later epoch replaces an earlier one.
    ///
    /// # Errors
    /// If an operation holds the service or the node.
    pub fn failover_takes(
        &mut self,
        service: &ServiceName,
        epoch: Epoch,
        node: &NodeName,
    ) -> Result<(), NotTaken> {
        let by_service = self.is_held(service).map(|id| (service.to_string(), id));
        let by_node = || Some((node.to_string(), self.is_node_held(node)?));
        if let Some((what, holder)) = by_service.or_else(by_node) {
            return Err(NotTaken { what, holder });
        }
        let node = node.clone();
        self.failovers
            .insert(service.clone(), Failover { epoch, node });
        Ok(())
    }

    /// Why nothing of a service may move by itself now: it is in maintenance, or one of these nodes.
    #[must_use]
    pub fn rests<'a>(
        &self,
        service: &ServiceName,
        nodes: impl IntoIterator<Item = &'a NodeName>,
    ) -> Option<&super::Maintenance> {
        let mut of_nodes = nodes.into_iter();
        let of_node = || of_nodes.find_map(|node| self.maintenance_of_node(node));
        self.maintenance_of_service(service).or_else(of_node)
    }

    /// A failover is over, or never began.
    pub fn failover_gives_back(&mut self, service: &ServiceName) {
        self.failovers.remove(service);
    }

    /// The failovers that are under way.
    #[must_use]
    pub fn failovers(&self) -> &BTreeMap<ServiceName, Failover> {
        &self.failovers
    }

    /// Goes on with the failovers of an earlier engine of this process: they are not what the store holds of operations.
    pub fn keep_failovers(&mut self, earlier: &Self) {
        self.failovers.clone_from(&earlier.failovers);
        self.prepared.clone_from(&earlier.prepared);
    }

    /// Comes after an earlier engine of this process, maybe in the same term: no number of a question of that is given again.
    pub fn numbers_after(&mut self, earlier: &Self) {
        self.last_ask = self.last_ask.max(earlier.last_ask);
    }

    /// Does a failover have something of this plan?
    pub(super) fn no_failover_on(&self, plan: &Plan) -> Result<(), NotStarted> {
        let touched = self.failovers.iter().find(|(service, failover)| {
            plan.steps.iter().any(|step| {
                step.service.as_ref() == Some(service) || step.node.as_ref() == Some(&failover.node)
            })
        });
        let mut fencings = self.fencings_under_way();
        let fenced = fencings.find(|(node, fencing)| {
            plan.steps.iter().any(|step| {
                let service = step.service.as_ref();
                service.is_some_and(|service| fencing.services.contains_key(service))
                    || step.node.as_ref() == Some(*node)
            })
        });
        if let Some((node, fencing)) = fenced {
            return Err(NotStarted::Fencing {
                services: fencing.names(),
                node: node.clone(),
            });
        }
        match touched {
            None => Ok(()),
            Some((service, failover)) => Err(NotStarted::Failover {
                service: service.clone(),
                node: failover.node.clone(),
                epoch: failover.epoch,
            }),
        }
    }
}

/// The promotions that an operation has begun and that are not proven.
fn wanted(
    operation: &Operation,
) -> impl Iterator<Item = (ServiceName, OperationId, NodeName)> + use<'_> {
    let goes_on = matches!(
        operation.state(),
        State::Running | State::Pausing | State::Paused | State::NeedsAttention
    );
    operation
        .steps()
        .filter(move |(step, state)| {
            goes_on && step.action == Action::Promote && state.phase == Phase::Running
        })
        .filter_map(|(step, _)| Some((step.service.clone()?, operation.id(), step.node.clone()?)))
}
