//! Parts that systemd manages.

use std::time::Duration;

use interlock_model::observation::InstanceState;

use super::{Managers, chain};
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::{Restarter, Seen};
use crate::session::Halt;
use crate::systemd::{Activity, Error, Progress, UnitState, Verb};

/// How long a unit that was started and then cancelled may take to stop.
const UNDO_LIMIT: Duration = Duration::from_secs(90);

/// Who starts the unit again after a failure: one of them, or they would fight.
fn restarter(unit: &UnitState) -> Restarter {
    if unit.told_to_stop {
        Restarter::Nobody
    } else if unit.restarted_by_systemd {
        Restarter::Manager
    } else {
        Restarter::Guard
    }
}

/// Will a unit that is down come up by itself?
fn will_start(unit: &UnitState) -> bool {
    matches!(unit.queued, Some(Verb::Start | Verb::Restart))
}

/// Why a unit is failed: `signal, status 9`, and what that means where systemd is its restarter.
fn failure(unit: &UnitState, result: &str) -> String {
    let mut text = result.to_owned();
    if let Some(status) = unit.exec_main_status {
        text.push_str(&format!(", status {status}"));
    }
    match restarter(unit) {
        Restarter::Nobody => text.push_str(", after it was told to stop"),
        Restarter::Manager => text.push_str("; systemd does not restart it any more"),
        Restarter::Guard => {}
    }
    text
}

impl Managers {
    pub(super) async fn look_at_unit(&self, unit: &str) -> Seen {
        match self.systemd.observe(unit).await {
            Ok(state) => self.seen(&state),
            Err(error) => Seen::unknown(chain(&error)),
        }
    }

    fn seen(&self, unit: &UnitState) -> Seen {
        let state = match unit.activity {
            // It is about to change, by a job that somebody has left in the queue.
            Activity::Stopped | Activity::Failed if will_start(unit) => InstanceState::Starting,
            Activity::Running if unit.queued == Some(Verb::Stop) => InstanceState::Stopping,
            Activity::Running => InstanceState::Running,
            Activity::Starting => InstanceState::Starting,
            Activity::Stopping => InstanceState::Stopping,
            Activity::Stopped => InstanceState::Stopped,
            Activity::Failed => InstanceState::Failed,
            Activity::Unknown => InstanceState::Unknown,
        };
        let up = state == InstanceState::Running;
        let reason = match (unit.activity, unit.main_pid, unit.result.as_deref()) {
            (Activity::Running, Some(pid), _) => format!("{}, pid {pid}", unit.sub_state),
            (Activity::Failed, _, Some(result)) => failure(unit, result),
            _ => unit.sub_state.clone(),
        };
        let reason = match (unit.activity, unit.queued) {
            (Activity::Stopped | Activity::Failed | Activity::Running, Some(verb)) => {
                format!("{reason}; a {verb} of it waits in systemd's queue")
            }
            _ => reason,
        };
        Seen {
            state,
            since: unit.since.filter(|_| up).map(|since| since.wall),
            since_boot: unit
                .since
                .filter(|_| up)
                .map(|since| self.clock.from_monotonic(since.monotonic)),
            reason,
            restarter: restarter(unit),
            broken: false,
            orphaned: false,
        }
    }

    pub(super) async fn bring_unit_up(
        &self,
        unit: &str,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.unit_job(Verb::Start, unit, errand).await
    }

    pub(super) async fn take_unit_down(
        &self,
        unit: &str,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.unit_job(Verb::Stop, unit, errand).await
    }

    /// Runs a job and proves its effect. When the work is to end, a job that has not begun is withdrawn, and one that has
    /// goes on in systemd; only a start that is cancelled is undone.
    async fn unit_job(
        &self,
        verb: Verb,
        unit: &str,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let mut progress = |progress| {
            if verb == Verb::Stop && progress == Progress::Running {
                errand.going_down(format!("the stop job of {unit} is running"));
            }
        };
        let mut halt = None;
        let end = async { halt = Some(errand.halted().await) };
        let ended = self.systemd.run_until(verb, unit, end, &mut progress).await;
        let halted = halt.map(|halt| format!("{halt}; ")).unwrap_or_default();
        let seen = self.look_at_unit(unit).await;
        let proven = match verb {
            Verb::Stop => seen.state.is_down(),
            Verb::Start | Verb::Restart => seen.is_running(),
        };
        match ended {
            _ if proven && halt != Some(Halt::Cancelled) => Ok(seen.text()),
            Ok(()) if proven => Ok(seen.text()),
            Ok(()) => Err(Trouble::Failed(format!(
                "systemd says that the {verb} is done, but {unit} is {}",
                seen.text()
            ))),
            Err(Error::JobUnfinished { .. }) if halt == Some(Halt::Cancelled) => {
                Err(self.cancel_unit(verb, unit).await)
            }
            Err(error) if error.outcome_is_unknown() => Err(Trouble::unknown(
                format!("{halted}{}; {unit} is {}", chain(&error), seen.text()),
                true,
            )),
            Err(error) => Err(Trouble::Failed(format!("{halted}{}", chain(&error)))),
        }
    }

    /// A running start that is cancelled is undone by a stop, which replaces its job. A stop is not undone: the signal
    /// is sent, and without its job the unit would go down all the same, only with nobody to wait for it.
    async fn cancel_unit(&self, verb: Verb, unit: &str) -> Trouble {
        let undone = match verb {
            Verb::Start | Verb::Restart => self.systemd.stop(unit, UNDO_LIMIT).await,
            Verb::Stop => Ok(()),
        };
        let seen = self.look_at_unit(unit).await;
        match undone {
            Ok(()) if seen.state.is_down() => {
                Trouble::Failed(format!("cancelled; {unit} is {}", seen.text()))
            }
            Ok(()) => Trouble::unknown(
                format!("cancelled while stopping; {unit} is {}", seen.text()),
                true,
            ),
            Err(error) => Trouble::unknown(
                format!("cancelled; {}; {unit} is {}", chain(&error), seen.text()),
                true,
            ),
        }
    }
}
