//! A pair in a lab of which nothing but an address belongs to the role: behind it is a server on each machine that runs by
//! itself, and takes what it is sent.

use std::ops::Deref;

use anyhow::{Context as _, Result};

use super::{Pair, leased};
use crate::cluster::enable_unit;
use crate::{Host, Lab};

const WRITER: &str = include_str!("redis_writer.py");

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "profile: fast";

/// Two machines with a server each, of which one has the address.
#[derive(Debug)]
pub struct Site<'lab> {
    pair: Pair<'lab>,
}

impl<'lab> Deref for Site<'lab> {
    type Target = Pair<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.pair
    }
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build(lab: &'lab Lab) -> Result<Self> {
        let declared = |address: &str| {
            format!(
                "    parts:\n      \
                 - address: {{ ip: {address}/24, interface: host0 }}\n    \
                 failover: {}\n",
                leased(LEASE)
            )
        };
        let pair = Pair::build(lab, "front", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// Starts the service.
    ///
    /// # Errors
    /// If that does not succeed.
    pub fn begin(&self) -> Result<()> {
        let startup = ["startup", "--service", "front", "--yes"];
        self.cluster.run(&startup).map(drop)
    }

    /// What of it is the same with every service.
    #[must_use]
    pub fn into_pair(self) -> Pair<'lab> {
        self.pair
    }
}

/// Gives a member its server, which starts with the machine.
fn prepare(host: &Host) -> Result<()> {
    let path = host.root().join("etc/redis/redis.conf");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    // Its owner stays that of the package.
    std::fs::write(
        &path,
        text + "\nbind 0.0.0.0\nprotected-mode no\nsave \"\"\n",
    )
    .with_context(|| format!("cannot write {}", path.display()))?;
    enable_unit(host, "redis-server.service")
}
