//! A pair in a lab: Debian's PostgreSQL on both, behind an address that goes with the role.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::Cluster;
use interlock_e2e::{Host, Lab, Machine, eventually};
use serde_json::Value;

use crate::rows::{PROGRAM, Writers};

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Time in which something that was just caused is seen.
pub(crate) const SOON: Duration = Duration::from_secs(60);

const WRITER: &str = include_str!("writer.py");

/// The unit of Debian's package.
pub(crate) const UNIT: &str = "postgresql@15-main.service";

/// Whom the server lets in.
const HBA: &str =
    "local all all trust\nhost all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n";

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "{ automatic: true, profile: fast, on_control_loss: demote, vm_pause: accepted, clients: address, \
                     max_lag: 16MiB }";

/// Two machines of which one is primary, one that coordinates, and one of a client.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pub(crate) cluster: Cluster<'lab>,
    pub(crate) client: Arc<Host>,
    pub(crate) one: Arc<Host>,
    pub(crate) two: Arc<Host>,
    /// The address that goes with the role.
    pub(crate) address: String,
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped. `server` is what the spec says of the server beside its name.
    pub(crate) fn build(lab: &'lab Lab, server: &str) -> Result<Self> {
        let management = lab.nspawn("mgmt1")?;
        let client = lab.plain("client")?;
        let (one, two) = (lab.nspawn("db1")?, lab.nspawn("db2")?);
        let address = lab.service_address(0)?.to_string();
        let spec = format!(
            "cluster: pair\n\
             control: {{ coordinators: [mgmt1], heartbeat: 500ms, late: 2s, lost: 5s }}\n\
             nodes:\n  mgmt1: {{ address: {} }}\n  db1: {{ address: {} }}\n  db2: {{ address: {} }}\n\
             services:\n  db:\n    nodes: [db1, db2]\n    active: one\n    parts:\n      \
             - postgres: {{ cluster: main, user: postgres, {server} }}\n      \
             - address: {{ ip: {address}/24, interface: host0 }}\n    \
             failover: {LEASE}\n",
            management.address(),
            one.address(),
            two.address()
        );
        let mut cluster = Cluster::create(lab, "pair", &spec)?;
        cluster.install_coordinator(&management)?;
        for host in [&one, &two] {
            cluster.install_agent(host, &[])?;
            let settings = format!(
                "listen_addresses = '*'\nssl = off\nwal_log_hints = on\ncluster_name = '{}'\nfsync = off\n\
                 wal_keep_size = 256MB\nwal_retrieve_retry_interval = 200ms\n",
                host.name()
            );
            let etc = "/etc/postgresql/15/main";
            host.put_file(
                &format!("{etc}/conf.d/lab.conf"),
                settings.as_bytes(),
                0o644,
            )?;
            // Nobody but the agent starts it.
            host.put_file(&format!("{etc}/start.conf"), b"manual\n", 0o644)?;
            own_data(host)?;
            // Its place and its owner stay those of the package.
            let hba = host.root().join(format!("{}/pg_hba.conf", &etc[1..]));
            std::fs::write(&hba, HBA).with_context(|| format!("cannot write {}", hba.display()))?;
        }
        for host in [&one, &two, &client] {
            host.put_file(PROGRAM, WRITER.as_bytes(), 0o644)?;
        }
        for host in [&management, &client, &one, &two] {
            host.power_on()?;
        }
        for host in [&management, &client, &one, &two] {
            host.wait_booted(BOOT)?;
        }
        let site = Self {
            cluster,
            client,
            one,
            two,
            address,
        };
        eventually("the coordinator", SOON, || {
            site.cluster
                .run(&["spec", "apply", "--yes", &site.cluster.spec()])
        })?;
        for node in ["db1", "db2"] {
            eventually(&format!("the agent of {node}"), SOON, || {
                let seen = site.cluster.node(node)?;
                ensure!(seen["liveness"] == "alive", "{seen}");
                Ok(())
            })?;
        }
        Ok(site)
    }

    /// Starts the service, and has a client and both machines write to it: the client by its address, the machines to their
    /// own server.
    pub(crate) fn start(&self) -> Result<Writers> {
        self.cluster.run(&["startup", "--service", "db", "--yes"])?;
        self.sql("CREATE TABLE rows (text text)")?;
        let mut writers = Writers::default();
        writers.add(&self.client, &self.address)?;
        writers.add(&self.one, "127.0.0.1")?;
        writers.add(&self.two, "127.0.0.1")?;
        eventually("rows", SOON, || {
            let count = writers.count()?;
            ensure!(count > 100, "{count} rows were acknowledged");
            Ok(())
        })?;
        let (primary, epoch) = self.primary()?;
        self.wait_follows(self.other(&primary).name(), epoch)?;
        Ok(writers)
    }

    /// Asks the primary by the service's address.
    pub(crate) fn sql(&self, text: &str) -> Result<String> {
        let host = if self.one.is_on() {
            &self.one
        } else {
            &self.two
        };
        host.exec(&[
            "psql",
            "-X",
            "-A",
            "-t",
            "-U",
            "postgres",
            "-h",
            &self.address,
            "-c",
            text,
            "postgres",
        ])
    }

    /// All rows that the primary has.
    pub(crate) fn rows_there(&self) -> Result<BTreeSet<String>> {
        let rows = self.sql("SELECT text FROM rows")?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// The machine that says to be primary, and its epoch; an error if it is not exactly one.
    pub(crate) fn primary(&self) -> Result<(String, u64)> {
        let status = self.cluster.ask(&["status"])?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        let mut found = Vec::new();
        for node in nodes {
            for instance in node["instances"].as_array().into_iter().flatten() {
                if instance["role"]["side"] == "primary" && node["liveness"] == "alive" {
                    let epoch = instance["role"]["epoch"].as_u64().unwrap_or_default();
                    found.push((text(&node["node"]), epoch));
                }
            }
        }
        ensure!(found.len() == 1, "primaries: {found:?}; {status}");
        Ok(found.remove(0))
    }

    /// Waits until this machine is primary, and rows are acknowledged again.
    pub(crate) fn wait_primary(&self, node: &str, writers: &Writers) -> Result<u64> {
        let epoch = eventually(&format!("{node} to be primary"), SOON, || {
            let (primary, epoch) = self.primary()?;
            ensure!(primary == node, "{primary} is");
            Ok(epoch)
        })?;
        let before = writers.count()?;
        eventually("rows", SOON, || {
            let count = writers.count()?;
            ensure!(count > before + 20, "{count} after {before}");
            Ok(())
        })?;
        Ok(epoch)
    }

    /// Waits until the standby on this machine streams, in this epoch.
    pub(crate) fn wait_follows(&self, node: &str, epoch: u64) -> Result<()> {
        eventually(&format!("{node} to follow"), SOON, || {
            let seen = self.cluster.node(node)?;
            let role = &seen["instances"][0]["role"];
            let detail = text(&role["detail"]);
            ensure!(
                role["side"] == "standby" && detail.contains("streams"),
                "{seen}"
            );
            let facts = self
                .host(node)
                .read_file("/var/lib/interlock-agent/roles/db.json")?;
            let facts: Value = serde_json::from_slice(&facts)?;
            ensure!(facts["follows"] == epoch, "{facts}");
            Ok(())
        })
    }

    /// Waits until commits wait for the standby on this machine, by the word of the primary.
    pub(crate) fn wait_synchronous(&self, node: &str) -> Result<()> {
        eventually(&format!("commits that wait for {node}"), SOON, || {
            let seen = self.cluster.node(self.other(node).name())?;
            let detail = text(&seen["instances"][0]["role"]["detail"]);
            let known = format!("commits wait for {node}");
            ensure!(detail.contains(&known), "{seen}");
            Ok(())
        })
    }

    /// Prints what happened, for whoever reads the output of the test.
    pub(crate) fn tell(&self, writers: &Writers) -> Result<()> {
        println!("{}", writers.story()?);
        println!("{}", self.cluster.run(&["events"])?);
        println!("{}", self.cluster.run(&["status"])?);
        Ok(())
    }

    /// The other machine.
    pub(crate) fn other(&self, node: &str) -> &Arc<Host> {
        if node == self.one.name() {
            &self.two
        } else {
            &self.one
        }
    }

    /// This machine.
    pub(crate) fn host(&self, node: &str) -> &Arc<Host> {
        if node == self.one.name() {
            &self.one
        } else {
            &self.two
        }
    }
}

/// Makes the data directory one of the host's own: hosts share what their root file system began with, and what is shared
/// cannot be renamed.
fn own_data(host: &Host) -> Result<()> {
    let data = host.root().join("var/lib/postgresql/15/main");
    let copy = data.with_extension("own");
    let run = |argv: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(argv[0]);
        interlock_e2e::run(command.args(&argv[1..])).map(drop)
    };
    run(&["cp".as_ref(), "-a".as_ref(), data.as_ref(), copy.as_ref()])?;
    run(&["rm".as_ref(), "-r".as_ref(), data.as_ref()])?;
    run(&["mv".as_ref(), copy.as_ref(), data.as_ref()])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
