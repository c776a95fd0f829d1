//! Which processes of a server hold a data directory.
//!
//! `postmaster.pid` does not tell: after a postmaster was killed its backends live on, and a busy one was seen to write for
//! seconds. Every process of a server works in the data directory (it changes into it when it starts), so what counts is where
//! processes are. A person's shell that stands there is no server, so the program's name counts as well.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Trouble;
use super::files;
use crate::shim::{ProcessRef, User};

/// The names of the server's program (proc_pid_comm(5)).
const NAMES: [&str; 2] = ["postgres", "postmaster"];

/// The processes that hold one of the directories. Blocks.
///
/// Without privileges only processes of the same user can be looked at; a server of another user cannot be managed then either.
pub(super) fn holders(dirs: &[PathBuf], owner: User) -> Result<Vec<ProcessRef>, Trouble> {
    let places: Vec<(u64, u64)> = dirs.iter().filter_map(|dir| identity(dir).ok()).collect();
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut holders = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Trouble::Processes)? {
        let entry = entry.map_err(Trouble::Processes)?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let process = entry.path();
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        if !NAMES.contains(&name.trim_end()) {
            continue;
        }
        match identity(&process.join("cwd")) {
            Ok(place) if places.contains(&place) => holders.extend(ProcessRef::of(pid)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let owned = fs::metadata(&process).is_ok_and(|meta| meta.uid() == owner.uid);
                if owned {
                    return Err(Trouble::Processes(error));
                }
            }
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(holders)
}

/// The directory may not be held.
pub(super) fn need_none(dirs: &[PathBuf], owner: User) -> Result<(), Trouble> {
    let holders = holders(dirs, owner)?;
    if holders.is_empty() {
        return Ok(());
    }
    Err(Trouble::Busy(
        holders.iter().map(|process| process.pid).collect(),
    ))
}

/// The postmaster of a data directory; none if it does not run.
pub(super) fn postmaster(data: &Path) -> Result<Option<ProcessRef>, Trouble> {
    let Some(text) = files::read(&data.join("postmaster.pid"))? else {
        return Ok(None);
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let process = pid.and_then(ProcessRef::of);
    // The number may be somebody else's by now.
    Ok(process.filter(|process| {
        let cwd = identity(&PathBuf::from(format!("/proc/{}/cwd", process.pid)));
        process.runs() && cwd.is_ok_and(|cwd| identity(data).is_ok_and(|data| data == cwd))
    }))
}

/// What a directory is, whatever it is called.
pub(super) fn identity(dir: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(dir)?;
    Ok((meta.dev(), meta.ino()))
}
