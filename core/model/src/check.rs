//! Checks: what is probed, from where, and what a verdict is.
//!
//! A check belongs to a service and has a name, because a person may override it by that name and no other way
//! (`--force`). **Unknown is a verdict of its own and never counts as OK** (invariant I5): a probe that timed out, an
//! agent that is silent, a result that is too old.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{CheckName, LocalName, NodeName, ServiceName};
use crate::time::human;

/// The identity of a check: the service it belongs to and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckId {
    /// The service that the check says something about.
    pub service: ServiceName,
    /// Its name within the service.
    pub check: CheckName,
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.check)
    }
}

/// A check of the spec, complete with its timings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is probed.
    pub kind: CheckKind,
    /// Where the probe runs.
    pub from: CheckFrom,
    /// The period of the probe.
    #[serde(with = "human")]
    pub every: Duration,
    /// The time limit of one probe; a probe that reaches it is *unknown*.
    #[serde(with = "human")]
    pub timeout: Duration,
    /// Consecutive failures before the verdict turns bad.
    pub fail: u32,
    /// Consecutive successes before the verdict turns OK again.
    pub pass: u32,
    /// The age beyond which a result is *unknown*.
    #[serde(with = "human")]
    pub fresh: Duration,
}

/// Where a check runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckFrom {
    /// On each node of the service itself.
    #[serde(rename = "self")]
    Own,
    /// On every node of every service that requires this one: only there is the path that matters.
    Consumers,
    /// On the named nodes.
    Nodes(Vec<NodeName>),
}

/// What is probed. Texts are compared, not only exit statuses. `{address}` in a text stands for the address of the
/// instance's node and is resolved before the check reaches an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// A TCP connection to `host:port` is accepted.
    Tcp {
        /// `host:port`.
        target: String,
    },
    /// An HTTP GET answers as expected.
    Http {
        /// An `http://` URL.
        url: String,
        /// The accepted status codes.
        status: Vec<u16>,
        /// A text that the body must contain.
        body: Option<String>,
        /// JSON pointers (RFC 6901) into the body and the exact text that each must have.
        json: BTreeMap<String, String>,
        /// JSON pointers and texts by all of which the instance says that it waits for what it depends on; none if it
        /// cannot say so.
        paused: BTreeMap<String, String>,
        /// The JSON pointer to the names of what it waits for.
        why: Option<String>,
    },
    /// A command that the agent's own file defines exits with 0.
    Exec {
        /// Its name in that file.
        command: LocalName,
    },
    /// A systemd unit is active.
    Unit {
        /// The unit, with its suffix.
        unit: String,
    },
    /// A file can be read, and holds the text if one is given. A hung mount is *unknown*.
    Marker {
        /// The absolute path.
        path: String,
        /// The exact content, without a trailing newline.
        content: Option<String>,
        /// Also write a file beside it and read it back: a share that went read-only, or is full, still reads well.
        #[serde(default)]
        write: bool,
    },
    /// A file is equal on all nodes where the check runs.
    Same {
        /// The absolute path.
        path: String,
    },
    /// An IP address is assigned to the machine.
    Address {
        /// The address without a prefix length.
        ip: String,
    },
}

impl CheckKind {
    /// The word for this kind in the spec.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Http { .. } => "http",
            Self::Exec { .. } => "exec",
            Self::Unit { .. } => "unit",
            Self::Marker { .. } => "marker",
            Self::Same { .. } => "same",
            Self::Address { .. } => "address",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Ok,
    /// Definitely not as expected.
    Bad,
    /// Not known: no answer, too old, never run. Never taken for OK.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        })
    }
}

/// One run of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The verdict, after N-of-M.
    pub verdict: Verdict,
    /// One line for people: what was seen.
    pub evidence: String,
    /// What is compared between nodes (`same`): a digest.
    pub value: Option<String>,
    /// Does the instance say of itself that it is *paused*, waiting for what it depends on? Then the verdict is bad.
    pub paused: bool,
}

/// The longest evidence that is kept, in bytes.
pub const MAX_EVIDENCE: usize = 300;
