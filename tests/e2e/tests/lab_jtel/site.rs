//! A call centre in a lab.

use std::ops::Deref;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::cluster::{self, BOOT, Journal, adapt};
use interlock_e2e::{Host, Lab, Machine as _, eventually, skip};

/// The node that runs the coordinator.
const MANAGEMENT: &str = "mgmt1";

/// A cluster on nspawn hosts, whose starts end with a test call. Its machines are off, but for the management node.
#[derive(Debug)]
pub(crate) struct Site<'lab>(cluster::Site<'lab>);

/// A lab for `test`, unless this machine cannot have one or has no file systems in user space.
pub(crate) fn open(test: &str) -> Result<Option<Lab>> {
    if !Path::new("/dev/fuse").exists() {
        skip(test, "the share needs /dev/fuse");
        return Ok(None);
    }
    Lab::open(test)
}

/// A shipped spec with the addresses of a lab, and BMCs for the `nodes`.
pub(crate) fn adapted(shipped: &str, lab: &Lab, nodes: &[(&str, u8)]) -> Result<String> {
    let spec = shipped.replace("10.9.0.", &lab.network());
    adapt(&spec, "jtel-", &lab.network(), nodes)
}

impl<'lab> Deref for Site<'lab> {
    type Target = cluster::Site<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'lab> Site<'lab> {
    /// As [`cluster::Site::build`]; nothing is put on the management node.
    pub(crate) fn build(
        lab: &'lab Lab,
        name: &str,
        spec: &str,
        nodes: &[(&str, u8)],
        commands: &[(&str, &str, &[&str])],
        furnish: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        let furnish = |host: &Host| match host.name() {
            MANAGEMENT => Ok(()),
            _ => furnish(host),
        };
        cluster::Site::build(lab, name, spec, nodes, commands, furnish).map(Self)
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
}
