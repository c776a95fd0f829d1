//! The instances of this node, and who is told what happens to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_model::action::Part;
use interlock_model::names::ServiceName;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::charge::Charge;
use super::keeper::{Instance, Keeper};
use super::managers::{Managers, Runners};
use super::{mariadb, ocf, postgres, redis};
use crate::roles::Roles;
use crate::session::{AssignedInstance, Assignment, Clock, Handle};
use crate::supervise;
use crate::systemd::Systemd;

/// The instances of this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instances {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Everything that was ever assigned or acted on.
    known: BTreeMap<ServiceName, Arc<Instance>>,
    /// What is assigned, each with the end of its keeper that ends it.
    assigned: BTreeMap<ServiceName, watch::Sender<AssignedInstance>>,
    units: Vec<String>,
    watcher: Option<AbortHandle>,
}

impl Instances {
    /// The instance of a service, assigned or not: a command may come before the assignment.
    pub(super) fn of(&self, service: &ServiceName) -> Arc<Instance> {
        Arc::clone(self.lock().known.entry(service.clone()).or_default())
    }

    /// What is assigned for a service.
    pub(crate) fn assigned(&self, service: &ServiceName) -> Option<AssignedInstance> {
        self.lock()
            .assigned
            .get(service)
            .map(|assigned| assigned.borrow().clone())
    }

    /// Keeps these instances from now on. A keeper whose instance stays goes on.
    pub(super) fn assign(
        &self,
        assignment: &Assignment,
        managers: &Managers,
        session: &Handle,
        roles: &Roles,
        clock: Clock,
    ) {
        let mut inner = self.lock();
        inner
            .assigned
            .retain(|service, _| assignment.instances.contains_key(service));
        for (service, instance) in &assignment.instances {
            if let Some(known) = inner.assigned.get(service) {
                known.send_if_modified(|now| {
                    let changed = now != instance;
                    now.clone_from(instance);
                    changed
                });
                continue;
            }
            let (sender, assigned) = watch::channel(instance.clone());
            let charge = Charge {
                service: service.clone(),
                instance: Arc::clone(inner.known.entry(service.clone()).or_default()),
                assigned,
                managers: managers.clone(),
                session: session.clone(),
                roles: roles.clone(),
                clock,
            };
            tokio::spawn(postgres::Follower::of(charge.clone()).run());
            tokio::spawn(redis::Follower::of(charge.clone()).run());
            tokio::spawn(mariadb::Follower::of(charge.clone()).run());
            tokio::spawn(ocf::Follower::of(charge.clone()).run());
            tokio::spawn(Keeper::of(charge).run());
            inner.assigned.insert(service.clone(), sender);
        }
        let runners = managers.runners();
        let units = units(assignment, &runners);
        if units != inner.units {
            if let Some(watcher) = inner.watcher.take() {
                watcher.abort();
            }
            inner.units.clone_from(&units);
            if !units.is_empty() {
                inner.watcher = Some(
                    tokio::spawn(watch_units(
                        self.clone(),
                        managers.systemd.clone(),
                        units,
                        runners,
                    ))
                    .abort_handle(),
                );
            }
        }
    }

    /// Pokes every instance that has a part like this.
    pub(super) fn poke(&self, like: impl Fn(&Part) -> bool) {
        let inner = self.lock();
        for (service, assigned) in &inner.assigned {
            let (of_all, of_primary) = {
                let assigned = assigned.borrow();
                let any = |parts: &[Part]| parts.iter().any(&like);
                (any(&assigned.parts), any(&assigned.primary_parts))
            };
            if let Some(instance) = inner.known.get(service) {
                if of_all {
                    instance.poke();
                }
                if of_primary {
                    instance.stir_role();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn units(assignment: &Assignment, runners: &Runners) -> Vec<String> {
    let parts = assignment
        .instances
        .values()
        .flat_map(|instance| instance.parts.iter().chain(&instance.primary_parts));
    let mut units: Vec<String> = parts
        .filter_map(|part| runners.unit(part).map(str::to_owned))
        .collect();
    units.sort();
    units.dedup();
    units
}

/// Passes on what systemd says.
async fn watch_units(instances: Instances, systemd: Systemd, units: Vec<String>, runners: Runners) {
    let mut watch = match systemd.watch(units) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "units are looked at now and then only");
            return;
        }
    };
    while let Some(event) = watch.next().await {
        instances.poke(|part| runners.unit(part) == Some(&event.unit));
    }
}

/// Passes on what the supervisor says.
pub(super) async fn watch_processes(
    instances: Instances,
    mut events: mpsc::Receiver<supervise::Event>,
    runners: Runners,
) {
    while let Some(event) = events.recv().await {
        tracing::info!(process = %event.name, "{}", event.state);
        instances.poke(|part| runners.is_run_by(part, &event.name));
    }
}
