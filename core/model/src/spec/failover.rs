//! How the role of an exclusive service moves, and what may happen to it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::{ControlLoss, Costs, Recovery, Terms, Timings, VmPause, Way};
use crate::names::NodeName;
use crate::time::human;

use super::{Service, Spec};

/// The unit of what is behind by transactions, and not by bytes of a log.
pub(crate) const TRANSACTIONS: &str = "tx";

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
    /// How far behind a standby may be to take over by itself, in the unit of the write position (bytes of log, transactions).
    pub max_lag: u64,
    /// How those who write reach the primary.
    pub clients: Clients,
    /// What may be done to the machine of a primary that is lost.
    pub fence: Fence,
    /// How often the role moves by itself before a person has to look.
    pub budget: Budget,
    /// For how long after its machine was started a standby takes over by itself only if it is proven to have everything.
    #[serde(with = "human")]
    pub boot_dead: Duration,
}

/// What may be done, without asking anybody, to the machine of a primary that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// Nothing.
    #[default]
    Never,
    /// Its power source switches it off, and it stays off until somebody switches it on.
    Off,
}

/// So many failovers within a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// How many.
    pub times: u32,
    /// Within what time.
    #[serde(with = "human")]
    pub window: Duration,
}

impl Budget {
    /// Of a service: what moves more often does not get well by moving.
    pub const OF_SERVICE: Self = Self {
        times: 3,
        window: Duration::from_secs(3600),
    };
    /// Of a cluster: more than the roles of one host, and fewer than a network that comes and goes would move.
    pub const OF_CLUSTER: Self = Self {
        times: 20,
        window: Duration::from_secs(600),
    };
}

impl Default for Budget {
    fn default() -> Self {
        Self::OF_SERVICE
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = humantime::format_duration(self.window);
        write!(f, "{} within {window}", self.times)
    }
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
    /// Does time alone prove that a lost primary is over?
    #[must_use]
    pub fn expires(&self) -> bool {
        let acts = self.clients == Clients::Address;
        acts && self.on_control_loss.expires() && self.vm_pause == VmPause::Accepted
    }

    /// How long nobody takes writes after the primary's machine is lost, to a tenth of a second. `limit` is how long a power
    /// device may take, `heartbeat` the period of the agents: no machine is switched off before two and a quarter of it. None where no lease expires by itself and nobody is switched off, or the role does not move by itself:
    /// then it waits for a person.
    #[must_use]
    pub fn recovery(&self, limit: Duration, heartbeat: Duration) -> Option<Recovery> {
        let awaited = (heartbeat * 9 / 4).saturating_sub(self.timings.hold_down());
        let by = |way| self.timings.recovery(way, Costs::EXPECTED);
        let expired = self.expires().then(|| by(Way::Expired));
        let fenced = (self.fence == Fence::Off).then(|| Recovery {
            typical: by(Way::Fenced(awaited + CONFIRMS)).typical,
            worst: by(Way::Fenced(awaited + limit)).worst,
        });
        // Both run at once, and whichever proves it first ends the wait. That a source confirms nothing is no rare thing: then
        // the lease is what is left.
        let Recovery { typical, worst } = match (expired, fenced) {
            _ if !self.automatic => return None,
            (Some(expired), Some(fenced)) => Recovery {
                typical: expired.typical.min(fenced.typical),
                worst: expired.worst,
            },
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        Some(Recovery {
            typical: tenths(typical),
            worst: tenths(worst),
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

impl Spec {
    /// How long nobody takes writes after the machine of a service's primary is lost; see [`Failover::recovery`].
    #[must_use]
    pub fn recovery(&self, service: &Service) -> Option<Recovery> {
        let nodes = service.nodes.iter().filter_map(|it| self.nodes.get(it));
        let devices = nodes.filter_map(|node| self.power.get(&node.power.as_ref()?.by));
        let limit = devices.map(|device| device.timeout).max();
        service
            .failover
            .as_ref()?
            .recovery(limit.unwrap_or_default(), self.control.heartbeat)
    }
}

/// What a power source usually takes to confirm that it has switched a machine off.
const CONFIRMS: Duration = Duration::from_secs(1);

/// Rounded up: nothing is promised to the nanosecond.
fn tenths(duration: Duration) -> Duration {
    let tenths = duration.as_millis().div_ceil(100);
    Duration::from_millis(
        u64::try_from(tenths)
            .unwrap_or(u64::MAX)
            .saturating_mul(100),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lease: &str, change: (&str, &str)) -> Result<Spec, String> {
        let text = format!(
            "
cluster: c
control: {{ coordinators: [ctl] }}
power:
  kvm: {{ fence: fence_virsh, via: [ctl, a], timeout: 20s }}
nodes:
  ctl: {{ address: 10.0.0.1 }}
  a: {{ address: 10.0.0.2, power: {{ by: kvm, plug: a }} }}
  b: {{ address: 10.0.0.3, power: {{ by: kvm, plug: b }} }}
services:
  db: {{ nodes: [a, b], active: one, manager: {{ address: {{ ip: 10.1.0.1/24, interface: eth0 }} }}, failover: {{ automatic: true, {lease} }} }}
"
        )
        .replace(change.0, change.1);
        let parsed = Spec::parse(text.as_bytes(), "test");
        let parsed = parsed.map_err(|problems| problems.render(text.as_bytes()));
        parsed.map(|parsed| parsed.spec)
    }

    const SAME: (&str, &str) = ("", "");

    #[test]
    fn a_power_source_makes_a_role_move_by_itself_under_any_policy() {
        let spec = parse("fence: off", SAME).unwrap();
        let failover = spec.services.values().next().unwrap().failover.clone();
        let failover = failover.unwrap();
        assert_eq!(failover.fence, Fence::Off);
        assert_eq!(failover.budget, Budget::OF_SERVICE);
        assert_eq!(spec.control.failovers, Budget::OF_CLUSTER);
    }

    #[test]
    fn who_cannot_be_switched_off_by_somebody_else_is_refused() {
        for (change, why) in [
            (("via: [ctl, a]", "via: [a]"), "through itself alone"),
            (
                ("coordinators: [ctl]", "coordinators: [b]"),
                "a coordinator",
            ),
            (
                (", power: { by: kvm, plug: b }", ""),
                "it has no power source",
            ),
        ] {
            let refused = parse("fence: off", change).unwrap_err();
            assert!(refused.contains("cannot be switched off"), "{refused}");
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }

    #[test]
    fn a_source_that_confirms_is_faster_than_time_and_time_bounds_one_that_does_not() {
        let recovery = |lease: &str| {
            let spec = parse(lease, SAME).unwrap();
            let service = spec.services.values().next().unwrap();
            spec.recovery(service).unwrap()
        };
        let expires = "on_control_loss: demote, vm_pause: accepted, clients: address";
        let (by_time, both) = (
            recovery(expires),
            recovery(&format!("fence: off, {expires}")),
        );
        assert!(both.typical < Duration::from_secs(4), "{both:?}");
        assert!(by_time.typical > Duration::from_secs(10), "{by_time:?}");
        assert_eq!(both.worst, by_time.worst);
        // Under `hold` there is nothing but the source, which may take its time.
        let hold = recovery("fence: off");
        assert_eq!(hold.typical, both.typical);
        assert!(hold.worst >= Duration::from_secs(20), "{hold:?}");
    }
}
