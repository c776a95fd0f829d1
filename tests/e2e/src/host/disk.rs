//! A host's disk: an overlay that keeps what the host wrote, on the root file system shared by all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::{command, run};

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Makes the overlay in `directory` and mounts it; the lab's teardown unmounts it.
    pub(super) fn create(rootfs: &Path, directory: &Path) -> Result<Self> {
        let [upper, work, root] = ["upper", "work", "root"].map(|part| directory.join(part));
        for part in [&upper, &work, &root] {
            fs::create_dir_all(part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            rootfs.display(),
            upper.display(),
            work.display()
        );
        run(command("mount", ["-t", "overlay", "overlay", "-o", &options]).arg(&root))?;
        Ok(Self { root })
    }

    /// Where this machine sees the host's `/`.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        let path = self.path(path);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, contents))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.path(path);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}
