//! Members of load balancers: which service is behind which, and one member as a command spells it out.
//!
//! A service of load balancers says how each of its instances is told who takes part ([`Balancer`]); another service
//! says that its instances are its members ([`Membership`]). A plan *drains* a member before it stops the instance, and
//! *admits* it when the instance is healthy again, on every node where the balancer runs: load balancers do not tell
//! each other.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::{Check, CheckId};
use crate::names::{CheckName, NodeName, ServiceName};
use crate::time::{Timestamp, human};

/// How the instances of a load balancer are told who takes part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancer {
    /// Through HAProxy's runtime socket (HAProxy Management Guide, section 9.3), which needs `level admin`.
    Haproxy {
        /// The absolute path of the socket on the balancer's own node.
        socket: String,
    },
    /// Through the file of nginx's configuration that lists them, and a reload.
    Nginx {
        /// The absolute path of the file on the balancer's own node.
        file: String,
    },
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Haproxy { socket } => write!(f, "haproxy at {socket}"),
            Self::Nginx { file } => write!(f, "nginx by {file}"),
        }
    }
}

/// How the instances of a service are members of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Membership {
    /// The balancer's groups of servers that each instance is in.
    pub backends: Vec<String>,
    /// What an instance is called there; `{node}` and `{address}` stand for its node.
    pub server: String,
    /// How long its sessions get to end by themselves.
    #[serde(with = "human")]
    pub drain: Duration,
    /// What it is put to after that.
    pub then: Then,
    /// How often each balancer is looked at, whether a member still is as it was put.
    #[serde(with = "human")]
    pub every: Duration,
    /// What was changed behind the cluster's back is reported, and not put back.
    pub watch_only: bool,
    /// The service's checks that each balancer's own agent runs on each instance, and by which it leaves one out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckName>,
}

/// What a member is put to when its sessions have ended, or their time has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It gets nothing any more, not even from clients whose cookie names it.
    Maint,
    /// It stays drained: clients whose cookie names it still get to it.
    Drain,
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Maint => "maint",
            Self::Drain => "drain",
        })
    }
}

/// One instance as a member of one load balancer, with everything that is needed to switch it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The service of the instance.
    pub service: ServiceName,
    /// Its node.
    pub node: NodeName,
    /// How the balancer is told.
    pub by: Balancer,
    /// The groups of servers that it is in.
    pub backends: Vec<String>,
    /// What it is called there.
    pub server: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.node)
    }
}

/// What a load balancer on one node makes of a member.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It has not been seen there.
    #[default]
    Unknown,
    /// It takes part.
    Ready,
    /// It gets nothing new, save from clients whose cookie names it.
    Drain,
    /// It gets nothing.
    Maint,
    /// It would take part, but the balancer finds it down.
    Down,
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Down => "down",
        })
    }
}

/// What is known of a member in the load balancer on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberObservation {
    /// The service of the instance.
    pub service: ServiceName,
    /// Its node.
    pub node: NodeName,
    /// What the balancer makes of it.
    pub state: MemberState,
    /// The same in the balancer's own words, or why it is unknown. One line.
    pub detail: String,
    /// When it was last put back, if the agent that is there now has done so.
    pub put_back: Option<PutBack>,
}

/// A member was switched by the agent of the balancer's node, and by no plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// When, by the clock of the balancer's node.
    pub at: Timestamp,
    /// Why.
    pub why: PutBackWhy,
    /// What it was, and what it is now. One line.
    pub text: String,
}

/// Why a member was switched by the agent of the balancer's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutBackWhy {
    /// It was something else than what a plan has put it to.
    Changed,
    /// Its checks are bad: it is left out.
    Sick,
    /// Its checks are good again: it takes part.
    Well,
}

/// An instance that does not take part in one of its load balancers, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// Nobody knows whether it takes part.
    pub unknown: bool,
    /// How it is there, such as `maint in lb on lb1`.
    pub text: String,
}

/// May a balancer's group or server be called that? HAProxy's own grammar (Configuration Manual, section 2.2: letters,
/// digits, `-`, `_`, `.` and `:`), and the brackets of an IPv6 address, by which nginx calls its servers. That leaves no
/// way to end the command or the line that such a name stands in.
#[must_use]
pub fn is_proxy_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
    !text.is_empty() && text.len() <= 128 && text.bytes().all(allowed)
}

/// A member that the agent of its balancer's node looks after: what a plan has put it to is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMember {
    /// The member.
    pub member: Member,
    /// How often it is looked at.
    #[serde(with = "human")]
    pub every: Duration,
    /// What was changed behind the cluster's back is reported, and not put back.
    pub watch_only: bool,
    /// The checks by which it is left out, about its node. None leaves it in.
    #[serde(default)]
    pub checks: Vec<(CheckId, Check)>,
    /// How many members of its service must be well for it to be left out.
    #[serde(default)]
    pub at_least: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_the_command_that_it_stands_in() {
        assert!(is_proxy_name("web-1.eu:443_a") && is_proxy_name("[fd00::1]:80"));
        for bad in [
            "",
            "a b",
            "a{",
            "a}",
            "a#",
            "a\"",
            "a;shutdown",
            "a/b",
            "a\nb",
            "ä",
        ] {
            assert!(!is_proxy_name(bad), "{bad:?}");
        }
    }
}
