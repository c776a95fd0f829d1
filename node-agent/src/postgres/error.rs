//! What can go wrong with a server of this machine: which server, what was tried, what was in the way, what helps.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use interlock_model::names::LocalName;

use super::{BadControl, BadHistory, BadLsn, SystemId};
use crate::config::AccountError;

/// An operation on a server of this machine did not succeed.
#[derive(Debug)]
pub struct Error {
    /// The server's name in the agent's file.
    pub cluster: LocalName,
    /// What was tried.
    pub operation: Operation,
    /// What was in the way.
    pub trouble: Trouble,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Cluster::observe`](super::Cluster::observe).
    Observe,
    /// [`Cluster::checkpoint`](super::Cluster::checkpoint).
    Checkpoint,
    /// [`Cluster::control`](super::Cluster::control).
    Control,
    /// [`Cluster::prepare_start`](super::Cluster::prepare_start).
    PrepareStart,
    /// [`Cluster::follow`](super::Cluster::follow).
    Follow,
    /// [`Cluster::divergence`](super::Cluster::divergence).
    Compare,
    /// [`Cluster::save_aside`](super::Cluster::save_aside).
    SaveAside,
    /// [`Cluster::rewind`](super::Cluster::rewind).
    Rewind,
    /// [`Cluster::clone_from`](super::Cluster::clone_from).
    Clone,
    /// [`Cluster::promote`](super::Cluster::promote).
    Promote,
    /// [`Cluster::synchronous`](super::Cluster::synchronous).
    Synchronous,
    /// [`Cluster::slots`](super::Cluster::slots).
    Slots,
}

/// What was in the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// It took too long. What was begun may still come to its end.
    #[error("it was not done within {0:?}")]
    Limit(Duration),
    /// A server runs on the data directory, or something that a killed one has left.
    #[error(
        "processes {0:?} of a server hold its data directory: stop the server, or wait until they are gone"
    )]
    Busy(Vec<u32>),
    /// There is no data directory.
    #[error("there is no data directory {0}: clone it from the primary")]
    NoData(PathBuf),
    /// A rewind was interrupted when it had begun to write.
    #[error(
        "a rewind was interrupted in the middle, and what is in {0} is of no use as it is: clone it from the primary"
    )]
    HalfRewound(PathBuf),
    /// The server is not as old as that.
    #[error("{0} is left of a version before 12, and no later one starts with it: remove it")]
    RecoveryConf(PathBuf),
    /// A primary was to be made a standby while it runs.
    #[error("it is a primary: stop it first")]
    IsPrimary,
    /// The server does not run.
    #[error("it does not run: start it first")]
    NotRunning,
    /// The server runs and lets nobody in yet.
    #[error("it lets nobody in: {0}")]
    Closed(String),
    /// The server cannot be reached.
    #[error("cannot connect to {0}: it may be down, or listen elsewhere")]
    Connect(String, #[source] io::Error),
    /// The connection broke.
    #[error("the connection to {0} broke")]
    Broken(String, #[source] io::Error),
    /// The server refuses the login.
    #[error(
        "{server} refuses the login of {user}: {why}; let it in (pg_hba.conf), and name its password in the passfile"
    )]
    Login {
        /// Which server.
        server: String,
        /// Who.
        user: String,
        /// What it says.
        why: String,
    },
    /// The server refuses a query or command.
    #[error("{server} refuses '{sql}': {message} ({code})")]
    Refused {
        /// Which server.
        server: String,
        /// What it was asked.
        sql: String,
        /// What it says.
        message: String,
        /// Its SQLSTATE.
        code: String,
    },
    /// The server gives an answer that is not known here.
    #[error("{server} answers '{sql}' with something that is not known here")]
    Answer {
        /// Which server.
        server: String,
        /// What it was asked.
        sql: String,
    },
    /// The role may not see what it has to.
    #[error("{0} is hidden from {1}: GRANT pg_monitor TO {1}")]
    Hidden(&'static str, String),
    /// Another server listens there.
    #[error("the server at {at} is another one, of {theirs}: correct `host` and `port`")]
    AnotherServer {
        /// Where it was asked.
        at: String,
        /// Its data directory.
        theirs: String,
    },
    /// The other server holds something else.
    #[error("{server} holds the database system {theirs}, this one {own}: it is no copy of it")]
    AnotherSystem {
        /// Which server.
        server: String,
        /// What it holds.
        theirs: SystemId,
        /// What is held here.
        own: SystemId,
    },
    /// A setting was written and something else is in force.
    #[error(
        "{setting} was set, but something else is in force{values}: remove it from the server's command line, or mend the file that the server refuses"
    )]
    NotInForce {
        /// Which setting.
        setting: &'static str,
        /// What was written and what the server shows, in brackets; empty where either may hold a password.
        values: String,
    },
    /// A program could not be started.
    #[error(
        "cannot run {0}: install the server's programs, and let the agent run as root or as the server's user"
    )]
    Start(PathBuf, #[source] io::Error),
    /// A program failed.
    #[error("{program} {how}: {said}")]
    Tool {
        /// Which.
        program: String,
        /// How it ended.
        how: String,
        /// The end of what it said.
        said: String,
    },
    /// The data directory cannot be rewound. Nothing of it was changed.
    #[error("it cannot be rewound: {0}; clone it from the primary")]
    NotRewindable(String),
    /// A rewind failed when it had begun to write.
    #[error(
        "pg_rewind failed in the middle ({0}), and what it has left is of no use: clone it from the primary"
    )]
    RewindBroke(String),
    /// A data directory cannot be replaced by renaming.
    #[error("{0} cannot be replaced: {1}; replace it by hand")]
    Unmovable(PathBuf, &'static str),
    /// A file or directory could not be read or changed.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The password file cannot be used.
    #[error("the passfile {path} {why}: it has to belong to the server's user, mode 0600")]
    Passfile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The user of the server cannot be told.
    #[error("cannot tell the user of the server")]
    Account(#[source] AccountError),
    /// The control file.
    #[error("pg_controldata says nothing useful")]
    Control(#[source] BadControl),
    /// A history file.
    #[error("cannot tell where {0} comes from")]
    History(String, #[source] BadHistory),
    /// A position.
    #[error("{0} tells a position that is none")]
    Position(String, #[source] BadLsn),
    /// The end of the log cannot be told.
    #[error("pg_waldump does not say where the log ends: {0}")]
    NoEnd(String),
    /// It was promoted, and does not do a primary's work.
    #[error("it is a primary, but takes no writes: {0}")]
    NoWrites(String),
    /// Processes cannot be looked at.
    #[error("cannot look for processes that hold the data directory")]
    Processes(#[source] io::Error),
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

impl Error {
    /// Does nothing but [`Cluster::clone_from`](super::Cluster::clone_from) help?
    #[must_use]
    pub fn wants_clone(&self) -> bool {
        matches!(
            self.trouble,
            Trouble::NoData(_)
                | Trouble::HalfRewound(_)
                | Trouble::RewindBroke(_)
                | Trouble::NotRewindable(_)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            operation,
            trouble,
        } = self;
        write!(f, "cannot {operation} PostgreSQL {cluster}: {trouble}")
    }
}

impl error::Error for Error {
    /// The trouble is part of the text already; what is behind it is not.
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.trouble.source()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Control => "read the control file of",
            Self::PrepareStart => "prepare the start of",
            Self::Follow => "set the upstream of",
            Self::Compare => "compare the log of",
            Self::SaveAside => "save the lost log of",
            Self::Rewind => "rewind",
            Self::Clone => "clone",
            Self::Checkpoint => "make a checkpoint of",
            Self::Promote => "promote",
            Self::Synchronous => "set the synchronous standbys of",
            Self::Slots => "set the replication slots of",
        })
    }
}
