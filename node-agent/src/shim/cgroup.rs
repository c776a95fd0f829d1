//! A control group of its own per run, where a writable cgroup v2 tree exists
//! (kernel documentation, admin-guide/cgroup-v2: `cgroup.kill` since 5.14, `cgroup.events`).
//!
//! It covers what a subreaper cannot: the death of the shim itself, and processes that do not descend from the
//! command. Below the configured directory there is one leaf per run, and one that all shims live in, so that they
//! are not in the agent's own group either.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RunId;

/// The group that the shims live in. Cannot clash with a run: no id begins with a dash.
const SHIMS: &str = "-shims";

/// The control group of one run.
#[derive(Debug, Clone)]
pub(crate) struct Leaf(PathBuf);

impl Leaf {
    /// Makes the group; an empty one of an earlier run is used again.
    pub(crate) fn create(root: &Path, id: &RunId) -> io::Result<Self> {
        fs::create_dir_all(root.join(SHIMS))?;
        let leaf = Self(root.join(id.as_str()));
        match fs::create_dir(&leaf.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !leaf.populated()? => {
                Ok(leaf)
            }
            result => result.map(|()| leaf),
        }
    }

    /// The group at a path that [`Leaf::path`] gave.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the calling process in, so that its next child is born there: there is no moment in which the child is
    /// outside.
    pub(crate) fn enter(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Moves the calling process into the group of the shims.
    pub(crate) fn leave(&self) -> io::Result<()> {
        fs::write(self.0.with_file_name(SHIMS).join("cgroup.procs"), "0")
    }

    /// Does any process live in it? False if the group is gone.
    pub(crate) fn populated(&self) -> io::Result<bool> {
        match fs::read_to_string(self.0.join("cgroup.events")) {
            Ok(events) => Ok(field(&events, "populated") != Some(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The processes in it, without those of groups below; none if the group is gone.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        match fs::read_to_string(self.0.join("cgroup.procs")) {
            Ok(text) => Ok(text.lines().filter_map(|pid| pid.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sends SIGKILL to every process in it, without a race against forks.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Has the kernel killed something in it for want of memory? None where the memory controller is not enabled.
    pub(crate) fn oom(&self) -> Option<bool> {
        let events = fs::read_to_string(self.0.join("memory.events")).ok()?;
        Some(field(&events, "oom_kill")? > 0)
    }

    /// Removes the empty group.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// A value of a file of `key number` lines.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}
