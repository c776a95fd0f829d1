//! Finding what an earlier agent has left.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interlock_model::ids::BootId;

use super::launch::{GONE, discard};
use super::outcome::{Ended, collect};
use super::procfs::ProcessRef;
use super::record::{self, RunRecord};
use super::run::Followed;
use super::spec::SpecFile;

/// How long a shim that lives may take to say who it is. It does so before anything that can be slow.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// The time between two looks at a shim that is just beginning or just ending.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A run of an earlier agent.
pub(super) struct Found {
    pub(super) dir: PathBuf,
    pub(super) spec: SpecFile,
    pub(super) record: Option<RunRecord>,
    pub(super) state: Alive,
}

/// Does the shim of a found run live?
pub(super) enum Alive {
    Yes(Followed),
    No(Ended),
}

/// Looks at every run's directory, and deletes what was about to be deleted. A run that makes no sense is reported and
/// left alone.
pub(super) fn find_all(runs: &Path, boot_id: &BootId) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(GONE.as_bytes())
        {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_type()?.is_dir() {
            match find(&entry.path(), boot_id) {
                Ok(one) => found.extend(one),
                Err(error) => {
                    tracing::error!(dir = %entry.path().display(), %error, "cannot adopt a run");
                }
            }
        }
    }
    Ok(found)
}

/// Reads a run's directory; none if nothing was ever started there.
fn find(dir: &Path, boot_id: &BootId) -> io::Result<Option<Found>> {
    let lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(record::LOCK))?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            // No shim lives, and no agent is about to start one.
            Ok(()) => return settled(dir, boot_id),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let patient = begun.elapsed() < SHIM_PATIENCE;
        if let Some(found) = living(dir, patient)? {
            return Ok(Some(found));
        }
        if !patient {
            return Err(io::Error::other(
                "its lock is held, but not by a shim that says who it is",
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A run without a shim.
fn settled(dir: &Path, boot_id: &BootId) -> io::Result<Option<Found>> {
    let spec: Option<SpecFile> = record::read(dir, record::SPEC)?;
    let Some(spec) = spec else {
        discard(dir)?;
        return Ok(None);
    };
    let record = record::read(dir, record::RUN).unwrap_or_default();
    let state = Alive::No(collect(dir, &spec, boot_id));
    Ok(Some(Found {
        dir: dir.to_owned(),
        spec,
        record,
        state,
    }))
}

/// A run whose shim lives; none if it is just beginning, or just ending.
fn living(dir: &Path, patient: bool) -> io::Result<Option<Found>> {
    let spec: Option<SpecFile> = record::read(dir, record::SPEC)?;
    let record: Option<RunRecord> = record::read(dir, record::RUN)?;
    let (Some(spec), Some(record)) = (spec, record) else {
        return Ok(None);
    };
    if record.child.is_none() && patient {
        // It may be about to start it.
        return Ok(None);
    }
    let child = record.child.map(ProcessRef::open).transpose()?.flatten();
    let Some(shim) = record.shim.open()? else {
        return Ok(None);
    };
    let state = Alive::Yes(Followed {
        shim,
        child,
        reap: None,
    });
    Ok(Some(Found {
        dir: dir.to_owned(),
        spec,
        record: Some(record),
        state,
    }))
}
