//! What agents are told of claims, so that their by-hand door knows them (invariant I8).
//!
//! The claims themselves are the operations; here is only an index of them by node and service, made anew from the plans
//! whenever a coordinator begins. A node's agent is told all that is held of it before anything of an operation is sent to
//! it, and whenever it says hello: an agent that had it wrong, or kept it from an earlier coordinator, is put right by
//! that. What changes while an operation begins or ends waits for the next message to that node, so that both travel as
//! one, or for the next tick, whichever is first. Nothing is said in between.

use interlock_model::ids::OperationId;
use interlock_model::names::{NodeName, ServiceName};

use super::Coordinator;
use super::message::{Assignment, Claim, ToAgent};
use crate::operation::{Claims, Operation};

/// What one operation holds.
#[derive(Debug)]
pub(super) struct Hold {
    operation: OperationId,
    /// For people: what it is for, and whose it is.
    what: String,
    claims: Claims,
}

impl Hold {
    pub(super) fn of(operation: &Operation) -> Self {
        let plan = operation.plan();
        let (by, ..) = operation.origin();
        Self {
            operation: operation.id(),
            what: format!("{} {}, started by {by}", plan.kind, plan.scope),
            claims: operation.claims().clone(),
        }
    }

    /// The operation, if it holds this node or this service for itself alone.
    pub(super) fn has(
        &self,
        node: Option<&NodeName>,
        service: Option<&ServiceName>,
    ) -> Option<OperationId> {
        let has = self.claims.changes(node, service);
        has.then_some(self.operation)
    }

    /// What of it concerns this node's agent, if anything does: a held node is held with all of its instances. Nobody acts
    /// by hand on an instance that a step asks for its health, either.
    fn on(&self, node: &NodeName, assignment: &Assignment) -> Option<Claim> {
        let whole = self.claims.changes(Some(node), None);
        let held = |service: &ServiceName| {
            let changes = self.claims.changes(None, Some(service));
            whole || changes || self.claims.asks_after(service, node)
        };
        let services = assignment.instances.iter().map(|it| &it.service);
        let held: Vec<ServiceName> = services.filter(|service| held(service)).cloned().collect();
        (!held.is_empty()).then(|| Claim {
            operation: self.operation,
            what: self.what.clone(),
            services: held,
        })
    }
}

impl Coordinator {
    /// Everything that is held of a node, for its agent.
    fn claims(&self, node: &NodeName, assignment: &Assignment) -> ToAgent {
        let holds = self.holds.values();
        ToAgent::Claims(holds.filter_map(|hold| hold.on(node, assignment)).collect())
    }

    /// An operation begins: from now on its claims are told.
    pub(super) fn claim(&mut self, operation: &Operation) {
        let hold = Hold::of(operation);
        self.holds.insert(hold.operation, hold);
        let concerned = self.concerned(&[operation.id()]);
        self.untold.extend(concerned);
    }

    /// These operations are over.
    pub(super) fn unclaim(&mut self, over: &[OperationId]) {
        let concerned = self.concerned(over);
        for id in over {
            self.holds.remove(id);
        }
        self.untold.extend(concerned);
    }

    /// The connected nodes of which these operations hold something.
    fn concerned(&self, operations: &[OperationId]) -> Vec<NodeName> {
        let holds: Vec<&Hold> = operations
            .iter()
            .filter_map(|id| self.holds.get(id))
            .collect();
        let is_concerned = |node: &NodeName, assignment: &Assignment| {
            holds.iter().any(|hold| hold.on(node, assignment).is_some())
        };
        self.assignments
            .iter()
            .filter(|(node, _)| self.view.connected(node))
            .filter(|(node, assignment)| is_concerned(node, assignment))
            .map(|(node, _)| node.clone())
            .collect()
    }

    /// Tells every node what it was not yet told.
    pub(super) fn tell_claims(&mut self) {
        while let Some(node) = self.untold.pop_first() {
            self.tell(node);
        }
    }

    /// Tells this node, of which something is about to be wanted, what it was not yet told.
    pub(super) fn tell_claims_to(&mut self, node: &NodeName) {
        if let Some(node) = self.untold.take(node) {
            self.tell(node);
        }
    }

    fn tell(&mut self, node: NodeName) {
        if let Some(assignment) = self.assignments.get(&node) {
            let claims = self.claims(&node, assignment);
            self.send(node, claims);
        }
    }
}
