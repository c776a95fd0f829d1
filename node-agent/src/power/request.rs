//! What is asked of a power device, and what it answers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use interlock_model::names::{NodeName, PowerName};

use super::{RetryRule, Secret};

/// An action of the fence agent API that Interlock uses. `reboot` is not among them: its success says nothing about
/// the second half, and a power cycle is planned as *off*, proof, *on*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Switch the plug on and verify it.
    On,
    /// Switch the plug off, hard, and verify it.
    Off,
    /// Ask whether the plug is on.
    Status,
    /// Ask whether the device can be operated.
    Monitor,
    /// List the plugs.
    List,
}

impl Action {
    /// The value of `action=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Status => "status",
            Self::Monitor => "monitor",
            Self::List => "list",
        }
    }

    /// Whether the action concerns one plug rather than the device.
    #[must_use]
    pub fn needs_plug(self) -> bool {
        matches!(self, Self::On | Self::Off | Self::Status)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The value of an option of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// May be shown.
    Plain(String),
    /// Must not be shown; removed from whatever is reported.
    Secret(Secret),
}

impl OptionValue {
    pub(super) fn expose(&self) -> &str {
        match self {
            Self::Plain(value) => value,
            Self::Secret(value) => value.expose(),
        }
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(value) => Some(value),
        }
    }
}

/// One request to a power device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceRequest {
    /// The device's name in the cluster spec. One request at a time runs against one device.
    pub device: PowerName,
    /// The agent's program name, for example `fence_virsh`.
    pub agent: String,
    /// What to do.
    pub action: Action,
    /// The outlet, VM or blade that carries the node, as the device calls it.
    pub plug: String,
    /// The node.
    pub node: NodeName,
    /// Options of the agent, under the names of its metadata.
    pub options: BTreeMap<String, OptionValue>,
    /// The limit of all attempts together, from its turn at the device; of *off*, from when it was ordered.
    pub limit: Duration,
    /// When a failed attempt is repeated.
    pub retry: RetryRule,
}

/// Whether a plug has power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerState {
    /// It has.
    On,
    /// It has not: the node is down.
    Off,
    /// The device could not say; the node must not be taken for down (invariant I5).
    Unknown {
        /// What was tried and what came back.
        why: String,
    },
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Unknown { why } => write!(f, "unknown ({why})"),
        }
    }
}

/// A plug that a device listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plug {
    /// The identifier to use as `plug`.
    pub plug: String,
    /// What the device calls it besides, for example the VM's name.
    pub alias: Option<String>,
}

/// The answer to a request that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `on` and `off`: the verified state. To `status`: what the device says, which may be *unknown*.
    Power(PowerState),
    /// To `monitor`: the device can be operated.
    Works,
    /// To `list`.
    Plugs(Vec<Plug>),
    /// To `list`, if the agent says that its device has none.
    NoPlugs,
}
