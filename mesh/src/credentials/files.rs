//! Where credentials are, and reading them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::LoadError;

/// More than any chain of certificates; a larger file is a mistake, and not read.
const MAX_FILE: u64 = 1 << 20;

/// The files that make credentials, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by what leads to the authority, if anything.
    pub certificate: PathBuf,
    /// The certificate's key; mode 0600 or 0400.
    pub key: PathBuf,
    /// The cluster's authority; during a rotation the old and the new one.
    pub authority: PathBuf,
}

/// What tells one state of the files from the next without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<FileStamp>; 3]);

/// Inode, size and time of change: a file that was renamed into place has another inode even within one tick of the
/// file system's clock.
type FileStamp = (u64, u64, i64, i64);

impl Files {
    /// `NAME.crt`, `NAME.key` and `ca.crt` in one directory, as `interlockctl pki issue` leaves them.
    #[must_use]
    pub fn named(directory: &Path, name: &str) -> Self {
        Self {
            certificate: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
            authority: directory.join("ca.crt"),
        }
    }

    /// The state of the files now; a file that cannot be looked at is a state as well.
    pub(super) fn stamp(&self) -> Stamp {
        let one = |path: &Path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
        };
        Stamp([one(&self.certificate), one(&self.key), one(&self.authority)])
    }
}

/// Reads a file that is no secret.
pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, LoadError> {
    File::open(path)
        .and_then(|file| read(&file))
        .map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })
}

/// Reads a key, if nobody but its owner can.
pub(super) fn read_private(path: &Path) -> Result<Vec<u8>, LoadError> {
    let fail = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(fail)?;
    // Of the open file, not of the path: what is checked is what is read.
    let mode = file.metadata().map_err(fail)?.permissions().mode() & 0o7777;
    if mode & !0o600 != 0 {
        return Err(LoadError::KeyMode {
            path: path.to_owned(),
            mode,
        });
    }
    read(&file).map_err(fail)
}

fn read(file: &File) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content)?;
    Ok(content)
}
