//! Commands of the agent's own file: supervised processes, start/stop/check commands, those that take the machine down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Account;
use crate::shim::Stop;

/// What every command has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The whole environment; nothing of the agent's own is inherited.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Who it runs as; as the agent if none.
    pub user: Option<Account>,
    /// How it is stopped.
    pub stop: Stop,
}

/// A process that the agent supervises: a command that stays in the foreground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Program (absolute path) and arguments.
    pub command: Vec<String>,
    /// Environment, directory, user, how to stop.
    pub setting: Setting,
    /// When it counts as running.
    pub ready: Ready,
    /// The bound of its log in bytes, both files together.
    pub log_cap: u64,
}

/// When a process that was started counts as running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// At once.
    Started,
    /// When a TCP connection is accepted.
    Tcp {
        /// Here.
        address: SocketAddr,
        /// By whom.
        listener: Listener,
    },
    /// When it has lived for so long.
    After(Duration),
}

/// Who has to listen where a process is to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listener {
    /// The process, or one that it has started, wherever that can be told.
    #[default]
    Own,
    /// Anybody: for a command that has something else listen, such as a container engine.
    Any,
}

/// Commands that start, stop and check something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Starts it. What it leaves running belongs to the service.
    pub start: Option<Vec<String>>,
    /// Stops it.
    pub stop: Option<Vec<String>>,
    /// Tells by its exit status whether it runs.
    pub check: Option<Vec<String>>,
    /// The time limit of each.
    pub time_limit: Duration,
    /// May start and stop be repeated when it is unknown whether they have happened?
    pub idempotent: bool,
    /// Environment, directory, user, how a command is stopped at its limit.
    pub setting: Setting,
}

/// Commands for a machine that is not one of its own to its operating system, such as a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// Shuts it down.
    pub command: Vec<String>,
    /// Restarts it. Without one it is not restarted: who is not to be asked to shut it down is not asked for that either.
    pub reboot_command: Option<Vec<String>>,
}
