//! PostgreSQL servers: started as standbys, and stopped, by what runs them.

use std::time::Duration;

use interlock_model::observation::InstanceState;
use interlock_model::postgres::Postgres;
use rustix::process::Signal;

use super::{Managers, chain};
use crate::config::Runner;
use crate::postgres::{ControlState, Facts, Observed, Role};
use crate::run::errand::{Errand, Trouble};
use crate::run::hands::remains;
use crate::run::postgres::Server;
use crate::run::seen::{Restarter, Seen};
use crate::shim::watch_fd;
use crate::systemd::Activity;

/// The pause between two looks at a server that starts, and at what runs one.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_AT_RUN: Duration = Duration::from_millis(100);

/// For how long a server that lets in whoever asks is not stopped because its unit still starts.
const SETTLE: Duration = Duration::from_secs(10);

/// How long what precedes a start may take.
const START: Duration = Duration::from_secs(30);

/// How long it may take to read the log of a server that died: nobody takes over meanwhile.
const END: Duration = Duration::from_secs(10);

/// How long a checkpoint may take that makes a shutdown short: the primary takes writes meanwhile.
const CHECKPOINT: Duration = Duration::from_secs(30);

/// How long a shutdown may take before it is left to the unit: whoever follows gets all of the log first.
const SHUT_DOWN: Duration = Duration::from_secs(60);

/// How a server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) struct End {
    /// How far the data of a primary went that was stopped in order: beyond the checkpoint of its shutdown, so that whoever has
    /// as much has replayed that, and all before it. Of one that died, the end of its log.
    pub(in crate::run) position: Option<u64>,
    /// It has not left recovery since it was last to be promoted.
    pub(in crate::run) unwritten: bool,
}

impl Managers {
    /// Looks at what runs a server. Nobody starts it again but who keeps it following.
    pub(super) async fn look_at_postgres(&self, postgres: &Postgres) -> Seen {
        match self.servers.get(postgres) {
            Ok(server) => Seen {
                restarter: Restarter::Nobody,
                ..self.look_at_run(server).await
            },
            Err(why) => Seen::unknown(why),
        }
    }

    /// Looks at what runs a server.
    pub(in crate::run) async fn look_at_run(&self, server: &Server) -> Seen {
        self.look_at_runner(&server.run).await
    }

    /// Starts a server as a standby, in its turn.
    pub(super) async fn bring_postgres_up(
        &self,
        postgres: &Postgres,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.servers.get(postgres).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        let said = self.start_standby(server, errand).await?;
        self.is_settled(server, errand).await?;
        Ok(said)
    }

    /// Waits until what runs a server that was started says that it runs, too.
    async fn is_settled(&self, server: &Server, errand: &Errand<'_>) -> Result<(), Trouble> {
        loop {
            let run = self.look_at_run(server).await;
            match run.state {
                InstanceState::Starting => {}
                InstanceState::Running => return Ok(()),
                _ => {
                    return Err(Trouble::Failed(format!(
                        "it does not stay up: {}",
                        run.text()
                    )));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AT_RUN) => {}
                halt = errand.halted() => {
                    return Err(Trouble::unknown(format!("{halt} while its unit came up"), true));
                }
            }
        }
    }

    /// Starts a server as a standby, and waits until it lets in who asks: what runs it may say so later, as Debian's unit does by two
    /// seconds. By who has it in hand.
    pub(in crate::run) async fn start_standby(
        &self,
        server: &Server,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let mut run = self.look_at_run(server).await;
        while run.state == InstanceState::Stopping {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                halt = errand.halted() => {
                    return Err(Trouble::Failed(format!("{halt} before it was down")));
                }
            }
            run = self.look_at_run(server).await;
        }
        if self.starts_nothing(server, &run).await {
            self.take_runner_down(&server.run, errand).await?;
            run = self.look_at_run(server).await;
        }
        if run.state.is_down() {
            // Something of a killed one may hold its data. Of a unit that is down systemd ends nothing more; what holds the data is found.
            if let Runner::Process(_) = server.run {
                self.take_run_down(server, errand).await?;
            }
            let prepared = server.cluster.prepare_start(START).await;
            prepared.map_err(|error| Trouble::Failed(chain(&error)))?;
            let early = tokio::select! {
                started = self.bring_runner_up(&server.run, errand) => {
                    started?;
                    None
                }
                // Its start goes on by itself.
                facts = answers(server) => Some(facts),
            };
            if let Some(facts) = early {
                return self.is_standby(server, &facts, errand).await;
            }
        }
        loop {
            if let Ok(Observed::Up(facts)) = server.observe().await {
                return self.is_standby(server, &facts, errand).await;
            }
            let run = self.look_at_run(server).await;
            if run.state.is_down() || run.state == InstanceState::Unknown {
                return Err(Trouble::Failed(format!(
                    "it does not come up: {}",
                    run.text()
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                halt = errand.halted() => {
                    return Err(Trouble::unknown(format!("{halt} while it came up"), true));
                }
            }
        }
    }

    /// Is what was started a standby? Anything else is stopped.
    async fn is_standby(
        &self,
        server: &Server,
        facts: &Facts,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match facts.role {
            Role::Standby(_) => Ok(format!("standby on timeline {}", facts.timeline)),
            Role::Primary(_) => {
                let text = "it is no standby although it was to be started as one";
                match self.take_run_down(server, errand).await {
                    Ok(_) => Err(Trouble::Failed(format!("{text}; stopped"))),
                    Err(trouble) => Err(Trouble::unknown(format!("{text}; {trouble}"), true)),
                }
            }
        }
    }

    /// Does its unit start while nothing of it is there? One of Debian's does without end when its processes were killed: it waits for a
    /// main process that is dead.
    pub(in crate::run) async fn starts_nothing(&self, server: &Server, run: &Seen) -> bool {
        let Runner::Unit(unit) = &server.run else {
            return false;
        };
        if run.state != InstanceState::Starting {
            return false;
        }
        let Ok(state) = self.systemd.observe(unit).await else {
            return false;
        };
        let group = state.control_group.as_deref();
        state.activity == Activity::Starting
            && state.main_pid.is_none()
            && group.is_none_or(|group| remains(group).is_none())
    }

    /// Stops a server, in its turn.
    pub(super) async fn take_postgres_down(
        &self,
        postgres: &Postgres,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let server = self.servers.get(postgres).map_err(Trouble::Failed)?;
        let _acting = errand.turn(&server.acting).await?;
        self.take_run_down(server, errand).await
    }

    /// Has a primary that is to be shut down soon write what it has changed, and waits until nobody else acts on it.
    pub(in crate::run) async fn prepare_shutdown(&self, postgres: &Postgres) -> Result<(), String> {
        let server = self.servers.get(postgres)?;
        let checkpoint = server.cluster.checkpoint(CHECKPOINT).await;
        drop(tokio::time::timeout(CHECKPOINT, server.acting.lock()).await);
        checkpoint.map_err(|error| chain(&error))
    }

    /// Shuts down a server that runs in a unit, in its turn, by a word to its first process, and waits for the end of that. The
    /// command by which a unit does so takes long to begin, and then looks ten times a second whether it is done. None if that
    /// cannot be done, or takes too long: it is left to what runs it.
    pub(in crate::run) async fn shut_down(
        &self,
        postgres: &Postgres,
        errand: &Errand<'_>,
    ) -> Option<Result<String, Trouble>> {
        let server = self.servers.get(postgres).ok()?;
        let Runner::Unit(unit) = &server.run else {
            return None;
        };
        let _acting = match errand.turn(&server.acting).await {
            Ok(acting) => acting,
            Err(trouble) => return Some(Err(trouble)),
        };
        let first = server.cluster.postmaster(START).await.ok()??;
        let ends = watch_fd(first.open().ok().flatten()?).ok()?;
        // A fast shutdown (PostgreSQL documentation, *Shutting Down the Server*).
        if !matches!(first.signal(Signal::INT), Ok(true)) {
            return None;
        }
        tokio::select! {
            // A pidfd becomes readable when its process exits (pidfd_open(2)).
            _ = ends.readable() => Some(Ok(format!("shut down; nothing of it is left for {unit} to stop"))),
            () = tokio::time::sleep(SHUT_DOWN) => None,
            halt = errand.halted() => Some(Err(Trouble::unknown(format!("{halt} while it shut down"), true))),
        }
    }

    /// How a server that is stopped has ended; none if nobody can tell.
    pub(in crate::run) async fn end_of(&self, postgres: &Postgres) -> Option<End> {
        let server = self.servers.get(postgres).ok()?;
        let control = server.cluster.control(START).await.ok()?;
        let position = match &control.state {
            ControlState::ShutDown => control.ended_at().map(|at| at.0 + 1),
            // It died by itself, and may have left something that still writes: then nobody can tell.
            ControlState::Other(state) if state == "in production" => {
                let end = server.cluster.end_of_log(END).await;
                end.ok().map(|end| end.0)
            }
            ControlState::ShutDownInRecovery | ControlState::Other(_) => None,
        };
        Some(End {
            position,
            unwritten: server.was_not_promoted(&control),
        })
    }

    /// Stops what runs a server. By who has it in hand.
    pub(in crate::run) async fn take_run_down(
        &self,
        server: &Server,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        // A unit that is stopped while it starts ends its processes with SIGTERM. To this server that means: when the last client has
        // gone.
        let settle = async {
            while self.look_at_run(server).await.state == InstanceState::Starting
                && matches!(server.observe().await, Ok(Observed::Up(_)))
            {
                tokio::time::sleep(LOOK_AT_RUN).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(SETTLE, settle) => {}
            _ = errand.halted() => {}
        }
        self.take_runner_down(&server.run, errand).await
    }
}

/// Waits until a server lets in who asks.
async fn answers(server: &Server) -> Facts {
    loop {
        if let Ok(Observed::Up(facts)) = server.observe().await {
            return facts;
        }
        tokio::time::sleep(LOOK).await;
    }
}
