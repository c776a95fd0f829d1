//! How the services are, and which causes are behind it.
//!
//! One cause, not N alarms: a service that suffers only because something that it needs is not well is listed under
//! that cause. An `after` edge is never a cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use interlock_model::check::{CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Active, InstanceState, Liveness, Wanted};
use interlock_model::spec::{Service, Spec};
use interlock_model::time::Now;

use super::{Coordinator, runs_on};

/// How a service is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceHealth {
    /// As it should be.
    Ok,
    /// It works, but not everything of it does.
    Degraded,
    /// It waits for what it depends on.
    Paused,
    /// It should work and does not.
    Down,
    /// It is stopped, as an operation wanted it.
    Stopped,
    /// It cannot be told.
    Unknown,
}

impl fmt::Display for ServiceHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Down => "down",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        })
    }
}

/// How a service is.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// Its name.
    pub service: ServiceName,
    /// As a whole.
    pub health: ServiceHealth,
    /// Why, if it is not ok.
    pub reason: String,
    /// Which instance is active, for an exclusive service.
    pub active: Option<Active>,
    /// Instances that run.
    pub running: usize,
    /// Instances that run and whose checks are green.
    pub healthy: usize,
}

/// One root cause and what suffers from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The service or node at fault.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What suffers from it.
    pub dependants: Vec<ServiceName>,
}

impl Coordinator {
    /// How every service is, in the spec's order.
    #[must_use]
    pub fn services(&self, now: Now) -> Vec<ServiceStatus> {
        let Some(applied) = &self.applied else {
            return Vec::new();
        };
        applied
            .spec
            .services
            .values()
            .map(|service| self.service(&applied.spec, service, now))
            .collect()
    }

    fn service(&self, spec: &Spec, service: &Service, now: Now) -> ServiceStatus {
        let seen = self.view.snapshot_of(spec, &service.nodes, now);
        let active = service.is_exclusive().then(|| seen.active(service));
        let mut problems = Vec::new();
        let (mut running, mut healthy, mut stopped, mut unknown, mut paused) = (0, 0, 0, 0, 0);
        for node in &service.nodes {
            match seen.instance(node, &service.name) {
                InstanceState::Running => {
                    running += 1;
                    match self.own_checks(spec, service, node, active.as_ref(), now) {
                        None => healthy += 1,
                        Some(problem) => problems.push(problem),
                    }
                }
                InstanceState::Paused => {
                    paused += 1;
                    problems.push(format!(
                        "{node} is paused: {}",
                        self.reason(node, &service.name)
                    ));
                }
                InstanceState::Unknown => {
                    unknown += 1;
                    let liveness = self
                        .view
                        .node(node)
                        .map_or(Liveness::Unheard, |seen| seen.liveness);
                    problems.push(format!("{node} is {liveness}"));
                }
                down if down.is_down()
                    && self.wanted(node, &service.name) != Some(Wanted::Running) =>
                {
                    stopped += 1
                }
                other => problems.push(format!(
                    "{node} is {other}: {}",
                    self.reason(node, &service.name)
                )),
            }
        }
        problems.extend(self.other_checks(spec, service, now));
        let total = service.nodes.len();
        let needed = (service.at_least as usize).max(1).min(total.max(1));
        let active_lost =
            matches!(&active, Some(Active::Unknown(_)) if !service.active_when.is_empty());
        if let (true, Some(Active::Unknown(why))) = (active_lost && running > 0, &active) {
            problems.insert(0, why.clone());
        }
        let health = if service.external {
            if problems.is_empty() {
                ServiceHealth::Ok
            } else {
                ServiceHealth::Down
            }
        } else if stopped == total {
            ServiceHealth::Stopped
        } else if healthy == total && problems.is_empty() {
            ServiceHealth::Ok
        } else if healthy >= needed && !active_lost {
            ServiceHealth::Degraded
        } else if paused > 0 {
            ServiceHealth::Paused
        } else if healthy + unknown >= needed {
            ServiceHealth::Unknown
        } else {
            ServiceHealth::Down
        };
        let more = problems.len().saturating_sub(2);
        problems.truncate(2);
        let mut reason = problems.join("; ");
        if more > 0 {
            reason.push_str(&format!("; and {more} more"));
        }
        ServiceStatus {
            service: service.name.clone(),
            health,
            reason,
            active,
            running,
            healthy,
        }
    }

    fn reason(&self, node: &NodeName, service: &ServiceName) -> &str {
        self.view
            .node(node)
            .and_then(|seen| seen.instances.get(service))
            .map(|instance| instance.reason.as_str())
            .filter(|reason| !reason.is_empty())
            .unwrap_or("no reason given")
    }

    fn wanted(&self, node: &NodeName, service: &ServiceName) -> Option<Wanted> {
        self.view
            .node(node)
            .and_then(|seen| seen.instances.get(service))
            .and_then(|instance| instance.wanted)
    }

    /// The first of an instance's own checks that is not green. On a standby the checks that tell the active side
    /// are not expected to be.
    fn own_checks(
        &self,
        spec: &Spec,
        service: &Service,
        node: &NodeName,
        active: Option<&Active>,
        now: Now,
    ) -> Option<String> {
        service
            .checks
            .iter()
            .filter(|(_, check)| check.from == CheckFrom::Own)
            .find_map(|(name, _)| {
                let tells_active = service.active_when.contains(name);
                if tells_active && !matches!(active, Some(Active::On(on)) if on == node) {
                    return None;
                }
                let id = CheckId {
                    service: service.name.clone(),
                    check: name.clone(),
                };
                let seen = self.view.check(spec, node, &id, now);
                (seen.verdict != Verdict::Ok)
                    .then(|| format!("{id} on {node} is {}: {}", seen.verdict, seen.evidence))
            })
    }

    /// Checks from elsewhere, of nodes that are there to run them.
    fn other_checks(&self, spec: &Spec, service: &Service, now: Now) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, check) in &service.checks {
            if check.from == CheckFrom::Own && !matches!(check.kind, CheckKind::Same { .. }) {
                continue;
            }
            let id = CheckId {
                service: service.name.clone(),
                check: name.clone(),
            };
            for (node, _) in runs_on(spec, service, &check.from) {
                if !self.view.alive(node) {
                    continue;
                }
                let seen = self.view.check(spec, node, &id, now);
                if seen.verdict == Verdict::Bad {
                    problems.push(format!("{id} on {node} is bad: {}", seen.evidence));
                }
            }
        }
        problems
    }

    /// The root causes behind what is not well now.
    #[must_use]
    pub fn causes(&self, now: Now) -> Vec<Cause> {
        let Some(applied) = &self.applied else {
            return Vec::new();
        };
        let sick: BTreeMap<ServiceName, String> = self
            .services(now)
            .into_iter()
            .filter(|status| !matches!(status.health, ServiceHealth::Ok | ServiceHealth::Stopped))
            .map(|status| {
                (
                    status.service,
                    format!("{}: {}", status.health, status.reason),
                )
            })
            .collect();
        let mut causes = Vec::new();
        for (name, what) in &sick {
            let Some(service) = applied.spec.services.get(name) else {
                continue;
            };
            let blamed = service
                .dependencies
                .iter()
                .any(|(other, edge)| edge.needed && sick.contains_key(other));
            if blamed {
                continue;
            }
            let mut dependants = BTreeSet::new();
            collect_dependants(&applied.spec, name, &sick, &mut dependants);
            causes.push(Cause {
                subject: name.to_string(),
                what: what.clone(),
                dependants: dependants.into_iter().collect(),
            });
        }
        causes
    }
}

fn collect_dependants(
    spec: &Spec,
    of: &ServiceName,
    sick: &BTreeMap<ServiceName, String>,
    into: &mut BTreeSet<ServiceName>,
) {
    for other in spec.services.values() {
        let needs = other.dependencies.get(of).is_some_and(|edge| edge.needed);
        if needs && sick.contains_key(&other.name) && into.insert(other.name.clone()) {
            collect_dependants(spec, &other.name, sick, into);
        }
    }
}
