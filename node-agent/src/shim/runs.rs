//! All runs of an agent: launching, adopting after a restart, forgetting.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_model::ids::BootId;
use tokio::io::AsyncReadExt;

use super::cgroup::Leaf;
use super::keeper::Report;
use super::record::{self, RunRecord};
use super::run::{Followed, Run};
use super::spec::{FORMAT, Input, SpecFile};
use super::{RunId, RunSpec};

/// What the directories of forgotten runs begin with until they are deleted. No run id begins with a dot.
const GONE: &str = ".gone-";

/// How long a shim that lives may take to say who it is. It does so before anything that can be slow.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// The longest report of a shim, in bytes.
const MAX_REPORT: u64 = 4096;

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
        Self { dir, boot_id, program: PathBuf::from("/proc/self/exe"), cgroup: None }
    }
}

/// The directory of the runs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be made or read.
    #[error("cannot use {0} for the runs of this agent: check that it is on a local disk and writable")]
    Dir(PathBuf, #[source] io::Error),
    /// Another agent holds it.
    #[error("another agent uses {0}: give each agent a state_dir of its own, or stop the other one")]
    InUse(PathBuf),
}

/// A run could not be launched. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is a run with this id.
    #[error("run {0} exists: adopt it, or remove it first")]
    Exists(RunId),
    /// Its directory, control group or pipes could not be made.
    #[error("cannot prepare run {0}")]
    Prepare(RunId, #[source] io::Error),
    /// The shim could not be started.
    #[error("cannot start {program} as the shim of run {id}")]
    Spawn {
        /// The run.
        id: RunId,
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim gave up before it started anything.
    #[error("the shim of run {0} gave up: {1}")]
    Shim(RunId, String),
    /// The shim runs but cannot be followed. It was told to stop.
    #[error("cannot follow run {0}")]
    Follow(RunId, #[source] io::Error),
    /// The agent is ending.
    #[error("run {0} was not launched: the agent is ending")]
    Ending(RunId),
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
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let lock = File::create(dir.join(".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { inner: Arc::new(Inner { options, _lock: lock, known: Mutex::default() }) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The run with this id, if it was launched or adopted.
    #[must_use]
    pub fn get(&self, id: &RunId) -> Option<Run> {
        self.known().get(id).cloned()
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
        let Begun { dir, spec, shim, report } =
            begun.await.unwrap_or_else(|_| Err(LaunchError::Ending(id.clone())))?;
        match read_report(report).await {
            Ok(Report::Kept) => {}
            Ok(Report::Failed(why)) => return Err(self.give_up(&id, dir, shim, why).await),
            Err(error) => return Err(self.give_up(&id, dir, shim, error.to_string()).await),
        }
        let followed = (|| {
            let record: RunRecord = record::read(&dir, record::RUN)?.ok_or(io::ErrorKind::NotFound)?;
            let child = record.child.map(|child| child.open()).transpose()?.flatten();
            // Ours and not waited for, so it is there even if it has already ended.
            let pidfd = record.shim.open()?.ok_or(io::ErrorKind::NotFound)?;
            Ok((record, pidfd, child))
        })();
        let run = followed.and_then(|(record, pidfd, child)| {
            let reap = Some(shim);
            let followed = Followed { shim: pidfd, child, reap };
            Run::follow(dir, spec, record, &self.inner.options.boot_id, followed)
        });
        let run = run.map_err(|error| LaunchError::Follow(id.clone(), error))?;
        self.known().insert(id, run.clone());
        Ok(run)
    }

    /// Cleans up after a shim that started nothing.
    async fn give_up(&self, id: &RunId, dir: PathBuf, mut shim: Child, why: String) -> LaunchError {
        let cleaned = tokio::task::spawn_blocking(move || {
            shim.wait()?;
            discard(&dir)
        });
        if let Ok(Err(error)) = cleaned.await {
            tracing::warn!(run = %id, %error, "cannot clean up after a shim that gave up");
        }
        LaunchError::Shim(id.clone(), why)
    }

    /// Finds the runs that an earlier agent left: still running, ended meanwhile, or ended without a witness
    /// ([`Run::state`]). Sorted by id. To be called once, before the first launch.
    ///
    /// # Errors
    /// If the directory cannot be read. A run that makes no sense is reported in the log and left alone.
    pub async fn adopt_all(&self) -> io::Result<Vec<Run>> {
        let options = self.inner.options.clone();
        let found = tokio::task::spawn_blocking(move || -> io::Result<Vec<Found>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&options.dir)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes()) {
                    fs::remove_dir_all(entry.path())?;
                } else if entry.file_type()?.is_dir() {
                    match find(&entry.path()) {
                        Ok(one) => found.extend(one),
                        Err(error) => tracing::error!(dir = %entry.path().display(), %error, "cannot adopt a run"),
                    }
                }
            }
            Ok(found)
        });
        let boot_id = &self.inner.options.boot_id;
        let mut adopted = BTreeMap::new();
        for found in found.await?? {
            let run = match found.living {
                Some((record, followed)) => Run::follow(found.dir, found.spec, record, boot_id, followed)?,
                None => Run::ended(found.dir, found.spec, boot_id),
            };
            adopted.insert(run.id().clone(), run);
        }
        self.known().extend(adopted.clone());
        Ok(adopted.into_values().collect())
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
        removed.await.map_err(io::Error::from).flatten().map_err(|error| RemoveError::Dir(id, error))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Run>> {
        // Nothing under this lock can leave the map half changed.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shim that was just started.
struct Begun {
    dir: PathBuf,
    spec: SpecFile,
    shim: Child,
    report: PipeReader,
}

fn begin(options: &Options, run: RunSpec, input: Option<&Input>) -> Result<Begun, LaunchError> {
    let id = run.id.clone();
    let dir = options.dir.join(id.as_str());
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(LaunchError::Exists(id)),
        result => result.map_err(|error| LaunchError::Prepare(id.clone(), error))?,
    }
    let begun = prepare(options, run, input, &dir).map_err(|error| LaunchError::Prepare(id.clone(), error)).and_then(
        |(spec, mut command, report)| match command.spawn() {
            Ok(shim) => Ok(Begun { dir: dir.clone(), spec, shim, report }),
            Err(source) => Err(LaunchError::Spawn { id, program: options.program.clone(), source }),
        },
    );
    if begun.is_err() {
        // Nothing was started; the next agent would find the same and remove it.
        let _ = discard(&dir);
    }
    begun
}

fn prepare(
    options: &Options,
    run: RunSpec,
    input: Option<&Input>,
    dir: &Path,
) -> io::Result<(SpecFile, Command, PipeReader)> {
    let cgroup = options.cgroup.as_ref().map(|root| Leaf::create(root, &run.id)).transpose()?;
    let spec = SpecFile {
        format: FORMAT,
        boot_id: options.boot_id.clone(),
        marker: format!("{}-{}", run.id, nonce()?),
        cgroup: cgroup.map(|leaf| leaf.path().to_owned()),
        run,
    };
    let lock = File::create(dir.join(record::LOCK))?;
    lock.lock()?;
    record::write(dir, record::SPEC, &spec, false)?;
    let (report, report_end) = io::pipe()?;
    let mut command = Command::new(&options.program);
    command.arg0("interlock-agent").arg("shim").arg(dir).env_clear().current_dir("/");
    command.stdout(lock).stderr(report_end).stdin(match input {
        None => Stdio::null(),
        Some(input) => Stdio::from(filled_pipe(input)?),
    });
    Ok((spec, command, report))
}

/// A pipe that holds the input and then ends. Written before anybody reads, and therefore never blocking.
fn filled_pipe(input: &Input) -> io::Result<PipeReader> {
    let (read, mut write) = io::pipe()?;
    // The default size can be less than 64 KiB for a user with many pipes (pipe(7), pipe-user-pages-soft).
    rustix::pipe::fcntl_setpipe_size(&write, input.bytes().len().max(1))?;
    write.write_all(input.bytes())?;
    Ok(read)
}

/// A number that no other run of this machine has.
fn nonce() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

async fn read_report(pipe: PipeReader) -> io::Result<Report> {
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))?;
    let mut line = Vec::new();
    pipe.take(MAX_REPORT).read_to_end(&mut line).await?;
    serde_json::from_slice(&line).map_err(|_| {
        let said = String::from_utf8_lossy(&line);
        io::Error::other(format!("it ended without a report; it said: {:?}", said.trim()))
    })
}

/// A run of an earlier agent.
struct Found {
    dir: PathBuf,
    spec: SpecFile,
    living: Option<(RunRecord, Followed)>,
}

/// Reads a run's directory; none if nothing was ever started there.
fn find(dir: &Path) -> io::Result<Option<Found>> {
    let lock = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(record::LOCK))?;
    let begun = std::time::Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => {
                // No shim lives, and no agent is about to start one.
                let Some(spec) = record::read(dir, record::SPEC)? else {
                    discard(dir)?;
                    return Ok(None);
                };
                return Ok(Some(Found { dir: dir.to_owned(), spec, living: None }));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let spec: Option<SpecFile> = record::read(dir, record::SPEC)?;
        let record: Option<RunRecord> = record::read(dir, record::RUN)?;
        if let (Some(spec), Some(record)) = (spec, record) {
            let child = record.child.map(|child| child.open()).transpose()?.flatten();
            // Without a child it may be about to start it.
            let settled = record.child.is_some() || begun.elapsed() > SHIM_PATIENCE;
            if let Some(shim) = record.shim.open()?.filter(|_| settled) {
                let followed = Followed { shim, child, reap: None };
                return Ok(Some(Found { dir: dir.to_owned(), spec, living: Some((record, followed)) }));
            }
        }
        // The shim is just beginning, or just ending.
        if begun.elapsed() > SHIM_PATIENCE {
            return Err(io::Error::other("its lock is held, but not by a shim that says who it is"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes a run's directory. Renamed first: half a directory would look like a run without a witness.
fn discard(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let gone = dir.with_file_name(format!("{GONE}{name}-{}", nonce()?));
    fs::rename(dir, &gone)?;
    fs::remove_dir_all(&gone)
}
