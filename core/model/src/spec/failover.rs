//! How the role of an exclusive service moves, and what may happen to it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::{ControlLoss, Costs, Recovery, Terms, Timings, VmPause, Way};
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
    /// How long nobody takes writes after the primary's machine is lost, to a tenth of a second. None where no lease
    /// expires by itself, or the role does not move by itself: then it waits for a person.
    #[must_use]
    pub fn recovery(&self) -> Option<Recovery> {
        let expires = self.on_control_loss.expires() && self.vm_pause == VmPause::Accepted;
        (self.automatic && expires).then(|| {
            let Recovery { typical, worst } = self.timings.recovery(Way::Expired, Costs::EXPECTED);
            Recovery {
                typical: tenths(typical),
                worst: tenths(worst),
            }
        })
    }

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

/// Rounded up: nothing is promised to the nanosecond.
fn tenths(duration: Duration) -> Duration {
    let tenths = duration.as_millis().div_ceil(100);
    Duration::from_millis(
        u64::try_from(tenths)
            .unwrap_or(u64::MAX)
            .saturating_mul(100),
    )
}
