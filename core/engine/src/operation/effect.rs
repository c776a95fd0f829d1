//! What an operation is given, and what it wants done.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Command;
use interlock_model::check::CheckId;
use interlock_model::ids::{AttemptId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use crate::coordinator::{Strays, Verified};
use crate::view::View;

/// What an operation looks at when it decides, and where its effects go.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The time.
    pub now: Now,
    /// The term of this coordinator.
    pub term: Term,
    /// The spec of the plan's generation.
    pub spec: &'a Spec,
    /// What is known of the nodes.
    pub view: &'a View,
    /// The plugs that are proven to be their nodes' now: that of another one is neither switched nor believed.
    pub verified: &'a BTreeMap<NodeName, Verified>,
    /// What may run, and the spec has no more.
    pub strays: &'a Strays,
    /// Effects, in order.
    pub effects: &'a mut Vec<Effect>,
}

/// What shall be done once the entries recorded with it are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send an attempt.
    Dispatch {
        /// To the agent of this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
        /// Its time limit.
        limit: Duration,
        /// What to do.
        command: Command,
    },
    /// Ask how far an attempt is.
    Query {
        /// The agent of this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
    },
    /// End an attempt.
    Cancel {
        /// On this node.
        to: NodeName,
        /// Which attempt.
        id: AttemptId,
    },
    /// Run checks at once.
    Probe {
        /// On this node.
        on: NodeName,
        /// Which ones.
        checks: Vec<CheckId>,
    },
    /// Ask the power source of this node.
    AskPower(NodeName),
    /// Have a node try an address of a service.
    TryAddress {
        /// Which node tries.
        on: NodeName,
        /// Of which service.
        service: ServiceName,
        /// The node that is to have the address.
        node: NodeName,
        /// The address.
        address: String,
    },
}
