//! One service of the spec.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failover::Failover;
use crate::action::Part;
use crate::address::FloatingAddress;
use crate::check::Check;
use crate::file::ServiceFile;
use crate::lease::Shortfall;
use crate::member::{Balancer, Membership};
use crate::names::{CheckName, LocalName, NodeName, ServiceName};
use crate::plan::Wait;
use crate::time::human;

/// A service: something on nodes with start, stop and check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// It exists outside of the cluster: a gate and a root cause, never operated. Has no nodes and no parts.
    pub external: bool,
    /// The nodes of its instances, in the order in which they start where activity does not decide.
    pub nodes: Vec<NodeName>,
    /// Whether one instance is active or all are.
    pub active: Activity,
    /// The checks that recognise the active instance.
    pub active_when: Vec<CheckName>,
    /// What makes up an instance: started downwards, stopped upwards.
    pub parts: Vec<Part>,
    /// What only the primary has, beside `parts`: started downwards when the role comes, stopped upwards when it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_parts: Vec<Part>,
    /// Its lease, if it is leased; only of an exclusive service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// What it depends on, in need and order, or in order only.
    pub dependencies: BTreeMap<ServiceName, Dependency>,
    /// The fewest healthy instances that a plan may leave while it keeps the service running.
    pub at_least: u32,
    /// Whether it comes up with its machine.
    pub boot: Boot,
    /// How its instances follow one another.
    pub sequence: Sequence,
    /// Its checks.
    pub checks: BTreeMap<CheckName, Check>,
    /// The time limit of a start, until its manager says running; once more until it is healthy.
    #[serde(with = "human")]
    pub start_within: Duration,
    /// The time limit of a stop.
    #[serde(with = "human")]
    pub stop_within: Duration,
    /// How the guard restarts it.
    pub guard: GuardPolicy,
    /// Set if it is a load balancer whose members are switched: how each instance is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<Balancer>,
    /// The load balancers that its instances are members of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub member_of: BTreeMap<ServiceName, Membership>,
    /// The files that a rolling change may write on its nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<LocalName, ServiceFile>,
}

/// How many instances of a service work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// One is primary, the others are standbys: an exclusive service.
    One,
    /// Every instance works.
    All,
}

/// Whether a service comes up with its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// It stays down until it is started.
    Manual,
    /// It starts with its machine: a plan verifies it, and restarts it if it beat its requirements.
    Autostart,
}

/// An edge between two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependency {
    /// Is the other needed (`requires`), or does only the order matter (`after`)? An `after` is never a root cause.
    pub needed: bool,
    /// What a start waits for on the other.
    pub start: Wait,
    /// What the other's stop waits for on this one.
    pub stop: Wait,
}

/// How the instances of one service follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sequence {
    /// What the next instance's start waits for on the one before. [`Wait::None`]: all at once.
    pub start: Wait,
    /// What the next instance's stop waits for on the one before. [`Wait::None`]: all at once.
    pub stop: Wait,
}

/// How the guard restarts a dead instance: on active and standby alike, within a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuardPolicy {
    /// Restarts within `window` before the guard gives up and escalates. 0 leaves the restarting to others.
    pub budget: u32,
    /// The sliding window of the budget.
    #[serde(with = "human")]
    pub window: Duration,
    /// The pause before the first restart; doubles with each further one in the window.
    #[serde(with = "human")]
    pub backoff: Duration,
}

impl Service {
    /// Is its primary the holder of a lease?
    #[must_use]
    pub fn is_leased(&self) -> bool {
        self.failover.is_some()
    }

    /// The addresses that its primary has.
    pub fn addresses(&self) -> impl Iterator<Item = &FloatingAddress> {
        let parts = self.parts.iter().chain(&self.primary_parts);
        parts.filter_map(|part| match part {
            Part::Address(address) => Some(address),
            _ => None,
        })
    }

    /// What is lost of its writes, for people: in the unit in which its manager counts.
    #[must_use]
    pub fn told_loss(&self, lost: Shortfall) -> String {
        let has = |is: fn(&Part) -> bool| self.parts.iter().any(is);
        let unit = if has(|part| part.mariadb().is_some()) {
            "transactions"
        } else if has(|part| part.is_server()) {
            "bytes of its log"
        } else {
            "by the count of its manager"
        };
        lost.told_in(unit).to_string()
    }

    /// Is one instance primary and the others standbys?
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.active == Activity::One
    }
}
