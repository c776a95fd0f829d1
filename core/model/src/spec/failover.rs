//! How the role of an exclusive service moves, and what may happen to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::lease::{ControlLoss, Terms, Timings, VmPause};
use crate::names::NodeName;

/// The lease of an exclusive service: one that has it is *leased*. Its primary is whoever holds the lease, and never merely
/// seen to be active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Does the role move by itself when its holder is lost?
    pub automatic: bool,
    /// The durations of the lease.
    pub timings: Timings,
    /// What a primary does that can renew its lease nowhere.
    pub on_control_loss: ControlLoss,
    /// Whether the hypervisor may pause the machines.
    pub vm_pause: VmPause,
    /// How far behind a standby may be to take over by itself, in the unit of the write position (bytes of log).
    pub max_lag: u64,
    /// How those who write reach the primary.
    pub clients: Clients,
}

/// How those who write reach the primary (safety rule E4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clients {
    /// In ways that nobody has named: only the end of the instance keeps them out.
    #[default]
    Any,
    /// By the addresses among its parts alone. The kernel of the primary's node lets them in as long as the lease is renewed,
    /// and shuts them out by itself when it is not, whatever has become of the agent.
    Address,
}

impl Failover {
    /// The terms that are proposed to the holder.
    #[must_use]
    pub fn terms(&self, members: impl IntoIterator<Item = NodeName>) -> Terms {
        Terms {
            timings: self.timings,
            on_control_loss: self.on_control_loss,
            vm_pause: self.vm_pause,
            members: BTreeSet::from_iter(members),
            max_lag: self.max_lag,
        }
    }
}
