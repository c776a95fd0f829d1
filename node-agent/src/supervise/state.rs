//! The state of a supervised process.

use std::fmt;
use std::time::Duration;

use interlock_model::observation::InstanceState;
use interlock_model::time::Timestamp;

use crate::shim::{Ended, Group, Lost, Outcome, Proof, Run};

/// Why it is not known that nothing is left, and what to do about it.
pub(super) const UNPROVEN: &str = "its shim was killed; no process with its mark is left, which without a control group is no \
                                   proof: one may have shed it. Look, end what is left of it, and say so with `interlockctl \
                                   node stop SERVICE --node NODE --reason TEXT`";

/// What a supervised process is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It lives and is not ready yet.
    Starting {
        /// Its pid.
        pid: u32,
        /// When it was started, for people.
        since: Timestamp,
        /// The same on the clock that counts from boot, if its shim has written it down.
        started: Option<Duration>,
        /// Why it is not ready although something answers in its place; empty if nothing does.
        note: String,
    },
    /// It lives and is ready.
    Running {
        /// Its pid.
        pid: u32,
        /// When it was started, for people.
        since: Timestamp,
        /// The same on the clock that counts from boot, if its shim has written it down.
        started: Option<Duration>,
        /// By what its readiness was told; empty if there is nothing to say.
        note: String,
    },
    /// It was told to stop, or has died and what it left behind is being stopped.
    Stopping,
    /// Nothing of it is left, and that is no failure.
    Stopped {
        /// Why it does not run.
        why: String,
        /// When it ended; none if it was never started here.
        since: Option<Timestamp>,
    },
    /// It ended in a way that it should not have, and nothing of it is left.
    Failed {
        /// How it ended.
        why: String,
        /// When it ended, if anybody saw it.
        since: Option<Timestamp>,
    },
    /// Its shim was killed, and it lives on. Its death will be seen, how it ends will not.
    Orphaned {
        /// Its pid.
        pid: u32,
        /// When it was started, for people.
        since: Timestamp,
        /// The same on the clock that counts from boot, if its shim has written it down.
        started: Option<Duration>,
    },
    /// It was started, and a shim keeps it of which there is no record: the state directory of the agent was lost or put
    /// back while it ran.
    Forgotten {
        /// The pid of the shim.
        shim: u32,
    },
    /// Its shim was killed, it is dead, and something that it started may live. It has to be stopped before it can be started.
    Unknown {
        /// Those of its processes that were found.
        pids: Vec<u32>,
    },
    /// Its shim was killed, and without a control group nothing proves that all that it started is gone, although nothing
    /// is found. A person has to look ([`Supervisor::take_word`](super::Supervisor::take_word)).
    Unproven,
}

impl State {
    /// The state before anything was started.
    pub(super) fn never_started() -> Self {
        Self::Stopped {
            why: "not started since this machine is up".to_owned(),
            since: None,
        }
    }

    /// The state when a person says that nothing is left.
    pub(super) fn by_word() -> Self {
        Self::Stopped {
            why: "its shim was killed, and a person has said that nothing of it is left".to_owned(),
            since: None,
        }
    }

    /// The state of a living run, ready or not, and what is to be said about that.
    pub(super) fn living(run: &Run, ready: bool, note: String) -> Self {
        let pid = run.pid().unwrap_or_default();
        let since = run.started_at().unwrap_or_default();
        let started = run.started_boot();
        if ready {
            Self::Running {
                pid,
                since,
                started,
                note,
            }
        } else {
            Self::Starting {
                pid,
                since,
                started,
                note,
            }
        }
    }

    /// The state of a run whose shim is gone.
    pub(super) fn of_ended(run: &Run, ended: &Ended) -> Self {
        if run.lives_without_shim() {
            return Self::Orphaned {
                pid: run.pid().unwrap_or_default(),
                since: run.started_at().unwrap_or_default(),
                started: run.started_boot(),
            };
        }
        Self::after(ended)
    }

    /// The state after a run.
    pub(super) fn after(ended: &Ended) -> Self {
        if let Group::Left { pids } = &ended.group {
            return Self::Unknown { pids: pids.clone() };
        }
        if ended.group == Group::Empty(Proof::Searched) {
            return Self::Unproven;
        }
        let why = ended.outcome.to_string();
        match &ended.outcome {
            Outcome::Exited(exit) if exit.stopped => Self::Stopped {
                why: format!("stopped on request ({})", exit.status),
                since: Some(exit.ended_at),
            },
            Outcome::Exited(exit) if exit.is_clean() => Self::Stopped {
                why,
                since: Some(exit.ended_at),
            },
            Outcome::Exited(exit) => Self::Failed {
                why,
                since: Some(exit.ended_at),
            },
            Outcome::Unknown(Lost::OtherBoot) => Self::never_started(),
            Outcome::Unknown(Lost::ShimKilled) => Self::Failed { why, since: None },
        }
    }

    /// Has it been started since this machine is up?
    #[must_use]
    pub fn was_started(&self) -> bool {
        *self != Self::never_started()
    }

    /// How far a run is in this state. Within one run it never shrinks.
    pub(super) fn progress(&self) -> u8 {
        match self {
            Self::Starting { .. } | Self::Forgotten { .. } => 0,
            Self::Running { .. } => 1,
            Self::Stopping | Self::Orphaned { .. } => 2,
            Self::Stopped { .. } | Self::Failed { .. } | Self::Unknown { .. } | Self::Unproven => 3,
        }
    }

    /// The state in the words of observations.
    #[must_use]
    pub fn instance(&self) -> InstanceState {
        match self {
            Self::Starting { .. } => InstanceState::Starting,
            Self::Running { .. } | Self::Orphaned { .. } => InstanceState::Running,
            Self::Stopping => InstanceState::Stopping,
            Self::Stopped { .. } => InstanceState::Stopped,
            Self::Failed { .. } => InstanceState::Failed,
            Self::Unknown { .. } | Self::Forgotten { .. } | Self::Unproven => {
                InstanceState::Unknown
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { pid, .. } => write!(f, "starting (pid {pid})"),
            Self::Running { pid, .. } => write!(f, "running (pid {pid})"),
            Self::Orphaned { pid, .. } => {
                write!(f, "running (pid {pid}) without its shim, which was killed")
            }
            Self::Stopping => f.write_str("stopping"),
            Self::Stopped { why, .. } => write!(f, "stopped: {why}"),
            Self::Failed { why, .. } => write!(f, "failed: {why}"),
            Self::Forgotten { shim } => write!(
                f,
                "unknown: pid {shim} is the shim of a run of which there is no record; the state directory was lost or put \
                 back while it ran. `kill {shim}` ends it with its command"
            ),
            Self::Unknown { pids } => {
                write!(f, "unknown: its shim was killed and pids {pids:?} are left")
            }
            Self::Unproven => write!(f, "unknown: {UNPROVEN}"),
        }
    }
}
