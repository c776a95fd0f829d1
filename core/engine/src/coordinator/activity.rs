//! Which side of an exclusive service was active last: remembered, and given up where it turns out to be wrong.
//!
//! The active side is written down as soon as its checks tell it, so that it survives the end of everything
//! (invariant I10). Between two looks it may move, though, and the instance it moved to may go down before anybody saw
//! it there. Then the remembered instance is up, passes its checks no more, and nobody is left to ask. To start from
//! such a memory is to start from the older data; so it is given up, durably, and a person is asked
//! (`--assume-active`). *Unknown* is an answer, a wrong side is not.
//!
//! What counts against a memory is evidence only. That the remembered instance is silent, restarts, or has not become
//! active yet after a start says nothing: a power cut must not cost the memory that it is kept for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::check::{CheckId, Verdict};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Active, InstanceState, Observations};
use interlock_model::spec::Service;
use interlock_model::time::Now;

use super::Coordinator;
use super::records::{self, Write};

/// What this process has seen of an exclusive service's instances: enough to tell whether another one than the
/// remembered one can have been active unseen. Times are of this process's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// The instances that were up when they were last heard of.
    up: BTreeSet<NodeName>,
    /// Since when an instance has been seen running without a break.
    running: BTreeMap<NodeName, Duration>,
    /// When an instance that had been up was found down.
    left: BTreeMap<NodeName, Duration>,
    /// Up to when nobody but the remembered instance can have been active: the last probe that found it active, or the
    /// last time when everything was seen down. None if neither has happened in this process's life.
    certain: Option<Duration>,
    /// The active side was seen, or a person said it.
    anew: bool,
}

impl Trail {
    /// Does this process know the active side by itself, and not by what an earlier one wrote down?
    pub(super) fn is_anew(&self) -> bool {
        self.anew
    }

    fn follow(&mut self, service: &Service, seen: &Observations, now: Duration) {
        for node in &service.nodes {
            let state = seen.instance(node, &service.name);
            match state {
                // Not heard of: it is taken for what it was.
                InstanceState::Unknown => continue,
                InstanceState::Stopped | InstanceState::Failed => {
                    if self.up.remove(node) {
                        self.left.insert(node.clone(), now);
                    }
                }
                InstanceState::Starting
                | InstanceState::Running
                | InstanceState::Paused
                | InstanceState::Stopping => {
                    self.up.insert(node.clone());
                }
            }
            if state == InstanceState::Running {
                self.running.entry(node.clone()).or_insert(now);
            } else {
                self.running.remove(node);
            }
        }
    }

    /// An instance that is down now, and can have been active since the remembered one was last known to be.
    fn unseen<'a>(
        &self,
        service: &'a Service,
        seen: &Observations,
        remembered: &NodeName,
    ) -> Option<&'a NodeName> {
        service.nodes.iter().find(|node| {
            *node != remembered
                && seen.instance(node, &service.name).is_down()
                && self
                    .certain
                    .is_none_or(|certain| self.left.get(*node).is_some_and(|left| *left > certain))
        })
    }

    /// The check that says that an instance is not the active one, by a probe that ran while the instance was running.
    fn not_active(
        &self,
        service: &Service,
        seen: &Observations,
        node: &NodeName,
        now: Now,
    ) -> Option<CheckId> {
        let running = *self.running.get(node)?;
        let checks = service.active_when.iter().map(|check| CheckId {
            service: service.name.clone(),
            check: check.clone(),
        });
        checks.into_iter().find(|id| {
            let check = seen.check(node, id);
            check.verdict == Verdict::Bad
                && check
                    .age
                    .is_some_and(|age| now.mono.saturating_sub(age) >= running)
        })
    }
}

impl Coordinator {
    /// What was active when it was last known (invariant I10). A service of which that is not certain is not in it.
    #[must_use]
    pub fn activity(&self) -> &BTreeMap<ServiceName, NodeName> {
        &self.activity
    }

    /// Looks at the services of a node that was just heard: what is known now is remembered, what cannot be true any
    /// more is given up.
    pub(super) fn remember_activity(&mut self, node: &NodeName, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        for service in spec.services.values() {
            if !service.is_exclusive()
                || (service.active_when.is_empty() && !service.is_leased())
                || !service.nodes.contains(node)
            {
                continue;
            }
            let seen = self.view.snapshot_of(&spec, &service.nodes, now);
            let trail = self.trails.entry(service.name.clone()).or_default();
            trail.follow(service, &seen, now.mono);
            match seen.active(service) {
                Active::On(active) => {
                    trail.certain = Some(probed(service, &seen, &active, now));
                    trail.anew = true;
                    let why = if service.is_leased() {
                        "it holds the lease"
                    } else {
                        "its checks say so"
                    };
                    self.set_activity(&service.name, &active, why, now);
                }
                Active::Nowhere => trail.certain = Some(now.mono),
                Active::Unknown(_) => self.doubt_activity(service, &seen, now),
            }
        }
    }

    /// Gives up a memory that the evidence is against.
    fn doubt_activity(&mut self, service: &Service, seen: &Observations, now: Now) {
        let (Some(remembered), Some(trail)) = (
            self.activity.get(&service.name),
            self.trails.get(&service.name),
        ) else {
            return;
        };
        let Some(check) = trail.not_active(service, seen, remembered, now) else {
            return;
        };
        let Some(other) = trail.unseen(service, seen, remembered).cloned() else {
            return;
        };
        let why = format!(
            "it runs and does not pass {check}, and {other} went down without having been seen"
        );
        self.give_up(&service.name, &why, now);
    }

    /// A person says which side was active. Nothing that was seen before speaks against that.
    pub(super) fn attest_activity(
        &mut self,
        service: &ServiceName,
        active: &NodeName,
        why: &str,
        now: Now,
    ) {
        let trail = self.trails.entry(service.clone()).or_default();
        trail.certain = Some(now.mono);
        trail.anew = true;
        self.set_activity(service, active, why, now);
    }

    pub(super) fn set_activity(
        &mut self,
        service: &ServiceName,
        active: &NodeName,
        why: &str,
        now: Now,
    ) {
        if self.activity.get(service) == Some(active) {
            return;
        }
        self.known_again(service);
        let before = self.activity.insert(service.clone(), active.clone());
        self.output
            .writes
            .push(Write::json(records::activity_key(service), active));
        self.event("activity", now, |event| {
            event.service = service.to_string();
            event.node = active.to_string();
            event.text = match before {
                Some(before) => {
                    format!("the active side of {service} is {active}, no longer {before}: {why}")
                }
                None => format!("the active side of {service} is {active}: {why}"),
            };
        });
    }
}

/// When the probes ran that found an instance active: the oldest of them counts.
fn probed(service: &Service, seen: &Observations, active: &NodeName, now: Now) -> Duration {
    let ages = service.active_when.iter().filter_map(|check| {
        let id = CheckId {
            service: service.name.clone(),
            check: check.clone(),
        };
        seen.check(active, &id).age
    });
    now.mono.saturating_sub(ages.max().unwrap_or_default())
}
