//! The cluster spec: what exists, what depends on what, and by which policies.
//!
//! One YAML file per cluster. The types here are the *resolved* spec: ranges are expanded, defaults filled in, names
//! parsed, references known to exist, the dependency graph known to be free of cycles. Reading the file, with every
//! problem reported at once and placed by line and column, is the business of the submodules; nothing that holds a
//! [`Spec`] needs to validate again.

mod diff;
mod failover;
mod machines;
mod parse;
mod placeholder;
mod probers;
mod problem;
mod range;
mod read;
mod reference;
mod schema;
mod service;
mod shape;
mod verify;
mod yaml;

pub use diff::{Change, diff};
pub(crate) use failover::TRANSACTIONS;
pub use failover::{Budget, Clients, Failover, Fence};
pub use parse::{Parsed, Stored};
pub use problem::{MAX_PROBLEMS, Note, Problem, Problems, Severity};
pub use range::{MAX_RANGE, RangeError, expand};
pub use read::{MAX_NAMES, MAX_NODES};
pub use reference::reference;
pub use schema::schema;
pub use service::{Activity, Boot, Dependency, GuardPolicy, Sequence, Service};
pub use yaml::{MAX_BYTES, MAX_DEPTH, MAX_VALUES};

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{OptionValue, ShutdownBy};
use crate::names::{ClusterName, GateName, HostName, NodeName, PowerName, ServiceName};
use crate::plan::PlanKind;
use crate::time::human;

/// A valid cluster spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Where the control plane itself runs.
    pub control: Control,
    /// The VM hosts.
    pub hosts: BTreeMap<HostName, Host>,
    /// The power devices.
    pub power: BTreeMap<PowerName, PowerDevice>,
    /// The nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// The services.
    pub services: BTreeMap<ServiceName, Service>,
    /// The gates that people open.
    pub gates: BTreeMap<GateName, ManualGate>,
}

/// Where the control plane itself runs: a plan must not switch that off underneath itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Nodes that run a coordinator. Names that are not nodes of the cluster are machines outside of it.
    pub coordinators: Vec<NodeName>,
    /// etcd endpoints; empty means the embedded store.
    pub etcd: Vec<String>,
    /// An agent's heartbeat period.
    #[serde(with = "human")]
    pub heartbeat: Duration,
    /// Silence after which a node is *late*.
    #[serde(with = "human")]
    pub late: Duration,
    /// Silence after which a node is *lost*.
    #[serde(with = "human")]
    pub lost: Duration,
    /// How often roles may move by themselves in the whole cluster before a person has to look.
    pub failovers: Budget,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            coordinators: Vec::new(),
            etcd: Vec::new(),
            heartbeat: Duration::ZERO,
            late: Duration::ZERO,
            lost: Duration::ZERO,
            failovers: Budget::OF_CLUSTER,
        }
    }
}

/// A VM host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its address, for people.
    pub address: Option<String>,
}

/// A power device: something that a fence agent can talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerDevice {
    /// The fence agent, a bare program name such as `fence_ipmilan`.
    pub fence: String,
    /// The nodes on which it may be run, in order of preference.
    pub via: Vec<NodeName>,
    /// Its options.
    pub options: BTreeMap<String, OptionValue>,
    /// The time limit of one call.
    #[serde(with = "human")]
    pub timeout: Duration,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, equal to the name in its agent's certificate.
    pub name: NodeName,
    /// Its main address.
    pub address: String,
    /// Further addresses, by network.
    pub networks: BTreeMap<String, String>,
    /// The VM host that carries it.
    pub host: Option<HostName>,
    /// Labels for selection.
    pub labels: BTreeMap<String, String>,
    /// Set if no agent runs on it: the nodes that probe it instead.
    pub agentless: Option<Vec<NodeName>>,
    /// How it is switched on and off.
    pub power: Option<NodePower>,
}

/// How a node is switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePower {
    /// The device.
    pub by: PowerName,
    /// Its plug there.
    pub plug: String,
    /// What the device calls that plug, where that is neither the node's name nor its host name.
    pub alias: Option<String>,
    /// Who shuts its operating system down.
    pub shutdown: ShutdownBy,
    /// The time limit from the shutdown to *off*.
    #[serde(with = "human")]
    pub off_within: Duration,
    /// The time limit from power on to the agent's first word with a new boot id.
    #[serde(with = "human")]
    pub on_within: Duration,
}

/// A gate that a person opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualGate {
    /// What the person is asked.
    pub text: String,
    /// The plans at whose end it stands.
    pub at_end_of: Vec<PlanKind>,
    /// Who may open it.
    pub role: Role,
}

/// The role of a caller. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May look.
    Reader,
    /// May run operations.
    Operator,
    /// May change the spec.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}
