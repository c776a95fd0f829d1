//! The `exec` manager: services, checks and one-shot commands whose commands the agent's own file names.
//!
//! The cluster names `[exec.NAME]`; what runs is written there, as a list of arguments, never a shell line. Each
//! command runs under a shim, so that a killed agent learns what became of it ([`crate::shim`]).
//!
//! * An **attempt** ([`Exec::launch`]) is `start` or `stop`, or a one-shot command. Its id is the caller's, who finds it
//!   again after a restart among the adopted runs. What a `start` leaves running is kept: the attempt is over when the
//!   command itself is ([`Exec::report`]), its run when the last of those processes is.
//! * A **check** ([`Exec::check`]) is nobody's after a restart: [`Exec::adopt`] ends and forgets it.

mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use interlock_model::names::LocalName;
use interlock_model::observation::InstanceState;

use crate::config::{self, AccountError, Setting};
use crate::shim::{
    ChildEnd, Ended, LaunchError, Leftovers, Output, Run, RunId, RunSpec, Runs, Stop,
};

/// How much output of each stream of a check is kept: evidence is one line.
const CHECK_OUTPUT: u64 = 4096;

/// The grace of a check at its time limit. It has nothing to tidy up.
const CHECK_GRACE: Duration = Duration::from_secs(1);

/// The time limit of the shutdown command. It ends with the machine; this is for the case that it does not.
const ONE_SHOT_LIMIT: Duration = Duration::from_secs(60);

/// Which command of `[exec.NAME]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `start`.
    Start,
    /// `stop`.
    Stop,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// A command could not be run. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not in the file.
    #[error("there is no `{verb}` of exec {name}: add it to [exec.{name}] in the agent's file")]
    NoSuch {
        /// Which commands.
        name: LocalName,
        /// Which of them.
        verb: &'static str,
    },
    /// Its user does not exist.
    #[error("cannot tell the user of exec {0}")]
    Account(LocalName, #[source] AccountError),
    /// Its shim could not be started.
    #[error("cannot run {0}")]
    Launch(String, #[source] LaunchError),
    /// The agent is ending.
    #[error("the check of exec {0} was not finished: the agent is ending")]
    Ending(LocalName),
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the command ended; none if nobody saw it, which means that it is unknown what it has done.
    pub end: Option<ChildEnd>,
    /// Its output so far: standard output, then standard error.
    pub output: String,
}

impl Report {
    /// Did the command do its work?
    #[must_use]
    pub fn success(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| end.status.success() && !end.timed_out)
    }
}

/// What a check command found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How it ended.
    pub ended: Ended,
    /// What that says about the service; see the table in the sample configuration.
    pub state: InstanceState,
    /// Its output: standard output, then standard error.
    pub output: String,
}

#[derive(Debug)]
struct Inner {
    runs: Runs,
    commands: BTreeMap<LocalName, config::Exec>,
    checks: AtomicU64,
}

/// The commands of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exec {
    inner: Arc<Inner>,
}

impl Exec {
    /// With these commands.
    #[must_use]
    pub fn new(runs: Runs, commands: BTreeMap<LocalName, config::Exec>) -> Self {
        Self {
            inner: Arc::new(Inner {
                runs,
                commands,
                checks: AtomicU64::new(0),
            }),
        }
    }

    /// May `start` and `stop` be repeated when it is unknown whether they have happened?
    #[must_use]
    pub fn is_idempotent(&self, name: &LocalName) -> bool {
        self.inner
            .commands
            .get(name)
            .is_some_and(|commands| commands.idempotent)
    }

    /// Ends and forgets the checks among the adopted runs; returns the others.
    pub fn adopt(&self, runs: Vec<Run>) -> Vec<Run> {
        let (checks, others): (Vec<Run>, Vec<Run>) =
            runs.into_iter().partition(|run| run.id().is_check());
        checks.into_iter().for_each(|check| self.end(check));
        others
    }

    /// Ends and forgets a check that nobody waits for.
    fn end(&self, check: Run) {
        let runs = self.inner.runs.clone();
        tokio::spawn(async move {
            if let Err(error) = check.kill(Duration::ZERO).await {
                tracing::warn!(run = %check.id(), %error, "cannot end a check");
                return;
            }
            forget(&runs, &check).await;
        });
    }

    /// A `start` or `stop` that was begun earlier and may run still, although nobody waits for it any more: its shim was
    /// killed, or it could not be ended.
    #[must_use]
    pub fn still_runs(&self, name: &LocalName) -> Option<Run> {
        self.running(name).next()
    }

    /// One of these that goes on without its shim.
    #[must_use]
    pub fn orphan(&self, name: &LocalName) -> Option<Run> {
        self.running(name).find(|run| run.state().is_some())
    }

    fn running(&self, name: &LocalName) -> impl Iterator<Item = Run> {
        let owners = [Verb::Start, Verb::Stop].map(|verb| owner(name, verb));
        let begun = self.inner.runs.all(|id| !id.is_check());
        let still = move |run: &Run| owners.contains(&run.spec().owner) && run.command_may_run();
        begun.into_iter().filter(still)
    }

    /// Begins an attempt and returns when its command runs.
    ///
    /// # Errors
    /// If nothing was started; see [`Error`].
    pub async fn launch(&self, name: &LocalName, verb: Verb, id: RunId) -> Result<Run, Error> {
        let commands = self.inner.commands.get(name);
        let command = commands.and_then(|commands| match verb {
            Verb::Start => commands.start.as_ref(),
            Verb::Stop => commands.stop.as_ref(),
        });
        let (Some(commands), Some(command)) = (commands, command) else {
            return Err(Error::NoSuch {
                name: name.clone(),
                verb: verb.word(),
            });
        };
        let spec = RunSpec {
            owner: owner(name, verb),
            leftovers: match verb {
                Verb::Start => Leftovers::Keep,
                Verb::Stop => Leftovers::Kill,
            },
            time_limit: Some(commands.time_limit),
            ..spec(name, id, command, &commands.setting)?
        };
        self.inner
            .runs
            .launch(spec)
            .await
            .map_err(|error| Error::Launch(format!("{} of exec {name}", verb.word()), error))
    }

    /// Begins a command that is not of a service, such as the shutdown command.
    ///
    /// # Errors
    /// If nothing was started; see [`Error`].
    pub async fn one_shot(&self, command: &[String], id: RunId) -> Result<Run, Error> {
        let spec = RunSpec {
            time_limit: Some(ONE_SHOT_LIMIT),
            ..RunSpec::new(id, command.to_vec())
        };
        self.inner
            .runs
            .launch(spec)
            .await
            .map_err(|error| Error::Launch(command.join(" "), error))
    }

    /// Waits for the end of an attempt's command, launched or adopted.
    pub async fn report(&self, run: &Run) -> Report {
        Report {
            end: run.child_end().await,
            output: output(run).await,
        }
    }

    /// Forgets an attempt whose report is safe elsewhere: now, or when the last process that it left behind is gone.
    pub fn forget(&self, run: Run) {
        let runs = self.inner.runs.clone();
        tokio::spawn(async move {
            run.gone().await;
            forget(&runs, &run).await;
        });
    }

    /// Runs the check command. It is stopped at its time limit, whatever it does; dropping the future does not keep it
    /// any longer.
    ///
    /// # Errors
    /// If it could not be run; see [`Error`].
    pub async fn check(&self, name: &LocalName) -> Result<Checked, Error> {
        let exec = self.clone();
        let name = name.clone();
        let checked = tokio::spawn({
            let name = name.clone();
            async move { exec.check_to_the_end(&name).await }
        });
        checked.await.unwrap_or(Err(Error::Ending(name)))
    }

    async fn check_to_the_end(&self, name: &LocalName) -> Result<Checked, Error> {
        let commands = self.inner.commands.get(name);
        let command = commands.and_then(|commands| commands.check.as_ref());
        let (Some(commands), Some(command)) = (commands, command) else {
            return Err(Error::NoSuch {
                name: name.clone(),
                verb: "check",
            });
        };
        let run = loop {
            let id = RunId::check(name, self.inner.checks.fetch_add(1, Ordering::Relaxed));
            let spec = RunSpec {
                owner: format!("exec {name} check"),
                output: Output::Ends {
                    bytes: CHECK_OUTPUT,
                },
                time_limit: Some(commands.time_limit),
                stop: Stop {
                    grace: CHECK_GRACE,
                    ..commands.setting.stop
                },
                durable: false,
                ..spec(name, id, command, &commands.setting)?
            };
            match self.inner.runs.launch(spec).await {
                // One of the last agent that is not forgotten yet.
                Err(LaunchError::Exists(_)) => {}
                Err(error) => return Err(Error::Launch(format!("check of exec {name}"), error)),
                Ok(run) => break run,
            }
        };
        let ended = run.wait().await;
        let checked = Checked {
            state: verdict::state_of(&ended),
            ended,
            output: output(&run).await,
        };
        if checked.ended.group.is_empty() {
            forget(&self.inner.runs, &run).await;
        } else {
            // Its shim was killed.
            self.end(run);
        }
        Ok(checked)
    }
}

/// Whose a run of a command is, as the run has it written down.
fn owner(name: &LocalName, verb: Verb) -> String {
    format!("exec {name} {}", verb.word())
}

fn spec(
    name: &LocalName,
    id: RunId,
    command: &[String],
    setting: &Setting,
) -> Result<RunSpec, Error> {
    let user = setting
        .user
        .as_ref()
        .map(config::Account::resolve)
        .transpose();
    Ok(RunSpec {
        env: setting.env.clone(),
        cwd: setting.cwd.clone(),
        user: user.map_err(|error| Error::Account(name.clone(), error))?,
        stop: setting.stop,
        ..RunSpec::new(id, command.to_vec())
    })
}

async fn output(run: &Run) -> String {
    match run.output().await {
        Ok((stdout, stderr)) => stdout.text() + &stderr.text(),
        Err(error) => format!("(its output cannot be read: {error})"),
    }
}

async fn forget(runs: &Runs, run: &Run) {
    if let Err(error) = runs.remove(run).await {
        tracing::warn!(run = %run.id(), %error, "a run cannot be forgotten");
    }
}
