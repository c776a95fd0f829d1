//! Plans: immutable, fully decided graphs of steps.
//!
//! A plan leaves no choice to whoever runs it. It names the generation of the spec that it was made from, every step
//! with its edges, and what was taken for granted ([`Assumption`]); what was taken for granted is looked at again
//! right before the steps that rely on it (invariant I9). Its digest is the SHA-256 of the canonical bytes, and those
//! bytes are what is stored and run, never a re-serialisation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::Action;
use crate::check::CheckId;
use crate::file::Text;
use crate::ids::Generation;
use crate::lease::Shortfall;
use crate::names::{ClusterName, NodeName, ServiceName};
use crate::time::human;

/// The name of a step within its plan, such as `stop:jb@jb1` or `power-off:dbm2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub std::sync::Arc<str>);

impl StepId {
    /// A step id from its text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// `approve:let-go.SERVICE.NODE`: the step in which a person says that what the spec has on a node no more may go down
    /// with its machine.
    #[must_use]
    pub fn of_let_go(service: &ServiceName, node: &NodeName) -> Self {
        Self(format!("approve:let-go.{service}.{node}").into())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanKind {
    /// Stop, and power off where the scope says so.
    Shutdown,
    /// Power on where the scope says so, and start.
    Startup,
    /// Stop and start instances, a batch at a time, keeping capacity.
    Restart,
    /// Restart machines, a batch at a time, keeping capacity.
    Reboot,
    /// Move the role of an exclusive service, on purpose and without loss.
    Switchover,
    /// Give the role of an exclusive service to another node, because a person says that its primary's machine is down.
    Failover,
    /// Move the role of an exclusive service back to the node that the spec prefers.
    Failback,
    /// Empty a VM host: move the roles away, take its members out of load balancers, stop, and power off.
    Evacuate,
    /// Take a VM host into service again: power on, start, let its members in again. Roles stay where they are unless asked for.
    Restore,
}

impl PlanKind {
    /// Does it take down for good, and leave down, what it is about?
    #[must_use]
    pub fn goes_down(self) -> bool {
        matches!(self, Self::Shutdown | Self::Evacuate)
    }

    /// Does it bring up what it is about, and leave it up?
    #[must_use]
    pub fn comes_up(self) -> bool {
        matches!(self, Self::Startup | Self::Restore)
    }

    /// Does it move roles, and start and stop nothing?
    #[must_use]
    pub fn only_moves(self) -> bool {
        matches!(self, Self::Switchover | Self::Failover | Self::Failback)
    }
}

impl fmt::Display for PlanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shutdown => "shutdown",
            Self::Startup => "startup",
            Self::Restart => "restart",
            Self::Reboot => "reboot",
            Self::Switchover => "switchover",
            Self::Failover => "failover",
            Self::Failback => "failback",
            Self::Evacuate => "evacuate",
            Self::Restore => "restore",
        })
    }
}

/// Until when a step waits for another; for a `stop` edge the other is the dependant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Not at all: no edge.
    None,
    /// The attempt is in the agent's ledger.
    Issued,
    /// The stop job is confirmed running.
    GoingDown,
    /// The manager, for a node its power source, says off.
    Down,
    /// The manager says running; a node has a new boot id.
    Up,
    /// Up, and its checks are fresh and green.
    Healthy,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Issued => "issued",
            Self::GoingDown => "going-down",
            Self::Down => "down",
            Self::Up => "up",
            Self::Healthy => "healthy",
        })
    }
}

/// An edge of the plan: this step waits for `step` until it has reached `until`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct After {
    /// The step that is waited for.
    pub step: StepId,
    /// What it must have reached.
    pub until: Wait,
}

/// A check that must be fresh and green on a node before a step starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gate {
    /// The check.
    pub check: CheckId,
    /// The node where it runs.
    pub on: NodeName,
}

/// How it is known which instance of an exclusive service is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Its checks said so when the plan was made.
    Observed,
    /// Remembered from before the full stop (invariant I10).
    Remembered,
    /// The operator said so.
    Assumed,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Observed => "observed",
            Self::Remembered => "remembered",
            Self::Assumed => "assumed",
        })
    }
}

/// What the plan takes for granted of an exclusive service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assumption {
    /// The instance that is (or, for a start, was) active.
    pub active: NodeName,
    /// How that is known.
    pub known: Known,
}

/// One action on one node, with everything that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the plan.
    pub id: StepId,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// Where. None for a step that waits for a person.
    pub node: Option<NodeName>,
    /// To which service. None for power and for gates of the whole plan.
    pub service: Option<ServiceName>,
    /// What it waits for.
    pub after: Vec<After>,
    /// The checks that must be green right before it, each where its consumer is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// The checks that make the instance *healthy* once it is up, and where each runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub healthy: Vec<Gate>,
    /// The time limit of the action; of its checks once more.
    #[serde(with = "human")]
    pub timeout: Duration,
    /// What takes it back, if anything does.
    pub undo: Option<Undo>,
}

/// The action that takes a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Undo(pub Box<Action>);

/// An immutable, fully decided graph of steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: ClusterName,
    /// The generation of the spec that it was made from.
    pub generation: Generation,
    /// What it is for.
    pub kind: PlanKind,
    /// The scope as the operator gave it, for people: `--all`, `--service jb`.
    pub scope: String,
    /// The active side of each exclusive service that the plan touches.
    pub assumptions: BTreeMap<ServiceName, Assumption>,
    /// What the operator accepts to be lost of the writes of a service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<ServiceName, Shortfall>,
    /// Checks that the operator chose to override, by name.
    pub forced: Vec<CheckId>,
    /// Services of which it takes a part at a time, and leaves `at_least` instances in service.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keeps: BTreeSet<ServiceName>,
    /// The texts of the files that it writes, by their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<Digest, Text>,
    /// The steps, in an order that respects every edge and that ties are issued in.
    pub steps: Vec<Step>,
}

/// The SHA-256 of a plan's canonical bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// The first 12 hexadecimal digits: enough for people, who may give that many back.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(BadDigest);
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| BadDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A plan and the bytes that stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPlan {
    plan: Plan,
    bytes: Vec<u8>,
    digest: Digest,
}

/// The stored bytes of a plan cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored plan cannot be read")]
pub struct BadPlan(#[source] serde_json::Error);

impl SealedPlan {
    /// Gives the plan its bytes and digest.
    ///
    /// # Errors
    /// Never for a plan made of this crate's types; the serializer's error otherwise.
    pub fn seal(plan: Plan) -> Result<Self, BadPlan> {
        let bytes = serde_json::to_vec(&plan).map_err(BadPlan)?;
        let digest = Digest::of(&bytes);
        Ok(Self {
            plan,
            bytes,
            digest,
        })
    }

    /// Reads stored bytes back; the digest is that of these very bytes.
    ///
    /// # Errors
    /// If they are not a plan.
    pub fn open(bytes: Vec<u8>) -> Result<Self, BadPlan> {
        let plan = serde_json::from_slice(&bytes).map_err(BadPlan)?;
        let digest = Digest::of(&bytes);
        Ok(Self {
            plan,
            bytes,
            digest,
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// Its canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Their digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Plan {
    /// The derived view of stages: for each step the length of the longest chain of edges before it, from 1. Never a
    /// barrier; a step may start while an earlier stage still runs.
    #[must_use]
    pub fn stages(&self) -> BTreeMap<&StepId, u32> {
        let mut stages: BTreeMap<&StepId, u32> = BTreeMap::new();
        for step in &self.steps {
            let before = step
                .after
                .iter()
                .filter_map(|after| stages.get(&after.step))
                .max();
            stages.insert(&step.id, before.map_or(1, |stage| stage + 1));
        }
        stages
    }
}
