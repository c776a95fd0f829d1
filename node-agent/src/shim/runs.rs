//! All runs of an agent: launching, adopting after a restart, forgetting.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use interlock_model::ids::BootId;
use rustix::process::{Pid, Signal, kill_process};

use super::adopt::{Alive, find_all};
use super::cgroup::Leaf;
use super::forgotten::{self, Forgotten};
use super::keeper::Report;
use super::launch::{Begun, LaunchError, begin, discard, read_report};
use super::outcome::collect;
use super::record::{self, RunRecord, Status};
use super::run::{Followed, Run};
use super::spec::SpecFile;
use super::{RunId, RunSpec};

/// How long the lock of an agent that was killed may outlive it: what it was about to start has all its files until it
/// executes its program.
const LET_GO: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Where runs live and how their shims are started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory with one directory per run; made if it is missing.
    pub dir: PathBuf,
    /// This boot of the machine.
    pub boot_id: BootId,
    /// The program to start as shim.
    pub program: PathBuf,
    /// A directory of a writable cgroup v2 tree, for this agent alone; none to do without.
    pub cgroup: Option<PathBuf>,
}

impl Options {
    /// With this very program as shim and without control groups.
    #[must_use]
    pub fn new(dir: PathBuf, boot_id: BootId) -> Self {
        // Not `current_exe`: after an upgrade its path leads to another version, and this link to the one that runs.
        Self {
            dir,
            boot_id,
            program: PathBuf::from("/proc/self/exe"),
            cgroup: None,
        }
    }
}

/// The directory of the runs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be made or read.
    #[error(
        "cannot use {0} for the runs of this agent: check that it is on a local disk and writable"
    )]
    Dir(PathBuf, #[source] io::Error),
    /// Another agent holds it.
    #[error(
        "another agent uses {0}: give each agent a state_dir of its own, or stop the other one"
    )]
    InUse(PathBuf),
}

/// A run could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Something of it runs.
    #[error("run {0} has not ended, or something of it is left: stop it first")]
    NotEmpty(RunId),
    /// Its directory could not be removed.
    #[error("cannot remove the directory of run {0}")]
    Dir(RunId, #[source] io::Error),
}

/// Takes a lock that another process may be about to let go.
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
    let give_up = Instant::now() + LET_GO;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                std::thread::sleep(LOCK_AGAIN);
            }
            result => return result,
        }
    }
}

#[derive(Debug)]
struct Inner {
    options: Options,
    /// Held so that no second agent touches the directory.
    _lock: File,
    known: Mutex<BTreeMap<RunId, Run>>,
}

/// The runs of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

impl Runs {
    /// Takes the directory.
    ///
    /// # Errors
    /// If it cannot be used, or another agent uses it.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let failed = |error| OpenError::Dir(dir.clone(), error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(failed)?;
        let lock = File::create(dir.join(".lock")).map_err(failed)?;
        match lock_soon(&lock) {
            Ok(()) => Ok(Self {
                inner: Arc::new(Inner {
                    options,
                    _lock: lock,
                    known: Mutex::default(),
                }),
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// This boot of the machine.
    #[must_use]
    pub fn boot_id(&self) -> &BootId {
        &self.inner.options.boot_id
    }

    /// The run with this id, if it was launched or adopted.
    #[must_use]
    pub fn get(&self, id: &RunId) -> Option<Run> {
        self.known().get(id).cloned()
    }

    /// The runs with ids like this that were launched or adopted, sorted by id.
    pub fn all(&self, like: impl Fn(&RunId) -> bool) -> Vec<Run> {
        let known = self.known();
        let found = known.iter().filter(|(id, _)| like(id));
        found.map(|(_, run)| run.clone()).collect()
    }

    /// Starts a command under a shim of its own. Returns when the command runs, or has proven impossible to start:
    /// that is an outcome of the run, not an error.
    ///
    /// Dropping the future does not undo it: the run is then found with [`Runs::get`].
    ///
    /// # Errors
    /// If nothing was started; see [`LaunchError`].
    pub async fn launch(&self, spec: RunSpec) -> Result<Run, LaunchError> {
        let id = spec.id.clone();
        let runs = self.clone();
        let launched = tokio::spawn(async move { runs.launch_to_the_end(spec).await });
        launched.await.unwrap_or(Err(LaunchError::Ending(id)))
    }

    async fn launch_to_the_end(&self, mut spec: RunSpec) -> Result<Run, LaunchError> {
        let id = spec.id.clone();
        let input = spec.input.take();
        let begun = tokio::task::spawn_blocking({
            let options = self.inner.options.clone();
            move || begin(&options, spec, input.as_ref())
        });
        let Begun {
            dir,
            spec,
            shim,
            report,
        } = begun
            .await
            .unwrap_or_else(|_| Err(LaunchError::Ending(id.clone())))?;
        let given_up = match read_report(report).await {
            Ok(Report::Kept) => None,
            Ok(Report::Killing(why)) => {
                tracing::warn!(run = %id, %why, "killed at once: it could not be written down what was started");
                None
            }
            Ok(Report::Failed(why)) => Some((why, true)),
            Err(error) => Some((error.to_string(), false)),
        };
        if let Some((why, nothing_begun)) = given_up {
            return self.give_up(dir, spec, shim, why, nothing_begun).await;
        }
        let followed = (|| {
            let record: RunRecord =
                record::read(&dir, record::RUN)?.ok_or(io::ErrorKind::NotFound)?;
            let child = record
                .child
                .map(|child| child.open())
                .transpose()?
                .flatten();
            // Ours and not waited for, so it is there even if it has already ended.
            let pidfd = record.shim.open()?.ok_or(io::ErrorKind::NotFound)?;
            Ok((record, pidfd, child))
        })();
        let shim_pid = shim.id();
        let run = followed.and_then(|(record, pidfd, child)| {
            let reap = Some(shim);
            let followed = Followed {
                shim: pidfd,
                child,
                reap,
            };
            Run::follow(dir, spec, record, &self.inner.options.boot_id, followed)
        });
        let run = run.map_err(|error| {
            // Nobody has waited for our child, so its number is still its own.
            if let Some(shim) = i32::try_from(shim_pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(shim, Signal::TERM);
            }
            LaunchError::Follow(id.clone(), error)
        })?;
        self.known().insert(id, run.clone());
        Ok(run)
    }

    /// Cleans up after a shim that began nothing. One that was killed may have begun something and not have said so:
    /// then this is a run that lost its shim, as an agent that comes back would find it.
    async fn give_up(
        &self,
        dir: PathBuf,
        spec: SpecFile,
        mut shim: Child,
        why: String,
        nothing_begun: bool,
    ) -> Result<Run, LaunchError> {
        let id = spec.run.id.clone();
        let boot_id = self.inner.options.boot_id.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(error) = shim.wait() {
                tracing::warn!(run = %spec.run.id, %error, "cannot wait for a shim that gave up");
            }
            let ended = collect(&dir, &spec, &boot_id);
            let never = matches!(ended.outcome.status(), Some(Status::NotStarted(_)));
            if ended.group.is_empty() && (nothing_begun || never) {
                if let Err(error) = discard(&dir) {
                    tracing::warn!(run = %spec.run.id, %error, "cannot clean up after a shim that gave up");
                }
                return None;
            }
            let record = record::read(&dir, record::RUN).unwrap_or_default();
            Some((dir, spec, record, ended))
        });
        let looked = looked.await.map_err(|_| LaunchError::Ending(id.clone()))?;
        let Some((dir, spec, record, ended)) = looked else {
            return Err(LaunchError::Shim(id, why));
        };
        tracing::warn!(run = %id, %why, outcome = %ended.outcome, "the shim has gone, and its command may have begun");
        let run = Run::ended(dir, spec, record, ended);
        self.known().insert(id, run.clone());
        Ok(run)
    }

    /// Finds the runs that an earlier agent left: still running, ended meanwhile, or ended without a witness
    /// ([`Run::state`]). Sorted by id. To be called once, before the first launch.
    ///
    /// # Errors
    /// If the directory cannot be read. A run that makes no sense is reported in the log and left alone.
    pub async fn adopt_all(&self) -> io::Result<Vec<Run>> {
        let Options { dir, boot_id, .. } = self.inner.options.clone();
        let found = tokio::task::spawn_blocking(move || find_all(&dir, &boot_id)).await??;
        let boot_id = &self.inner.options.boot_id;
        let mut adopted = BTreeMap::new();
        for found in found {
            let run = match (found.state, found.record) {
                (Alive::Yes(followed), Some(record)) => {
                    Run::follow(found.dir, found.spec, record, boot_id, followed)?
                }
                (Alive::Yes(_), None) => continue,
                (Alive::No(ended), record) => Run::ended(found.dir, found.spec, record, ended),
            };
            adopted.insert(run.id().clone(), run);
        }
        self.known().extend(adopted.clone());
        Ok(adopted.into_values().collect())
    }

    /// The shims that keep runs in this directory and were not adopted. To be called after [`Runs::adopt_all`].
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub async fn forgotten(&self) -> io::Result<Vec<Forgotten>> {
        let dir = self.inner.options.dir.clone();
        let known = self.known().values().filter_map(Run::shim_pid).collect();
        tokio::task::spawn_blocking(move || forgotten::find(&dir, &known)).await?
    }

    /// Forgets a run that has ended and left nothing: its directory, its output, its control group.
    ///
    /// # Errors
    /// If it has not ended, something is left of it, or the directory cannot be removed.
    pub async fn remove(&self, run: &Run) -> Result<(), RemoveError> {
        let id = run.id().clone();
        if !run.state().is_some_and(|ended| ended.group.is_empty()) {
            return Err(RemoveError::NotEmpty(id));
        }
        self.known().remove(&id);
        let (dir, cgroup) = (run.dir().to_owned(), run.cgroup().cloned());
        let removed = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = cgroup.map(|path| Leaf::at(path).remove()) {
                tracing::warn!(%error, "an empty control group stays");
            }
            discard(&dir)
        });
        removed
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| RemoveError::Dir(id, error))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Run>> {
        // Nothing under this lock can leave the map half changed.
        self.inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_let_go_a_moment_later_is_taken_and_one_that_is_not_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = File::create(dir.path().join(".lock")).unwrap();
        held.lock().unwrap();
        let open = || {
            Runs::open(Options::new(
                dir.path().to_owned(),
                BootId("boot".to_owned()),
            ))
        };
        assert!(matches!(open(), Err(OpenError::InUse(_))));
        // As of a process that was about to execute its program when its agent was killed.
        let about_to = std::thread::spawn(move || {
            std::thread::sleep(LET_GO / 10);
            drop(held);
        });
        open().unwrap();
        about_to.join().unwrap();
    }
}
