//! One supervised process: its definition, its state, and who may change it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::{State, ready};
use crate::config::{Process, Ready};
use crate::shim::{Ended, Forgotten, Run};

/// How often what a killed shim has left is looked for, where nobody follows it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) process: Process,
    pub(super) state: watch::Sender<State>,
    /// Counts the runs, so that the end of an old one cannot be taken for that of the next. Changed under the lock of
    /// `state` only.
    run: AtomicU64,
    /// One start or stop at a time.
    pub(super) acting: tokio::sync::Mutex<()>,
    /// A run of it of which there is no record.
    forgotten: OnceLock<Forgotten>,
}

impl Slot {
    pub(super) fn new(process: Process) -> Self {
        Self {
            process,
            state: watch::Sender::new(State::never_started()),
            run: AtomicU64::new(0),
            acting: tokio::sync::Mutex::default(),
            forgotten: OnceLock::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The number of the current run.
    pub(super) fn run(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    /// Sets the first state of another run, and returns the number of that run.
    pub(super) fn begin(&self, state: State) -> u64 {
        let mut number = 0;
        self.state.send_modify(|now| {
            number = self.run.fetch_add(1, Ordering::Relaxed) + 1;
            *now = state;
        });
        number
    }

    /// Sets a further state of a run, unless there is a newer run or it is further already.
    pub(super) fn advance(&self, number: u64, state: impl FnOnce() -> State) {
        self.state.send_if_modified(|now| {
            let state = state();
            let newer = self.run() == number && state.progress() >= now.progress() && *now != state;
            if newer {
                *now = state;
            }
            newer
        });
    }

    /// Follows a living run to its end.
    pub(super) fn follow(self: &Arc<Self>, run: Run) {
        let rule = self.process.ready;
        let note = String::new();
        let number = self.begin(State::living(&run, rule == Ready::Started, note));
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = run.child_exited() => {}
                by = slot.is_ready(number, &run) => {
                    slot.advance(number, || State::living(&run, true, by.clone()));
                    run.child_exited().await;
                }
            }
            slot.advance(number, || State::Stopping);
            let ended = run.wait().await;
            slot.see_gone(number, &run, ended).await;
        });
    }

    /// Waits until a run is ready, and returns by what that was told. Why it is not is told in its state.
    async fn is_ready(&self, number: u64, run: &Run) -> String {
        let doubt = |why: String| self.advance(number, || State::living(run, false, why.clone()));
        ready::ready(self.process.ready, run, doubt).await
    }

    /// A run of it lives of which there is no record: until it is gone, nothing is known of the process.
    pub(super) fn forget(self: &Arc<Self>, run: Forgotten) {
        let number = self.begin(State::Forgotten { shim: run.pid() });
        let slot = Arc::clone(self);
        if self.forgotten.set(run.clone()).is_ok() {
            tokio::spawn(async move {
                run.gone().await;
                loop {
                    let pids = run.left().await;
                    if pids.is_empty() {
                        break slot.advance(number, State::never_started);
                    }
                    slot.advance(number, || State::Unknown { pids: pids.clone() });
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            });
        }
    }

    /// A process of such a run, if one is left.
    pub(super) fn forgotten(&self) -> Option<u32> {
        self.forgotten.get()?;
        match self.state() {
            State::Forgotten { shim } => Some(shim),
            State::Unknown { pids } => pids.first().copied(),
            _ => None,
        }
    }

    /// Takes over a run that has ended, whatever is left of it.
    pub(super) fn follow_ended(self: &Arc<Self>, run: Run, ended: Ended) {
        let number = self.begin(State::of_ended(&run, &ended));
        if !ended.group.is_empty() {
            let slot = Arc::clone(self);
            tokio::spawn(async move { slot.see_gone(number, &run, ended).await });
        }
    }

    /// Follows what a run has left until nothing is.
    async fn see_gone(&self, number: u64, run: &Run, mut ended: Ended) {
        loop {
            // Leftovers may have been killed in between: what is true now counts.
            let now = run.state().unwrap_or(ended);
            self.advance(number, || State::of_ended(run, &now));
            if now.group.is_empty() || self.run() != number {
                return;
            }
            ended = run.ended_since(&now).await;
        }
    }
}
