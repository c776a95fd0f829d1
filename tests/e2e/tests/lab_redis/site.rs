//! A pair in a lab: Debian's Redis on both, behind an address that goes with the role.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Context as _, Result};
use interlock_e2e::pair::Pair;
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine};

const WRITER: &str = include_str!("writer.py");

/// The unit of Debian's package.
pub(crate) const UNIT: &str = "redis-server.service";

/// Its configuration.
const CONFIG: &str = "etc/redis/redis.conf";

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "{ automatic: true, profile: fast, on_control_loss: demote, vm_pause: accepted, clients: address, \
                     max_lag: 1MiB }";

/// Two machines with Redis.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
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
    pub(crate) fn build(lab: &'lab Lab, server: &str) -> Result<Self> {
        let declared = |address: &str| {
            format!(
                "    parts:\n      \
                 - redis: {{ server: main, {server} }}\n      \
                 - address: {{ ip: {address}/24, interface: host0 }}\n    \
                 failover: {LEASE}\n"
            )
        };
        let pair = Pair::build(lab, "cache", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// Starts the service, and has a client and both machines write to it: the client by its address, the machines to their
    /// own server.
    pub(crate) fn start(&self) -> Result<Writers> {
        self.cluster
            .run(&["startup", "--service", "cache", "--yes"])?;
        self.write()
    }

    /// All rows that the server of this machine has.
    pub(crate) fn rows_of(&self, host: &Host) -> Result<BTreeSet<String>> {
        let rows = host.exec(&["redis-cli", "SMEMBERS", "rows"])?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// All rows that the primary has.
    pub(crate) fn rows_there(&self) -> Result<BTreeSet<String>> {
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
