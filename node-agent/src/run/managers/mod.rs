//! The managers of parts behind one face: look, bring up, take down.
//!
//! Each manager proves what it did: *up* means that it was seen running, *down* that it was seen down and, where that
//! can be known, that nothing of it is left. What is already so is not done again; asking whether it is, is the
//! caller's part.

mod exec;
mod mariadb;
pub(super) mod ocf;
mod postgres;
mod process;
mod redis;
mod runner;
mod unit;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_model::action::Part;
use interlock_model::names::ServiceName;
use interlock_model::observation::InstanceState;

pub(super) use runner::Runners;

use super::errand::{Errand, Trouble, is_of_guard};
use super::mariadb::Servers as MariadbServers;
use super::postgres::Servers;
use super::redis::Servers as RedisServers;
use super::seen::Seen;
use crate::config::{Allow, Refusal};
use crate::exec::Exec;
use crate::ocf::ResourceAgents;
use crate::session::Clock;
use crate::shim::Runs;
use crate::supervise::Supervisor;
use crate::systemd::Systemd;

/// All managers of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Managers {
    pub(super) supervisor: Supervisor,
    pub(super) exec: Exec,
    pub(super) ocf: ResourceAgents,
    pub(super) systemd: Systemd,
    pub(super) runs: Runs,
    pub(super) clock: Clock,
    pub(super) allow: Arc<Allow>,
    pub(super) servers: Servers,
    pub(super) redis: RedisServers,
    pub(super) mariadb: MariadbServers,
    pub(super) started: Started,
}

/// When this agent began to start a part that it had seen down, on the clock that counts from boot, where its manager does not say
/// since when it runs. Whatever was started later by somebody else has been started since, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Started(Arc<Mutex<BTreeMap<Part, Duration>>>);

/// An address comes and goes with the right of its node, and is nothing that an attempt starts.
const WITH_THE_ROLE: &str = "an address goes with the role, and is not started by itself";

impl Managers {
    /// Looks at a part.
    pub(super) async fn look(&self, part: &Part) -> Seen {
        match part {
            Part::Process { name } => self.look_at_process(name),
            Part::Systemd { unit } => self.look_at_unit(unit).await,
            Part::Exec { name } => Seen {
                since_boot: self.known_start(part),
                ..self.look_at_exec(name).await
            },
            Part::Ocf(resource) => Seen {
                since_boot: self.known_start(part),
                ..self.look_at_ocf(resource).await
            },
            Part::Postgres(postgres) => self.look_at_postgres(postgres).await,
            Part::Redis(redis) => self.look_at_redis(redis).await,
            Part::Mariadb(mariadb) => self.look_at_mariadb(mariadb).await,
            Part::Address(_) => Seen::unknown(WITH_THE_ROLE.to_owned()),
        }
    }

    /// It was seen down, and has been started by what was begun at this moment.
    pub(super) fn has_started(&self, part: &Part, begun: Duration) {
        if matches!(part, Part::Exec { .. } | Part::Ocf(_)) {
            let mut started = self
                .started
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            started.insert(part.clone(), begun);
        }
    }

    /// Since when a part runs at least that is seen running; none if that is not known.
    fn known_start(&self, part: &Part) -> Option<Duration> {
        let started = self
            .started
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        started.get(part).copied()
    }

    /// What an earlier agent of this boot knew of a part by the end: that it ran. Where its manager knows that itself, it is
    /// asked.
    pub(super) fn last_known(&self, part: &Part) -> Option<InstanceState> {
        match part {
            Part::Ocf(resource) if self.ocf.was_up(resource) => Some(InstanceState::Running),
            _ => None,
        }
    }

    /// Looks at a part of what is assigned. One that the agent's own file does not permit is not asked by a command: an
    /// assignment runs nothing.
    pub(super) async fn look_at_assigned(&self, service: &ServiceName, part: &Part) -> Seen {
        match (part, self.allow.permits_part(service, part)) {
            (Part::Exec { .. } | Part::Ocf(_), Err(refusal)) => Seen::unknown(refusal.to_string()),
            _ => self.look(part).await,
        }
    }

    /// Does the agent's own file permit to operate all parts?
    pub(super) fn permit(&self, service: &ServiceName, parts: &[Part]) -> Result<(), Refusal> {
        parts
            .iter()
            .try_for_each(|part| self.allow.permits_part(service, part))
    }

    /// Why these parts cannot be started, as far as is known without running anything.
    pub(super) fn objection(&self, parts: &[Part]) -> Option<String> {
        parts.iter().find_map(|part| match part {
            Part::Ocf(resource) => self.ocf_objection(resource),
            Part::Postgres(postgres) => self.servers.get(postgres).err(),
            Part::Redis(redis) => self.redis.get(redis).err(),
            Part::Mariadb(mariadb) => self.mariadb.get(mariadb).err(),
            Part::Process { .. } | Part::Systemd { .. } | Part::Exec { .. } | Part::Address(_) => {
                None
            }
        })
    }

    /// Looks at all parts.
    pub(super) async fn look_at_all(&self, parts: &[Part]) -> Vec<(Part, Seen)> {
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            all.push((part.clone(), self.look(part).await));
        }
        all
    }

    /// Starts a part and waits until it is seen running. `index` is its place in the instance.
    pub(super) async fn bring_up(
        &self,
        part: &Part,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match part {
            Part::Process { name } => self.bring_process_up(name, errand).await,
            Part::Systemd { unit } => self.bring_unit_up(unit, errand).await,
            Part::Exec { name } => self.bring_exec_up(name, index, errand).await,
            Part::Ocf(resource) => self.bring_ocf_up(resource, index, errand).await,
            Part::Postgres(postgres) => self.bring_postgres_up(postgres, errand).await,
            Part::Redis(redis) => self.bring_redis_up(redis, errand).await,
            Part::Mariadb(mariadb) => self.bring_mariadb_up(mariadb, errand).await,
            Part::Address(_) => Err(Trouble::Failed(WITH_THE_ROLE.to_owned())),
        }
    }

    /// Stops a part and waits until it is seen down.
    pub(super) async fn take_down(
        &self,
        part: &Part,
        index: usize,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match part {
            Part::Process { name } => self.take_process_down(name, errand).await,
            Part::Systemd { unit } => self.take_unit_down(unit, errand).await,
            Part::Exec { name } => self.take_exec_down(name, index, errand).await,
            Part::Ocf(resource) => self.take_ocf_down(resource, index, errand).await,
            Part::Postgres(postgres) => self.take_postgres_down(postgres, errand).await,
            Part::Redis(redis) => self.take_redis_down(redis, errand).await,
            Part::Mariadb(mariadb) => self.take_mariadb_down(mariadb, errand).await,
            Part::Address(_) => Err(Trouble::Failed(WITH_THE_ROLE.to_owned())),
        }
    }

    /// Ends every command that the guard of this service has begun, this agent's or an earlier one's, and returns when
    /// nothing of it is left. What a command that has exited left running is the service, and stays.
    pub(super) async fn end_guard_runs(&self, service: &ServiceName) -> Result<(), Trouble> {
        for run in self.runs.all(|id| is_of_guard(id, service)) {
            if run.command_may_run() {
                tracing::info!(%service, run = %run.id(), "ending what the guard began");
                run.stop().await.map_err(|error| {
                    let evidence = format!("a start by the guard is not ended: {}", chain(&error));
                    Trouble::unknown(evidence, true)
                })?;
            }
        }
        Ok(())
    }

    /// Forgets the runs of the guard of this service as soon as the last process of each is gone.
    pub(super) fn forget_guard_runs(&self, service: &ServiceName) {
        for run in self.runs.all(|id| is_of_guard(id, service)) {
            self.exec.forget(run);
        }
    }

    /// Has this errand already brought the part up? Only where its own runs tell, and across restarts of the agent.
    pub(super) async fn was_brought_up(
        &self,
        part: &Part,
        index: usize,
        errand: &Errand<'_>,
    ) -> bool {
        match part {
            Part::Exec { .. } | Part::Ocf(_) => self.command_brought_up(index, errand).await,
            Part::Process { .. }
            | Part::Systemd { .. }
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => false,
        }
    }

    /// May an action on the part be repeated when it is unknown whether it happened?
    pub(super) fn is_repeatable(&self, part: &Part) -> bool {
        match part {
            // Starting what runs and stopping what is stopped does nothing.
            Part::Process { .. }
            | Part::Systemd { .. }
            | Part::Ocf(_)
            | Part::Address(_)
            | Part::Postgres(_)
            | Part::Redis(_)
            | Part::Mariadb(_) => true,
            Part::Exec { name } => self.exec.is_idempotent(name),
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
