//! What a look at the local server found.

use std::net::IpAddr;

use super::{Lsn, SystemId, Timeline};

/// What a look at the local server found. What could not be told is an [`Error`](super::Error), never one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// No process of a server holds the data directory.
    Stopped,
    /// Processes of a server hold the data directory, but it lets nobody in: it starts, ends, or was killed and has left
    /// something. What they still write nobody knows.
    Busy {
        /// The processes.
        processes: Vec<u32>,
        /// What it says.
        why: String,
    },
    /// It answers.
    Up(Facts),
}

/// What a server that answers says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The database cluster.
    pub system: SystemId,
    /// The timeline that a primary writes, or that a standby has received or recovered last.
    pub timeline: Timeline,
    /// What it is.
    pub role: Role,
}

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Not in recovery: it can accept writes.
    Primary(Primary),
    /// In recovery.
    Standby(Standby),
}

/// A primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// The end of its log that is on disk.
    pub flushed: Lsn,
    /// `default_transaction_read_only` is in force for the user that asks: it may be a primary that takes no writes.
    pub read_only: bool,
    /// `synchronous_standby_names` as it is in force for new sessions; empty if commits wait for nobody.
    pub synchronous: String,
    /// `synchronous_commit` as it is in force for the user that asks. Another user, database or session may have another one.
    pub commit: String,
    /// Who receives from it. A base backup is nobody; the log that it receives beside is taken by its tool, under a name that no
    /// node has.
    pub standbys: Vec<Receiver>,
}

/// Who receives from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its `application_name`, which is the name of its node if this program has set it up.
    pub name: String,
    /// Where it is; none over a socket of the machine.
    pub address: Option<IpAddr>,
    /// Does it stream? If not, it is behind by more than a moment (`startup`, `catchup`), or going (`stopping`).
    pub streaming: bool,
    /// Do commits wait for it?
    pub sync: Sync,
    /// What it has on disk; none if it has not said so yet.
    pub flushed: Option<Lsn>,
    /// What its readers see; none if it has not said so yet.
    pub replayed: Option<Lsn>,
}

/// Do commits wait for a standby?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// No.
    Async,
    /// Not now: it stands in for one that they wait for (`potential`).
    Potential,
    /// Yes: for it (`sync`), or for enough of those that it is one of (`quorum`).
    Sync,
}

/// A standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// The end of what it has on disk.
    pub received: Lsn,
    /// What it has applied.
    pub replayed: Lsn,
    /// Somebody has paused it: it receives, and applies nothing.
    pub paused: bool,
    /// Whom it receives from; none if from nobody.
    pub source: Option<Source>,
}

/// Whom a standby receives from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As `primary_conninfo` names it; none while the receiver has not connected.
    pub host: Option<String>,
    /// Its port; the same.
    pub port: Option<u16>,
    /// Does it stream? A standby that has diverged never does.
    pub streaming: bool,
    /// The last position that the source has told of itself. As old as its last message: an idle one may say nothing for half a
    /// minute.
    pub told: Option<Lsn>,
}

impl Primary {
    /// Do commits wait, where they wait for a standby, until that one has them on disk? With less (`remote_write`, `local`,
    /// `off`) they are acknowledged before.
    #[must_use]
    pub fn waits_for_disks(&self) -> bool {
        matches!(self.commit.as_str(), "on" | "remote_apply")
    }
}

impl Facts {
    /// The end of its log on disk.
    #[must_use]
    pub fn end(&self) -> Lsn {
        match &self.role {
            Role::Primary(primary) => primary.flushed,
            Role::Standby(standby) => standby.received,
        }
    }
}
