//! Whom a client wants to find at the other end.

use std::fmt;

use interlock_model::names::NodeName;

use crate::identity::{Identity, Subject};

/// The member of the own cluster that a connection is meant for. Operators serve nothing, so none is expected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expected {
    /// Any coordinator.
    Coordinator,
    /// The coordinator on this node.
    CoordinatorOn(NodeName),
    /// The agent of this node.
    Agent(NodeName),
}

impl Expected {
    /// Whether `found` is the one. The cluster is not looked at: it has been checked before.
    #[must_use]
    pub fn is(&self, found: &Identity) -> bool {
        match (self, found.subject()) {
            (Self::Coordinator, Subject::Coordinator(_)) => true,
            (Self::CoordinatorOn(wanted), Subject::Coordinator(node))
            | (Self::Agent(wanted), Subject::Agent(node)) => wanted == node,
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("a coordinator"),
            Self::CoordinatorOn(node) => write!(f, "coordinator {node}"),
            Self::Agent(node) => write!(f, "agent {node}"),
        }
    }
}
