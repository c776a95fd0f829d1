//! A pair in a lab: a Redis that only the primary runs, behind an address that goes with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::bmc::{self, Bmcs};
use interlock_e2e::cluster::{Cluster, install_unit};
use interlock_e2e::rows::{PROGRAM, Writers};
use interlock_e2e::{Host, Lab, Machine, eventually};
use serde_json::Value;

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Time in which something that was just caused is seen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Where the agents tell load balancers of the service.
pub(crate) const HEALTH_PORT: u16 = 8008;

const WRITER: &str = include_str!("writer.py");

/// The server that only the primary runs. It keeps nothing: what is tried here is who takes writes, not what becomes of
/// them.
const UNIT: &str = "[Unit]\nDescription=The register\n[Service]\n\
                    ExecStart=/usr/bin/redis-server --bind 0.0.0.0 --protected-mode no --save '' --port 6379\n\
                    TimeoutStopSec=5\n";

/// The lease of a role that moves by itself in seconds.
const MOVES_BY_ITSELF: &str = "{ automatic: true, profile: fast, on_control_loss: demote, vm_pause: accepted, clients: address }";

/// Two machines of which one is primary, one that coordinates, and one of a client.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pub(crate) cluster: Cluster<'lab>,
    pub(crate) management: Arc<Host>,
    pub(crate) client: Arc<Host>,
    pub(crate) one: Arc<Host>,
    pub(crate) two: Arc<Host>,
    /// The address that goes with the role.
    pub(crate) address: String,
    _bmcs: Option<Bmcs>,
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped.
    pub(crate) fn build(lab: &'lab Lab) -> Result<Self> {
        Self::under(lab, MOVES_BY_ITSELF)
    }

    /// Builds it with this lease.
    pub(crate) fn under(lab: &'lab Lab, failover: &str) -> Result<Self> {
        Self::build_as(lab, failover, false)
    }

    /// Builds it with this lease, and with controllers by which its two machines can be switched off.
    pub(crate) fn with_power(lab: &'lab Lab, failover: &str) -> Result<Self> {
        let site = Self::build_as(lab, failover, true)?;
        eventually("the agent of mgmt1", SOON, || {
            let seen = site.cluster.node("mgmt1")?;
            ensure!(seen["liveness"] == "alive", "{seen}");
            Ok(())
        })?;
        // A controller does not know whose it is: a person says so.
        let attest = ["power", "verify", "--attest", "cabled by the test"];
        site.cluster.run(&[&attest[..], &["db1", "db2"]].concat())?;
        Ok(site)
    }

    fn build_as(lab: &'lab Lab, failover: &str, with_power: bool) -> Result<Self> {
        let management = lab.nspawn("mgmt1")?;
        let client = lab.plain("client")?;
        let (one, two) = (lab.nspawn("db1")?, lab.nspawn("db2")?);
        let address = lab.service_address(0)?.to_string();
        let bmcs = with_power.then(|| Bmcs::start(lab, &[&one, &two]));
        let bmcs = bmcs.transpose()?;
        let plug = |host: &Host| {
            let address = bmcs.as_ref().and_then(|bmcs| bmcs.address(host.name()));
            address.map_or_else(String::new, |at| {
                format!(", power: {{ by: bmc, plug: \"{at}\" }}")
            })
        };
        let devices = bmcs.as_ref().map_or_else(String::new, |_| {
            format!(
                "power:\n  bmc:\n    fence: fence_ipmilan\n    via: [mgmt1]\n    options: {{ port_as_ip: \"1\", lanplus: \"1\", \
                 username: {}, password: {{ secret: bmc }}, power_wait: \"0\" }}\n",
                bmc::USER
            )
        });
        let spec = format!(
            "cluster: pair\n\
             control: {{ coordinators: [mgmt1], heartbeat: 500ms, late: 2s, lost: 5s }}\n\
             {devices}\
             nodes:\n  mgmt1: {{ address: {} }}\n  db1: {{ address: {}{} }}\n  db2: {{ address: {}{} }}\n\
             services:\n  register:\n    nodes: [db1, db2]\n    active: one\n    parts:\n      \
             - systemd: {{ unit: register.service, on: primary }}\n      \
             - address: {{ ip: {address}/24, interface: host0 }}\n    \
             failover: {failover}\n    \
             checks:\n      answers: {{ redis: {{ address: \"{address}:6379\", role: master }}, every: 1s }}\n",
            management.address(),
            one.address(),
            plug(&one),
            two.address(),
            plug(&two)
        );
        let mut cluster = Cluster::create(lab, "pair", &spec)?;
        cluster.install_coordinator(&management)?;
        if with_power {
            cluster.install_agent(&management, &[])?;
            cluster.install_secret(&management, "bmc", bmc::PASSWORD)?;
        }
        for host in [&one, &two] {
            cluster.install_agent(host, &[])?;
            tell_health(host)?;
            install_unit(host, "register.service", UNIT)?;
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
            management,
            client,
            one,
            two,
            address,
            _bmcs: bmcs,
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

    /// Starts the service, and has the client and both machines write to it by its address.
    pub(crate) fn start(&self) -> Result<Writers> {
        self.cluster
            .run(&["startup", "--service", "register", "--yes"])?;
        let mut writers = Writers::default();
        for host in [&self.client, &self.one, &self.two] {
            writers.add(host, &self.address)?;
        }
        eventually("writes", SOON, || {
            let count = writers.count()?;
            ensure!(count > 100, "{count} writes were taken");
            Ok(())
        })?;
        Ok(writers)
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
        ensure!(found.len() == 1, "primaries: {found:?}");
        Ok(found.remove(0))
    }

    /// Waits until this machine is primary, and writes are taken again.
    pub(crate) fn wait_primary(&self, node: &str, writers: &Writers) -> Result<u64> {
        let epoch = eventually(&format!("{node} to be primary"), SOON, || {
            let (primary, epoch) = self.primary()?;
            ensure!(primary == node, "{primary} is");
            Ok(epoch)
        })?;
        let before = writers.count()?;
        eventually("writes", SOON, || {
            let count = writers.count()?;
            ensure!(count > before + 20, "{count} after {before}");
            Ok(())
        })?;
        Ok(epoch)
    }

    /// Sends a signal to the main process of a unit.
    pub(crate) fn signal(&self, host: &Host, unit: &str, signal: &str) -> Result<()> {
        let signal = format!("--signal={signal}");
        host.exec(&["systemctl", "kill", &signal, "--kill-whom=main", unit])
            .map(drop)
    }

    /// Prints what happened, for whoever reads the output of the test.
    pub(crate) fn tell(&self, writers: &Writers) -> Result<()> {
        println!("{}", writers.story()?);
        println!("{}", self.cluster.run(&["events"])?);
        Ok(())
    }

    /// Does this machine have the service's address?
    pub(crate) fn has_address(&self, host: &Host) -> Result<bool> {
        let shown = host.exec(&["ip", "-o", "addr", "show", "dev", "host0"])?;
        Ok(shown.contains(&format!(" {}/", self.address)))
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

/// Has the agent of a host tell load balancers of the service, as its administrator would.
fn tell_health(host: &Host) -> Result<()> {
    let path = "/etc/interlock/interlock-agent.toml";
    let file = host.root().join(path.trim_start_matches('/'));
    let config = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let listen = format!("{}:{HEALTH_PORT}", host.address());
    let config = format!("{config}\n[health.register]\nlisten = [\"{listen}\"]\n");
    host.put_file(path, config.as_bytes(), 0o644)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
