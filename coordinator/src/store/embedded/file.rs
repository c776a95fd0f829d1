//! The file itself: found or made, locked, private to its owner.
//!
//! A new store is written under a draft name, `<file>.new`, and renamed when it is complete. So a
//! file with the right name is never half made, and an empty one is damage, not a beginning.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open_error::OpenError;
use super::{IfMissing, holder};

/// Read and written by its owner alone: the store holds the audit and the whole state of a site.
const MODE: u32 = 0o600;

/// How often a lost race for the draft is taken up again. Each round somebody else got further,
/// so more than one is already rare.
const DRAFT_ROUNDS: usize = 8;

/// A locked file.
#[derive(Debug)]
pub(crate) enum Found {
    /// One that was there.
    Existing(File),
    /// An empty one, to be filled and then [published](Draft::publish).
    Draft(File, Draft),
}

/// The name of a store that is being made.
#[derive(Debug)]
pub(crate) struct Draft {
    draft: PathBuf,
    path: PathBuf,
}

/// Finds the store at `path` or begins a new one, and locks it.
pub(crate) fn find(path: &Path, if_missing: IfMissing) -> Result<Found, OpenError> {
    for _ in 0..DRAFT_ROUNDS {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                lock(path, &file)?;
                return if file.metadata().map_err(|e| refused(path, e))?.len() == 0 {
                    Err(OpenError::Damaged {
                        path: path.to_owned(),
                        source: Arc::new(io::Error::other("the file is empty")),
                    })
                } else {
                    Ok(Found::Existing(file))
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match if_missing {
                IfMissing::Refuse => {
                    return Err(OpenError::Missing {
                        path: path.to_owned(),
                    });
                }
                IfMissing::Create => {
                    if let Some(found) = begin(path)? {
                        return Ok(found);
                    }
                }
            },
            Err(error) => return Err(refused(path, error)),
        }
    }
    Err(OpenError::InUse {
        path: path.to_owned(),
        holder: "processes that keep creating and removing it".to_owned(),
    })
}

/// Makes the draft, or `None` if another process finished one meanwhile.
fn begin(path: &Path) -> Result<Option<Found>, OpenError> {
    let mut draft = OsString::from(path);
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let refused = |error| refused(path, error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(&draft)
        .map_err(refused)?;
    lock(path, &file)?;
    // Between open and lock another process may have renamed this very file to its final name.
    let still_draft = match draft.metadata() {
        Ok(named) => named.ino() == file.metadata().map_err(refused)?.ino(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(refused(error)),
    };
    if !still_draft || path.exists() {
        return Ok(None);
    }
    // What a crash left of an earlier draft.
    file.set_len(0).map_err(refused)?;
    let path = path.to_owned();
    Ok(Some(Found::Draft(file, Draft { draft, path })))
}

/// Locks `file`, if it is one.
fn lock(path: &Path, file: &File) -> Result<(), OpenError> {
    let metadata = file.metadata().map_err(|error| refused(path, error))?;
    if !metadata.is_file() {
        return Err(OpenError::NotAStore {
            path: path.to_owned(),
            found: "it is a device or a pipe",
        });
    }
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
            holder: holder::describe(file),
        }),
        Err(TryLockError::Error(error)) => Err(refused(path, error)),
    }
}

/// Takes the file from everybody but its owner. Only for what is known to be a store: the path
/// may have been mistyped.
pub(crate) fn make_private(path: &Path, file: &File) -> Result<(), OpenError> {
    let make = || -> io::Result<()> {
        if file.metadata()?.mode() & 0o777 != MODE {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        Ok(())
    };
    make().map_err(|error| refused(path, error))
}

impl Draft {
    /// Gives the complete file its name, durably.
    pub(crate) fn publish(self, file: &File) -> Result<(), OpenError> {
        let Self { draft, path } = self;
        let publish = || -> io::Result<()> {
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            // A rename is durable once the directory is: fsync(2), "Description".
            File::open(directory(&path))?.sync_all()
        };
        publish().map_err(|error| refused(&path, error))
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// The error for a system call on the file that failed.
pub(crate) fn refused(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::PermissionDenied {
        OpenError::Denied { path, source }
    } else if is_no_space(&source) {
        let source = Arc::new(source);
        OpenError::NoSpace { path, source }
    } else {
        let source = Arc::new(source);
        OpenError::Io { path, source }
    }
}

/// Whether a write failed because there was no room: a full file system, a quota, or the file
/// size limit of the process.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
