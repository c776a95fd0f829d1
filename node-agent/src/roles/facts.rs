//! The durable facts of each service: `STATE_DIR/roles/SERVICE.json`.
//!
//! Written by a thread of its own, in order, each one as a new file that is flushed and renamed over the old one. A disk
//! that refuses is tried again until it does not: what is not durable is not said, so nobody is promoted and nothing
//! counts as released meanwhile, which is safe.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use interlock_engine::lease::holder::Facts;
use interlock_model::names::ServiceName;

use super::input::Input;

/// The pause before a disk that refused is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is to be made durable.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) service: ServiceName,
    pub(super) batch: u64,
    pub(super) facts: Facts,
}

/// Facts cannot be read: nobody knows what this node has given back.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read {path}, which says what roles this node has held: its services take no role until it can be read. If it \
     is lost for good, stop this agent, make sure that nothing of its services runs here, and remove the file"
)]
pub(crate) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// What is durable of a service; of one that was never here, nothing.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn read(dir: &Path, service: &ServiceName) -> Result<Facts, Unreadable> {
    let path = file(dir, service);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Facts::default()),
        Err(source) => return Err(Unreadable { path, source }),
    };
    serde_json::from_slice(&bytes).map_err(|error| Unreadable {
        path,
        source: error.into(),
    })
}

/// Makes the directory.
///
/// # Errors
/// If it cannot be made.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes until nobody has a job any more.
pub(super) fn write_all(dir: &Path, jobs: &Receiver<Job>, done: &Sender<Input>) {
    while let Ok(job) = jobs.recv() {
        let mut told = false;
        while let Err(error) = write(dir, &job) {
            if !std::mem::replace(&mut told, true) {
                tracing::error!(service = %job.service, %error, "what this node knows of its role cannot be written; trying again");
            }
            std::thread::sleep(AGAIN);
        }
        let Job { service, batch, .. } = job;
        if done.send(Input::Committed { service, batch }).is_err() {
            return;
        }
    }
}

fn write(dir: &Path, job: &Job) -> io::Result<()> {
    let path = file(dir, &job.service);
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(&job.facts)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()
}

fn file(dir: &Path, service: &ServiceName) -> PathBuf {
    dir.join(format!("{service}.json"))
}

#[cfg(test)]
mod tests {
    use interlock_model::lease::Epoch;

    use super::*;

    #[test]
    fn facts_survive_and_a_damaged_file_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let service: ServiceName = "db.main".parse().unwrap();
        assert_eq!(read(dir.path(), &service).unwrap(), Facts::default());
        let facts = Facts {
            seen: Epoch(7),
            ..Facts::default()
        };
        let job = Job {
            service: service.clone(),
            batch: 1,
            facts: facts.clone(),
        };
        write(dir.path(), &job).unwrap();
        assert_eq!(read(dir.path(), &service).unwrap(), facts);
        fs::write(file(dir.path(), &service), "{").unwrap();
        let error = read(dir.path(), &service).unwrap_err().to_string();
        assert!(error.contains("db.main.json"), "{error}");
    }
}
