//! What a plan is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;

use interlock_model::check::CheckId;
use interlock_model::ids::Generation;
use interlock_model::names::{HostName, LocalName, NodeName, ServiceName};
use interlock_model::observation::Observations;
use interlock_model::plan::PlanKind;
use interlock_model::spec::{Node, Spec};
use serde::{Deserialize, Serialize};

/// Everything that a plan depends on. The same input gives the same plan, byte for byte.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The cluster spec.
    pub spec: &'a Spec,
    /// Its generation.
    pub generation: Generation,
    /// What the operator asks for.
    pub request: Request,
    /// What is known. None plans offline: what the scope of a startup covers is taken to be down, and all else to be
    /// up, and the report says so.
    pub observations: Option<&'a Observations>,
    /// Which instance of an exclusive service was active before its last full stop (invariant I10).
    pub memory: &'a BTreeMap<ServiceName, NodeName>,
    /// Why nothing is remembered of a service of which something was.
    pub forgotten: &'a BTreeMap<ServiceName, String>,
    /// The nodes whose plug `power verify` has matched with the machine. None does not ask (offline).
    pub power_verified: Option<&'a BTreeSet<NodeName>>,
}

/// What the operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What shall be done.
    pub kind: PlanKind,
    /// To what.
    pub scope: Scope,
    /// How many instances (restart) or nodes (reboot) at a time; one if not given.
    pub batch: Option<NonZeroU32>,
    /// One step after the other, nothing in parallel.
    pub serial: bool,
    /// Checks to override, by name.
    pub force: BTreeSet<CheckId>,
    /// Of a switchover or failover: where the role goes; none if there is no choice.
    pub to: Option<NodeName>,
    /// Of a failover: the nodes whose machines are down by a person's word. Kept out of plans made before there was one.
    #[serde(default)]
    pub attested: BTreeSet<NodeName>,
    /// Of a failover: may writes be lost that only its former primary has? Kept out of plans made before it could be said.
    #[serde(default)]
    pub accept_loss: bool,
    /// Of a restore: do roles go back to the nodes that the spec prefers?
    #[serde(default)]
    pub failback: bool,
    /// Which instance of an exclusive service is active, where that cannot be observed.
    pub assume_active: BTreeMap<ServiceName, NodeName>,
    /// Of a restart: the file that is changed on the way.
    #[serde(default)]
    pub change: Option<Change>,
}

/// The change of a file of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which of the service's files; none if it has one only.
    pub file: Option<LocalName>,
    /// The template of its text.
    pub template: String,
    /// Also restart the instances whose file says so already. Kept out of plans made before there was a choice.
    #[serde(default)]
    pub even_if_unchanged: bool,
}

/// What a plan is about. The whole cluster is a choice of its own, never an omission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every service and every node. Switches machines.
    All,
    /// All instances of these services. Never switches a machine.
    Services(BTreeSet<ServiceName>),
    /// These nodes with all that is on them. Switches machines.
    Nodes(BTreeSet<NodeName>),
    /// The instances on the nodes with this label. Never switches a machine; restarts it where a reboot is asked for.
    Label {
        /// The label.
        key: String,
        /// Its value.
        value: String,
    },
    /// The nodes on this VM host with all that is on them. Switches machines.
    Host(HostName),
}

impl Scope {
    /// Is an instance of this service on this node in it?
    pub(crate) fn covers(&self, service: &ServiceName, node: &Node) -> bool {
        match self {
            Self::All => true,
            Self::Services(names) => names.contains(service),
            Self::Nodes(names) => names.contains(&node.name),
            Self::Label { key, value } => node.labels.get(key) == Some(value),
            Self::Host(host) => node.host.as_ref() == Some(host),
        }
    }

    /// Does it switch this node on and off?
    pub(crate) fn switches(&self, node: &Node) -> bool {
        match self {
            Self::All => true,
            Self::Services(_) | Self::Label { .. } => false,
            Self::Nodes(names) => names.contains(&node.name),
            Self::Host(host) => node.host.as_ref() == Some(host),
        }
    }
}

impl Request {
    /// A request with no options.
    #[must_use]
    pub fn new(kind: PlanKind, scope: Scope) -> Self {
        Self {
            kind,
            scope,
            batch: None,
            serial: false,
            force: BTreeSet::new(),
            to: None,
            attested: BTreeSet::new(),
            accept_loss: false,
            failback: false,
            assume_active: BTreeMap::new(),
            change: None,
        }
    }

    /// How many at a time.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch.map_or(1, |batch| {
            usize::try_from(batch.get()).unwrap_or(usize::MAX)
        })
    }
}

impl Scope {
    /// Does a shutdown of this scope power nodes off, and a startup power them on?
    #[must_use]
    pub fn switches_machines(&self) -> bool {
        match self {
            Self::All | Self::Nodes(_) | Self::Host(_) => true,
            Self::Services(_) | Self::Label { .. } => false,
        }
    }
}

impl fmt::Display for Scope {
    /// As it is written on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("--all"),
            Self::Services(names) => write!(f, "--service {}", comma(names)),
            Self::Nodes(names) => write!(f, "--node {}", comma(names)),
            Self::Label { key, value } => write!(f, "--label {key}={value}"),
            Self::Host(name) => write!(f, "--host {name}"),
        }
    }
}

/// Names with commas between them.
pub(crate) fn comma<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names
        .into_iter()
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(",")
}
