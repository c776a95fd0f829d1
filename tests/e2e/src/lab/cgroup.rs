//! Control groups: to kill, freeze and name the processes of a machine as one.
//!
//! Killing and freezing need cgroup v2 (`cgroup.kill` is in Linux 5.14). On machines that mount v1 and
//! v2 side by side, systemd inside a container looks for the v1 hierarchy `name=systemd` as well and
//! refuses to share its group with anybody, so a group is made in both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::eventually;

/// Time in which the kernel freezes or thaws a group.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// Moves itself into the groups named before `--`, then becomes the command behind it.
const JOIN: &str = r#"while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@""#;

/// One group, by its directory in each hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    unified: PathBuf,
    named: Option<PathBuf>,
}

impl Cgroup {
    /// The roots of the hierarchies, from the mount table.
    pub(crate) fn root() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
        let find = |wanted: &dyn Fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
                wanted(kind, options).then(|| PathBuf::from(path))
            })
        };
        let unified = find(&|kind, _| kind == "cgroup2").context("cgroup v2 is not mounted")?;
        let named = find(&|kind, options| {
            kind == "cgroup" && options.split(',').any(|option| option == "name=systemd")
        });
        Ok(Self { unified, named })
    }

    /// The group `name` below this one, whether it exists or not.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self {
            unified: self.unified.join(name),
            named: self.named.as_ref().map(|named| named.join(name)),
        }
    }

    /// Makes the group `name` below this one, if there is none yet.
    pub(crate) fn child(&self, name: &str) -> Result<Self> {
        let child = self.below(name);
        for directory in child.directories() {
            fs::create_dir_all(directory).with_context(|| {
                format!("cannot make the control group {}", directory.display())
            })?;
        }
        Ok(child)
    }

    /// The directory in the v2 hierarchy.
    pub(crate) fn unified(&self) -> &Path {
        &self.unified
    }

    /// The directory in the v1 hierarchy `name=systemd`, where there is one.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.named.as_deref()
    }

    /// A command that enters this group and then becomes `argv`; its pid is that of `argv`.
    pub(crate) fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", JOIN, "sh"])
            .args(self.directories())
            .arg("--")
            .args(argv);
        command
    }

    /// Kills every process in the group and below it, frozen ones too.
    pub(crate) fn kill(&self) -> Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Freezes or thaws every process in the group and below it, and waits until that is so.
    pub(crate) fn set_frozen(&self, frozen: bool) -> Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        let wanted = format!("frozen {}", u8::from(frozen));
        eventually(&wanted, SETTLES_WITHIN, || {
            let events = fs::read_to_string(self.unified.join("cgroup.events"))?;
            ensure!(
                events.lines().any(|line| line == wanted),
                "{} has {events}",
                self.unified.display()
            );
            Ok(())
        })
    }

    /// Removes the group; it has to be empty.
    pub(crate) fn remove(&self) -> Result<()> {
        for directory in self.directories() {
            fs::remove_dir(directory).with_context(|| {
                format!("cannot remove the control group {}", directory.display())
            })?;
        }
        Ok(())
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.unified).chain(&self.named)
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.unified.join(file);
        fs::write(&path, value)
            .with_context(|| format!("cannot write {value} to {}", path.display()))
    }
}
