//! Putting a file in its place: as a whole or not at all, durably. One that somebody else owns keeps its owner and mode, or has
//! those that it is given; one of our own is for our eyes only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};
use serde::{Deserialize, Serialize};

/// Who owns a file, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    /// The number of the user.
    pub(crate) user: u32,
    /// The number of the group.
    pub(crate) group: u32,
    /// The twelve bits of chmod(2).
    pub(crate) mode: u32,
}

impl Whose {
    /// Those of a file that is there.
    pub(crate) fn of(file: &fs::Metadata) -> Self {
        Self {
            user: file.uid(),
            group: file.gid(),
            mode: file.mode() & 0o7777,
        }
    }
}

/// Replaces what a file says. Whoever reads it sees what it said before or what it says now. A symbolic link stays one:
/// what it leads to is replaced.
///
/// The new file is made beside the old one, under a name that begins with a dot, which `include *` does not read.
pub(crate) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let old = fs::metadata(&file)?;
    if !old.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    replace_as(&file, text.as_bytes(), Whose::of(&old))
}

/// The same with bytes, and for this owner with this mode; also if there is no such file yet. The path leads through no
/// symbolic link at its end.
pub(crate) fn replace_as(file: &Path, bytes: &[u8], whose: Whose) -> io::Result<()> {
    let new = beside(file)?;
    let written = write(&new, bytes, whose).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // What is in the way of the next attempt, if anything.
        let _ = fs::remove_file(&new);
    }
    written?;
    durable_in_directory(file)
}

/// Writes a file of our own, for our eyes only, durably.
pub(crate) fn keep(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(file)?;
    let _ = fs::remove_file(&new);
    let mut out = create(&new)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    durable_in_directory(file)
}

/// Makes a directory of our own, for our eyes only, if it is not there, durably.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    let made = fs::DirBuilder::new().mode(0o700).create(directory);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => durable_in_directory(directory),
    }
}

/// Removes a file, if it is there, durably.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(()),
        Ok(()) => durable_in_directory(file),
    }
}

/// Makes a file of these bytes, which nobody else has, whole on the disk.
pub(crate) fn write(new: &Path, bytes: &[u8], whose: Whose) -> io::Result<()> {
    // One that an agent has left that was killed just then.
    if let Err(error) = fs::remove_file(new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut out = create(new)?;
    out.write_all(bytes)?;
    let (user, group) = (Uid::from_raw(whose.user), Gid::from_raw(whose.group));
    let made = out.metadata()?;
    if (made.uid(), made.gid()) != (whose.user, whose.group) {
        fchown(&out, Some(user), Some(group))?;
    }
    // After the owner: a change of it may take bits away.
    out.set_permissions(fs::Permissions::from_mode(whose.mode))?;
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
