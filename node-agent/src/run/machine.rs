//! Shutting this machine down, and restarting it.

use interlock_model::action::{Command, ShutdownBy};
use tokio_util::sync::CancellationToken;

use super::errand::{Errand, Trouble};
use super::managers::{Managers, chain};
use crate::config::Shutdown;

/// The last that an agent can say of its machine.
const GOING: &str = "the machine is going down and has told this agent to end";

/// What it takes to take the machine down.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) managers: Managers,
    /// The commands of the agent's own file.
    pub(super) own: Option<Shutdown>,
    /// Cancelled when this agent is told to end, which the way down does.
    pub(super) ending: CancellationToken,
}

impl Machine {
    /// Why it cannot be taken down as it is asked for, whatever the file permits.
    pub(super) fn objection(&self, command: &Command) -> Option<String> {
        let file = self.managers.allow.file.display();
        match (command, &self.own) {
            (
                Command::Shutdown {
                    by: ShutdownBy::Command | ShutdownBy::Manual,
                },
                None,
            ) => Some(format!(
                "the spec has this machine shut down by a command, and there is none: set `command` under [shutdown] in {file}"
            )),
            (Command::Reboot, Some(own)) if own.reboot_command.is_none() => Some(format!(
                "this machine has its own `command` under [shutdown] in {file}, and none that restarts it: set `reboot_command` \
                 there"
            )),
            _ => None,
        }
    }

    /// Shuts the machine down. *Down* is proven by its power source; from here only the way down can be told.
    pub(super) async fn shut_down(
        &self,
        by: ShutdownBy,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match (&self.own, by) {
            (Some(own), _) => self.run("shutdown", &own.command, errand).await,
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
        let Some(own) = &self.own else {
            let asked = self.managers.systemd.reboot().await;
            asked.map_err(|error| refused(&error))?;
            return self
                .go(errand, "the operating system has accepted the restart")
                .await;
        };
        match &own.reboot_command {
            Some(command) => self.run("reboot", command, errand).await,
            // Its operating system may be that of others as well.
            None => Err(Trouble::Failed(
                "there is no reboot command: add `reboot_command` to [shutdown] of the agent's file".to_owned(),
            )),
        }
    }

    /// Runs a command of the agent's own file.
    async fn run(
        &self,
        word: &str,
        command: &[String],
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let id = errand.run_id(0, word)?;
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
                return Err(Trouble::unknown(format!("{halt}; the {word} command did not end, {left}"), true));
            }
        };
        match &report.end {
            Some(_) if report.success() => {
                self.go(errand, &format!("the {word} command has succeeded"))
                    .await
            }
            Some(end) => Err(Trouble::Failed(format!(
                "the {word} command: {end}: {}",
                report.output.trim()
            ))),
            None => Err(Trouble::unknown(
                format!("nobody saw the end of the {word} command"),
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
