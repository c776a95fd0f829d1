//! Parts that commands of the agent's own file manage.
//!
//! A command leaves its run on disk until its attempt is settled. That is how an attempt that goes on after a restart
//! of the agent knows what it has already done: a command whose run exists is waited for, never started again.
//!
//! While a command of another attempt may still run, no other is begun: two commands of one part at the same time are never
//! right. That is so when a shim was killed: its command is an **orphan**, and what it will leave nobody knows. Until it has
//! ended the part is *unknown*, whatever its check says, so that no stop is proven by a start that is not through. A start
//! is refused beside it. A stop waits for its end, and ends it at its time limit, as its shim would have done. What an
//! orphan leaves running when it has ended is the service, as with a shim.

use std::time::Duration;

use interlock_model::names::LocalName;
use interlock_model::observation::InstanceState;

use super::{Managers, chain};
use crate::exec::Verb;
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::{Restarter, Seen};
use crate::session::Halt;
use crate::shim::{Group, Run};

/// The pause before a check that does not yet see what a command did is run again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The longest output in evidence, in characters: its end, where commands say what went wrong.
const OUTPUT: usize = 200;

impl Managers {
    pub(super) async fn look_at_exec(&self, name: &LocalName) -> Seen {
        // Before the check runs: what an orphan does before its end that sees.
        if let Some(orphan) = self.exec.orphan(name) {
            return Seen::unknown(format!(
                "{} goes on without its shim, and nobody knows what it will leave",
                earlier(&orphan)
            ));
        }
        match self.exec.check(name).await {
            Ok(checked) => Seen {
                state: checked.state,
                since: None,
                since_boot: None,
                reason: said(&checked.ended.outcome.to_string(), &checked.output),
                restarter: Restarter::Guard,
                broken: false,
                orphaned: false,
            },
            Err(error) => Seen::unknown(chain(&error)),
        }
    }

    pub(super) async fn bring_exec_up(
        &self,
        name: &LocalName,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.command(name, Verb::Start, index, errand).await?;
        self.prove(name, "start", errand, Seen::is_running).await
    }

    pub(super) async fn take_exec_down(
        &self,
        name: &LocalName,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        self.command(name, Verb::Stop, index, errand).await?;
        self.prove(name, "stop", errand, |seen| seen.state.is_down())
            .await
    }

    pub(super) async fn command_brought_up(&self, index: usize, errand: &Errand<'_>) -> bool {
        let run = errand
            .run_id(index, "start")
            .ok()
            .and_then(|id| self.runs.get(&id));
        let Some(run) = run else { return false };
        tokio::select! {
            report = self.exec.report(&run) => report.success(),
            _ = errand.halted() => false,
        }
    }

    /// Runs a command to its end, once per errand.
    async fn command(
        &self,
        name: &LocalName,
        verb: Verb,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<(), Trouble> {
        let word = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
        };
        let id = errand.run_id(index, word)?;
        let run = match self.runs.get(&id) {
            Some(run) => run,
            None => {
                match verb {
                    Verb::Start => {
                        if let Some(earlier) = self.exec.still_runs(name) {
                            return Err(Trouble::Failed(beside(name, word, &earlier)));
                        }
                    }
                    Verb::Stop => self.outwait_earlier(name, errand).await?,
                }
                let launched = self.exec.launch(name, verb, id).await;
                launched.map_err(|error| Trouble::Failed(chain(&error)))?
            }
        };
        if verb == Verb::Stop {
            errand.going_down(format!("the stop command of exec {name} is running"));
        }
        let report = tokio::select! {
            report = self.exec.report(&run) => report,
            halt = errand.halted() => return Err(end(&run, name, word, halt).await),
        };
        let Some(how) = &report.end else {
            let evidence = format!("nobody saw the end of `{word}` of exec {name}");
            return Err(Trouble::unknown(evidence, self.exec.is_idempotent(name)));
        };
        if report.success() {
            return Ok(());
        }
        let evidence = said(&format!("`{word}` of exec {name}: {how}"), &report.output);
        match run.stop().await {
            Ok(_) => Err(Trouble::Failed(evidence)),
            Err(error) => Err(Trouble::unknown(
                format!("{evidence}; {}", chain(&error)),
                self.exec.is_idempotent(name),
            )),
        }
    }

    /// Waits for the end of commands of earlier attempts; one that passes its time limit is ended. What they leave behind is
    /// the service, which the stop that follows stops.
    async fn outwait_earlier(&self, name: &LocalName, errand: &Errand<'_>) -> Result<(), Trouble> {
        while let Some(earlier) = self.exec.still_runs(name) {
            let overdue = async {
                match earlier.limit_boot() {
                    Some(limit) => tokio::time::sleep_until(self.clock.instant(limit)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = earlier.command_over() => continue,
                () = overdue => {}
                halt = errand.halted() => {
                    return Err(Trouble::Failed(format!("{halt}; {}", beside(name, "stop", &earlier))));
                }
            }
            tracing::warn!(run = %earlier.id(), "ending a command without a shim at its time limit");
            // Whatever it has left is the service, as with a shim: no proof is needed that there is nothing.
            let ended = earlier.kill_by(earlier.spec().stop).await;
            ended.map_err(|error| Trouble::Failed(chain(&error)))?;
        }
        Ok(())
    }

    /// Looks until the check command sees what the command did. Something that starts in the background takes a while.
    async fn prove(
        &self,
        name: &LocalName,
        word: &str,
        errand: &Errand<'_>,
        proven: impl Fn(&Seen) -> bool,
    ) -> Result<String, Trouble> {
        let looking = async {
            loop {
                let seen = self.look_at_exec(name).await;
                if proven(&seen) {
                    return seen;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let halt = tokio::select! {
            seen = looking => return Ok(seen.text()),
            halt = errand.halted() => halt,
        };
        let seen = self.look_at_exec(name).await;
        let evidence = format!(
            "{halt}; `{word}` of exec {name} succeeded, but its check says {}",
            seen.text()
        );
        Err(match seen.state {
            InstanceState::Stopped | InstanceState::Failed => Trouble::Failed(evidence),
            InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Paused
            | InstanceState::Stopping
            | InstanceState::Unknown => Trouble::unknown(evidence, self.exec.is_idempotent(name)),
        })
    }
}

/// Why a command is not begun beside an earlier one.
fn beside(name: &LocalName, word: &str, run: &Run) -> String {
    format!(
        "`{word}` of exec {name} was not begun: {} may still run; wait until it has ended, or end it, and `retry`",
        earlier(run)
    )
}

/// A command of an earlier attempt, with its processes as far as they are known.
fn earlier(run: &Run) -> String {
    let pids = match (run.pid(), run.state().map(|ended| ended.group)) {
        (Some(pid), _) => format!(" (pid {pid})"),
        (None, Some(Group::Left { pids })) if !pids.is_empty() => format!(" (pids {pids:?})"),
        (None, _) => String::new(),
    };
    format!("a command of an earlier attempt, {}{pids},", run.id())
}

/// Ends a command that is still running, with everything that it started.
async fn end(run: &Run, name: &LocalName, word: &str, halt: Halt) -> Trouble {
    match run.stop().await {
        Ok(_) => Trouble::Failed(format!(
            "{halt}; `{word}` of exec {name} was ended, nothing of it is left"
        )),
        Err(error) => Trouble::unknown(format!("{halt}; {}", chain(&error)), false),
    }
}

/// What a command came to, with the end of what it said.
fn said(what: &str, output: &str) -> String {
    let output = output.trim().replace(['\n', '\r', '\t'], " ");
    if output.is_empty() {
        return what.to_owned();
    }
    let skip = output.chars().count().saturating_sub(OUTPUT);
    let cut = if skip > 0 { "..." } else { "" };
    format!(
        "{what}: {cut}{}",
        output.chars().skip(skip).collect::<String>()
    )
}
