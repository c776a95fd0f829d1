//! A share whose server hangs, for machines whose kernel has no NFS.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{run, skip};

/// A file system of its own in a file, which can be frozen: whoever writes to it hangs in the kernel, where no signal reaches
/// him. Thawed and unmounted at the end.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    /// Thaws it when this process is gone, however it ends.
    guard: Option<Child>,
}

impl Disk {
    /// Makes one of 32 MiB in `file`, and mounts it; none, with a word about it, where that cannot be done.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn mount(at: &Path, file: &Path) -> Result<Option<Self>> {
        File::create(file)?.set_len(32 << 20)?;
        let made = run(Command::new("/usr/sbin/mkfs.ext4").arg("-q").arg(file));
        let mounted =
            made.and_then(|_| run(Command::new("mount").args(["-o", "loop"]).arg(file).arg(at)));
        if let Err(error) = mounted {
            skip(
                "a share that hangs",
                &format!("no file system can be mounted: {error:#}"),
            );
            return Ok(None);
        }
        Ok(Some(Self {
            at: at.to_owned(),
            guard: None,
        }))
    }

    /// From now on whoever writes to it hangs.
    ///
    /// # Errors
    /// It cannot be frozen.
    pub fn freeze(&mut self) -> Result<()> {
        let guard = Command::new("/bin/sh")
            .args(["-c", "read -r _; exec fsfreeze --unfreeze \"$0\""])
            .arg(&self.at)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        self.guard = Some(guard);
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.at)).map(drop)
    }

    /// Whoever hangs goes on.
    ///
    /// # Errors
    /// It was not frozen, or cannot be thawed.
    pub fn thaw(&mut self) -> Result<()> {
        let mut guard = self.guard.take().context("it is not frozen")?;
        drop(guard.stdin.take());
        ensure!(guard.wait()?.success(), "it is not thawed");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.guard.is_some()
            && let Err(error) = self.thaw()
        {
            eprintln!("{}: {error:#}", self.at.display());
        }
        drop(Command::new("umount").arg("--lazy").arg(&self.at).output());
    }
}
