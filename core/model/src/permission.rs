//! What plans ask of agents, as far as an agent's own file has to permit it.
//!
//! An agent does only what its own file permits. It judges that itself, by the same code that will refuse an attempt, and
//! tells what it would refuse, so that a plan that would be refused in the middle is never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::CheckId;
use crate::names::{LocalName, NodeName, ServiceName};

/// A permission that an agent's own file gives or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// To start, stop and verify the instance of a service on the agent's node.
    Operate(ServiceName),
    /// To drain and admit a member in the load balancer whose instance is on the agent's node.
    Member {
        /// The service of the load balancer.
        balancer: ServiceName,
        /// The service of the member.
        service: ServiceName,
        /// The node of the member.
        node: NodeName,
    },
    /// To write a file of a service on the agent's node.
    File {
        /// The service.
        service: ServiceName,
        /// The file.
        file: LocalName,
    },
    /// To run a check of the spec on the agent's node.
    Check(CheckId),
    /// To shut the agent's machine down.
    Shutdown,
    /// To restart the agent's machine.
    Reboot,
    /// To run this fence agent.
    Fence(String),
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operate(service) => write!(f, "start and stop {service}"),
            Self::Member {
                balancer,
                service,
                node,
            } => write!(f, "drain and admit {service}@{node} in {balancer}"),
            Self::File { service, file } => write!(f, "write the file {file} of {service}"),
            Self::Check(check) => write!(f, "run the check {check}"),
            Self::Shutdown => f.write_str("shut the machine down"),
            Self::Reboot => f.write_str("restart the machine"),
            Self::Fence(agent) => write!(f, "run {agent}"),
        }
    }
}

/// What an agent would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The permission that it lacks.
    pub permission: Permission,
    /// Why, with the line that would permit it.
    pub why: String,
}
