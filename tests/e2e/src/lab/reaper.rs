//! The helper that takes a lab down, whatever becomes of the test.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::cgroup::Cgroup;
use crate::eventually;
use crate::run::SEARCH_PATH;

const TEARDOWN: &str = include_str!("teardown.sh");

/// Teardown of thirteen hosts with databases takes about a second; the script bounds its own waits.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// The waiting helper. Dropping it without [`Reaper::finish`] still takes the lab down.
#[derive(Debug)]
pub(crate) struct Reaper {
    helper: Child,
    directory: PathBuf,
}

impl Reaper {
    /// Starts the helper, before anything else of the lab exists.
    pub(crate) fn start(directory: &Path, id: &str, group: &Cgroup) -> Result<Self> {
        let owner = Owner::this().context("cannot read the start time of this process")?;
        // Renamed into place: a sweep at this moment must not read half a record.
        let record = directory.join("owner.new");
        fs::write(&record, owner.record())
            .and_then(|()| fs::rename(&record, directory.join("owner")))
            .context("cannot record the owner")?;
        let helper = teardown(directory, id, group)?
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the helper that takes the lab down")?;
        Ok(Self {
            helper,
            directory: directory.to_path_buf(),
        })
    }

    /// Takes the lab down now. `clean` says whether its logs may go.
    pub(crate) fn finish(&mut self, clean: bool) -> Result<()> {
        if let Some(mut stdin) = self.helper.stdin.take()
            && clean
        {
            stdin
                .write_all(b"clean\n")
                .context("the helper that takes the lab down has ended")?;
        }
        let status = eventually("the lab's teardown", ENDS_WITHIN, || {
            self.helper.try_wait()?.context("it still runs")
        })?;
        if !status.success() {
            let log = self.directory.join("logs/teardown.log");
            bail!(
                "teardown of the lab: {status}: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// Takes down the labs below `base` whose owner is dead and whose helper was killed with it.
pub(crate) fn sweep(base: &Path, root: &Cgroup) -> Result<()> {
    let entries = fs::read_dir(base).with_context(|| format!("cannot list {}", base.display()))?;
    for entry in entries {
        let directory = entry?.path();
        let Ok(record) = fs::read_to_string(directory.join("owner")) else {
            continue;
        };
        let Some(id) = directory.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if Owner::parse(&record).is_none_or(|owner| owner.lives()) {
            continue;
        }
        eprintln!("sweeping up the lab of a dead run: {}", directory.display());
        let status = teardown(&directory, id, &root.below(id))?
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            bail!(
                "cannot sweep up {}: {status}; see logs/teardown.log there",
                directory.display()
            );
        }
    }
    Ok(())
}

/// In a session of its own, so that what ends the test's process group does not end it too.
fn teardown(directory: &Path, id: &str, group: &Cgroup) -> Result<Command> {
    let log = directory.join("logs/teardown.log");
    let log = fs::File::options().create(true).append(true).open(&log);
    let log = log.with_context(|| format!("cannot open the log in {}", directory.display()))?;
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", TEARDOWN, "teardown"])
        .arg(directory)
        .arg(id)
        .arg(group.unified())
        .arg(group.named().unwrap_or(Path::new("")))
        .env("PATH", SEARCH_PATH)
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

/// A process, told from a later one with the same pid by its start time.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Clock ticks since boot: field 22 of `/proc/<pid>/stat`, see proc(5).
    started: u64,
}

impl Owner {
    fn this() -> Option<Self> {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses and may itself contain anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let started = fields.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    fn record(&self) -> String {
        format!("{} {}\n", self.pid, self.started)
    }

    fn parse(record: &str) -> Option<Self> {
        let (pid, started) = record.trim().split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_from_a_later_process_with_its_pid() {
        let owner = Owner::this().unwrap();
        let read = Owner::parse(&owner.record()).unwrap();
        assert!(read.lives());
        let earlier = Owner {
            started: read.started - 1,
            ..read
        };
        assert!(!earlier.lives());
    }
}
