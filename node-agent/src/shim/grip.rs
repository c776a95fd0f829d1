//! What it takes to end a run at once, by whoever must not wait: for its shim, for a disk, for this agent's runtime.
//!
//! A shim stops its command in order, and writes down how it ended. That may wait for a disk. What accepts writes without a
//! right must end before that (safety rule E14), so a grip is taken when the run has begun, and holds all that is needed:
//! everything here is a few system calls on `/proc` and control groups, which are no disks.

use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process_group};

use super::cgroup::Leaf;
use super::procfs::{self, ProcessRef};
use super::spec::MARKER;

/// What is left of the processes that a grip holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing, by the kernel's word.
    Nothing,
    /// Nothing is found, and there is neither a control group nor a shim that could tell: it may have waited for all and
    /// written that down, or was killed. Whoever reads its record knows.
    NothingFound,
    /// Something.
    Something,
}

/// A hold on the processes of a run, or of a control group that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grip {
    /// Who became the parent of whatever the command left behind, and the command.
    pub(super) shim: Option<ProcessRef>,
    pub(super) child: Option<ProcessRef>,
    /// The process that a group was found by, which is of somebody else's making.
    pub(super) main: Option<ProcessRef>,
    pub(super) cgroup: Option<PathBuf>,
    /// What processes of the run carry in their environment.
    pub(super) marker: Option<String>,
}

impl Grip {
    /// On all processes of a control group, at its path in the file system, as long as it holds this process now. None
    /// otherwise: the group may be elsewhere, and one that is not there is no proof of anything.
    pub(crate) fn of_group(path: PathBuf, process: u32) -> Option<Self> {
        let leaf = Leaf::at(path);
        let holds = leaf.populated().ok()? && leaf.pids().ok()?.contains(&process);
        holds.then(|| Self {
            shim: None,
            child: None,
            main: ProcessRef::of(process),
            cgroup: Some(leaf.path().to_owned()),
            marker: None,
        })
    }

    /// On what is left in a control group whose main process is gone; none if there is nothing, as far as can be read.
    pub(crate) fn of_remains(path: PathBuf) -> Option<Self> {
        let left = Leaf::at(path.clone()).populated().ok()?;
        left.then_some(Self {
            shim: None,
            child: None,
            main: None,
            cgroup: Some(path),
            marker: None,
        })
    }

    /// On a run of this shim that has no control group, and whose command is gone.
    #[cfg(test)]
    pub(crate) fn of_shim(pid: u32) -> Self {
        Self {
            shim: ProcessRef::of(pid),
            child: None,
            main: None,
            cgroup: None,
            marker: Some("nobody carries this".to_owned()),
        }
    }

    /// The process that all of it stands and falls with; none if there is no such process.
    pub(crate) fn main(&self) -> Option<ProcessRef> {
        self.child.or(self.main)
    }

    /// Sends SIGKILL to all that is there now. What forks meanwhile is hit by the next call.
    ///
    /// # Errors
    /// If something could not be found or signalled; the rest was signalled all the same.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let mut outcome = match &self.cgroup {
            Some(path) => Leaf::at(path.clone()).kill(),
            None => Ok(()),
        };
        // The command leads its process group. While it is there, the number of the group is nobody else's.
        if let Some(child) = self.child.filter(|child| child.runs())
            && let Some(group) = i32::try_from(child.pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended since: what is left of it is found below.
            let _ = kill_process_group(group, Signal::KILL);
        }
        match self.processes() {
            Ok(processes) => {
                for process in processes {
                    outcome = outcome.and(process.signal(Signal::KILL).map(drop));
                }
            }
            Err(error) => outcome = outcome.and(Err(error)),
        }
        outcome
    }

    /// What is left? What cannot be read is not known to be gone.
    ///
    /// # Errors
    /// If `/proc` or the control group cannot be read.
    pub(crate) fn left(&self) -> io::Result<Left> {
        if let Some(path) = &self.cgroup
            && Leaf::at(path.clone()).populated()?
        {
            return Ok(Left::Something);
        }
        let below = self.below_shim()?;
        let exact = self.cgroup.is_some() || below.is_some();
        let processes = match below {
            Some(below) => below,
            None => self.search()?,
        };
        Ok(match processes.into_iter().all(ProcessRef::is_gone) {
            false => Left::Something,
            true if exact => Left::Nothing,
            true => Left::NothingFound,
        })
    }

    /// All processes of the run, dead ones that nobody has waited for included, and without the shim.
    fn processes(&self) -> io::Result<Vec<ProcessRef>> {
        match self.below_shim()? {
            Some(below) => Ok(below),
            None => self.search(),
        }
    }

    /// All that descends from its shim; none if that does not run.
    fn below_shim(&self) -> io::Result<Option<Vec<ProcessRef>>> {
        let Some(shim) = self.shim.filter(|shim| shim.runs()) else {
            return Ok(None);
        };
        let below = procfs::descendants(shim.pid)?;
        // Its number was its own before and after the look.
        Ok(shim.runs().then_some(below))
    }

    fn search(&self) -> io::Result<Vec<ProcessRef>> {
        let mut found = Vec::new();
        if let Some(child) = self.child.filter(|child| child.runs()) {
            found.extend(procfs::descendants(child.pid)?);
            found.push(child);
        }
        // Without a shim, what the command left behind has become a child of the first process of the machine.
        if let Some(marker) = &self.marker {
            found.extend(procfs::marked(MARKER, marker)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn there_is_no_grip_on_a_group_that_is_not_there_or_holds_somebody_else() {
        let own = std::process::id();
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(Grip::of_group(nowhere.path().join("gone"), own), None);
        std::fs::write(nowhere.path().join("cgroup.events"), "populated 1\n").unwrap();
        std::fs::write(nowhere.path().join("cgroup.procs"), "1\n").unwrap();
        let group = nowhere.path().to_owned();
        assert_eq!(Grip::of_group(group.clone(), own), None);
        std::fs::write(nowhere.path().join("cgroup.procs"), format!("1\n{own}\n")).unwrap();
        assert!(Grip::of_group(group, own).is_some());
    }

    #[test]
    fn a_grip_ends_a_command_with_its_children_and_says_so_only_then() {
        let mut command = Command::new("/bin/sh");
        let mut shell = command
            .args(["-c", "sleep 1000 & sleep 1000"])
            .process_group(0)
            .spawn()
            .unwrap();
        let grip = Grip {
            shim: None,
            child: ProcessRef::of(shell.id()),
            main: None,
            cgroup: None,
            marker: None,
        };
        assert_eq!(grip.left().unwrap(), Left::Something);
        grip.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(grip.left().unwrap(), Left::NothingFound);
    }

    #[test]
    fn that_nothing_is_left_is_known_by_a_shim_that_runs_or_by_a_control_group() {
        let mut shim = Command::new("sleep").arg("1000").spawn().unwrap();
        let grip = Grip::of_shim(shim.id());
        let living = grip.left().unwrap();
        shim.kill().unwrap();
        shim.wait().unwrap();
        assert_eq!(living, Left::Nothing);
        assert_eq!(grip.left().unwrap(), Left::NothingFound);
        let group = tempfile::tempdir().unwrap();
        std::fs::write(group.path().join("cgroup.events"), "populated 0\n").unwrap();
        let grouped = Grip {
            cgroup: Some(group.path().to_owned()),
            ..grip
        };
        assert_eq!(grouped.left().unwrap(), Left::Nothing);
    }
}
