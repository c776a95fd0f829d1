//! Files in and beside a data directory, which belongs to somebody else.
//!
//! The agent may be root, and whoever owns the data directory can put anything into it at any moment. So nothing is opened through
//! a symbolic link that stands there, what is written is a new file that is then renamed, and what is given away is the open file.
//!
//! Everything here blocks, and what is written is on disk when it returns.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::Trouble;
use crate::shim::User;

/// The longest configuration file or password file that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// Names an operation on a file that failed.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
    let path = path.to_owned();
    move |source| Trouble::File {
        doing,
        path,
        source,
    }
}

/// Is there anything of this name?
pub(super) fn exists(path: &Path) -> Result<bool, Trouble> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look for", path)(error)),
    }
}

/// Opens a regular file, and nothing else: no link, and no pipe that would block.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// The text of a regular file; none if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, Trouble> {
    match open(path).and_then(text) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// The text of an open file.
pub(super) fn text(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_TEXT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

/// Replaces a file by one of this text that the user alone may read and write.
pub(super) fn write(path: &Path, text: &str, owner: User) -> Result<(), Trouble> {
    let mut new = path.as_os_str().to_owned();
    new.push(".interlock-new");
    let new = PathBuf::from(new);
    let written = || {
        remove_file(&new)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        give(&file, owner)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(failed("write", path))?;
    sync_parent(path)
}

/// Copies a regular file, or makes a symbolic link that leads where another one does.
pub(super) fn copy(from: &Path, to: &Path, owner: User) -> Result<(), Trouble> {
    let copied = || {
        remove_file(to)?;
        if fs::symlink_metadata(from)?.is_symlink() {
            return std::os::unix::fs::symlink(fs::read_link(from)?, to);
        }
        let mut from = open(from)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        give(&file, owner)?;
        io::copy(&mut from, &mut file)?;
        file.sync_all()
    };
    copied().map_err(failed("copy to", to))?;
    sync_parent(to)
}

/// A directory that the user alone may enter; one that is there already is taken as it is.
pub(super) fn make_dir(path: &Path, owner: User) -> Result<(), Trouble> {
    let made = || {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = fs::symlink_metadata(path)?;
                return if there.is_dir() { Ok(()) } else { Err(error) };
            }
            made => made?,
        }
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        give(&dir, owner)
    };
    made().map_err(failed("make", path))?;
    sync_parent(path)
}

/// Removes a file or a link; one that is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), Trouble> {
    remove_file(path).map_err(failed("remove", path))?;
    sync_parent(path)
}

/// Removes a directory with all that is in it; one that is not there is removed already.
pub(super) fn remove_dir(path: &Path) -> Result<(), Trouble> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

/// Gives a file or directory another name on the same file system.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Trouble> {
    fs::rename(from, to).map_err(failed("rename to", to))?;
    sync_parent(from)?;
    sync_parent(to)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives an open file to the user. Only root can, and for anybody else it is the user's already.
fn give(file: &File, owner: User) -> io::Result<()> {
    if geteuid().is_root() {
        fchown(file, Some(owner.uid), Some(owner.gid))
    } else {
        Ok(())
    }
}

/// What was made, renamed or removed in a directory is on disk when the directory is.
fn sync_parent(path: &Path) -> Result<(), Trouble> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.map_err(failed("flush", parent))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn me() -> User {
        User {
            uid: geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn a_link_in_the_directory_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let [secret, link] = ["secret", "link"].map(|name| dir.path().join(name));
        fs::write(&secret, "of somebody else").unwrap();
        symlink(&secret, &link).unwrap();
        assert!(read(&link).is_err());
        write(&link, "ours", me()).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "of somebody else");
        assert_eq!(read(&link).unwrap().as_deref(), Some("ours"));
        let mode = fs::metadata(&link).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_copy_of_a_link_leads_to_the_same_and_holds_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let [link, copied] = ["link", "copied"].map(|name| dir.path().join(name));
        symlink("/etc/passwd", &link).unwrap();
        copy(&link, &copied, me()).unwrap();
        assert_eq!(fs::read_link(&copied).unwrap(), Path::new("/etc/passwd"));
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("nothing");
        remove(&nothing).unwrap();
        remove_dir(&nothing).unwrap();
        assert_eq!(read(&nothing).unwrap(), None);
    }
}
