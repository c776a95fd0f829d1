//! The `process` manager: long-running commands that the agent supervises.
//!
//! Mechanics only: it starts and stops, says at once what happens, and proves that a stopped process has left nothing
//! behind. Whether a dead process is started again is decided by the guard of the engine.
//!
//! A process runs under a shim as the run `service.NAME` ([`crate::shim`]), so it survives the agent, and the next
//! agent adopts it. Its run stays on disk after its end, until the next start: that is how a restarted agent knows that
//! a process failed while nobody looked. Its output goes to a log that outlives the run.
//!
//! ```text
//!  Stopped/Failed ── start ──► Starting ── ready ──► Running
//!        ▲                        │                     │
//!        └──── nothing left ── Stopping ◄─ stop, or ────┤
//!        ▲                        ▲        its death    │ shim killed
//!        │                        └─ stop ── Orphaned ◄─┘
//!        └──── nothing left, or stop ── Unknown ◄─┘ its death, something left
//! ```
//!
//! After a shim was killed, *nothing left* is the kernel's word about the control group of the run. Without one it would be
//! a search that a process can hide from: that ends in `Unproven`, which only a person's word leaves.

mod listener;
mod log;
mod ready;
mod slot;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::names::LocalName;
use tokio::sync::{mpsc, watch};

use crate::config::{AccountError, Process};
use crate::shim::{
    Ended, Forgotten, KillError, LaunchError, Leftovers, Output, RemoveError, Run, RunId, RunSpec,
    Runs, Stop,
};

use slot::Slot;
pub use state::State;
use state::UNPROVEN;

/// How many changes of state may wait for who reads them. When nobody reads, nothing is held up: states that were
/// passed through meanwhile are left out, the newest one of each process is always told.
const EVENTS: usize = 64;

/// A process has changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub name: LocalName,
    /// Its new state.
    pub state: State,
}

/// A process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is none of this name.
    #[error("there is no process {0}: add [process.{0}] to the agent's file")]
    NoSuch(LocalName),
    /// Its user does not exist.
    #[error("cannot tell the user of process {0}")]
    Account(LocalName, #[source] AccountError),
    /// Something of an earlier run lives without a shim.
    #[error("process {name} still has pids {pids:?} of an earlier run: stop it first")]
    LeftBehind {
        /// Which one.
        name: LocalName,
        /// What was found.
        pids: Vec<u32>,
    },
    /// Something of an earlier run may live unseen.
    #[error("process {0} may run already: {UNPROVEN}")]
    Unproven(LocalName),
    /// A run of it lives of which there is no record.
    #[error(
        "process {name} may run already: pid {shim} is of a run of which there is no record; the state directory was lost or \
         put back while it ran. End it, and try again"
    )]
    Forgotten {
        /// Which one.
        name: LocalName,
        /// Its shim, or what that has left.
        shim: u32,
    },
    /// The directory of its log cannot be made.
    #[error("cannot make {1} for the log of process {0}")]
    Log(LocalName, PathBuf, #[source] io::Error),
    /// Its last run cannot be forgotten.
    #[error("cannot clear the last run of process {0} away")]
    Clear(LocalName, #[source] RemoveError),
    /// Its shim could not be started.
    #[error("cannot start process {0}")]
    Launch(LocalName, #[source] LaunchError),
    /// The agent ends, or has failed at it.
    #[error("the agent ended while it started process {0}: ask again when it is back")]
    Ending(LocalName),
}

/// A process could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// There is none of this name.
    #[error("there is no process {0}: add [process.{0}] to the agent's file")]
    NoSuch(LocalName),
    /// A run of it lives of which there is no record.
    #[error(
        "process {name} cannot be stopped here: pid {shim} is of a run of which there is no record; the state directory was \
         lost or put back while it ran. End it, and try again"
    )]
    Forgotten {
        /// Which one.
        name: LocalName,
        /// Its shim, or what that has left.
        shim: u32,
    },
    /// Nothing of it is found any more, and nothing proves that nothing is left.
    #[error("process {0} may be left: {UNPROVEN}")]
    Unproven(LocalName),
    /// Its last run cannot be forgotten.
    #[error("cannot clear the last run of process {0} away")]
    Clear(LocalName, #[source] RemoveError),
    /// It could not be stopped.
    #[error("cannot stop process {0}")]
    Kill(LocalName, #[source] KillError),
}

#[derive(Debug)]
struct Inner {
    runs: Runs,
    logs: PathBuf,
    slots: BTreeMap<LocalName, Arc<Slot>>,
}

/// The supervised processes of this node. Cheap to clone; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

impl Supervisor {
    /// With these processes, and their logs in this directory. The events come from all of them. Must be called
    /// within the runtime.
    #[must_use]
    pub fn new(
        runs: Runs,
        processes: BTreeMap<LocalName, Process>,
        logs: PathBuf,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut slots = BTreeMap::new();
        for (name, process) in processes {
            let slot = Arc::new(Slot::new(process));
            tokio::spawn(tell(name.clone(), slot.state.subscribe(), events.clone()));
            slots.insert(name, slot);
        }
        (
            Self {
                inner: Arc::new(Inner { runs, logs, slots }),
            },
            receiver,
        )
    }

    /// Takes over the runs that are of its processes, and returns the others. To be called once, before anything is
    /// started.
    pub fn adopt(&self, runs: Vec<Run>) -> Vec<Run> {
        let mut others = Vec::new();
        for run in runs {
            let slot = run
                .id()
                .service_name()
                .and_then(|name| self.inner.slots.get(&name));
            match (slot, run.state()) {
                // However a process ended before the boot, nobody has started it since.
                (Some(slot), Some(_)) if run.boot_id() != self.inner.runs.boot_id() => {
                    slot.begin(State::never_started());
                }
                (Some(slot), Some(ended)) => slot.follow_ended(run, ended),
                (Some(slot), None) => slot.follow(run),
                (None, _) => others.push(run),
            }
        }
        others
    }

    /// Learns of runs of which there is no record. To be called after [`Supervisor::adopt`].
    pub fn forget(&self, runs: Vec<Forgotten>) {
        for run in runs {
            let name = run.id().service_name();
            if let Some(slot) = name.and_then(|name| self.inner.slots.get(&name)) {
                tracing::error!(run = %run.id(), shim = run.pid(), "a run without a record: the state directory was lost or put back");
                slot.forget(run);
            }
        }
    }

    /// The state of a process; none if there is none of this name.
    #[must_use]
    pub fn state(&self, name: &LocalName) -> Option<State> {
        Some(self.inner.slots.get(name)?.state())
    }

    /// The state of a process, to wait for it to change.
    #[must_use]
    pub fn watch(&self, name: &LocalName) -> Option<watch::Receiver<State>> {
        Some(self.inner.slots.get(name)?.state.subscribe())
    }

    /// Where a process logs, and what it said last there: evidence of why it has ended.
    pub async fn last_words(&self, name: &LocalName) -> String {
        let path = self.log(name);
        let said = tokio::task::spawn_blocking(move || log::last_words(&path));
        said.await
            .unwrap_or_else(|_| "the agent is ending".to_owned())
    }

    fn log(&self, name: &LocalName) -> PathBuf {
        self.inner.logs.join(format!("{name}.log"))
    }

    /// Starts a process unless it lives. Returns when it lives, or has proven impossible to start
    /// ([`State::Failed`]); whether it becomes ready is told by [`Supervisor::watch`] and by events.
    ///
    /// Dropping the future does not undo it, and the next start waits until it is done.
    ///
    /// # Errors
    /// If nothing was started; see [`StartError`].
    pub async fn start(&self, name: &LocalName) -> Result<State, StartError> {
        let (supervisor, started) = (self.clone(), name.clone());
        tokio::spawn(async move { supervisor.start_to_the_end(&started).await })
            .await
            .unwrap_or_else(|_| Err(StartError::Ending(name.clone())))
    }

    async fn start_to_the_end(&self, name: &LocalName) -> Result<State, StartError> {
        let slot = self
            .inner
            .slots
            .get(name)
            .ok_or_else(|| StartError::NoSuch(name.clone()))?;
        let _acting = slot.acting.lock().await;
        if let Some(shim) = slot.forgotten() {
            return Err(StartError::Forgotten {
                name: name.clone(),
                shim,
            });
        }
        let id = RunId::service(name);
        if let Some(last) = self.inner.runs.get(&id) {
            if let state @ (State::Starting { .. }
            | State::Running { .. }
            | State::Orphaned { .. }) = slot.state()
            {
                return Ok(state);
            }
            // Dead, but perhaps not gone yet.
            let ended = last.wait().await;
            let now = last.state().unwrap_or(ended);
            match State::after(&now) {
                State::Unknown { pids } => {
                    return Err(StartError::LeftBehind {
                        name: name.clone(),
                        pids,
                    });
                }
                State::Unproven => return Err(StartError::Unproven(name.clone())),
                _ => {}
            }
            self.inner
                .runs
                .remove(&last)
                .await
                .map_err(|error| StartError::Clear(name.clone(), error))?;
        }
        let spec = self.spec(id, name, &slot.process).await?;
        let run = self
            .inner
            .runs
            .launch(spec)
            .await
            .map_err(|error| StartError::Launch(name.clone(), error))?;
        if run.pid().is_none() {
            let impossible = State::after(&run.wait().await);
            slot.begin(impossible);
        } else {
            slot.follow(run);
        }
        Ok(slot.state())
    }

    /// Stops a process by its own rule, and returns when nothing of it is left; how it ended, or none if it was never
    /// started.
    ///
    /// # Errors
    /// If it cannot be proven that nothing is left.
    pub async fn stop(&self, name: &LocalName) -> Result<Option<Ended>, StopError> {
        let slot = self
            .inner
            .slots
            .get(name)
            .ok_or_else(|| StopError::NoSuch(name.clone()))?;
        let _acting = slot.acting.lock().await;
        self.stop_by(name, slot, slot.process.setting.stop).await
    }

    /// Like [`Supervisor::stop`] with this grace, also while another stop waits: that one then ends as well.
    ///
    /// # Errors
    /// If it cannot be proven that nothing is left.
    pub async fn kill(
        &self,
        name: &LocalName,
        grace: Duration,
    ) -> Result<Option<Ended>, StopError> {
        let slot = self
            .inner
            .slots
            .get(name)
            .ok_or_else(|| StopError::NoSuch(name.clone()))?;
        self.stop_by(
            name,
            slot,
            Stop {
                grace,
                ..slot.process.setting.stop
            },
        )
        .await
    }

    async fn stop_by(
        &self,
        name: &LocalName,
        slot: &Slot,
        stop: Stop,
    ) -> Result<Option<Ended>, StopError> {
        if let Some(shim) = slot.forgotten() {
            return Err(StopError::Forgotten {
                name: name.clone(),
                shim,
            });
        }
        let Some(run) = self.inner.runs.get(&RunId::service(name)) else {
            return Ok(None);
        };
        let number = slot.run();
        slot.advance(number, || State::Stopping);
        let ended = run
            .kill_by(stop)
            .await
            .map_err(|error| StopError::Kill(name.clone(), error))?;
        // The follower says so too, but whoever asked shall see it when this returns.
        let state = State::after(&ended);
        slot.advance(number, || state.clone());
        if state == State::Unproven {
            return Err(StopError::Unproven(name.clone()));
        }
        Ok(Some(ended))
    }

    /// A person has looked, and says that nothing is left of a process of which that cannot be proven. False if that was
    /// not in doubt, and nothing was done.
    ///
    /// # Errors
    /// If its last run cannot be forgotten.
    pub async fn take_word(&self, name: &LocalName) -> Result<bool, StopError> {
        let slot = self
            .inner
            .slots
            .get(name)
            .ok_or_else(|| StopError::NoSuch(name.clone()))?;
        let _acting = slot.acting.lock().await;
        if slot.state() != State::Unproven {
            return Ok(false);
        }
        if let Some(run) = self.inner.runs.get(&RunId::service(name)) {
            self.inner
                .runs
                .remove(&run)
                .await
                .map_err(|error| StopError::Clear(name.clone(), error))?;
        }
        slot.begin(State::by_word());
        Ok(true)
    }

    async fn spec(
        &self,
        id: RunId,
        name: &LocalName,
        process: &Process,
    ) -> Result<RunSpec, StartError> {
        let account = process.setting.user.clone();
        let user = account.map(|account| account.resolve()).transpose();
        let logs = &self.inner.logs;
        tokio::fs::create_dir_all(logs)
            .await
            .map_err(|error| StartError::Log(name.clone(), logs.clone(), error))?;
        Ok(RunSpec {
            owner: format!("process {name}"),
            env: process.setting.env.clone(),
            cwd: process.setting.cwd.clone(),
            user: user.map_err(|error| StartError::Account(name.clone(), error))?,
            output: Output::Log {
                path: self.log(name),
                bytes: process.log_cap,
            },
            leftovers: Leftovers::Kill,
            stop: process.setting.stop,
            ..RunSpec::new(id, process.command.clone())
        })
    }
}

/// Tells the changes of one process until nobody listens, or the process is no longer supervised.
async fn tell(name: LocalName, mut state: watch::Receiver<State>, events: mpsc::Sender<Event>) {
    while state.changed().await.is_ok() {
        let event = Event {
            name: name.clone(),
            state: state.borrow_and_update().clone(),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
