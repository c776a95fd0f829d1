//! PostgreSQL as a part of an exclusive service: what of it is the cluster's concern.
//!
//! Such a part runs on **every** instance: as a standby wherever its node does not hold the lease, and it is *promoted* with
//! the role. Everything local (where the data is, which programs, which account, how the server is run) is in the agents'
//! own files, under the name that the spec gives it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::LocalName;

/// A PostgreSQL server of a leased service, one on each of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Postgres {
    /// Its name in the agents' own files.
    pub cluster: LocalName,
    /// The port at which standbys reach the primary, at the address of its node.
    pub port: u16,
    /// Who standbys log in as, at the primary.
    pub user: String,
    /// Whether writes wait for a standby.
    pub synchronous: Synchronous,
    /// What becomes of the data of a former primary that others never got.
    pub rejoin: Rejoin,
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres {}", self.cluster)
    }
}

/// Whether writes wait for a standby before they are acknowledged (safety rule D1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Synchronous {
    /// They never wait: a failover may lose the last of them.
    #[default]
    Off,
    /// They wait while a standby follows. Without one they go on, and the lease record says so before the first of them.
    On,
    /// They always wait: without a standby nothing is written.
    Strict,
}

/// What becomes of a former primary whose data diverged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejoin {
    /// A person decides: it stays as it is, and cannot be promoted.
    #[default]
    Never,
    /// What will be lost is saved aside, then it is rewound to where the histories part (`pg_rewind`).
    Rewind,
    /// What will be lost is saved aside, then its data is copied anew from the primary.
    Clone,
}

/// Another node of the service, as a server there is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// The node.
    pub node: crate::names::NodeName,
    /// Its address, a host name or an IP address.
    pub address: String,
}
