//! A call centre in a lab: its machines by name, their BMCs, and Interlock on them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::bmc::{self, Bmcs};
use interlock_e2e::cluster::{Cluster, Journal};
use interlock_e2e::{Host, Lab, Machine, eventually, skip};

use crate::{BOOT, SOON, spec};

/// The node that runs the coordinator and the fence agents. No plan switches it.
const MANAGEMENT: (&str, u8) = ("mgmt1", 5);

/// A cluster on nspawn hosts. Its machines are off, but for the management node.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pub(crate) cluster: Cluster<'lab>,
    hosts: BTreeMap<String, Arc<Host>>,
    management: Arc<Host>,
    _bmcs: Bmcs,
}

/// A lab for `test`, unless this machine cannot have one or has no file systems in user space.
pub(crate) fn open(test: &str) -> Result<Option<Lab>> {
    if !Path::new("/dev/fuse").exists() {
        skip(test, "the share needs /dev/fuse");
        return Ok(None);
    }
    Lab::open(test)
}

impl<'lab> Site<'lab> {
    /// Makes the machines, has `furnish` put on each what it is to run, and installs Interlock.
    ///
    /// `commands` are the commands behind exec checks: the node, the check, the command.
    pub(crate) fn build(
        lab: &'lab Lab,
        name: &str,
        spec: &str,
        nodes: &[(&str, u8)],
        commands: &[(&str, &str, &[&str])],
        furnish: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        let management = lab.nspawn_at(MANAGEMENT.0, MANAGEMENT.1)?;
        let mut hosts = BTreeMap::new();
        for (node, number) in nodes {
            hosts.insert((*node).to_owned(), lab.nspawn_at(node, *number)?);
        }
        let bmcs = Bmcs::start(lab, &hosts.values().collect::<Vec<_>>())?;
        let mut cluster = Cluster::create(lab, name, spec)?;
        cluster.install_coordinator(&management)?;
        cluster.install_agent(&management, &[])?;
        cluster.install_secret(&management, spec::SECRET, bmc::PASSWORD)?;
        for host in hosts.values() {
            let own: Vec<(&str, &[&str])> = commands
                .iter()
                .filter(|(node, _, _)| *node == host.name())
                .map(|(_, check, command)| (*check, *command))
                .collect();
            cluster.install_agent(host, &own)?;
            furnish(host)?;
        }
        management.power_on()?;
        management.wait_booted(BOOT)?;
        let site = Self {
            cluster,
            hosts,
            management,
            _bmcs: bmcs,
        };
        eventually("the coordinator", SOON, || {
            site.cluster
                .run(&["spec", "apply", "--yes", &site.cluster.spec()])
        })?;
        site.wait_alive(MANAGEMENT.0)?;
        // An IPMI controller does not know whose it is: a person says so.
        let names: Vec<&str> = site.hosts.keys().map(String::as_str).collect();
        site.cluster.run(
            &[
                &["power", "verify", "--attest", "cabled by the test"],
                names.as_slice(),
            ]
            .concat(),
        )?;
        Ok(site)
    }

    /// One of its machines.
    pub(crate) fn host(&self, name: &str) -> Result<&Arc<Host>> {
        self.hosts
            .get(name)
            .with_context(|| format!("there is no {name}"))
    }

    /// The management node.
    pub(crate) fn management(&self) -> &Host {
        &self.management
    }

    /// Its machines but for the management node.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.values()
    }

    /// Waits until the coordinator hears a node.
    pub(crate) fn wait_alive(&self, node: &str) -> Result<()> {
        eventually(&format!("{node} to be heard"), SOON, || {
            let seen = self.cluster.node(node)?;
            ensure!(seen["liveness"] == "alive", "{seen:#}");
            Ok(())
        })
    }

    /// Runs an operation to its end, and returns its name.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Result<String> {
        let sure = [
            "--yes",
            "--cluster",
            self.cluster.name(),
            "--reason",
            "a test",
        ];
        let said = self.cluster.run(&[arguments, &sure].concat())?;
        self.newest().with_context(|| said)
    }

    /// Starts everything, confirms the test call that the specs have at the end, and returns the journal.
    pub(crate) fn start_and_approve(&self, assumptions: &[&str]) -> Result<Journal> {
        self.start(&[&["--all"], assumptions].concat())
    }

    /// Starts what `scope` says, confirms the test call, and returns the journal.
    pub(crate) fn start(&self, scope: &[&str]) -> Result<Journal> {
        let operation = self.begin(&[&["startup"], scope].concat())?;
        let asked = eventually("the test call to be asked for", BOOT * 3, || {
            let shown = self.cluster.ask(&["operation", "show", &operation])?;
            if shown["state"] != "running" {
                return Ok(Err(shown));
            }
            let steps = shown["steps"].as_array().context("it has no steps")?;
            let call = steps
                .iter()
                .find(|step| step["step"] == "approve:test-call")
                .context("there is no call")?;
            let others = steps
                .iter()
                .filter(|step| *step != call)
                .all(|step| step["state"] == "done");
            ensure!(others, "{shown:#}");
            Ok(Ok(()))
        })?;
        if let Err(shown) = asked {
            bail!(
                "the startup did not come to its test call: {shown:#}\n{}",
                self.cluster.journal(&operation)?
            );
        }
        self.cluster.run(&[
            "approve",
            &operation,
            "test-call",
            "--reason",
            "heard the greeting",
        ])?;
        self.wait_state(&operation, "done")?;
        self.cluster.journal(&operation)
    }

    /// Starts an operation and returns its name at once.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Result<String> {
        let sure = [
            "--yes",
            "--cluster",
            self.cluster.name(),
            "--reason",
            "a test",
            "--no-wait",
        ];
        self.cluster.run(&[arguments, &sure].concat())?;
        self.newest()
    }

    fn newest(&self) -> Result<String> {
        let newest = self.cluster.newest_operation()?;
        newest["operation"]
            .as_str()
            .map(str::to_owned)
            .context("the operation has no name")
    }

    /// Waits until an operation is in this state, and returns it.
    pub(crate) fn wait_state(&self, operation: &str, state: &str) -> Result<serde_json::Value> {
        eventually(&format!("{operation} to be {state}"), BOOT, || {
            let shown = self.cluster.ask(&["operation", "show", operation])?;
            ensure!(shown["state"] == state, "{shown:#}");
            Ok(shown)
        })
    }
}
