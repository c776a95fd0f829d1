//! What runs the servers of this node: units and processes, looked at and asked as such.

use interlock_model::action::Part;
use interlock_model::names::LocalName;

use super::Managers;
use crate::config::Runner;
use crate::run::errand::{Errand, Trouble};
use crate::run::seen::Seen;
use crate::run::{mariadb, postgres, redis};

/// What runs each server. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::run) struct Runners {
    pub(in crate::run) postgres: postgres::Servers,
    pub(in crate::run) redis: redis::Servers,
    pub(in crate::run) mariadb: mariadb::Servers,
}

impl Runners {
    /// What runs the server that a part is; none if it is none, or one that is not known here.
    pub(in crate::run) fn of(&self, part: &Part) -> Option<&Runner> {
        match part {
            Part::Postgres(postgres) => self.postgres.runner_of(postgres),
            Part::Redis(redis) => self.redis.runner_of(redis),
            Part::Mariadb(mariadb) => self.mariadb.runner_of(mariadb),
            Part::Systemd { .. }
            | Part::Process { .. }
            | Part::Exec { .. }
            | Part::Ocf(_)
            | Part::Address(_) => None,
        }
    }

    /// The unit that runs a part, if it is one, or its server is run by one.
    pub(in crate::run) fn unit<'p>(&'p self, part: &'p Part) -> Option<&'p str> {
        match part {
            Part::Systemd { unit } => Some(unit),
            part => self.of(part)?.unit(),
        }
    }

    /// Is it this process that runs the part?
    pub(in crate::run) fn is_run_by(&self, part: &Part, process: &LocalName) -> bool {
        match (part, self.of(part)) {
            (Part::Process { name }, _) | (_, Some(Runner::Process(name))) => name == process,
            _ => false,
        }
    }

    /// What runs the part, as a part: itself, if it is no server. None of a server that is not known here.
    pub(in crate::run) fn runner(&self, part: &Part) -> Option<Part> {
        if !part.is_server() {
            return Some(part.clone());
        }
        self.of(part).map(|runner| match runner {
            Runner::Unit(unit) => Part::Systemd { unit: unit.clone() },
            Runner::Process(name) => Part::Process { name: name.clone() },
        })
    }
}

impl Managers {
    /// What runs each server.
    pub(in crate::run) fn runners(&self) -> Runners {
        Runners {
            postgres: self.servers.clone(),
            redis: self.redis.clone(),
            mariadb: self.mariadb.clone(),
        }
    }

    /// Why the server that a part is could not be promoted, however it looks.
    pub(in crate::run) fn trouble_of(&self, part: &Part) -> Option<String> {
        match part {
            Part::Postgres(postgres) => self.servers.get(postgres).ok()?.trouble(),
            Part::Redis(redis) => self.redis.get(redis).ok()?.trouble(),
            Part::Mariadb(mariadb) => self.mariadb.get(mariadb).ok()?.trouble(),
            Part::Ocf(resource) if resource.promotable => self.ocf_trouble(resource),
            Part::Systemd { .. }
            | Part::Process { .. }
            | Part::Exec { .. }
            | Part::Ocf(_)
            | Part::Address(_) => None,
        }
    }

    /// Looks at what runs a server.
    pub(in crate::run) async fn look_at_runner(&self, runner: &Runner) -> Seen {
        match runner {
            Runner::Unit(unit) => self.look_at_unit(unit).await,
            Runner::Process(name) => self.look_at_process(name),
        }
    }

    /// Starts what runs a server. By who has it in hand.
    pub(in crate::run) async fn bring_runner_up(
        &self,
        runner: &Runner,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match runner {
            Runner::Unit(unit) => self.bring_unit_up(unit, errand).await,
            Runner::Process(name) => self.bring_process_up(name, errand).await,
        }
    }

    /// Stops what runs a server. By who has it in hand.
    pub(in crate::run) async fn take_runner_down(
        &self,
        runner: &Runner,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        match runner {
            Runner::Unit(unit) => self.take_unit_down(unit, errand).await,
            Runner::Process(name) => self.take_process_down(name, errand).await,
        }
    }
}
