//! How the services are, and which causes are behind it.
//!
//! One cause, not N alarms: a service that suffers only because something that it needs is not well is listed under
//! that cause; so is one whose machine went off under it, under the machine. An `after` edge is never a cause, and neither is a stop that an operation wanted. An agent that is not
//! heard is a cause too, where no service tells of it, or more than one would: without causes, nothing is in doubt.
//!
//! *Down* is said of what is known to be down. Where too little is known to tell whether enough works, the service is
//! *unknown* (invariant I5): an instance that runs, and whose check is too old, is neither healthy nor sick.

mod instances;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use interlock_model::check::{CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Active;
use interlock_model::spec::{Service, Spec};
use interlock_model::time::Now;

use super::{Coordinator, runs_on};
use instances::Instances;

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
    /// It is going down, as an operation wanted it, and not all of it is down yet.
    Stopping,
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
            Self::Stopping => "stopping",
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
    /// Something of it is not as it should be. Not so where all that is missing is what an operation stopped, or is
    /// just bringing up.
    pub at_fault: bool,
    /// Which instance is active, for an exclusive service.
    pub active: Option<Active>,
    /// Instances that run.
    pub running: usize,
    /// Instances that run and whose checks are green.
    pub healthy: usize,
    /// Nodes of whose instances too little is known; the reason tells of them.
    pub untold: BTreeSet<NodeName>,
    /// Nodes whose instances wait for what they depend on, and what they say of that.
    pub paused: BTreeMap<NodeName, String>,
    /// Nodes whose agents are not heard, so that nothing is known of the instances there.
    pub silent: BTreeSet<NodeName>,
    /// Something besides that is not as it should be.
    pub else_at_fault: bool,
    /// Nodes that are off while the instances there are wanted running. That is no fault of the service.
    pub cut_off: BTreeSet<NodeName>,
}

impl ServiceStatus {
    /// Is nothing wrong with it but that agents are not heard?
    fn is_only_silenced(&self) -> bool {
        !self.silent.is_empty() && !self.else_at_fault && self.cut_off.is_empty()
    }
}

/// One root cause and what suffers from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The service or node at fault.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What suffers from it: services by their names, power devices as `power device NAME`.
    pub dependants: Vec<String>,
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
        // Of most services neither is asked: who is active, nor who takes part where.
        let mut nodes = match service.is_exclusive() {
            true => service.nodes.clone(),
            false => Vec::new(),
        };
        let balancers = service
            .member_of
            .keys()
            .filter_map(|it| spec.services.get(it));
        nodes.extend(balancers.flat_map(|balancer| balancer.nodes.clone()));
        let seen = self.view.snapshot_of(spec, &nodes, now);
        let active = service.is_exclusive().then(|| seen.active(service));
        let mut found = Instances::default();
        for node in &service.nodes {
            let state = self.view.state(spec, node, &service.name);
            self.instance(
                spec,
                service,
                (node, state, seen.apart(spec, service, node)),
                active.as_ref(),
                now,
                &mut found,
            );
        }
        let elsewhere = self.other_checks(spec, service, now);
        let total = service.nodes.len();
        let stopped = found.resting.len() == total;
        if !stopped {
            found.blame_unwanted_rest();
        }
        // What an operation has stopped is not missed.
        let missed = total.saturating_sub(found.at_rest());
        let needed = (service.at_least as usize).min(missed).max(1);
        let active_lost = matches!(&active, Some(Active::Unknown(_)) if service.is_leased() || !service.active_when.is_empty());
        if let (true, Some(Active::Unknown(why))) = (active_lost && found.running > 0, &active) {
            found.faults.insert(0, why.clone());
        }
        let health = if service.external {
            if !elsewhere.bad.is_empty() {
                ServiceHealth::Down
            } else if !elsewhere.unknown.is_empty() {
                ServiceHealth::Unknown
            } else {
                ServiceHealth::Ok
            }
        } else if stopped && found.going_down > 0 {
            ServiceHealth::Stopping
        } else if stopped {
            ServiceHealth::Stopped
        } else if found.serving == total && found.faults.is_empty() && elsewhere.is_green() {
            ServiceHealth::Ok
        } else if found.serving >= needed && !active_lost && elsewhere.blind {
            ServiceHealth::Unknown
        } else if found.serving >= needed && !active_lost {
            ServiceHealth::Degraded
        } else if !found.paused.is_empty() {
            ServiceHealth::Paused
        } else if found.serving + found.untold >= needed {
            ServiceHealth::Unknown
        } else {
            ServiceHealth::Down
        };
        let Instances {
            running, healthy, ..
        } = found;
        for told in elsewhere.bad {
            // What is compared is among the checks of an instance that runs, too.
            if !found.faults.contains(&told) {
                found.faults.push(told);
            }
        }
        if service.external {
            found.faults.extend(elsewhere.unknown);
        } else if !stopped {
            found.faults.extend(elsewhere.doubts);
        }
        ServiceStatus {
            service: service.name.clone(),
            health,
            at_fault: !found.faults.is_empty(),
            else_at_fault: found.faults.len() > found.silent_on.len(),
            silent: std::mem::take(&mut found.silent_on),
            reason: found.reason(health == ServiceHealth::Stopped),
            active,
            running,
            healthy,
            paused: found.paused,
            untold: found.untold_on,
            cut_off: found.cut_off,
        }
    }

    /// Checks from elsewhere, of nodes that are there to run them.
    fn other_checks(&self, spec: &Spec, service: &Service, now: Now) -> Elsewhere {
        let mut found = Elsewhere::default();
        for (name, check) in &service.checks {
            let compared = matches!(check.kind, CheckKind::Same { .. });
            if check.from == CheckFrom::Own && !compared {
                continue;
            }
            let id = CheckId {
                service: service.name.clone(),
                check: name.clone(),
            };
            let mut green = false;
            let mut unknown = None;
            let mut doubt = None;
            // Who sees the same is named together; what is compared is told of each, as its instance tells it.
            let mut bad: Vec<(String, Vec<&NodeName>)> = Vec::new();
            for (node, _) in runs_on(spec, service, check) {
                let seen = self.view.check(spec, node, &id, now);
                let told = || format!("{id} on {node} is {}: {}", seen.verdict, seen.evidence);
                match seen.verdict {
                    Verdict::Ok => green = true,
                    Verdict::Unknown => {
                        unknown = unknown.or_else(|| Some(told()));
                        if self.view.alive(node) {
                            doubt = doubt.or_else(|| Some(told()));
                        }
                    }
                    Verdict::Bad if !self.view.alive(node) => {}
                    Verdict::Bad => match bad.iter_mut().find(|(why, _)| *why == seen.evidence) {
                        Some((_, nodes)) if !compared => nodes.push(node),
                        _ => bad.push((seen.evidence, vec![node])),
                    },
                }
            }
            let bad = bad.into_iter();
            let bad = bad.map(|(why, nodes)| format!("{id} on {} is bad: {why}", named(&nodes)));
            found.bad.extend(bad);
            found.blind |= !green && doubt.is_some();
            found.doubts.extend(doubt);
            if !green {
                found.unknown.extend(unknown);
            }
        }
        found
    }

    /// The root causes behind what is not well now.
    #[must_use]
    pub fn causes(&self, now: Now) -> Vec<Cause> {
        let Some(applied) = &self.applied else {
            return self.refusals(now);
        };
        let sick = sick(self.services(now));
        let silenced = self.silent_by_themselves(&sick, now);
        let mut causes: Vec<Cause> = causes_among(&applied.spec, &sick, &silenced)
            .into_values()
            .collect();
        causes.extend(machines_off(&applied.spec, &sick).into_values());
        causes.extend(self.contests(now));
        causes.extend(self.refusals(now));
        causes.extend(self.strays());
        causes.extend(self.silent_agents(&applied.spec, &sick, &silenced, now));
        causes.extend(self.forgotten_sides());
        causes.extend(self.contradicted_plugs(&applied.spec, &sick));
        causes
    }

    /// A cause for each plug that is contradicted, but those of which a service tells: nothing that it says is believed, and
    /// nothing is switched by it.
    fn contradicted_plugs(
        &self,
        spec: &Spec,
        sick: &BTreeMap<ServiceName, ServiceStatus>,
    ) -> Vec<Cause> {
        let told: BTreeSet<&NodeName> = sick.values().flat_map(|it| &it.untold).collect();
        let nodes = spec.nodes.keys().filter(|node| !told.contains(node));
        let contradicted = nodes.filter_map(|node| {
            let seen = self.view.node(node).filter(|seen| seen.contradicted)?;
            Some(Cause {
                subject: node.to_string(),
                what: seen.power.as_ref()?.2.clone(),
                dependants: Vec::new(),
            })
        });
        contradicted.collect()
    }
}

/// How many nodes that see the same are named.
const NAMED: usize = 8;

/// `jb1`, `jb1 and jb2`, `jb1, jb2 and jb3`; the first of many, and how many more.
pub(super) fn named(nodes: &[&NodeName]) -> String {
    let mut names: Vec<String> = nodes.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = nodes.len().checked_sub(NAMED) {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

/// What checks say that do not run on the service's own instances.
#[derive(Debug, Default)]
struct Elsewhere {
    bad: Vec<String>,
    /// Checks that are green nowhere, and not known to be bad.
    unknown: Vec<String>,
    /// Checks that are unknown on a node whose agent is there to run them.
    doubts: Vec<String>,
    /// One of those is green nowhere.
    blind: bool,
}

impl Elsewhere {
    /// Unknown is not green (invariant I5). Of a node that cannot run a check its own silence is told instead.
    fn is_green(&self) -> bool {
        self.bad.is_empty() && self.doubts.is_empty()
    }
}

/// The services that are not well. What runs short because an operation wants it so is to blame for nothing.
pub(super) fn sick(services: Vec<ServiceStatus>) -> BTreeMap<ServiceName, ServiceStatus> {
    let sick = services.into_iter().filter(|status| match status.health {
        ServiceHealth::Ok | ServiceHealth::Stopping | ServiceHealth::Stopped => false,
        ServiceHealth::Degraded => status.at_fault || !status.cut_off.is_empty(),
        ServiceHealth::Paused | ServiceHealth::Down | ServiceHealth::Unknown => true,
    });
    sick.map(|status| (status.service.clone(), status))
        .collect()
}

/// The causes among services that are not well, each with those that suffer from it.
pub(super) fn causes_among(
    spec: &Spec,
    sick: &BTreeMap<ServiceName, ServiceStatus>,
    silenced: &BTreeMap<NodeName, BTreeSet<ServiceName>>,
) -> BTreeMap<ServiceName, Cause> {
    let mut causes = BTreeMap::new();
    for (name, status) in sick {
        let Some(service) = spec.services.get(name) else {
            continue;
        };
        let blamed = service
            .dependencies
            .iter()
            .any(|(other, edge)| edge.needed && sick.contains_key(other));
        // Its machines are the cause, if nothing else is wrong with it.
        let explained = !status.at_fault && !status.cut_off.is_empty();
        // Nothing else is wrong with it than that agents are not heard, and each of those is a cause already.
        let is_silenced = status.is_only_silenced()
            && status.silent.iter().all(|node| silenced.contains_key(node));
        if blamed || explained || is_silenced {
            continue;
        }
        let mut dependants = BTreeSet::new();
        collect_dependants(spec, name, sick, &mut dependants);
        // What an operation is about to bring up is a cause only for those that suffer meanwhile.
        if !status.at_fault && dependants.is_empty() {
            continue;
        }
        let cause = Cause {
            subject: name.to_string(),
            what: format!("{}: {}", status.health, status.reason),
            dependants: dependants.iter().map(ToString::to_string).collect(),
        };
        causes.insert(name.clone(), cause);
    }
    causes
}

/// A cause for each machine that is off while something is wanted running there.
pub(super) fn machines_off(
    spec: &Spec,
    sick: &BTreeMap<ServiceName, ServiceStatus>,
) -> BTreeMap<NodeName, Cause> {
    let mut suffer: BTreeMap<&NodeName, BTreeSet<ServiceName>> = BTreeMap::new();
    for (name, status) in sick {
        for node in &status.cut_off {
            let here = suffer.entry(node).or_default();
            here.insert(name.clone());
            collect_dependants(spec, name, sick, here);
        }
    }
    let causes = suffer.into_iter().map(|(node, services)| {
        let cause = Cause {
            subject: node.to_string(),
            what: "off: its power source says so, and what was wanted running there was not stopped before"
                .to_owned(),
            dependants: services.iter().map(ToString::to_string).collect(),
        };
        (node.clone(), cause)
    });
    causes.collect()
}

fn collect_dependants(
    spec: &Spec,
    of: &ServiceName,
    sick: &BTreeMap<ServiceName, ServiceStatus>,
    into: &mut BTreeSet<ServiceName>,
) {
    for other in spec.services.values() {
        let needs = other.dependencies.get(of).is_some_and(|edge| edge.needed);
        if needs && sick.contains_key(&other.name) && into.insert(other.name.clone()) {
            collect_dependants(spec, &other.name, sick, into);
        }
    }
}
