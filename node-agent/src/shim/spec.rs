//! What is to be run, and how: the part of a run's directory that the agent writes before the shim exists.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use interlock_model::action::STOP_GRACE;
use interlock_model::ids::BootId;
use interlock_model::time::human;
use serde::{Deserialize, Serialize};

use super::RunId;
use super::signal::StopSignal;

/// The version of the files in a run's directory. A shim refuses any other; an agent after an upgrade reads all that
/// it knows. Raise it when a file changes its meaning.
pub(crate) const FORMAT: u32 = 1;

/// The variable that marks every process of a run, so that leftovers can be found without a control group.
pub(crate) const MARKER: &str = "INTERLOCK_RUN";

/// The search path of a command whose environment sets none.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most that can be given to a command on its standard input: what a pipe holds, so that it can be written
/// before anybody reads (pipe(7): 64 KiB on Linux).
pub const MAX_INPUT: usize = 64 * 1024;

/// How much output of each stream of an attempt is kept.
pub const ATTEMPT_OUTPUT: u64 = 64 * 1024;

/// One command and the rules that it runs by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSpec {
    /// The id, unused so far.
    pub id: RunId,
    /// For whom it runs, free text. Comes back when the run is adopted.
    pub owner: String,
    /// Program (absolute path) and arguments. Never a secret: arguments are public on the machine.
    pub command: Vec<String>,
    /// The whole environment, apart from `PATH` if it is missing here and the marker of the run.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Who it runs as; as the agent if none.
    pub user: Option<User>,
    /// Where its output goes.
    pub output: Output,
    /// What becomes of processes that outlive the command.
    pub leftovers: Leftovers,
    /// Stop it after this time, counted while the machine is awake.
    pub time_limit: Option<Duration>,
    /// How it is stopped.
    pub stop: Stop,
    /// Must the outcome survive a power cut? Costs two disk flushes.
    pub durable: bool,
    /// What it reads from its standard input; nothing if none. Passed through a pipe and never written to disk.
    #[serde(skip)]
    pub input: Option<Input>,
}

impl RunSpec {
    /// An attempt with everything else at its default: no time limit, SIGTERM and 10 s of grace, leftovers killed,
    /// outcome durable.
    #[must_use]
    pub fn new(id: RunId, command: Vec<String>) -> Self {
        Self {
            id,
            owner: String::new(),
            command,
            env: BTreeMap::new(),
            cwd: PathBuf::from("/"),
            user: None,
            output: Output::Ends {
                bytes: ATTEMPT_OUTPUT,
            },
            leftovers: Leftovers::Kill,
            time_limit: None,
            stop: Stop::default(),
            durable: true,
            input: None,
        }
    }
}

/// A user by number, so that nothing has to be looked up when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The primary group. Supplementary groups are dropped.
    pub gid: u32,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Per stream, the beginning and the end, in the run's directory. At most this many bytes each.
    Ends {
        /// The bound in bytes.
        bytes: u64,
    },
    /// Both streams into one file that outlives the run, with one older file beside it (`.1`).
    Log {
        /// The file.
        path: PathBuf,
        /// The bound of both files together in bytes.
        bytes: u64,
    },
}

/// What becomes of processes that outlive the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftovers {
    /// They are stopped; the run ends when none is left. For attempts and for supervised processes.
    Kill,
    /// They are what the command was for (a start script that leaves a daemon behind). The run lasts as long as any
    /// of them; the outcome of the command itself is known as soon as it exits.
    Keep,
}

/// How a run is stopped: a signal to the whole process group, and SIGKILL to all that is left after the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The polite signal.
    pub signal: StopSignal,
    /// The time that it is given.
    #[serde(with = "human")]
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: StopSignal::Term,
            grace: STOP_GRACE,
        }
    }
}

/// What a command reads from its standard input. May hold secrets, so it is never shown and never stored.
#[derive(Clone)]
pub struct Input(Vec<u8>);

/// There is more input than a pipe holds.
#[derive(Debug, thiserror::Error)]
#[error("{0} bytes of standard input are more than the {MAX_INPUT} that fit into a pipe")]
pub struct InputTooLong(usize);

impl Input {
    /// Takes the bytes.
    ///
    /// # Errors
    /// If they are more than [`MAX_INPUT`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, InputTooLong> {
        if bytes.len() > MAX_INPUT {
            Err(InputTooLong(bytes.len()))
        } else {
            Ok(Self(bytes))
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({} bytes)", self.0.len())
    }
}

/// `spec.json`: the run, and what only the agent knows about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SpecFile {
    pub(crate) format: u32,
    pub(crate) boot_id: BootId,
    /// The value of [`MARKER`]; differs between two runs with the same id.
    pub(crate) marker: String,
    /// The control group made for this run.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) run: RunSpec,
}

impl SpecFile {
    /// The environment of the command. What talks to the agent's own supervisor (`NOTIFY_SOCKET`, `WATCHDOG_*`,
    /// `LISTEN_*`) cannot leak: nothing is inherited.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let mut env = self.run.env.clone();
        env.entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        env.insert(MARKER.to_owned(), self.marker.clone());
        env
    }
}
