//! A process that a test started inside a host.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::eventually;
use crate::lab::Cgroup;

/// Time for a killed process to be gone.
const DIES_WITHIN: Duration = Duration::from_secs(10);

/// A process that goes on by itself; ended, with all that it started, when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Cgroup,
    log: PathBuf,
}

impl Process {
    pub(super) fn new(child: Child, group: Cgroup, log: PathBuf) -> Self {
        Self { child, group, log }
    }

    /// Kills it and all that it started at one moment (SIGKILL).
    ///
    /// # Errors
    ///
    /// It did not die.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.group.kill()?;
        self.wait(DIES_WITHIN)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It still runs.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        eventually("the process to end", within, || {
            self.child
                .try_wait()?
                .with_context(|| format!("it still runs; see {}", self.log.display()))
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After the lab's end the group is gone already, which is what this is for.
        if self.kill().is_ok() {
            let _ = self.group.remove();
        }
    }
}
