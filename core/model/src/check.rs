//! Checks: what is probed, from where, and what a verdict is.
//!
//! A check belongs to a service and has a name, because a person may override it by that name and no other way
//! (`--force`). **Unknown is a verdict of its own and never counts as OK** (invariant I5): a probe that timed out, an
//! agent that is silent, a result that is too old.

mod machine;
mod servers;
mod threshold;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{CheckName, LocalName, NodeName, ServiceName};
use crate::time::human;

pub use machine::{ClockCheck, Compared, HaproxyCheck, MountCheck};
pub use servers::{
    Lag, Login, MariadbCheck, PostgresCheck, PostgresRole, RedisCheck, RedisRole, ServerTls,
};
pub use threshold::{MAX_RUNS, Threshold, ThresholdError};

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
    /// Failures before the verdict turns bad.
    pub fail: Threshold,
    /// Successes before the verdict turns OK again.
    pub pass: Threshold,
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
        /// An `http://` or `https://` URL.
        url: String,
        /// The name that the certificate of an `https://` server must have; the host of the URL if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_name: Option<String>,
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
    /// A file, or what a command prints, is equal on all nodes where the check runs.
    Same {
        /// What is compared.
        #[serde(flatten)]
        what: Compared,
    },
    /// An IP address is assigned to the machine.
    Address {
        /// The address without a prefix length.
        ip: String,
    },
    /// A Redis server works, in the role that it should have.
    Redis(RedisCheck),
    /// A PostgreSQL server lets the user in, in the role that it should have.
    Postgres(PostgresCheck),
    /// A MariaDB or MySQL server lets the user in, and replicates as it should.
    Mariadb(MariadbCheck),
    /// A file system is mounted.
    Mount(MountCheck),
    /// A server takes an upgrade to the WebSocket protocol: status 101 (RFC 6455).
    Websocket {
        /// A `ws://` or `wss://` URL.
        url: String,
        /// The name that the certificate of a `wss://` server must have; the host of the URL if none.
        server_name: Option<String>,
        /// The `Origin` that is sent, for servers that ask for one.
        origin: Option<String>,
    },
    /// The clock of the machine is right.
    Clock(ClockCheck),
    /// No server of an HAProxy on the machine is down or left out, unless a plan has put it out.
    Haproxy(HaproxyCheck),
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
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Mariadb(_) => "mariadb",
            Self::Mount(_) => "mount",
            Self::Websocket { .. } => "websocket",
            Self::Clock(_) => "clock",
            Self::Haproxy(_) => "haproxy",
        }
    }

    /// Where it connects to, as `host:port` or as a URL; none if it stays on the machine.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Tcp { target } => Some(target),
            Self::Http { url, .. } | Self::Websocket { url, .. } => Some(url),
            Self::Redis(check) => Some(&check.target),
            Self::Postgres(check) => Some(&check.target),
            Self::Mariadb(check) => Some(&check.target),
            Self::Clock(check) => Some(&check.target),
            Self::Exec { .. }
            | Self::Unit { .. }
            | Self::Marker { .. }
            | Self::Same { .. }
            | Self::Address { .. }
            | Self::Mount(_)
            | Self::Haproxy(_) => None,
        }
    }

    /// The server that has to prove who it is, if it is logged in to over TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerTls> {
        match self {
            Self::Redis(check) => check.tls.as_ref(),
            Self::Postgres(check) => check.tls.as_ref(),
            Self::Mariadb(check) => check.tls.as_ref(),
            Self::Tcp { .. }
            | Self::Http { .. }
            | Self::Exec { .. }
            | Self::Unit { .. }
            | Self::Marker { .. }
            | Self::Same { .. }
            | Self::Address { .. }
            | Self::Mount(_)
            | Self::Websocket { .. }
            | Self::Clock(_)
            | Self::Haproxy(_) => None,
        }
    }

    /// The secret that it logs in with, if there is one.
    #[must_use]
    pub fn password(&self) -> Option<&LocalName> {
        let login = match self {
            Self::Redis(check) => &check.login,
            Self::Postgres(check) => &check.login,
            Self::Mariadb(check) => &check.login,
            Self::Tcp { .. }
            | Self::Http { .. }
            | Self::Exec { .. }
            | Self::Unit { .. }
            | Self::Marker { .. }
            | Self::Same { .. }
            | Self::Address { .. }
            | Self::Mount(_)
            | Self::Websocket { .. }
            | Self::Clock(_)
            | Self::Haproxy(_) => return None,
        };
        login.password.as_ref()
    }

    /// The file that it reads, if it reads one that the spec names.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match self {
            Self::Marker { path, .. }
            | Self::Same {
                what: Compared::Path(path),
            } => Some(path.clone()),
            Self::Mount(mount) => mount.marker_path(),
            Self::Tcp { .. }
            | Self::Http { .. }
            | Self::Exec { .. }
            | Self::Unit { .. }
            | Self::Same {
                what: Compared::Command(_),
            }
            | Self::Address { .. }
            | Self::Redis(_)
            | Self::Postgres(_)
            | Self::Mariadb(_)
            | Self::Websocket { .. }
            | Self::Clock(_)
            | Self::Haproxy(_) => None,
        }
    }

    /// The command of the agent's own file that it runs, if it runs one.
    #[must_use]
    pub fn command(&self) -> Option<&LocalName> {
        match self {
            Self::Exec { command }
            | Self::Same {
                what: Compared::Command(command),
            } => Some(command),
            Self::Tcp { .. }
            | Self::Http { .. }
            | Self::Unit { .. }
            | Self::Marker { .. }
            | Self::Same {
                what: Compared::Path(_),
            }
            | Self::Address { .. }
            | Self::Redis(_)
            | Self::Postgres(_)
            | Self::Mariadb(_)
            | Self::Mount(_)
            | Self::Websocket { .. }
            | Self::Clock(_)
            | Self::Haproxy(_) => None,
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
