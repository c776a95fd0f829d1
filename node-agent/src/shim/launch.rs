//! Starting a shim.

use std::fs::{self, DirBuilder, File};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::io::AsyncReadExt;

use super::cgroup::Leaf;
use super::keeper::Report;
use super::record;
use super::runs::Options;
use super::spec::{FORMAT, Input, SpecFile};
use super::{RunId, RunSpec};

/// The longest report of a shim, in bytes.
const MAX_REPORT: u64 = 4096;

/// Tells the allocator of a shim to take the few pages that it needs as it needs them. By default it reserves a GiB that the kernel
/// may back with huge pages, and the first bytes of it are two MiB then, to be cleared and kept. Its command does not inherit it.
const SMALL_HEAP: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");

/// What the directories of forgotten runs begin with until they are deleted. No run id begins with a dot.
pub(super) const GONE: &str = ".gone-";

/// A run could not be launched. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is a run with this id.
    #[error("run {0} exists: adopt it, or remove it first")]
    Exists(RunId),
    /// Its directory, control group or pipes could not be made.
    #[error(
        "cannot prepare run {id} in {dir}: check that this directory is there, on a local disk, writable and with room; if it was \
         removed, restart the agent"
    )]
    Prepare {
        /// The run.
        id: RunId,
        /// The directory of all runs.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
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
    /// The shim gave up before it started anything, or was killed before it could.
    #[error("the shim of run {0} gave up: {1}")]
    Shim(RunId, String),
    /// The shim runs but cannot be followed. It was told to stop.
    #[error("cannot follow run {0}")]
    Follow(RunId, #[source] io::Error),
    /// The agent is ending.
    #[error("run {0} was not launched: the agent is ending")]
    Ending(RunId),
}

/// A shim that was just started.
pub(super) struct Begun {
    pub(super) dir: PathBuf,
    pub(super) spec: SpecFile,
    pub(super) shim: Child,
    pub(super) report: PipeReader,
}

/// Makes a run's directory and starts its shim.
pub(super) fn begin(
    options: &Options,
    run: RunSpec,
    input: Option<&Input>,
) -> Result<Begun, LaunchError> {
    let id = run.id.clone();
    let dir = options.dir.join(id.as_str());
    let cannot = |source| LaunchError::Prepare {
        id: id.clone(),
        dir: options.dir.clone(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(LaunchError::Exists(id));
        }
        result => result.map_err(cannot)?,
    }
    let begun = prepare(options, run, input, &dir).map_err(cannot).and_then(
        |(spec, mut command, report)| match command.spawn() {
            Ok(shim) => Ok(Begun {
                dir: dir.clone(),
                spec,
                shim,
                report,
            }),
            Err(source) => Err(LaunchError::Spawn {
                id: id.clone(),
                program: options.program.clone(),
                source,
            }),
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
    let cgroup = options
        .cgroup
        .as_ref()
        .map(|root| Leaf::create(root, &run.id))
        .transpose()?;
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
    command
        .arg0("interlock-agent")
        .arg("shim")
        .arg(dir)
        .env_clear()
        .env(SMALL_HEAP.0, SMALL_HEAP.1)
        .current_dir("/");
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

/// What the shim says when it has begun.
pub(super) async fn read_report(pipe: PipeReader) -> io::Result<Report> {
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))?;
    let mut line = Vec::new();
    pipe.take(MAX_REPORT).read_to_end(&mut line).await?;
    serde_json::from_slice(&line).map_err(|_| {
        let said = String::from_utf8_lossy(&line);
        io::Error::other(format!(
            "it ended without a report; it said: {:?}",
            said.trim()
        ))
    })
}

/// Removes a run's directory. Renamed first: half a directory would look like a run without a witness.
pub(super) fn discard(dir: &Path) -> io::Result<()> {
    let name = dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let gone = dir.with_file_name(format!("{GONE}{name}-{}", nonce()?));
    match fs::rename(dir, &gone) {
        // Somebody else has removed it, which is as good.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.and_then(|()| fs::remove_dir_all(&gone)),
    }
}
