//! Parts that systemd manages.

use std::time::Duration;

use interlock_model::observation::InstanceState;

use super::{Managers, chain};
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::Seen;
use crate::session::Halt;
use crate::systemd::{Activity, Progress, UnitState, Verb};

/// How long a unit that was started and then cancelled may take to stop.
const UNDO_LIMIT: Duration = Duration::from_secs(90);

impl Managers {
    pub(super) async fn look_at_unit(&self, unit: &str) -> Seen {
        match self.systemd.observe(unit).await {
            Ok(state) => self.seen(&state),
            Err(error) => Seen::unknown(chain(&error)),
        }
    }

    fn seen(&self, unit: &UnitState) -> Seen {
        let state = match unit.activity {
            Activity::Running => InstanceState::Running,
            Activity::Starting => InstanceState::Starting,
            Activity::Stopping => InstanceState::Stopping,
            Activity::Stopped => InstanceState::Stopped,
            Activity::Failed => InstanceState::Failed,
            Activity::Unknown => InstanceState::Unknown,
        };
        let up = matches!(unit.activity, Activity::Running);
        let reason = match (unit.activity, unit.main_pid, unit.result.as_deref()) {
            (Activity::Running, Some(pid), _) => format!("{}, pid {pid}", unit.sub_state),
            (Activity::Failed, _, Some(result)) => match unit.exec_main_status {
                Some(status) => format!("{result}, status {status}"),
                None => result.to_owned(),
            },
            _ => unit.sub_state.clone(),
        };
        Seen {
            state,
            since: unit.since.filter(|_| up).map(|since| since.wall),
            since_boot: unit
                .since
                .filter(|_| up)
                .map(|since| self.clock.from_monotonic(since.monotonic)),
            reason,
            // systemd is the restarter of its units; two of them would fight.
            guarded: false,
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

    /// Runs a job and proves its effect.
    async fn unit_job(
        &self,
        verb: Verb,
        unit: &str,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let limit = errand.time_left();
        let mut progress = |progress| {
            if verb == Verb::Stop && progress == Progress::Running {
                errand.going_down(format!("the stop job of {unit} is running"));
            }
        };
        let job = self.systemd.run(verb, unit, limit, &mut progress);
        let ended = tokio::select! {
            ended = job => ended,
            // Its time limit is the job's own limit too, which knows more about what happened.
            () = cancelled(errand) => return Err(self.cancel_unit(verb, unit).await),
        };
        let seen = self.look_at_unit(unit).await;
        let proven = match verb {
            Verb::Stop => seen.state.is_down(),
            Verb::Start | Verb::Restart => seen.is_running(),
        };
        match ended {
            _ if proven => Ok(seen.text()),
            Ok(()) => Err(Trouble::Failed(format!(
                "systemd says that the {verb} is done, but {unit} is {}",
                seen.text()
            ))),
            Err(error) if error.outcome_is_unknown() => Err(Trouble::unknown(
                format!("{}; {unit} is {}", chain(&error), seen.text()),
                true,
            )),
            Err(error) => Err(Trouble::Failed(chain(&error))),
        }
    }

    /// A start that is cancelled is undone by a stop, which also takes its job out of the queue. A stop is not undone.
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

/// Waits for a cancellation; a time limit is none.
async fn cancelled(errand: &Errand<'_>) {
    if errand.halted().await != Halt::Cancelled {
        std::future::pending::<()>().await;
    }
}
