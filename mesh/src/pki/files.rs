//! Writing keys and certificates: complete or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What to do with a file that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Keep,
    /// Put the new one in its place, in one step.
    Replace,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is already there.
    #[error(
        "{0} already exists and is not replaced; move it away, or ask for the replacement explicitly"
    )]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {path}")]
    Io {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes a key: mode 0600 from its first byte on.
///
/// # Errors
/// [`WriteError`] if the file exists and is to be kept, or cannot be written. The file is then what it was.
pub fn write_private(path: &Path, content: &str, existing: Existing) -> Result<(), WriteError> {
    write(path, content, 0o600, existing)
}

/// Writes a certificate: mode 0644, less what the umask takes.
///
/// # Errors
/// [`WriteError`] if the file exists and is to be kept, or cannot be written. The file is then what it was.
pub fn write_public(path: &Path, content: &str, existing: Existing) -> Result<(), WriteError> {
    write(path, content, 0o644, existing)
}

fn write(path: &Path, content: &str, mode: u32, existing: Existing) -> Result<(), WriteError> {
    let fail = |source| WriteError::Io {
        path: path.to_owned(),
        source,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(fail(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    // The process id keeps two writers apart; a file that a dead writer with the same id left behind is removed.
    let temporary = directory.join(format!(
        ".{}.{}.new",
        name.to_string_lossy(),
        std::process::id()
    ));
    let _ = fs::remove_file(&temporary);

    let result = write_durably(&temporary, content, mode)
        .and_then(|()| match existing {
            Existing::Replace => fs::rename(&temporary, path),
            // Unlike a rename, a link fails if the target exists: no look before the leap, so nothing in between.
            Existing::Keep => fs::hard_link(&temporary, path),
        })
        .and_then(|()| File::open(directory)?.sync_all());
    // After a rename it is gone, after a link or an error it is not; what is left over is not worth an error.
    let _ = fs::remove_file(&temporary);

    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => WriteError::Exists(path.to_owned()),
        _ => fail(source),
    })
}

fn write_durably(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
