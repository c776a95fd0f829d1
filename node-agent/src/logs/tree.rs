//! Directories, walked without ever being led elsewhere.
//!
//! Below the root of a glob each component is opened in its directory, with `O_NOFOLLOW`: what is a link is not there. The
//! same holds for whatever is no regular file, such as a pipe or a device, and for a file with several names: another of
//! them may be somewhere that nobody permitted to read (`link(2)` needs no right to read a file).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::glob::{Glob, is_like, is_wild};
use super::private::Own;

/// How many names of one directory are looked at. A directory with more is not one of logs.
const MOST_NAMES: usize = 20_000;

/// Why the agent's own files are not read.
const OWN: &str = "it is the agent's own (its key, its secrets or its memory), and no log";

/// Why a file is not read whose name no message can carry.
const NO_TEXT: &str = "its name is not UTF-8, so it cannot be asked for: rename it";

/// A file below the root of a glob, open, or why it is not.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path below the root, with `/`.
    pub(super) path: String,
    /// The file.
    pub(super) file: Result<File, String>,
}

/// Goes through the files that a glob means, in the order of their names, until `each` has enough.
///
/// # Errors
/// If the root cannot be read.
pub(super) fn walk(glob: &Glob, own: &Own, each: &mut impl FnMut(Found) -> bool) -> io::Result<()> {
    let root = root(glob, own)?;
    descend(&root, own, glob.rest(), "", each)?;
    Ok(())
}

/// Opens the file with this path below the root, if the glob means it.
///
/// # Errors
/// If it does not, or the file is not there, or is none.
pub(super) fn open(glob: &Glob, own: &Own, path: &str) -> Result<File, String> {
    let names: Vec<&str> = path.split('/').collect();
    if !glob.matches(&names) {
        return Err("this node's file does not name it".to_owned());
    }
    let mut dir = root(glob, own).map_err(|error| error.to_string())?;
    let Some((file, dirs)) = names.split_last() else {
        return Err("no file is named".to_owned());
    };
    for name in dirs {
        dir = directory(&dir, own, name.as_ref()).map_err(|error| error.to_string())?;
    }
    regular(&dir, own, file.as_ref()).unwrap_or_else(|| {
        Err("it is no file of its own, but a link, a pipe or the like".to_owned())
    })
}

fn root(glob: &Glob, own: &Own) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, glob.root(), flags, Mode::empty())?;
    not_own(own, root)?.ok_or_else(|| io::Error::other(OWN))
}

fn directory(dir: &OwnedFd, own: &Own, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(dir, name, flags, Mode::empty())?;
    not_own(own, found)?.ok_or(Errno::ACCESS)
}

/// The same, unless it is the agent's own.
fn not_own(own: &Own, found: OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let stat = fstat(&found)?;
    Ok((!own.contains(&(stat.st_dev, stat.st_ino))).then_some(found))
}

/// The regular file of this name; none if the name is something else's.
fn regular(dir: &OwnedFd, own: &Own, name: &OsStr) -> Option<Result<File, String>> {
    // Before it is opened: that alone has effects on some devices.
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {}
        Ok(_) => return None,
        Err(error) => return Some(Err(error.to_string())),
    }
    // It may be something else by now: then opening it neither follows nor waits, and it is looked at once more.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat(dir, name, flags, Mode::empty())
        .and_then(|file| fstat(&file).map(|stat| (file, stat)));
    match opened {
        Ok((file, stat)) if FileType::from_raw_mode(stat.st_mode).is_file() => {
            Some(if own.contains(&(stat.st_dev, stat.st_ino)) {
                Err(OWN.to_owned())
            } else if stat.st_nlink > 1 {
                Err(format!(
                    "it has {} names, of which others may be elsewhere: give it one of its own",
                    stat.st_nlink
                ))
            } else {
                Ok(File::from(file))
            })
        }
        Ok(_) | Err(Errno::LOOP) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

/// False when `each` has enough.
fn descend(
    dir: &OwnedFd,
    own: &Own,
    rest: &[String],
    above: &str,
    each: &mut impl FnMut(Found) -> bool,
) -> io::Result<bool> {
    let Some((pattern, below)) = rest.split_first() else {
        return Ok(true);
    };
    for name in names(dir, pattern)? {
        let text = name.to_str();
        let shown = text.map_or_else(|| name.as_bytes().escape_ascii().to_string(), str::to_owned);
        let path = match above {
            "" => shown,
            above => format!("{above}/{shown}"),
        };
        let found = if below.is_empty() {
            regular(dir, own, &name)
        } else {
            match (directory(dir, own, &name), text) {
                // One that cannot be listed hides no other.
                (Ok(next), Some(_)) => {
                    if descend(&next, own, below, &path, each).unwrap_or(true) {
                        continue;
                    }
                    return Ok(false);
                }
                (Ok(_), None) => Some(Err(NO_TEXT.to_owned())),
                (Err(_), _) => None,
            }
        };
        let Some(file) = found else { continue };
        let file = match text {
            Some(_) => file,
            None => Err(NO_TEXT.to_owned()),
        };
        if !each(Found { path, file }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The names in a directory that a component means, in order.
fn names(dir: &OwnedFd, pattern: &str) -> io::Result<Vec<OsString>> {
    if !is_wild(pattern) {
        let there = statat(dir, pattern, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        return Ok(there.then(|| pattern.into()).into_iter().collect());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)?.take(MOST_NAMES) {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." && is_like(&name.to_string_lossy(), pattern) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(glob: &str) -> Vec<String> {
        let mut paths = Vec::new();
        let glob: Glob = glob.parse().unwrap();
        walk(&glob, &Own::new(), &mut |found| {
            paths.push(match found.file {
                Ok(_) => found.path,
                Err(why) => format!("{} ({why})", found.path),
            });
            true
        })
        .unwrap();
        paths
    }

    #[test]
    fn links_pipes_and_files_of_several_names_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["logs", "logs/a", "elsewhere"] {
            fs::create_dir(at(made)).unwrap();
        }
        for file in [
            "logs/a/1.log",
            "logs/a/2.log",
            "elsewhere/3.log",
            "elsewhere/4.log",
        ] {
            fs::write(at(file), "x").unwrap();
        }
        symlink(at("elsewhere/3.log"), at("logs/a/link.log")).unwrap();
        symlink(at("elsewhere"), at("logs/b")).unwrap();
        fs::hard_link(at("elsewhere/4.log"), at("logs/a/hard.log")).unwrap();
        rustix::fs::mknodat(CWD, at("logs/a/pipe.log"), FileType::Fifo, Mode::RUSR, 0).unwrap();

        let glob = format!("{}/logs/*/*.log", dir.path().display());
        let paths = found(&glob);
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert_eq!(paths[..2], ["a/1.log", "a/2.log"]);
        assert!(
            paths[2].starts_with("a/hard.log (it has 2 names"),
            "{paths:?}"
        );

        let glob: Glob = glob.parse().unwrap();
        assert!(open(&glob, &Own::new(), "a/1.log").is_ok());
        for led_out in [
            "a/link.log",
            "b/3.log",
            "a/hard.log",
            "a/pipe.log",
            "../elsewhere/3.log",
            "a/../3.log",
            "a/1.txt",
            "",
            "/etc/passwd",
        ] {
            assert!(open(&glob, &Own::new(), led_out).is_err(), "{led_out}");
        }
    }

    #[test]
    fn what_has_a_name_that_is_no_text_is_named_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
        for made in [&b"good"[..], b"gr\xfcn"] {
            fs::create_dir(at(made)).unwrap();
        }
        for file in [
            &b"good/gr\xfcn.log"[..],
            b"good/x.log",
            b"gr\xfcn/x.log",
            b"good/gr\xfcn.txt",
        ] {
            fs::write(at(file), "x").unwrap();
        }
        assert_eq!(
            found(&format!("{}/*/*.log", dir.path().display())),
            [
                format!("good/gr\\xfcn.log ({NO_TEXT})"),
                "good/x.log".to_owned(),
                format!("gr\\xfcn ({NO_TEXT})"),
            ]
        );
    }

    #[test]
    fn the_root_itself_may_be_a_link_because_the_owner_of_the_file_wrote_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/x.log"), "x").unwrap();
        symlink("real", dir.path().join("logs")).unwrap();
        assert_eq!(
            found(&format!("{}/logs/x.log", dir.path().display())),
            ["x.log"]
        );
    }
}
