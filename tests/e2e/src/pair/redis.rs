//! A pair in a lab: Debian's Redis on both, behind an address that goes with the role.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Context as _, Result};

use super::{Pair, leased};
use crate::rows::Writers;
use crate::{Host, Lab, Machine};

const WRITER: &str = include_str!("redis_writer.py");

/// The unit of Debian's package.
pub const UNIT: &str = "redis-server.service";

/// Its configuration.
const CONFIG: &str = "etc/redis/redis.conf";

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "profile: fast, max_lag: 1MiB";

/// Two machines with Redis.
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
    /// Builds it; its machines are on, and its service is stopped. `server` is what the spec says of the server beside its name.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build(lab: &'lab Lab, server: &str) -> Result<Self> {
        let declared = |address: &str| {
            format!(
                "    parts:\n      \
                 - redis: {{ server: main, {server} }}\n      \
                 - address: {{ ip: {address}/24, interface: host0 }}\n    \
                 failover: {}\n",
                leased(LEASE)
            )
        };
        let pair = Pair::build(lab, "cache", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// Starts the service, and has a client and both machines write to it: the client by its address, the machines to their
    /// own server.
    ///
    /// # Errors
    /// If that does not succeed.
    pub fn start(&self) -> Result<Writers> {
        self.begin()?;
        self.write()
    }

    /// Starts the service.
    ///
    /// # Errors
    /// If that does not succeed.
    pub fn begin(&self) -> Result<()> {
        let startup = ["startup", "--service", "cache", "--yes"];
        self.cluster.run(&startup).map(drop)
    }

    /// What of it is the same with every service.
    #[must_use]
    pub fn into_pair(self) -> Pair<'lab> {
        self.pair
    }

    /// All rows that the server of this machine has.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn rows_of(&self, host: &Host) -> Result<BTreeSet<String>> {
        let rows = host.exec(&["redis-cli", "SMEMBERS", "rows"])?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// All rows that the primary has.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn rows_there(&self) -> Result<BTreeSet<String>> {
        let (primary, _) = self.primary()?;
        self.rows_of(self.host(&primary))
    }
}

/// Gives a member its server's configuration, as its administrator would.
fn prepare(host: &Host) -> Result<()> {
    let path = host.root().join(CONFIG);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let settings = "bind 0.0.0.0\nprotected-mode no\nrepl-diskless-sync-delay 0\ninclude /etc/redis/interlock.conf\n";
    // Its owner stays that of the package.
    std::fs::write(&path, text + "\n" + settings)
        .with_context(|| format!("cannot write {}", path.display()))?;
    // Nobody but the agent starts it again.
    let restart = "[Service]\nRestart=no\n";
    host.put_file(
        &format!("/etc/systemd/system/{UNIT}.d/interlock.conf"),
        restart.as_bytes(),
        0o644,
    )
}
