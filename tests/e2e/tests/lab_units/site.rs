//! One host that boots systemd, with the coordinator and the agent under the unit files that are shipped.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Cluster, install_unit};
use interlock_e2e::{Host, Lab, Machine, eventually};
use serde_json::Value;

/// Time in which the host has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Time in which something that was just caused is seen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The node.
pub(crate) const NODE: &str = "app1";

/// The host, and Interlock on it.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pub(crate) cluster: Cluster<'lab>,
    pub(crate) host: Arc<Host>,
}

impl<'lab> Site<'lab> {
    /// Builds it: `services` as they stand in the spec, `commands` in place of those that `spec agent-config` leaves to be filled
    /// in, and files of the host. The coordinator hears the agent.
    pub(crate) fn build(
        lab: &'lab Lab,
        services: &str,
        commands: &str,
        files: &[(&str, &str)],
    ) -> Result<Self> {
        let host = lab.nspawn(NODE)?;
        let spec = format!(
            "cluster: {NODE}\ncontrol: {{ coordinators: [{NODE}], heartbeat: 500ms, late: 2s, lost: 5s }}\n\
             nodes:\n  {NODE}: {{ address: {} }}\nservices:\n{services}",
            host.address()
        );
        let mut cluster = Cluster::create(lab, NODE, &spec)?;
        cluster.install_coordinator(&host)?;
        cluster.install_agent(&host, &[])?;
        let path = "/etc/interlock/interlock-agent.toml";
        let printed = fs::read_to_string(host.root().join(path.trim_start_matches('/')))?;
        let blank = printed.find("# To be filled in");
        let kept = &printed[..blank.unwrap_or(printed.len())];
        host.put_file(path, format!("{kept}{commands}").as_bytes(), 0o644)?;
        for (path, text) in files {
            match path.strip_suffix(".service") {
                Some(_) => install_unit(&host, path, text)?,
                None => host.put_file(path, text.as_bytes(), 0o755)?,
            }
        }
        host.power_on()?;
        host.wait_booted(BOOT)?;
        let site = Self { cluster, host };
        eventually("the coordinator", SOON, || {
            site.cluster
                .run(&["spec", "apply", "--yes", &site.cluster.spec()])
        })?;
        site.until_heard()?;
        Ok(site)
    }

    /// Waits until the agent is heard.
    pub(crate) fn until_heard(&self) -> Result<()> {
        eventually("the agent to be heard", SOON, || {
            let seen = self.cluster.node(NODE)?;
            ensure!(seen["liveness"] == "alive", "{seen}");
            Ok(())
        })
    }

    /// What the agent that runs now says itself of a service's instance.
    pub(crate) fn instance(&self, service: &str) -> Result<Value> {
        let agent = format!("{NODE}={}", self.host.address());
        let seen = self.cluster.ask(&["node", "show", "--node", &agent])?;
        let instances = seen["instances"].as_array().context("no instances")?;
        let found = instances.iter().find(|it| it["service"] == service);
        found.cloned().with_context(|| format!("{seen}"))
    }

    /// Runs words of a shell on the host.
    pub(crate) fn shell(&self, words: &str) -> Result<String> {
        self.host.exec(&["sh", "-c", words])
    }
}
