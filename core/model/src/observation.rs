//! Observations: what was last reported, by whom, and how long ago.
//!
//! An [`Observations`] value is a snapshot made at one moment: ages are durations, results older than their freshness
//! are already *unknown*, and so is everything about a node that is not alive. Planner and engine therefore need no
//! clock to read it, and cannot mistake an old green for a green.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Power;
use crate::check::{CheckId, Verdict};
use crate::ids::BootId;
use crate::lease::{Epoch, Shortfall};
use crate::member::{Apart, MemberObservation, MemberState};
use crate::names::{NodeName, ServiceName};
use crate::permission::{Permission, Refusal};
use crate::spec::{Service, Spec};
use crate::time::Timestamp;

/// The liveness of a node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Liveness {
    /// Its agent is heard.
    Alive,
    /// Its agent has missed beats; a warning, nothing else follows.
    Late,
    /// Its agent has been silent for longer than its limit. Says nothing about the machine (invariant I5).
    Lost,
    /// Its agent said goodbye, or its power source says off.
    Left,
    /// Its agent has not been heard since this coordinator started.
    #[default]
    Unheard,
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Left => "left",
            Self::Unheard => "unheard",
        })
    }
}

/// The state of an instance, as its manager reports it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// On its way up.
    Starting,
    /// Up.
    Running,
    /// Up, but waiting for what it depends on; the reason names it.
    Paused,
    /// On its way down.
    Stopping,
    /// Down, cleanly.
    Stopped,
    /// Down, not cleanly.
    Failed,
    /// Not known.
    #[default]
    Unknown,
}

impl InstanceState {
    /// Is something of the instance there, or may it be?
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

/// What an instance should be. Written only by operations (and failover), kept by agents, enforced by the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// It should run.
    Running,
    /// It should be stopped.
    Stopped,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// What is known of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InstanceObservation {
    /// Its state.
    pub state: InstanceState,
    /// Since when, by the node's clock.
    pub since: Option<Timestamp>,
    /// Why, in one line: exit status, job result, missing dependencies.
    pub reason: String,
    /// What it should be; none if no operation has ever said so.
    pub wanted: Option<Wanted>,
    /// How many times the guard restarted it since it was last started by an operation.
    pub restarts: u32,
    /// Is it down, and its guard does not start it again? Said by the guard alone; the reason says why.
    #[serde(default)]
    pub given_up: bool,
    /// Does it run although what looked after it was killed? The reason says what that was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub orphaned: bool,
    /// Of a load balancer: its members, as it has them on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberObservation>,
    /// Of a leased service: what its agent knows of its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleObservation>,
}

impl InstanceObservation {
    /// Why an instance is as it is, in the words of its agent: what plans and `status` say to people, with what to do if that is
    /// among them.
    #[must_use]
    pub fn why(seen: Option<&Self>) -> &str {
        match seen.map(|seen| seen.reason.as_str()) {
            None => "its agent has not reported it yet",
            Some("") => "no reason given",
            Some(reason) => reason,
        }
    }
}

/// The side of an exclusive service that an instance is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It holds the lease, and accepts writes.
    Primary,
    /// It holds nothing.
    Standby,
    /// On its way from one to the other.
    Changing,
    /// Not known.
    #[default]
    Unknown,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Changing => "changing",
            Self::Unknown => "unknown",
        })
    }
}

/// What an agent knows of the role of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoleObservation {
    /// Which side it is.
    pub side: Side,
    /// The epoch that it holds, or the highest that it has heard of.
    pub epoch: Epoch,
    /// What it is doing, or why it is not what it should be, in one line.
    pub detail: String,
    /// What it has lost last.
    pub lost: Option<Loss>,
    /// Could it take the role now? Said by the leader of the lease, not by its agent.
    #[serde(default, skip_serializing_if = "Fitness::is_unknown")]
    pub fitness: Fitness,
}

/// Whether an instance could take the role of its service, as the leader of the lease judges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fitness {
    /// Nobody has said.
    #[default]
    Unknown,
    /// It could.
    Fit,
    /// It could not, and why: it is the primary itself, is down, behind, or of another line.
    Unfit(String),
    /// It could not without losing writes: no primary is heard that it could be waited for to follow. How much, and why.
    Lacks(Shortfall, String),
}

impl Fitness {
    /// Has nobody said?
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// What an instance had written that no other has, and has not any more since it follows another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// The epoch whose primary it was made to follow.
    pub epoch: Epoch,
    /// How much, and where it is kept, in one line.
    pub text: String,
}

impl InstanceObservation {
    /// What is known of a member of this instance of a load balancer; none if it was not seen there.
    #[must_use]
    pub fn member(&self, service: &ServiceName, node: &NodeName) -> Option<&MemberObservation> {
        let mut members = self.members.iter();
        members.find(|it| it.service == *service && it.node == *node)
    }
}

/// What is known of one check on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckObservation {
    /// The verdict; *unknown* if the last result is too old.
    pub verdict: Verdict,
    /// What was seen, or why it is unknown.
    pub evidence: String,
    /// What is compared between nodes.
    pub value: Option<String>,
    /// Does the instance say of itself that it is *paused*?
    pub paused: bool,
    /// The age of the last result.
    pub age: Option<Duration>,
}

impl CheckObservation {
    /// The observation of a check that never reported.
    #[must_use]
    pub fn never() -> Self {
        Self {
            verdict: Verdict::Unknown,
            evidence: "never reported".into(),
            value: None,
            paused: false,
            age: None,
        }
    }
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Whether its agent is heard.
    pub liveness: Liveness,
    /// How long ago it was heard.
    pub heard: Option<Duration>,
    /// The boot that the agent reported.
    pub boot: Option<BootId>,
    /// What its power source said last.
    pub power: Power,
    /// How long ago it said so.
    pub power_age: Option<Duration>,
    /// Why what its power source said last cannot be so: then its power is *unknown*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicted: Option<String>,
    /// Its instances.
    pub instances: BTreeMap<ServiceName, InstanceObservation>,
    /// The checks that run on it.
    pub checks: BTreeMap<CheckId, CheckObservation>,
    /// What its agent would refuse of what the spec may ask of it, as far as it has said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Refusal>,
    /// What the spec has there no more, and may run still: what is known of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub let_go: BTreeMap<ServiceName, String>,
}

impl NodeObservation {
    /// Why its agent would refuse something, if it has said so.
    #[must_use]
    pub fn refusal(&self, permission: &Permission) -> Option<&str> {
        self.refuses
            .iter()
            .find(|refusal| refusal.permission == *permission)
            .map(|refusal| refusal.why.as_str())
    }
}

impl Default for NodeObservation {
    fn default() -> Self {
        Self {
            liveness: Liveness::Unheard,
            heard: None,
            boot: None,
            power: Power::Unknown,
            power_age: None,
            contradicted: None,
            instances: BTreeMap::new(),
            checks: BTreeMap::new(),
            refuses: Vec::new(),
            let_go: BTreeMap::new(),
        }
    }
}

/// A snapshot of everything that is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observations {
    /// By node.
    pub nodes: BTreeMap<NodeName, NodeObservation>,
}

/// Which instance of an exclusive service is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Active {
    /// Exactly this one.
    On(NodeName),
    /// Every instance is known to be down.
    Nowhere,
    /// It cannot be told, and why.
    Unknown(String),
}

impl Observations {
    /// What is known of a node; *unheard* if nothing.
    #[must_use]
    pub fn node(&self, node: &NodeName) -> Option<&NodeObservation> {
        self.nodes.get(node)
    }

    /// The state of an instance. A node that is proven off has only stopped instances; of one that is not alive
    /// nothing is known.
    #[must_use]
    pub fn instance(&self, node: &NodeName, service: &ServiceName) -> InstanceState {
        let Some(seen) = self.nodes.get(node) else {
            return InstanceState::Unknown;
        };
        if seen.power == Power::Off {
            return InstanceState::Stopped;
        }
        match seen.liveness {
            Liveness::Alive | Liveness::Late => seen
                .instances
                .get(service)
                .map_or(InstanceState::Unknown, |instance| instance.state),
            Liveness::Lost | Liveness::Left | Liveness::Unheard => InstanceState::Unknown,
        }
    }

    /// Where an instance takes no part, of the load balancers that it is a member of and that run: one that says so,
    /// else one of which that is unknown. None if it takes part in all of them.
    #[must_use]
    pub fn apart(&self, spec: &Spec, service: &Service, node: &NodeName) -> Option<Apart> {
        let mut unknown = None;
        for balancer in service.member_of.keys() {
            let places = spec.services.get(balancer).map(|it| it.nodes.as_slice());
            for on in places.unwrap_or_default() {
                if self.instance(on, balancer) != InstanceState::Running {
                    continue;
                }
                let seen = self.nodes.get(on).and_then(|it| it.instances.get(balancer));
                let member = seen.and_then(|it| it.member(&service.name, node));
                let state = member.map_or(MemberState::Unknown, |it| it.state);
                let detail = member.map_or("it was not seen there", |it| it.detail.as_str());
                let apart = |unknown| Apart {
                    unknown,
                    text: format!("{state} in {balancer} on {on} ({detail})"),
                };
                match state {
                    MemberState::Ready => {}
                    MemberState::Unknown => unknown = unknown.or_else(|| Some(apart(true))),
                    MemberState::Drain | MemberState::Maint | MemberState::Down => {
                        return Some(apart(false));
                    }
                }
            }
        }
        unknown
    }

    /// The last result of a check on a node.
    #[must_use]
    pub fn check(&self, node: &NodeName, check: &CheckId) -> CheckObservation {
        self.nodes
            .get(node)
            .and_then(|seen| seen.checks.get(check))
            .cloned()
            .unwrap_or_else(CheckObservation::never)
    }

    /// Which instance of a leased service says to be primary. One of which nothing is known stands against nobody: who says
    /// so holds the lease, and nobody else can. Without a primary it may be the one.
    fn primary(&self, service: &Service) -> Active {
        let mut found = None;
        let mut untold = None;
        for node in &service.nodes {
            let state = self.instance(node, &service.name);
            if state.is_down() {
                continue;
            }
            if state == InstanceState::Unknown {
                untold = untold.or(Some(node));
                continue;
            }
            let seen = self.nodes.get(node);
            let role = seen.and_then(|seen| seen.instances.get(&service.name)?.role.as_ref());
            match role.map_or(Side::Unknown, |role| role.side) {
                Side::Standby => {}
                side @ (Side::Changing | Side::Unknown) => {
                    return Active::Unknown(format!(
                        "the side of {} on {node} is {side}",
                        service.name
                    ));
                }
                Side::Primary => match found {
                    None => found = Some(node),
                    Some(first) => {
                        return Active::Unknown(format!(
                            "{first} and {node} both say to be primary of {}",
                            service.name
                        ));
                    }
                },
            }
        }
        match (found, untold) {
            (Some(node), _) => Active::On(node.clone()),
            (None, Some(node)) => Active::Unknown(format!(
                "no instance of {} is known to be primary, and of the one on {node} nothing is known",
                service.name
            )),
            (None, None) => {
                Active::Unknown(format!("no instance of {} holds its lease", service.name))
            }
        }
    }

    /// Which instance of an exclusive service is active: its lease says so, or, where it has none, every check of `active_when` green on exactly one node, and
    /// known not to be green on all others.
    #[must_use]
    pub fn active(&self, service: &Service) -> Active {
        if service
            .nodes
            .iter()
            .all(|node| self.instance(node, &service.name).is_down())
        {
            return Active::Nowhere;
        }
        if service.is_leased() {
            return self.primary(service);
        }
        if service.active_when.is_empty() {
            return Active::Unknown(format!(
                "{} has no active_when checks, so nothing tells which instance is active",
                service.name
            ));
        }
        let mut green = Vec::new();
        for node in &service.nodes {
            if self.instance(node, &service.name).is_down() {
                continue;
            }
            let mut verdict = Verdict::Ok;
            for check in &service.active_when {
                let id = CheckId {
                    service: service.name.clone(),
                    check: check.clone(),
                };
                let seen = self.check(node, &id);
                match seen.verdict {
                    Verdict::Ok => {}
                    Verdict::Bad => verdict = Verdict::Bad,
                    Verdict::Unknown => {
                        return Active::Unknown(format!(
                            "check {id} on {node} is unknown: {}",
                            seen.evidence
                        ));
                    }
                }
            }
            if verdict == Verdict::Ok {
                green.push(node);
            }
        }
        match green.as_slice() {
            [one] => Active::On((*one).clone()),
            [] => Active::Unknown(format!(
                "no instance of {} passes its active_when checks",
                service.name
            )),
            [first, second, ..] => Active::Unknown(format!(
                "{first} and {second} both pass the active_when checks of {}",
                service.name
            )),
        }
    }
}
