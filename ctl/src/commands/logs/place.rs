//! The directory that a collection goes into, and the bundle that it becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::index::replace;
use super::piece::hex;
use crate::failure::Failure;

/// The checksums of everything that was collected, as `sha256sum` reads and writes them.
const SUMS: &str = "SHA256SUMS";

/// What tells how the last run ended.
const RESULT: &str = "result.json";

/// What is locked while something is written here.
const LOCK: &str = ".lock";

/// By what a bundle's name ends.
const BUNDLE: &str = ".tar.zst";

/// The frames inside are compressed already: this only packs.
const LEVEL: i32 = 1;

/// A directory that nobody else writes to.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    bundle: Option<PathBuf>,
    /// Lets go when it is dropped.
    _lock: File,
}

impl Place {
    /// A directory, or the one beside a bundle that is to be, where earlier runs that were broken off have left theirs.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let is_bundle = path.to_string_lossy().ends_with(BUNDLE);
        let bundle = is_bundle.then(|| path.to_owned());
        if let Some(bundle) = bundle.as_ref().filter(|bundle| bundle.exists()) {
            return Err(Failure::Refused(format!(
                "{} is there already, and nothing is added to a bundle: name another one, or a directory",
                bundle.display()
            )));
        }
        let root = if is_bundle {
            with(path, ".parts")
        } else {
            path.to_owned()
        };
        // For its owner alone: applications write all sorts of things.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .with_context(|| format!("cannot make {}", root.display()))?;
        let name = root.join(LOCK);
        let lock =
            File::create(&name).with_context(|| format!("cannot write {}", name.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root,
                bundle,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Failure::Refused(format!(
                "another collection into {} is under way: wait for it, or name another place",
                root.display()
            ))),
            Err(TryLockError::Error(error)) => Err(anyhow::Error::new(error)
                .context(format!("cannot lock {}", name.display()))
                .into()),
        }
    }

    /// Where to write.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the result, and the checksums of what was written.
    pub(super) fn sum(&self, written: &BTreeSet<&String>, result: &[u8]) -> Result<(), Failure> {
        let failed = || format!("cannot finish {}", self.root.display());
        replace(&self.root.join(RESULT), result).with_context(failed)?;
        Ok(self.sums(written).with_context(failed)?)
    }

    /// Packs the bundle, if it is to be one. Returns what it has become.
    pub(super) fn finish(self) -> Result<PathBuf, Failure> {
        let Some(bundle) = &self.bundle else {
            return Ok(self.root);
        };
        pack(&self.root, bundle).with_context(|| format!("cannot write {}", bundle.display()))?;
        fs::remove_dir_all(&self.root)
            .with_context(|| format!("cannot remove {}", self.root.display()))?;
        Ok(bundle.clone())
    }

    fn sums(&self, written: &BTreeSet<&String>) -> io::Result<()> {
        let path = self.root.join(SUMS);
        let known = match fs::read_to_string(&path) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut sums: BTreeMap<&str, String> = known
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sum, path)| (path, sum.to_owned()))
            .collect();
        for path in written {
            let mut digest = Sha256::new();
            match File::open(self.root.join(path)) {
                Ok(mut file) => {
                    io::copy(&mut file, &mut digest)?;
                    sums.insert(path, hex(&digest.finalize()));
                }
                // Somebody has taken away what an earlier run had brought.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    sums.remove(path.as_str());
                }
                Err(error) => return Err(error),
            }
        }
        let text: String = sums
            .iter()
            .map(|(path, sum)| format!("{sum}  {path}\n"))
            .collect();
        replace(&path, text.as_bytes())
    }
}

/// Packs a directory into a bundle, which is there as a whole or not at all.
fn pack(root: &Path, bundle: &Path) -> io::Result<()> {
    let new = with(bundle, ".new");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut tar = tar::Builder::new(encoder);
    // The directory in it is called as the bundle is.
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    let top = PathBuf::from(name.strip_suffix(BUNDLE).unwrap_or(&name));
    add(&mut tar, root, &top)?;
    let file = tar.into_inner()?.finish()?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&new, bundle)
}

/// Everything below a directory, in the order of the names.
fn add<W: io::Write>(tar: &mut tar::Builder<W>, dir: &Path, called: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let called = called.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add(tar, &entry.path(), &called)?;
        } else if entry.file_name() != LOCK {
            tar.append_path_with_name(entry.path(), called)?;
        }
    }
    Ok(())
}

/// The path with more at its end.
fn with(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_all_of_it_and_its_directory_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.tar.zst");
        let place = Place::open(&path).unwrap();
        replace(&place.root().join("20261122/web1/a.zst"), b"x").unwrap();
        let root = place.root().to_owned();
        let written = "20261122/web1/a.zst".to_owned();
        place.sum(&[&written].into(), b"{}").unwrap();
        place.finish().unwrap();
        assert!(!root.exists());
        let tar = zstd::Decoder::new(File::open(&path).unwrap()).unwrap();
        let mut tar = tar::Archive::new(tar);
        let names: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "shop/20261122/web1/a.zst",
                "shop/SHA256SUMS",
                "shop/result.json"
            ]
        );
        assert!(
            matches!(Place::open(&path), Err(Failure::Refused(_))),
            "a second time"
        );
    }

    #[test]
    fn two_do_not_collect_into_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let first = Place::open(dir.path()).unwrap();
        assert!(matches!(Place::open(dir.path()), Err(Failure::Refused(_))));
        drop(first);
        assert!(Place::open(dir.path()).is_ok());
    }
}
