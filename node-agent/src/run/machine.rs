//! Shutting this machine down, and restarting it.

use interlock_model::action::ShutdownBy;
use tokio_util::sync::CancellationToken;

use super::errand::{Errand, Trouble};
use super::managers::{Managers, chain};

/// The last that an agent can say of its machine.
const GOING: &str = "the machine is going down and has told this agent to end";

/// What it takes to take the machine down.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) managers: Managers,
    /// The command of the agent's own file.
    pub(super) command: Option<Vec<String>>,
    /// Cancelled when this agent is told to end, which the way down does.
    pub(super) ending: CancellationToken,
}

impl Machine {
    /// Shuts the machine down. *Down* is proven by its power source; from here only the way down can be told.
    pub(super) async fn shut_down(
        &self,
        by: ShutdownBy,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match (&self.command, by) {
            (Some(command), _) => self.run(command, errand).await,
            (None, ShutdownBy::Agent) => {
                self.managers.systemd.poweroff().await.map_err(|error| refused(&error))?;
                self.go(errand, "the operating system has accepted the power-off").await
            }
            (None, ShutdownBy::Command | ShutdownBy::Manual) => Err(Trouble::Failed(
                "there is no shutdown command: add [shutdown] with its `command` to the agent's file".to_owned(),
            )),
        }
    }

    /// Restarts the machine. That it did is proven by its new boot id.
    pub(super) async fn reboot(&self, errand: &Errand<'_>) -> Result<String, Trouble> {
        self.managers
            .systemd
            .reboot()
            .await
            .map_err(|error| refused(&error))?;
        self.go(errand, "the operating system has accepted the restart")
            .await
    }

    async fn run(&self, command: &[String], errand: &Errand<'_>) -> Result<String, Trouble> {
        let id = errand.run_id(0, "shutdown")?;
        let exec = &self.managers.exec;
        let run = match self.managers.runs.get(&id) {
            Some(run) => run,
            None => exec
                .one_shot(command, id)
                .await
                .map_err(|error| Trouble::Failed(chain(&error)))?,
        };
        let report = tokio::select! {
            report = exec.report(&run) => report,
            () = self.ending.cancelled() => return Ok(GOING.to_owned()),
            halt = errand.halted() => {
                let ended = run.stop().await;
                let left = ended.map_or_else(|error| chain(&error), |_| "it was ended".to_owned());
                return Err(Trouble::unknown(format!("{halt}; the shutdown command did not end, {left}"), true));
            }
        };
        match &report.end {
            Some(_) if report.success() => {
                self.go(errand, "the shutdown command has succeeded").await
            }
            Some(end) => Err(Trouble::Failed(format!(
                "the shutdown command: {end}: {}",
                report.output.trim()
            ))),
            None => Err(Trouble::unknown(
                "nobody saw the end of the shutdown command",
                true,
            )),
        }
    }

    /// Tells that the machine is on its way down, and waits for the way down to reach this agent.
    async fn go(&self, errand: &Errand<'_>, evidence: &str) -> Result<String, Trouble> {
        errand.going_down(evidence);
        tokio::select! {
            () = self.ending.cancelled() => Ok(GOING.to_owned()),
            halt = errand.halted() => {
                let evidence = format!("{halt}; {evidence}, but this agent still runs: see `systemctl list-jobs`");
                Err(Trouble::unknown(evidence, true))
            }
        }
    }
}

fn refused(error: &crate::systemd::Error) -> Trouble {
    if error.outcome_is_unknown() {
        Trouble::unknown(chain(error), true)
    } else {
        Trouble::Failed(chain(error))
    }
}
