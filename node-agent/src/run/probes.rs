//! Checks of the assignment: run by the prober, permitted by the agent's own file, posted on the board.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::{Check, CheckId, ProbeResult, Verdict};
use interlock_model::names::LocalName;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::{Allow, Config};
use crate::exec::Exec;
use crate::probe::{CommandOutput, CommandRunner, Prober, PutOut, Running, Tools, Trust};
use crate::session::{Assignment, Board, Clock, line};
use crate::shim::{Outcome, Status};

/// Requests of gates that may wait. They are taken at once.
const REQUESTS: usize = 16;

/// The way to the prober. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    checks: watch::Sender<BTreeMap<CheckId, Check>>,
    at_once: mpsc::Sender<Vec<CheckId>>,
    board: Board,
    clock: Clock,
    tools: Tools,
}

impl Probes {
    /// Starts the prober without checks.
    pub(super) fn start(tools: Tools, board: Board, clock: Clock) -> Self {
        let (checks, mut assigned) = watch::channel(BTreeMap::new());
        let (at_once, mut asked) = mpsc::channel(REQUESTS);
        let posted = board.clone();
        let prober = Prober::start(tools.clone(), move |report| {
            let age = Instant::now().saturating_duration_since(report.at);
            let at = clock.mono().saturating_sub(age);
            if report.may_wait {
                posted.renew_check(&report.check, report.result, report.at, at);
            } else {
                posted.post_check(&report.check, report.result, report.at, at);
            }
        });
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    // In this order: a check is asked for after it was assigned.
                    biased;
                    changed = assigned.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let checks = assigned.borrow_and_update().clone();
                        prober.assign(checks).await;
                    }
                    Some(checks) = asked.recv() => prober.run_now(checks).await,
                }
            }
        });
        Self {
            checks,
            at_once,
            board,
            clock,
            tools,
        }
    }

    /// What runs of checks need of the machine.
    pub(super) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Runs the checks of an assignment from now on. One that cannot run here is posted as unknown, with the reason.
    pub(super) fn assign(&self, assignment: &Assignment, allow: &Allow) {
        let mut permitted = BTreeMap::new();
        for (id, check) in &assignment.checks {
            match allow.permits_check(&check.kind) {
                Ok(()) => drop(permitted.insert(id.clone(), check.clone())),
                Err(refusal) => self.cannot(id, &refusal.to_string()),
            }
        }
        for (id, why) in &assignment.unusable {
            self.cannot(id, why);
        }
        self.checks.send_replace(permitted);
    }

    /// Runs checks at once.
    pub(super) fn run_now(&self, checks: Vec<CheckId>) {
        if self.at_once.try_send(checks).is_err() {
            tracing::warn!("too many checks were asked for at once; they run at their own time");
        }
    }

    fn cannot(&self, id: &CheckId, why: &str) {
        tracing::warn!(check = %id, "not run here: {why}");
        let result = ProbeResult {
            verdict: Verdict::Unknown,
            evidence: line(why),
            value: None,
            paused: false,
        };
        self.board
            .post_check(id, result, Instant::now(), self.clock.mono());
    }
}

/// Runs the check commands of the agent's own file.
#[derive(Debug)]
pub(super) struct CheckCommands(pub(super) Exec);

impl CommandRunner for CheckCommands {
    fn run<'r>(&'r self, name: &'r LocalName, limit: Duration) -> Running<'r> {
        Box::pin(async move {
            // A command that outlives this limit is ended by its own.
            let checked = tokio::time::timeout(limit, self.0.check(name)).await;
            let checked = match checked {
                Err(_) => return Err(format!("no end within {limit:?}")),
                Ok(Err(error)) => return Err(super::managers::chain(&error)),
                Ok(Ok(checked)) => checked,
            };
            match &checked.ended.outcome {
                Outcome::Exited(exit) if exit.timed_out => Err(checked.ended.outcome.to_string()),
                Outcome::Exited(exit) => match &exit.status {
                    Status::Code(code) => Ok(CommandOutput {
                        code: Some(*code),
                        output: checked.output,
                    }),
                    Status::Signal(_) => Ok(CommandOutput {
                        code: None,
                        output: checked.output,
                    }),
                    Status::NotStarted(why) => Err(format!("not started: {why}")),
                },
                Outcome::Unknown(_) => Err(checked.ended.outcome.to_string()),
            }
        })
    }
}

/// What probes need, of this node.
pub(super) fn tools(
    exec: Exec,
    systemd: crate::systemd::Systemd,
    put_out: Arc<dyn PutOut>,
    config: &Config,
) -> Tools {
    // Not `current_exe`: after an upgrade its path leads to another version, and this link to the one that runs.
    let helper = "/proc/self/exe".into();
    Tools {
        runner: Arc::new(CheckCommands(exec)),
        systemd,
        files: Arc::new(crate::probe::FileProbes::new(helper, config.node.clone())),
        names: crate::probe::Names::default(),
        passwords: crate::probe::Passwords::new(config.secrets.clone()),
        trust: match &config.tls.check_ca {
            Some(authorities) => Trust::of(authorities.clone()),
            None => Trust::default(),
        },
        put_out,
    }
}
