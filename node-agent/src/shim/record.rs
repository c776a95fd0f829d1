//! What the shim writes down, and how it is written.
//!
//! Every file but one is replaced by rename, so a reader sees the old content or the new one, never half of it. Only the
//! outcome has to survive a power cut, so only it is flushed to disk.
//!
//! The disk may fill up while a command runs, by that command or by another. Therefore room for all that is written
//! after its start is [reserved](reserve) before it: the shim must be able to say whom it has started and how that ended,
//! and the agent to stop it. The request to stop is written again when less grace is given, so it is [overwritten in its
//! place](overwrite): a rename would need the room of a second file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::procfs::ProcessRef;
use super::signal;
use super::spec::Stop;

/// Written by the agent before the shim exists: [`super::spec::SpecFile`].
pub(crate) const SPEC: &str = "spec.json";
/// Written by the shim when the command runs: [`RunRecord`].
pub(crate) const RUN: &str = "run.json";
/// Written by the shim when the command has exited and something of it is left: [`MainRecord`].
pub(crate) const MAIN: &str = "main.json";
/// Written by the shim as its last act: [`Exit`].
pub(crate) const EXIT: &str = "exit.json";
/// Made by the shim with room for it, and written by the agent before it signals the shim: [`Stop`].
pub(crate) const STOP: &str = "stop.json";
/// Locked as long as the shim lives, from before it exists.
pub(crate) const LOCK: &str = "lock";

/// `run.json`: who runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) shim: ProcessRef,
    /// None if the command could not be started.
    pub(crate) child: Option<ProcessRef>,
    pub(crate) started_at: Timestamp,
    /// The same on the clock that counts from boot, for comparing: the wall clock may be set meanwhile.
    #[serde(default)]
    pub(crate) started_boot: Option<Duration>,
}

/// How the command itself ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was never started, and why. Nothing has happened.
    NotStarted(String),
}

impl Status {
    /// Did it exit with 0?
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(raw) => write!(f, "killed by {}", signal::name_of(*raw)),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// `main.json`: the command has exited, something that it started has not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MainRecord {
    pub(crate) status: Status,
    pub(crate) timed_out: bool,
    pub(crate) stopped: bool,
}

/// `exit.json`: the outcome of a run whose shim could end in peace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How the command itself ended.
    pub status: Status,
    /// When the last process of the run was gone.
    pub ended_at: Timestamp,
    /// Always true: the shim does not write this file while a descendant is left. Spelled out for people who read it.
    pub group_empty: bool,
    /// Its time limit was reached, so it was stopped.
    pub timed_out: bool,
    /// It was stopped on request.
    pub stopped: bool,
    /// The kernel killed something in the run's control group for want of memory; none if that cannot be known.
    pub oom: Option<bool>,
    /// Bytes of standard output that were not kept.
    pub stdout_cut: u64,
    /// Bytes of standard error that were not kept.
    pub stderr_cut: u64,
}

impl Exit {
    /// Did it end as a process ends that was asked to: code 0, or by SIGHUP, SIGINT, SIGTERM or SIGPIPE (the
    /// convention of systemd.service(5), `SuccessExitStatus=`)? The guard leaves such an end alone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.timed_out
            && matches!(
                self.status,
                Status::Code(0) | Status::Signal(1 | 2 | 13 | 15)
            )
    }
}

/// What the agent asks of the shim when it signals it.
pub(crate) type StopRequest = Stop;

/// The wall clock, for records.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a file of the directory; none if there is none, or if a power cut has left nothing of it but its name.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(dir.join(name)) {
        Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(None),
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file of the directory, and if `durable` returns only when it is on disk.
pub(crate) fn write<T: Serialize>(
    dir: &Path,
    name: &str,
    value: &T,
    durable: bool,
) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    // Not truncated at opening: room that was reserved in it stays ours.
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&temporary)?;
    let bytes = serde_json::to_vec(value)?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&temporary, dir.join(name))?;
    if durable {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Room for one record: each is a few hundred bytes, and no file system gives out less.
const ROOM: usize = 4096;

/// Reserves room for one later [`write`], so that it succeeds on a disk that is full by then.
pub(crate) fn reserve(dir: &Path, name: &str) -> io::Result<()> {
    take_room(&dir.join(format!("{name}.new")))
}

/// Reserves room for any number of later [`overwrite`]s. Until the first one the file reads as missing.
pub(crate) fn reserve_in_place(dir: &Path, name: &str) -> io::Result<()> {
    take_room(&dir.join(name))
}

fn take_room(path: &Path) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, ROOM as u64) {
        Ok(()) => Ok(()),
        // A file system without it has room for what was written once, unless it copies on write.
        Err(rustix::io::Errno::OPNOTSUPP) => file.write_all(&[0; ROOM]),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file of the directory over, in one piece as long as the room that was reserved for it. A reader may see half
/// of it, so who writes must tell the reader afterwards that there is something to read.
pub(crate) fn overwrite<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    // What follows a value in JSON may be white space.
    bytes.resize(bytes.len().max(ROOM), b' ');
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(name))?
        .write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_written_into_reserved_room_is_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        reserve(dir.path(), MAIN).unwrap();
        assert!(read::<MainRecord>(dir.path(), MAIN).unwrap().is_none());
        write(
            dir.path(),
            MAIN,
            &MainRecord {
                status: Status::Code(7),
                timed_out: false,
                stopped: false,
            },
            true,
        )
        .unwrap();
        let back: MainRecord = read(dir.path(), MAIN).unwrap().unwrap();
        assert_eq!(back.status, Status::Code(7));
    }

    #[test]
    fn a_record_with_a_place_of_its_own_is_missing_until_it_is_written_and_then_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        reserve_in_place(dir.path(), STOP).unwrap();
        assert_eq!(read::<Stop>(dir.path(), STOP).unwrap(), None);
        for grace in [1000, 1] {
            let stop = Stop {
                grace: Duration::from_secs(grace),
                ..Stop::default()
            };
            overwrite(dir.path(), STOP, &stop).unwrap();
            assert_eq!(read::<Stop>(dir.path(), STOP).unwrap(), Some(stop));
        }
    }

    #[test]
    fn an_end_by_sigterm_is_clean_and_one_by_sigsegv_is_not() {
        let exit = |status| Exit {
            status,
            ended_at: Timestamp(0),
            group_empty: true,
            timed_out: false,
            stopped: false,
            oom: None,
            stdout_cut: 0,
            stderr_cut: 0,
        };
        assert!(exit(Status::Signal(15)).is_clean());
        assert!(!exit(Status::Signal(11)).is_clean());
        assert!(!exit(Status::Code(1)).is_clean());
    }
}
