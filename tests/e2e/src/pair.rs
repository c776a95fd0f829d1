//! A service with a lease on two machines of a lab or more, one that coordinates, and one of a client: what the tests of leases have
//! in common, whatever the service is. The services themselves: [`postgres`], [`redis`], and an [`address`] alone.

pub mod address;
pub mod postgres;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bmc::{self, Bmcs};
use crate::cluster::Cluster;
use crate::rows::{PROGRAM, Writers};
use crate::{Host, Lab, Machine, eventually};

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Time in which something that was just caused is seen.
pub const SOON: Duration = Duration::from_secs(60);

/// Machines of which one is primary, one that coordinates, and one of a client.
#[derive(Debug)]
pub struct Pair<'lab> {
    /// What the coordinator and the agents are of.
    pub cluster: Cluster<'lab>,
    /// The name of the service.
    pub service: &'static str,
    /// The machine that coordinates.
    pub management: Arc<Host>,
    /// The machine of a client.
    pub client: Arc<Host>,
    /// A member: `db1`.
    pub one: Arc<Host>,
    /// Another member: `db2`.
    pub two: Arc<Host>,
    /// All members: those, and `db3` and so on if there are more.
    pub members: Vec<Arc<Host>>,
    /// The address that goes with the role.
    pub address: String,
    /// The controllers of the members, if they can be switched.
    pub bmcs: Option<Bmcs>,
}

impl<'lab> Pair<'lab> {
    /// Builds it; its machines are on, its spec is applied, and its service is stopped.
    ///
    /// `declared` is what the spec says of the service below its name, its nodes and that one is active, for this address of
    /// the role. `writer` is the program of its writers; `prepare` gives a member what else it needs before it is switched on.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build(
        lab: &'lab Lab,
        service: &'static str,
        declared: impl Fn(&str) -> String,
        writer: &str,
        prepare: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        Self::build_of(lab, 2, service, declared, writer, prepare)
    }

    /// The same with so many members.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_of(
        lab: &'lab Lab,
        count: usize,
        service: &'static str,
        declared: impl Fn(&str) -> String,
        writer: &str,
        prepare: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        Self::build_as(lab, count, service, declared, writer, prepare, false)
    }

    /// The same with two members, each on a VM host of its own (`vmhost1`, `vmhost2`), which a controller switches. Its management
    /// machine has an agent, too.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_on_hosts(
        lab: &'lab Lab,
        service: &'static str,
        declared: impl Fn(&str) -> String,
        writer: &str,
        prepare: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        let pair = Self::build_as(lab, 2, service, declared, writer, prepare, true)?;
        eventually("the agent of mgmt1", SOON, || {
            let seen = pair.cluster.node("mgmt1")?;
            ensure!(seen["liveness"] == "alive", "{seen}");
            Ok(())
        })?;
        // A controller does not know whose it is: a person says so.
        let attest = ["power", "verify", "--attest", "cabled by the test"];
        pair.cluster.run(&[&attest[..], &["db1", "db2"]].concat())?;
        Ok(pair)
    }

    fn build_as(
        lab: &'lab Lab,
        count: usize,
        service: &'static str,
        declared: impl Fn(&str) -> String,
        writer: &str,
        prepare: impl Fn(&Host) -> Result<()>,
        switched: bool,
    ) -> Result<Self> {
        let management = lab.nspawn("mgmt1")?;
        let client = lab.plain("client")?;
        let members = (1..=count).map(|number| lab.nspawn(&format!("db{number}")));
        let members = members.collect::<Result<Vec<_>>>()?;
        let [one, two, ..] = members.as_slice() else {
            anyhow::bail!("a pair has two members or more");
        };
        let (one, two) = (Arc::clone(one), Arc::clone(two));
        let bmcs = switched.then(|| Bmcs::start(lab, &members.iter().collect::<Vec<_>>()));
        let bmcs = bmcs.transpose()?;
        let names: Vec<&str> = members.iter().map(|host| host.name()).collect();
        let nodes: String = members
            .iter()
            .enumerate()
            .map(|(index, host)| {
                let plug = bmcs.as_ref().and_then(|bmcs| bmcs.address(host.name()));
                let plug = plug.map_or_else(String::new, |at| {
                    let number = index + 1;
                    format!(", host: vmhost{number}, power: {{ by: bmc, plug: \"{at}\" }}")
                });
                let (name, address) = (host.name(), host.address());
                format!("  {name}: {{ address: {address}{plug} }}\n")
            })
            .collect();
        let devices = bmcs.as_ref().map_or_else(String::new, |_| {
            format!(
                "hosts:\n  vmhost1: {{ address: 10.255.0.1 }}\n  vmhost2: {{ address: 10.255.0.2 }}\n\
                 power:\n  bmc:\n    fence: fence_ipmilan\n    via: [mgmt1]\n    options: {{ port_as_ip: \"1\", lanplus: \"1\", \
                 username: {}, password: {{ secret: bmc }}, power_wait: \"0\" }}\n",
                bmc::USER
            )
        });
        let address = lab.service_address(0)?.to_string();
        let spec = format!(
            "cluster: pair\n\
             control: {{ coordinators: [mgmt1], heartbeat: 500ms, late: 2s, lost: 5s }}\n\
             {devices}\
             nodes:\n  mgmt1: {{ address: {} }}\n{nodes}\
             services:\n  {service}:\n    nodes: [{}]\n    active: one\n{}",
            management.address(),
            names.join(", "),
            declared(&address)
        );
        let mut cluster = Cluster::create(lab, "pair", &spec)?;
        cluster.install_coordinator(&management)?;
        if switched {
            cluster.install_agent(&management, &[])?;
            cluster.install_secret(&management, "bmc", bmc::PASSWORD)?;
        }
        for host in &members {
            cluster.install_agent(host, &[])?;
            prepare(host)?;
        }
        for host in members.iter().chain([&client]) {
            host.put_file(PROGRAM, writer.as_bytes(), 0o644)?;
        }
        let pair = Self {
            cluster,
            service,
            management,
            client,
            one,
            two,
            members,
            address,
            bmcs,
        };
        let all = || {
            [&pair.management, &pair.client]
                .into_iter()
                .chain(&pair.members)
        };
        for host in all() {
            host.power_on()?;
        }
        for host in all() {
            host.wait_booted(BOOT)?;
        }
        eventually("the coordinator", SOON, || {
            let spec = pair.cluster.spec();
            pair.cluster.run(&["spec", "apply", "--yes", &spec])
        })?;
        for host in &pair.members {
            let node = host.name();
            eventually(&format!("the agent of {node}"), SOON, || {
                let seen = pair.cluster.node(node)?;
                ensure!(seen["liveness"] == "alive", "{seen}");
                Ok(())
            })?;
        }
        Ok(pair)
    }

    /// The machine that says to be primary, and its epoch; an error if it is not exactly one.
    ///
    /// # Errors
    /// If there is none or two, or nobody can tell.
    pub fn primary(&self) -> Result<(String, u64)> {
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

    /// Has writers write to the service: the client by its address, the members to their own server. Waits until rows are
    /// acknowledged, and the other members follow.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn write(&self) -> Result<Writers> {
        let mut writers = Writers::default();
        writers.add(&self.client, &self.address)?;
        for host in &self.members {
            writers.add(host, "127.0.0.1")?;
        }
        writers.wait_more(100)?;
        let (primary, epoch) = self.primary()?;
        for host in self.members.iter().filter(|host| host.name() != primary) {
            self.wait_follows(host.name(), epoch)?;
        }
        Ok(writers)
    }

    /// Waits until this machine is primary, and rows are acknowledged again; says its epoch.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn wait_primary(&self, node: &str, writers: &Writers) -> Result<u64> {
        let epoch = eventually(&format!("{node} to be primary"), SOON, || {
            let (primary, epoch) = self.primary()?;
            ensure!(primary == node, "{primary} is");
            Ok(epoch)
        })?;
        writers.wait_more(20)?;
        Ok(epoch)
    }

    /// Prints what happened, for whoever reads the output of the test.
    ///
    /// # Errors
    /// If nobody can tell.
    pub fn tell(&self, writers: &Writers) -> Result<()> {
        println!("{}", writers.story()?);
        println!("{}", self.cluster.run(&["events"])?);
        println!("{}", self.cluster.run(&["status"])?);
        Ok(())
    }

    /// Waits until the data of this machine are seen to follow the primary of this epoch, in a stream.
    ///
    /// # Errors
    /// If they are not.
    pub fn wait_follows(&self, node: &str, epoch: u64) -> Result<()> {
        let facts = format!("/var/lib/interlock-agent/roles/{}.json", self.service);
        eventually(&format!("{node} to follow"), SOON, || {
            let seen = self.cluster.node(node)?;
            let role = &seen["instances"][0]["role"];
            let detail = text(&role["detail"]);
            ensure!(
                role["side"] == "standby" && detail.contains("streams"),
                "{seen}"
            );
            let facts: Value = serde_json::from_slice(&self.host(node).read_file(&facts)?)?;
            ensure!(facts["follows"] == epoch, "{facts}");
            Ok(())
        })
    }

    /// Does this machine have the service's address?
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn has_address(&self, host: &Host) -> Result<bool> {
        let shown = host.exec(&["ip", "-o", "addr", "show"])?;
        Ok(shown.contains(&format!(" {}/", self.address)))
    }

    /// The other member; of several, the first.
    #[must_use]
    pub fn other(&self, node: &str) -> &Arc<Host> {
        if node == self.one.name() {
            &self.two
        } else {
            &self.one
        }
    }

    /// This member.
    #[must_use]
    pub fn host(&self, node: &str) -> &Arc<Host> {
        let mut members = self.members.iter();
        let found = members.find(|host| host.name() == node);
        found.unwrap_or(&self.two)
    }
}

/// The lease of a role that moves by itself, however often, with what it says besides.
fn leased(besides: &str) -> String {
    format!(
        "{{ automatic: true, budget: 1000, on_control_loss: demote, vm_pause: accepted, clients: address, {besides} }}"
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
