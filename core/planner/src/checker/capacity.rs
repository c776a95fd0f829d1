//! Never fewer healthy instances than the spec wants, at any point that a run can reach.
//!
//! Two instances can be away at once unless the plan orders one's return before the other's stop. In a plan of batches
//! that is an equivalence, so the number of instances that can be away together with a given one is exact; in any other
//! plan it is an upper bound, and the check errs on the cautious side.

use std::rc::Rc;

use interlock_model::check::{CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceState, Observations};
use interlock_model::plan::{Plan, PlanKind, Wait};
use interlock_model::spec::{Service, Spec};

use super::Violation;
use super::paths::{Beyond, Paths};

pub(super) fn check(
    spec: &Spec,
    plan: &Plan,
    paths: &Paths<'_>,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    if plan.kind.comes_up() {
        return;
    }
    for service in spec
        .services
        .values()
        .filter(|service| !service.is_exclusive() && service.nodes.len() > 1)
    {
        let agentless = |node: &NodeName| {
            spec.nodes
                .get(node)
                .is_some_and(|node| node.agentless.is_some())
        };
        let stops: Vec<(&NodeName, usize)> = service
            .nodes
            .iter()
            .filter_map(|node| Some((node, paths.stop(&service.name, node, agentless(node))?)))
            .collect();
        if stops.is_empty() {
            continue;
        }
        let healthy: Vec<&NodeName> = service
            .nodes
            .iter()
            .filter(|node| is_healthy(plan, service, node, observations, agentless(node)))
            .collect();
        let away = match plan.kind {
            PlanKind::Shutdown | PlanKind::Evacuate => {
                let running = |node: &NodeName| {
                    observations
                        .is_none_or(|o| agentless(node) || is_up(o.instance(node, &service.name)))
                };
                let staying = service
                    .nodes
                    .iter()
                    .filter(|node| running(node) && !stops.iter().any(|(stop, _)| stop == node));
                // A host is emptied while service goes on.
                if staying.count() == 0 && plan.kind == PlanKind::Shutdown {
                    // The service is taken away as a whole; there is nothing to keep.
                    continue;
                }
                stops
                    .iter()
                    .filter(|(node, _)| healthy.contains(node))
                    .count()
            }
            PlanKind::Startup
            | PlanKind::Restart
            | PlanKind::Reboot
            | PlanKind::Switchover
            | PlanKind::Failover
            | PlanKind::Failback
            | PlanKind::Restore => {
                let healthy = stops.into_iter().filter(|(node, _)| healthy.contains(node));
                most_at_once(
                    &healthy
                        .map(|(node, stop)| Away::new(paths, service, node, stop))
                        .collect::<Vec<_>>(),
                )
            }
        };
        let left = u32::try_from(healthy.len() - away.min(healthy.len())).unwrap_or(u32::MAX);
        if left < service.at_least {
            found.push(Violation::Capacity {
                service: service.name.clone(),
                would_leave: left,
                at_least: service.at_least,
            });
        }
    }
}

fn is_up(state: InstanceState) -> bool {
    !matches!(
        state,
        InstanceState::Stopped
            | InstanceState::Stopping
            | InstanceState::Failed
            | InstanceState::Unknown
    )
}

fn is_healthy(
    plan: &Plan,
    service: &Service,
    node: &NodeName,
    observations: Option<&Observations>,
    agentless: bool,
) -> bool {
    // Checks of a node without an agent run elsewhere; what is said of its machine is enough here.
    let Some(observations) = observations.filter(|_| !agentless) else {
        return true;
    };
    observations.instance(node, &service.name) == InstanceState::Running
        && service.checks.iter().all(|(name, check)| {
            let id = CheckId {
                service: service.name.clone(),
                check: name.clone(),
            };
            check.from != CheckFrom::Own
                || matches!(check.kind, CheckKind::Same { .. })
                || plan.forced.contains(&id)
                || observations.check(node, &id).verdict == Verdict::Ok
        })
}

/// The time that an instance is away, from its stop to its return.
struct Away {
    stop: usize,
    /// What starts only after its return; none if it does not come back.
    returned: Option<Rc<Beyond>>,
}

impl Away {
    fn new<'a>(paths: &Paths<'a>, service: &'a Service, node: &'a NodeName, stop: usize) -> Self {
        let start = paths
            .start(&service.name, node)
            .filter(|start| paths.leads_to(stop, *start));
        Self {
            stop,
            returned: start.map(|start| paths.beyond(start, Wait::Healthy)),
        }
    }

    fn is_over_before(&self, other: &Self) -> bool {
        self.returned
            .as_ref()
            .is_some_and(|beyond| beyond.contains(other.stop))
    }
}

fn most_at_once(away: &[Away]) -> usize {
    let with = |one: &Away| {
        away.iter()
            .filter(|other| !one.is_over_before(other) && !other.is_over_before(one))
            .count()
    };
    away.iter().map(with).max().unwrap_or(0)
}
