//! Shims that keep a run of this agent, of which it has no record.
//!
//! A state directory that was lost, or put back from a copy, takes the records with it, and not what runs: the shims live
//! on, and their commands with them. Such an agent would say *not started since this machine is up* of a database that
//! serves, and start a second one. But each shim names on its command line the directory that it keeps, so the agent finds
//! those that keep one of its own directories and are none that it has adopted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::RunId;
use super::procfs::{self, ProcessRef};
use super::run::watch_fd;
use super::spec::MARKER;

/// A shim of which the agent has no record.
#[derive(Debug, Clone)]
pub struct Forgotten {
    id: RunId,
    shim: ProcessRef,
    /// What its processes carry, if any of them could be read.
    marker: Option<String>,
}

impl Forgotten {
    /// The run that it keeps.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shim.pid
    }

    /// What is left of its command once it is gone: the processes that carry the mark of the run. It ends with its command
    /// unless it was killed.
    pub async fn left(&self) -> Vec<u32> {
        let Some(marker) = self.marker.clone() else {
            return Vec::new();
        };
        let looked = tokio::task::spawn_blocking(move || procfs::marked(MARKER, &marker));
        match looked.await {
            Ok(Ok(found)) => found.into_iter().map(|process| process.pid).collect(),
            // Nobody can tell: as if it were still there.
            Ok(Err(_)) | Err(_) => vec![self.shim.pid],
        }
    }

    /// Waits until it is gone.
    pub async fn gone(&self) {
        // A pidfd becomes readable when its process exits (pidfd_open(2)).
        let watched = self.shim.open().ok().flatten().map(watch_fd);
        if let Some(Ok(watched)) = watched {
            let _ = watched.readable().await;
        }
    }
}

/// The shims whose directory is one of `runs`, without those that are known.
pub(super) fn find(runs: &Path, known: &BTreeSet<u32>) -> io::Result<Vec<Forgotten>> {
    let shims = procfs::pids()?.filter(|pid| !known.contains(pid));
    let found = shims.filter_map(|pid| {
        let shim = ProcessRef::of(pid)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let id = kept(&line, runs)?;
        let marker = marker(pid);
        shim.runs().then_some(Forgotten { id, shim, marker })
    });
    Ok(found.collect())
}

/// The mark that what a shim keeps carries.
fn marker(shim: u32) -> Option<String> {
    let prefix = format!("{MARKER}=");
    let below = procfs::descendants(shim).ok()?;
    below.into_iter().find_map(|process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).ok()?;
        let mut entries = environment.split(|byte| *byte == 0);
        let value = entries.find_map(|entry| entry.strip_prefix(prefix.as_bytes()))?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// Which run of this directory a process keeps, by its command line: `interlock-agent shim DIRECTORY`.
fn kept(line: &[u8], runs: &Path) -> Option<RunId> {
    let mut words = line.split(|byte| *byte == 0);
    let (_, verb, dir) = (words.next()?, words.next()?, words.next()?);
    let dir = Path::new(OsStr::from_bytes(dir));
    if verb != b"shim" || dir.parent()? != runs {
        return None;
    }
    dir.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shim_of_the_own_directory_is_kept_by_its_run() {
        let runs = Path::new("/var/lib/a/runs");
        let kept = |line: &str| kept(line.as_bytes(), runs).map(|id| id.to_string());
        let shim = "interlock-agent\0shim\0/var/lib/a/runs/service-web\0";
        assert_eq!(kept(shim).as_deref(), Some("service-web"));
        for other in [
            "interlock-agent\0shim\0/var/lib/b/runs/service-web\0",
            "interlock-agent\0run\0/var/lib/a/runs/service-web\0",
            "interlock-agent\0shim\0",
            "",
        ] {
            assert_eq!(kept(other), None, "{other}");
        }
    }
}
