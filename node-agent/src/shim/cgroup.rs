//! A control group of its own per run, where a writable cgroup v2 tree exists
//! (kernel documentation, admin-guide/cgroup-v2: `cgroup.kill` since 5.14, `cgroup.events`).
//!
//! It covers what a subreaper cannot: the death of the shim itself, and processes that do not descend from the
//! command. Below the configured directory there is one leaf per run, and one that all shims live in, so that they
//! are not in the agent's own group either.
//!
//! Unless another directory is named, it is one in the agent's own group, if that was delegated to it ([`own`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

use super::RunId;

/// Where control groups of version 2 are: alone, or beside those of version 1 (cgroups(7), systemd(1) on the hybrid
/// hierarchy).
pub(crate) const TREES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How whoever made a group says that what is in it may make groups below (systemd.resource-control(5), `Delegate=`; one for groups of
/// root, the other for kernels that know it).
const DELEGATED: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// The directory in the agent's own group that its runs have their groups in.
const RUNS: &str = "interlock-runs";

/// The group that the shims live in. Cannot clash with a run: no id begins with a dash.
const SHIMS: &str = "-shims";

/// A directory for the runs in the group of this very process, if that is delegated to it and can be used so. It stays when
/// the agent ends, with what runs in it, and a restarted unit is in the same group.
pub(crate) fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let here = std::process::id();
    let mut trees = TREES
        .iter()
        .map(|tree| PathBuf::from(format!("{tree}{path}")));
    let group = trees.find(|group| {
        let within = Leaf::at(group.clone()).pids();
        within.is_ok_and(|pids| pids.contains(&here)) && group.join("cgroup.kill").exists()
    })?;
    if !DELEGATED.iter().any(|name| is_delegated(&group, name)) {
        return None;
    }
    let root = group.join(RUNS);
    match fs::create_dir_all(root.join(SHIMS)) {
        Ok(()) => Some(root),
        Err(error) => {
            tracing::warn!(group = %root.display(), %error, "this group is delegated, and cannot be used for runs");
            None
        }
    }
}

fn is_delegated(group: &Path, name: &str) -> bool {
    let mut value = [0; 8];
    getxattr(group, name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
}

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
