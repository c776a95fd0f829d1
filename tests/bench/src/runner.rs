//! The agent's own runner of commands, on a directory of its own: `/bin/true` as the `start` and the `stop` of a service whose
//! manager is `exec`, under the shim of the program that is shipped, with all records that tell a restarted agent of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_agent::config::{self, Setting};
use interlock_agent::exec::{Exec, Verb};
use interlock_agent::shim::{Options, RunId, Runs, Stop};
use interlock_model::ids::{AttemptId, BootId};
use interlock_model::names::LocalName;

use crate::cluster::PATIENCE;
use crate::node;

/// What each step runs.
pub(crate) const COMMAND: &str = "/bin/true";

/// How often is looked whether runs are forgotten.
const LOOK: Duration = Duration::from_millis(20);

/// Runs commands for one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    exec: Exec,
    runs: Runs,
    name: LocalName,
}

impl Runner {
    /// On this directory, which is made if it is missing.
    pub(crate) fn open(state: &Path, boot: BootId) -> Result<Self> {
        let options = Options {
            program: node::agent()?,
            ..Options::new(state.join("runs"), boot)
        };
        let runs = Runs::open(options)?;
        let name: LocalName = "work".parse()?;
        let command = || Some(vec![COMMAND.to_owned()]);
        let commands = config::Exec {
            start: command(),
            stop: command(),
            check: None,
            time_limit: PATIENCE,
            idempotent: true,
            setting: Setting {
                env: BTreeMap::new(),
                cwd: "/".into(),
                user: None,
                stop: Stop::default(),
            },
        };
        let exec = Exec::new(runs.clone(), BTreeMap::from([(name.clone(), commands)]));
        Ok(Self { exec, runs, name })
    }

    /// Runs the command of an attempt to its end.
    pub(crate) async fn run(&self, attempt: &AttemptId, verb: Verb) -> Result<()> {
        let run = self.exec.launch(&self.name, verb, id(attempt)?).await?;
        let report = self.exec.report(&run).await;
        ensure!(report.success(), "{COMMAND}: {:?}", report.end);
        Ok(())
    }

    /// Forgets every run, and returns when nothing of any is left. An agent does that when an outcome is told, each on its own
    /// disk; a thousand on one disk would do it while others are measured.
    pub(crate) async fn end(self) -> Result<()> {
        for run in self.runs.all(|_| true) {
            self.exec.forget(run);
        }
        let forgotten = async {
            while !self.runs.all(|_| true).is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, forgotten)
            .await
            .context("something of a run is left")
    }
}

/// What the run of an attempt is called.
fn id(attempt: &AttemptId) -> Result<RunId> {
    let step = attempt.step.as_str().replace([':', '@', '/'], "_");
    let AttemptId {
        operation, attempt, ..
    } = attempt;
    Ok(format!("op-{}.{step}.{attempt}", operation.0).parse()?)
}
