//! How a run ended, and how that is told from what its shim has left on disk.

use std::fmt;
use std::io;
use std::path::Path;

use interlock_model::ids::BootId;

use super::leftover::{self, Group, Proof};
use super::record::{self, Exit, RunRecord, Status};
use super::spec::SpecFile;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What is known about the command.
    pub outcome: Outcome,
    /// What is known about everything that it started.
    pub group: Group,
}

/// What is known about a command that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The shim saw its end and wrote it down.
    Exited(Exit),
    /// Nobody saw its end. It may have done all, some or nothing of its work.
    Unknown(Lost),
}

/// Why nobody saw the end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The machine went down meanwhile.
    OtherBoot,
    /// The shim was killed.
    ShimKilled,
}

impl Outcome {
    /// How the command exited, if that is known.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Exited(exit) => Some(&exit.status),
            Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) if exit.timed_out => {
                write!(f, "stopped at its time limit ({})", exit.status)
            }
            Self::Exited(exit) => exit.status.fmt(f),
            Self::Unknown(Lost::OtherBoot) => {
                f.write_str("outcome unknown: the machine was restarted meanwhile")
            }
            Self::Unknown(Lost::ShimKilled) => f.write_str("outcome unknown: its shim was killed"),
        }
    }
}

/// How a command itself ended, while something that it started may live on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildEnd {
    /// Its status.
    pub status: Status,
    /// It was stopped at its time limit.
    pub timed_out: bool,
    /// It was stopped on request.
    pub stopped: bool,
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self {
                timed_out: true,
                status,
                ..
            } => write!(f, "stopped at its time limit ({status})"),
            Self {
                stopped: true,
                status,
                ..
            } => write!(f, "stopped on request ({status})"),
            Self { status, .. } => status.fmt(f),
        }
    }
}

/// What is known of a run without a shim.
pub(super) fn collect(dir: &Path, spec: &SpecFile, boot_id: &BootId) -> Ended {
    let unreadable = |error: io::Error| {
        tracing::warn!(run = %spec.run.id, %error, "a record of the run cannot be read; taken for missing");
    };
    if let Some(exit) = record::read::<Exit>(dir, record::EXIT)
        .map_err(unreadable)
        .ok()
        .flatten()
    {
        let proof = match exit.status {
            Status::NotStarted(_) => Proof::NeverStarted,
            Status::Code(_) | Status::Signal(_) => Proof::Waited,
        };
        return Ended {
            outcome: Outcome::Exited(exit),
            group: Group::Empty(proof),
        };
    }
    if spec.boot_id != *boot_id {
        return Ended {
            outcome: Outcome::Unknown(Lost::OtherBoot),
            group: Group::Empty(Proof::OtherBoot),
        };
    }
    // The shim writes it before it starts the command. A directory that somebody has removed says nothing.
    if matches!(record::read::<RunRecord>(dir, record::RUN), Ok(None))
        && dir.join(record::SPEC).exists()
    {
        return Ended {
            outcome: Outcome::Exited(never_started()),
            group: Group::Empty(Proof::NeverStarted),
        };
    }
    let group = leftover::look(dir, spec).unwrap_or_else(|error| {
        tracing::warn!(run = %spec.run.id, %error, "cannot look for what is left of the run; assuming that something is");
        Group::Left { pids: Vec::new() }
    });
    Ended {
        outcome: Outcome::Unknown(Lost::ShimKilled),
        group,
    }
}

fn never_started() -> Exit {
    Exit {
        status: Status::NotStarted(
            "the agent or the shim died before the command was started".to_owned(),
        ),
        ended_at: record::now(),
        group_empty: true,
        timed_out: false,
        stopped: false,
        oom: None,
        stdout_cut: 0,
        stderr_cut: 0,
    }
}
