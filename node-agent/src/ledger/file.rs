//! The file itself: found or made, private to its owner.
//!
//! A new ledger is written under a draft name, `<file>.new`, and renamed when it is complete. So a file with the right name is
//! never half made, and an empty one is damage, not a beginning: an agent that took it for one would have forgotten every
//! attempt and every term.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;

/// What is at the place of a ledger.
pub(super) enum Found {
    /// A file.
    Existing(File),
    /// Nothing: a new one is to be filled, and [published](Draft::publish).
    Draft(File, Draft),
}

/// A ledger that is being made.
pub(super) struct Draft {
    draft: PathBuf,
    path: PathBuf,
}

/// Finds the ledger or begins a new one.
pub(super) fn find(path: &Path) -> Result<Found, OpenError> {
    match existing(path) {
        Ok(file) => {
            let length = file.metadata().map_err(|error| refused(path, error))?.len();
            match length {
                0 => Err(OpenError::Empty {
                    path: path.to_owned(),
                }),
                _ => Ok(Found::Existing(file)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => begin(path),
        Err(error) => Err(refused(path, error)),
    }
}

/// The file of a ledger that is there.
pub(super) fn existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Which file it is, by its device and its inode.
pub(super) fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|it| (it.dev(), it.ino()))
}

/// Which file has this name now, and how long it is.
pub(super) fn named(path: &Path) -> io::Result<((u64, u64), u64)> {
    path.metadata().map(|it| ((it.dev(), it.ino()), it.len()))
}

fn begin(path: &Path) -> Result<Found, OpenError> {
    let refused = |error| refused(path, error);
    let in_use = || OpenError::InUse {
        path: path.to_owned(),
    };
    let mut draft = OsString::from(path);
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&draft)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    // Before the lock another agent may have given this very file its name.
    let same = draft.metadata().is_ok_and(|named| {
        file.metadata()
            .is_ok_and(|opened| opened.ino() == named.ino())
    });
    if !same || path.exists() {
        return Err(in_use());
    }
    // What a crash left of an earlier draft.
    file.set_len(0).map_err(refused)?;
    let path = path.to_owned();
    Ok(Found::Draft(file, Draft { draft, path }))
}

impl Draft {
    /// Gives the complete file its name, durably.
    pub(super) fn publish(self) -> Result<(), OpenError> {
        let Self { draft, path } = self;
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::rename(&draft, &path)
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(|error| refused(&path, error))
    }
}

fn refused(path: &Path, source: io::Error) -> OpenError {
    OpenError::File {
        path: path.to_owned(),
        source,
    }
}
