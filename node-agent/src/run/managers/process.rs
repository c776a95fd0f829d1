//! Parts that the agent supervises.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::names::LocalName;

use super::{Managers, chain};
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::{Restarter, Seen};
use crate::session::Halt;
use crate::supervise::State;

impl Managers {
    pub(super) fn look_at_process(&self, name: &LocalName) -> Seen {
        let Some(state) = self.supervisor.state(name) else {
            return Seen::unknown(format!(
                "there is no process {name}: add [process.{name}] to the agent's file"
            ));
        };
        let (since, since_boot, reason) = match &state {
            State::Starting {
                pid,
                since,
                started,
                note,
            }
            | State::Running {
                pid,
                since,
                started,
                note,
            } => {
                let separator = if note.is_empty() { "" } else { ", " };
                (
                    Some(*since),
                    *started,
                    format!("pid {pid}{separator}{note}"),
                )
            }
            State::Orphaned {
                pid,
                since,
                started,
            } => (
                Some(*since),
                *started,
                format!("pid {pid}, without its shim, which was killed: restart it when it suits"),
            ),
            State::Stopped { why, since } | State::Failed { why, since } => {
                (*since, None, why.clone())
            }
            State::Stopping => (None, None, String::new()),
            State::Unknown { .. } | State::Forgotten { .. } | State::Unproven => {
                (None, None, state.to_string())
            }
        };
        Seen {
            state: state.instance(),
            since,
            since_boot,
            reason,
            restarter: Restarter::Guard,
            broken: false,
            orphaned: matches!(state, State::Orphaned { .. }),
        }
    }

    /// Is there one among these parts of which only a person can say that nothing is left?
    pub(crate) fn awaits_word(&self, parts: &[Part]) -> bool {
        let runners = self.runners();
        parts.iter().any(|part| {
            matches!(runners.runner(part), Some(Part::Process { name })
                if self.supervisor.state(&name) == Some(State::Unproven))
        })
    }

    pub(super) async fn bring_process_up(
        &self,
        name: &LocalName,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let mut starting = pin!(self.supervisor.start(name));
        let (started, early) = tokio::select! {
            started = &mut starting => (started, None),
            // What is being launched cannot be called back: until it is there, nothing would find it.
            halt = errand.halted() => (starting.await, Some(halt)),
        };
        started.map_err(|error| Trouble::Failed(chain(&error)))?;
        let halt = match early {
            Some(halt) => halt,
            None => tokio::select! {
                up = self.process_is_ready(name) => return up,
                halt = errand.halted() => halt,
            },
        };
        match halt {
            Halt::Cancelled => match self.supervisor.kill(name, Duration::ZERO).await {
                Ok(_) => Err(Trouble::Failed(format!(
                    "{halt}; process {name} was killed, nothing of it is left"
                ))),
                Err(error) => Err(Trouble::unknown(format!("{halt}; {}", chain(&error)), true)),
            },
            // A database may be repairing itself: to kill it would be worse than to wait for a person. An attempt that
            // takes it over finds it: the supervisor has followed it since it exists.
            Halt::TimeLimit | Halt::HandedOver => Err(Trouble::unknown(
                format!(
                    "{halt}; process {name} is {}",
                    self.look_at_process(name).text()
                ),
                true,
            )),
        }
    }

    /// Waits until a process that was started is ready, or has ended.
    async fn process_is_ready(&self, name: &LocalName) -> Result<String, Trouble> {
        let Some(mut states) = self.supervisor.watch(name) else {
            return Err(Trouble::Failed(self.look_at_process(name).text()));
        };
        loop {
            let state = states.borrow_and_update().clone();
            match state {
                State::Running { .. } | State::Orphaned { .. } => {
                    return Ok(self.look_at_process(name).text());
                }
                State::Starting { .. } | State::Stopping => {}
                State::Stopped { why, .. } | State::Failed { why, .. } => {
                    let said = self.supervisor.last_words(name).await;
                    return Err(Trouble::Failed(format!(
                        "process {name} ended before it was ready: {why}; {said}"
                    )));
                }
                State::Unknown { .. } | State::Forgotten { .. } | State::Unproven => {
                    return Err(Trouble::unknown(format!("process {name} is {state}"), true));
                }
            }
            if states.changed().await.is_err() {
                return Err(Trouble::unknown(
                    format!("process {name} is not followed: the agent is ending"),
                    true,
                ));
            }
        }
    }

    pub(super) async fn take_process_down(
        &self,
        name: &LocalName,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        if errand.is_by_hand() {
            let taken = self.supervisor.take_word(name).await;
            if taken.map_err(|error| Trouble::Failed(chain(&error)))? {
                return Ok(self.look_at_process(name).text());
            }
        }
        let mut states = self.supervisor.watch(name);
        let going = async {
            if let Some(states) = &mut states
                && states
                    .wait_for(|state| matches!(state, State::Stopping))
                    .await
                    .is_ok()
            {
                errand.going_down(format!("process {name} was sent its stop signal"));
            }
            std::future::pending::<Infallible>().await
        };
        let stop = self.supervisor.stop(name);
        let halt = tokio::select! {
            stopped = stop => return match stopped {
                Ok(Some(ended)) => Ok(format!("stopped: {}; nothing of it is left", ended.outcome)),
                Ok(None) => Ok("was never started".to_owned()),
                Err(error) => Err(Trouble::unknown(chain(&error), true)),
            },
            never = going => match never {},
            halt = errand.halted() => halt,
        };
        let seen = self.look_at_process(name);
        if seen.state.is_down() {
            return Ok(seen.text());
        }
        Err(Trouble::unknown(
            format!(
                "{halt}; a stop signal cannot be taken back, process {name} is {}",
                seen.text()
            ),
            true,
        ))
    }
}
