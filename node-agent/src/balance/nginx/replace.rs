//! Replacing a file that somebody else owns: as a whole or not at all, with the owner and the mode that it had.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};

/// Replaces what a file says. Whoever reads it sees what it said before or what it says now. A symbolic link stays one:
/// what it leads to is replaced.
///
/// The new file is made beside the old one, under a name that begins with a dot, which `include *` does not read.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let old = fs::metadata(&file)?;
    if !old.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let new = beside(&file)?;
    let written = write(&new, &old, text).and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        // What is in the way of the next attempt, if anything.
        let _ = fs::remove_file(&new);
    }
    written?;
    durable_in_directory(&file)
}

/// Writes a file of our own, for our eyes only, durably.
pub(super) fn keep(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(file)?;
    let _ = fs::remove_file(&new);
    let mut out = create(&new)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    durable_in_directory(file)
}

/// Removes a file of our own, if it is there, durably.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(()),
        Ok(()) => durable_in_directory(file),
    }
}

fn write(new: &Path, old: &fs::Metadata, text: &str) -> io::Result<()> {
    // One that an agent has left that was killed just then.
    if let Err(error) = fs::remove_file(new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut out = create(new)?;
    out.write_all(text.as_bytes())?;
    let (user, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
    let made = out.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        fchown(&out, Some(user), Some(group))?;
    }
    // After the owner: a change of it may take bits away.
    out.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    out.sync_all()
}

fn create(new: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
}

fn beside(file: &Path) -> io::Result<PathBuf> {
    let name = file
        .file_name()
        .ok_or_else(|| io::Error::other("it has no name"))?;
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(".interlock");
    Ok(file.with_file_name(new))
}

fn durable_in_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_one_and_the_mode_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("web.conf"), dir.path().join("enabled"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("web.conf", &link).unwrap();
        // As an agent left it that was killed just then.
        fs::write(dir.path().join(".web.conf.interlock"), "half").unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("web.conf"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_owner_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.conf");
        fs::write(&file, "old").unwrap();
        // Only the superuser can give a file away.
        if std::os::unix::fs::chown(&file, Some(33), Some(4)).is_err() {
            return;
        }
        replace(&file, "new").unwrap();
        let seen = fs::metadata(&file).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (33, 4));
    }
}
