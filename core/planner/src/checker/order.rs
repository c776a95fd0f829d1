//! Every edge of the spec, wherever both of its ends are in the plan.

use std::collections::BTreeMap;

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, PlanKind, Wait};
use interlock_model::spec::{Service, Spec};

use super::Violation;
use super::paths::Paths;
use crate::cost;

/// Instances of one service that the plan touches, as step indices.
type Steps = Vec<(usize, bool)>;

/// What the plan does to the instances of one service.
struct Turns {
    stops: Steps,
    starts: Steps,
}

pub(super) fn check(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    // Once for each service, not for each edge: where many depend on many there are far more of those.
    let turns: BTreeMap<&ServiceName, Turns> = spec
        .services
        .values()
        .map(|service| {
            let of_it = Turns {
                stops: stops(spec, paths, service),
                starts: starts(plan, paths, service),
            };
            (&service.name, of_it)
        })
        .collect();
    for service in spec.services.values() {
        let active = active(plan, service);
        let touched = touched(spec, paths, service);
        // Standbys of a lease that nobody holds stop in any order.
        let ordered = !(service.is_leased() && plan.kind.goes_down());
        if service.is_exclusive()
            && ordered
            && service.nodes.len() > 1
            && touched > 0
            && active.is_none()
        {
            found.push(Violation::NoActiveSide {
                service: service.name.clone(),
            });
            continue;
        }
        sequence(spec, plan, paths, service, found);
        for (name, dependency) in &service.dependencies {
            let (Some(required), Some(own), Some(below)) = (
                spec.services.get(name),
                turns.get(&service.name),
                turns.get(name),
            ) else {
                continue;
            };
            match plan.kind {
                PlanKind::Shutdown | PlanKind::Evacuate => {
                    require(paths, &own.stops, &below.stops, dependency.stop, found);
                }
                PlanKind::Startup | PlanKind::Restore => {
                    let mut first = below.starts.clone();
                    let mut then = own.starts.clone();
                    // What runs already is up; its health is waited for, and it waits for nothing itself.
                    first.retain(|(step, _)| {
                        dependency.start == Wait::Healthy || !looks(spec, paths, *step)
                    });
                    then.retain(|(step, _)| !looks(spec, paths, *step));
                    require(paths, &first, &then, dependency.start, found);
                }
                PlanKind::Restart => {
                    // Dependencies are through with their restart before the first dependant stops.
                    let first: Steps = below.starts.iter().map(|(step, _)| (*step, true)).collect();
                    require(paths, &first, &own.stops, Wait::Healthy, found);
                }
                // A role moves; nothing starts or stops.
                PlanKind::Switchover | PlanKind::Failover | PlanKind::Failback => {}
                PlanKind::Reboot => on_each_node(
                    paths,
                    service,
                    required,
                    dependency.stop,
                    dependency.start,
                    found,
                ),
            }
        }
    }
}

fn active<'a>(plan: &'a Plan, service: &'a Service) -> Option<&'a NodeName> {
    match service.nodes.as_slice() {
        [only] => Some(only),
        _ => plan
            .assumptions
            .get(&service.name)
            .map(|a| &a.active)
            .filter(|node| service.nodes.contains(node)),
    }
}

fn touched(spec: &Spec, paths: &Paths<'_>, service: &Service) -> usize {
    let steps = |node| {
        let agentless = is_agentless(spec, node);
        paths.start(&service.name, node).is_some()
            || paths.stop(&service.name, node, agentless).is_some()
    };
    service.nodes.iter().filter(|node| steps(node)).count()
}

fn is_agentless(spec: &Spec, node: &NodeName) -> bool {
    spec.nodes
        .get(node)
        .is_some_and(|node| node.agentless.is_some())
}

fn looks(spec: &Spec, paths: &Paths<'_>, step: usize) -> bool {
    let node = paths.steps[step].node.as_ref();
    paths.only_looks(step, node.is_some_and(|node| is_agentless(spec, node)))
}

/// The instances as they start: the active side first, the others as listed.
pub(super) fn upwards<'a>(plan: &'a Plan, service: &'a Service) -> Vec<&'a NodeName> {
    let active = active(plan, service).filter(|_| service.is_exclusive());
    let others = service.nodes.iter().filter(|node| Some(*node) != active);
    active.into_iter().chain(others).collect()
}

fn stops(spec: &Spec, paths: &Paths<'_>, service: &Service) -> Steps {
    let stop = |node| paths.stop(&service.name, node, is_agentless(spec, node));
    service
        .nodes
        .iter()
        .filter_map(stop)
        .map(|step| (step, true))
        .collect()
}

/// The starts, and for each whether it is an instance that works: a standby is only ever *up*.
fn starts(plan: &Plan, paths: &Paths<'_>, service: &Service) -> Steps {
    let active = active(plan, service);
    let works = |node: &NodeName| !service.is_exclusive() || active == Some(node);
    let steps = service.nodes.iter().filter_map(|node| {
        // Of a leased service nobody works by being started. Where its role moves to in the end is no matter of its start.
        let promote = paths.promote(&service.name, node);
        let step = match promote.filter(|_| works(node)) {
            Some(promote) => promote,
            None => paths.start(&service.name, node)?,
        };
        Some((step, works(node)))
    });
    steps.collect()
}

fn require(
    paths: &Paths<'_>,
    first: &Steps,
    then: &Steps,
    until: Wait,
    found: &mut Vec<Violation>,
) {
    if until == Wait::None {
        return;
    }
    for (step, works) in first {
        let until = if *works { until } else { until.min(Wait::Up) };
        cost::count(then.len());
        let beyond = paths.beyond(*step, until);
        for (later, _) in then
            .iter()
            .filter(|(later, _)| later != step && !beyond.contains(*later))
        {
            found.push(out_of_order(paths, *later, *step, until));
        }
    }
}

pub(super) fn out_of_order(paths: &Paths<'_>, step: usize, on: usize, until: Wait) -> Violation {
    Violation::OutOfOrder {
        step: paths.steps[step].id.clone(),
        on: paths.steps[on].id.clone(),
        until,
    }
}

/// Instances of one service among themselves: the active side last to stop and first to start, the others as listed.
fn sequence(
    spec: &Spec,
    plan: &Plan,
    paths: &Paths<'_>,
    service: &Service,
    found: &mut Vec<Violation>,
) {
    let upwards = upwards(plan, service);
    let name: &ServiceName = &service.name;
    let stops = |order: &mut dyn Iterator<Item = &&NodeName>| -> Steps {
        let stop = |node: &&NodeName| paths.stop(name, node, is_agentless(spec, node));
        order.filter_map(stop).map(|step| (step, true)).collect()
    };
    match plan.kind {
        PlanKind::Shutdown | PlanKind::Evacuate => {
            one_by_one(
                paths,
                &stops(&mut upwards.iter().rev()),
                service.sequence.stop,
                found,
            );
        }
        PlanKind::Startup | PlanKind::Restore => {
            let starts = upwards.iter().filter_map(|node| paths.start(name, node));
            // A step that only waits for the health of what runs already is in nobody's way.
            let order = starts
                .filter(|step| !looks(spec, paths, *step))
                .map(|step| (step, true));
            one_by_one(paths, &order.collect(), service.sequence.start, found);
        }
        PlanKind::Restart if service.is_exclusive() => {
            let downwards: Vec<&NodeName> = upwards.iter().rev().copied().collect();
            for pair in downwards.windows(2) {
                let (start, stop) = (paths.start(name, pair[0]), paths.stop(name, pair[1], false));
                if let (Some(start), Some(stop)) = (start, stop) {
                    require(
                        paths,
                        &vec![(start, true)],
                        &vec![(stop, true)],
                        Wait::Healthy,
                        found,
                    );
                }
            }
        }
        PlanKind::Restart
        | PlanKind::Reboot
        | PlanKind::Switchover
        | PlanKind::Failover
        | PlanKind::Failback => {}
    }
}

fn one_by_one(paths: &Paths<'_>, order: &Steps, until: Wait, found: &mut Vec<Violation>) {
    for pair in order.windows(2) {
        if pair[0].0 != pair[1].0 {
            require(paths, &vec![pair[0]], &vec![pair[1]], until, found);
        }
    }
}

/// In a reboot the spec's edges hold between what shares a machine.
fn on_each_node(
    paths: &Paths<'_>,
    service: &Service,
    required: &Service,
    stop: Wait,
    start: Wait,
    found: &mut Vec<Violation>,
) {
    for node in service
        .nodes
        .iter()
        .filter(|node| required.nodes.contains(node))
    {
        let (first, then) = (
            paths.stop(&service.name, node, false),
            paths.stop(&required.name, node, false),
        );
        if let (Some(first), Some(then)) = (first, then) {
            require(
                paths,
                &vec![(first, true)],
                &vec![(then, true)],
                stop,
                found,
            );
        }
        let (first, then) = (
            paths.start(&required.name, node),
            paths.start(&service.name, node),
        );
        if let (Some(first), Some(then)) = (first, then) {
            let works = !required.is_exclusive() || start != Wait::Healthy;
            require(
                paths,
                &vec![(first, works)],
                &vec![(then, true)],
                start,
                found,
            );
        }
    }
}
