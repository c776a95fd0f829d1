//! What holder and leader have agreed on.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::timings::Timings;
use crate::names::NodeName;

/// What a primary does that can renew its lease nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlLoss {
    /// It goes on. Its lease never expires: only a release, a fence or an operator's word ends it (safety rule E1).
    #[default]
    Hold,
    /// It goes on as long as *every* other member promises not to become primary (safety rule E2), else it stops.
    Failsafe,
    /// It stops, by force, before its lease ends.
    Demote,
}

impl ControlLoss {
    /// Does the lease end by itself?
    #[must_use]
    pub fn expires(self) -> bool {
        self != Self::Hold
    }
}

impl fmt::Display for ControlLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hold => "hold",
            Self::Failsafe => "failsafe",
            Self::Demote => "demote",
        })
    }
}

/// Whether the hypervisor may pause the machines of a service (safety rule E6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmPause {
    /// It may: a paused machine's clocks stop, so time proves nothing, and a lease does not expire.
    #[default]
    Possible,
    /// The spec takes the risk by name.
    Accepted,
}

/// What holder and leader have agreed on. The record's are the ones that count, never the spec's (safety rule E8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The durations.
    pub timings: Timings,
    /// What happens when nobody above can be reached.
    pub on_control_loss: ControlLoss,
    /// Whether the hypervisor may pause the machines.
    pub vm_pause: VmPause,
    /// Every node that could be primary, the holder among them.
    pub members: BTreeSet<NodeName>,
    /// How far behind a standby may be to take over by itself, in the unit of the write position (bytes of log).
    pub max_lag: u64,
}

/// Whom a write waits for before it is acknowledged (safety rule D1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Synchrony {
    /// For nobody.
    #[default]
    Off,
    /// For every one of these.
    With(BTreeSet<NodeName>),
}

impl Synchrony {
    /// Does this node have every acknowledged write?
    #[must_use]
    pub fn covers(&self, node: &NodeName) -> bool {
        matches!(self, Self::With(nodes) if nodes.contains(node))
    }

    /// Does this promise nothing that `other` does not promise as well? Then who relies on it is safe if `other` holds.
    #[must_use]
    pub fn promises_at_most(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Off, _) => true,
            (Self::With(_), Self::Off) => false,
            (Self::With(fewer), Self::With(more)) => fewer.is_subset(more),
        }
    }
}
