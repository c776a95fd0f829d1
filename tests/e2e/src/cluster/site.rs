//! A system in a lab: its machines by name, their BMCs, and Interlock on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Cluster, SECRET};
use crate::bmc::{self, Bmcs};
use crate::{Host, Lab, Machine, eventually};

/// Time in which a host that was switched on has booted.
pub const BOOT: Duration = Duration::from_secs(60);

/// Time in which something that was just caused is seen.
pub const SOON: Duration = Duration::from_secs(30);

/// The node that runs the coordinator and the fence agents. No plan switches it.
const MANAGEMENT: (&str, u8) = ("mgmt1", 5);

/// A cluster on nspawn hosts. Its machines are off, but for the management node.
#[derive(Debug)]
pub struct Site<'lab> {
    /// Interlock.
    pub cluster: Cluster<'lab>,
    hosts: BTreeMap<String, Arc<Host>>,
    management: Arc<Host>,
    _bmcs: Bmcs,
}

impl<'lab> Site<'lab> {
    /// Makes the machines, has `furnish` put on each what it is to run (the management node, too), and installs Interlock.
    ///
    /// `commands` are the commands behind exec checks: the node, the check, the command.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build(
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
        cluster.install_secret(&management, SECRET, bmc::PASSWORD)?;
        for host in hosts.values() {
            let own: Vec<(&str, &[&str])> = commands
                .iter()
                .filter(|(node, _, _)| *node == host.name())
                .map(|(_, check, command)| (*check, *command))
                .collect();
            cluster.install_agent(host, &own)?;
            furnish(host)?;
        }
        furnish(&management)?;
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
    ///
    /// # Errors
    /// There is none of this name.
    pub fn host(&self, name: &str) -> Result<&Arc<Host>> {
        self.hosts
            .get(name)
            .with_context(|| format!("there is no {name}"))
    }

    /// The management node.
    #[must_use]
    pub fn management(&self) -> &Host {
        &self.management
    }

    /// Its machines but for the management node.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.values()
    }

    /// Waits until the coordinator hears a node.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_alive(&self, node: &str) -> Result<()> {
        eventually(&format!("{node} to be heard"), SOON, || {
            let seen = self.cluster.node(node)?;
            ensure!(seen["liveness"] == "alive", "{seen:#}");
            Ok(())
        })
    }

    /// Runs an operation to its end, and returns its name.
    ///
    /// # Errors
    /// It does not end well.
    pub fn operate(&self, arguments: &[&str]) -> Result<String> {
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

    /// Starts an operation and returns its name at once.
    ///
    /// # Errors
    /// It is refused.
    pub fn begin(&self, arguments: &[&str]) -> Result<String> {
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
    ///
    /// # Errors
    /// It does not come to it.
    pub fn wait_state(&self, operation: &str, state: &str) -> Result<Value> {
        eventually(&format!("{operation} to be {state}"), BOOT, || {
            let shown = self.cluster.ask(&["operation", "show", operation])?;
            ensure!(shown["state"] == state, "{shown:#}");
            Ok(shown)
        })
    }

    /// Waits until every service is as it should be, and nothing is the cause of any trouble.
    ///
    /// # Errors
    /// Something is not.
    pub fn wait_well(&self) -> Result<()> {
        // A check that is asked once a minute may have been asked just before all was well.
        let soon = SOON + Duration::from_secs(60);
        eventually("every service to be ok", soon, || {
            let status = self.cluster.ask(&["status"])?;
            let services = status["services"].as_array().context("no services")?;
            ensure!(
                services.iter().all(|seen| seen["state"] == "ok"),
                "{:#}",
                status["services"]
            );
            let causes = &status["causes"];
            ensure!(causes.as_array().is_some_and(Vec::is_empty), "{causes:#}");
            Ok(())
        })
    }

    /// The verdict of a check, `SERVICE.CHECK`, by the agent of a node.
    ///
    /// # Errors
    /// It has not told.
    pub fn verdict(&self, node: &str, check: &str) -> Result<Value> {
        let seen = self.cluster.node(node)?;
        let mut checks = seen["checks"].as_array().context("no checks")?.iter();
        let found = checks.find(|it| it["check"] == check);
        Ok(found.with_context(|| format!("{node} asks no {check}: {seen:#}"))?["verdict"].clone())
    }

    /// That all machines but the management node went off by themselves, and not because a plug was pulled.
    ///
    /// # Errors
    /// One did not.
    pub fn went_off(&self) -> Result<()> {
        for host in self.hosts() {
            ensure!(
                host.wait_off(SOON)?.success(),
                "{} was not shut down by itself",
                host.name()
            );
        }
        ensure!(
            self.management.is_on(),
            "the control plane was switched off"
        );
        Ok(())
    }
}
