//! MariaDB as a part of an exclusive service: what of it is the cluster's concern.
//!
//! Like a PostgreSQL server ([`crate::postgres`]) it runs on **every** instance, as a replica wherever its node does not hold
//! the lease, and is *promoted* with the role. Everything local is in the agents' own files, under the name that the spec
//! gives it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::LocalName;

/// A MariaDB server of a leased service, one on each of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mariadb {
    /// Its name in the agents' own files.
    pub server: LocalName,
    /// The port at which replicas reach the primary, at the address of its node.
    pub port: u16,
    /// Who replicas, and agents, log in as at the other servers of the service.
    pub user: String,
}

impl fmt::Display for Mariadb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mariadb {}", self.server)
    }
}
