//! Commands that outlive the agent.
//!
//! Everything that the agent runs (an attempt of an action, a check, a supervised process) is a **run**: one command
//! under a **shim**. The shim is this program, started again as `interlock-agent shim DIR`. It stays when the agent
//! dies, so that a restarted agent **adopts** the run and learns its outcome (safety rule X2), and *released* can be
//! proven (E10).
//!
//! ```text
//!  agent ──► writes DIR/spec.json, locks DIR/lock, starts ──► shim (own session, subreaper)
//!    ▲                                                          │ writes run.json
//!    │ pidfds of shim and command                               ▼
//!    └───────────────────────────────────────────────────── command (own process group, marked environment)
//!  agent ──► writes stop.json, SIGTERM to the shim ──► signal to the group ─ grace ─► SIGKILL until nothing is left
//!                                                       shim writes exit.json, its last act
//! ```
//!
//! Invariants:
//!
//! * `exit.json` exists ⇒ no process of the run is left: the shim writes it after wait(2) has said that it has no
//!   child, and orphans become its children (`PR_SET_CHILD_SUBREAPER`, prctl(2)); with a control group, after that is
//!   empty as well.
//! * `DIR/lock` can be locked ⇔ no shim lives, and none will: the lock is taken before the shim exists and belongs to
//!   an open file that only the shim inherits. No pid has to be trusted for this.
//! * No `run.json` ⇒ the command was never started.
//! * A process is signalled only through a pidfd whose start time was compared.
//!
//! If the shim itself is killed, nobody saw the end: the outcome is [`Outcome::Unknown`], and what is left is watched until
//! it is gone. A control group still tells
//! whether something is left, and kills it. Without one, the environments of all processes are searched for the run's
//! marker ([`Proof::Searched`] says so).

mod adopt;
mod capture;
mod cgroup;
mod forgotten;
mod grip;
mod id;
mod keeper;
mod launch;
mod leftover;
mod orphan;
mod outcome;
mod procfs;
mod record;
mod run;
mod runs;
mod signal;
mod spec;
mod stream;

use std::time::{Duration, Instant};

pub use capture::Captured;
pub(crate) use cgroup::{TREES as CGROUP_TREES, own as own_group};
pub use forgotten::Forgotten;
pub(crate) use grip::{Grip, Left};
pub use id::{BadRunId, RunId};
pub use keeper::keep;
pub use launch::LaunchError;
pub use leftover::{Group, Proof};
pub use outcome::{ChildEnd, Ended, Lost, Outcome};
pub(crate) use procfs::{ProcessRef, children, marked, parent};
pub use record::{Exit, Status};
pub(crate) use run::watch_fd;
pub use run::{KillError, Run};
pub use runs::{OpenError, Options, RemoveError, Runs};
pub use signal::{BadSignal, StopSignal};
pub(crate) use spec::DEFAULT_PATH;
pub use spec::{
    ATTEMPT_OUTPUT, Input, InputTooLong, Leftovers, MAX_INPUT, Output, RunSpec, Stop, User,
};

/// A time that is so far away that nobody will see it: for periods that no clock can hold.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The moment after a period that a person may have written, however long.
fn deadline(now: Instant, after: Duration) -> Instant {
    now + after.min(FAR)
}
