//! Shutdown: stop, and power off where the scope says so.
//!
//! The scope's instances stop, and with them every running dependant of a service that the scope takes away as a
//! whole: its last running instance, or its active side. A service that keeps enough instances keeps its dependants.
//! Standbys stop before the active side; instances of other services stop in the reverse of their start order.
//!
//! On a node without an agent nothing can be stopped by itself. Its power-off stands for the stop of all that it
//! carries; where it is not powered off, a person is asked.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::ShutdownBy;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::Service;

use crate::activity::warn_of_interruption;
use crate::capacity;
use crate::draft::Draft;
use crate::evacuate;
use crate::graph::Handle;
use crate::machines;
use crate::order::start_order;
use crate::power::Switching;
use crate::report::{Entry, Subject};
use crate::select::Selection;
use crate::steps;
use crate::world::Presence;

/// What takes something down: the step that must wait, and the step that proves it.
#[derive(Debug, Clone, Copy)]
struct Ends {
    first: Handle,
    last: Handle,
}

/// The steps made so far.
#[derive(Debug, Default)]
struct Made {
    stops: BTreeMap<ServiceName, Vec<Ends>>,
    power_off: BTreeMap<NodeName, Ends>,
}

pub(crate) fn build(draft: &mut Draft<'_>, selection: Selection) {
    let targets = with_dependants(draft, selection.instances);
    let switching = draft.choose_power_off(&selection.nodes);
    let made = make_steps(draft, &targets, &switching);
    order_services(draft, &made);
    for (first, then) in &switching.order {
        if let (Some(first), Some(then)) = (made.power_off.get(first), made.power_off.get(then)) {
            draft.graph.after(then.first, first.last, Wait::Down);
        }
    }
    let power_off = |stop: Handle| {
        let node = draft.graph.step(stop).node.as_ref()?;
        made.power_off.get(node).map(|ends| (ends.first, ends.last))
    };
    let lifts = machines::of_shutdown(&draft.graph, power_off);
    machines::apply(&mut draft.graph, &lifts);
}

/// The instances to stop, by service, in the order in which they stop.
fn with_dependants(
    draft: &mut Draft<'_>,
    mut chosen: BTreeMap<ServiceName, BTreeSet<NodeName>>,
) -> BTreeMap<ServiceName, Vec<NodeName>> {
    let spec = draft.spec;
    let mut targets = BTreeMap::new();
    // Dependencies first: whoever is lost has all its dependants, of higher rank, still before it.
    for service in draft.by_rank(spec.services.keys()) {
        let Some(nodes) = chosen.remove(&service.name) else {
            continue;
        };
        let up = still_up(draft, service, &nodes);
        if up.is_empty() {
            continue;
        }
        let active = draft.active_side(service);
        // Where its role is by then.
        let primary = draft.moved.get(&service.name).cloned();
        let primary = primary.or_else(|| active.clone());
        if is_lost(draft, service, &up, primary.as_ref()) {
            if draft.request.kind == PlanKind::Evacuate {
                evacuate::may_go(draft, service, primary.as_ref());
            } else {
                warn_of_the_last(draft, service, &nodes);
                include_dependants(draft, &service.name, &mut chosen);
            }
        }
        let mut order: Vec<NodeName> = start_order(service, active.as_ref())
            .into_iter()
            .cloned()
            .collect();
        order.retain(|node| up.contains(node));
        order.reverse();
        targets.insert(service.name.clone(), order);
    }
    targets
}

fn still_up(
    draft: &mut Draft<'_>,
    service: &Service,
    nodes: &BTreeSet<NodeName>,
) -> BTreeSet<NodeName> {
    let mut up = BTreeSet::new();
    for node in nodes {
        let subject = Subject::instance(&service.name, node);
        match draft.world.standing(&service.name, node) {
            Presence::Up => {
                up.insert(node.clone());
            }
            Presence::Down => draft.report.add(Entry::AlreadyDone {
                subject,
                state: "stopped".into(),
            }),
            Presence::Unknown(why) => {
                let remedy = match draft.world.is_heard(node) {
                    true => draft.world.remedy(node),
                    false => {
                        "repair its agent, or let the power source say that the machine is off"
                    }
                };
                draft.report.unknown(subject, why, remedy);
                up.insert(node.clone());
            }
        }
    }
    up
}

/// Does the plan take the service away as a whole? If it leaves a part, that part must be enough.
fn is_lost(
    draft: &mut Draft<'_>,
    service: &Service,
    going: &BTreeSet<NodeName>,
    active: Option<&NodeName>,
) -> bool {
    let rest = service.nodes.iter().filter(|node| !going.contains(*node));
    let staying = rest
        .filter(|node| draft.world.stays_up(&service.name, node))
        .count();
    if service.is_exclusive() {
        let lost = active.is_none_or(|active| going.contains(active));
        let warns = draft.request.kind != PlanKind::Evacuate;
        if let Some(active) = active.filter(|_| warns && lost && staying > 0) {
            warn_of_interruption(&mut draft.report, &service.name, active, staying);
        }
        return lost;
    }
    let keeps = staying > 0 || draft.request.kind == PlanKind::Evacuate;
    if keeps && capacity::counts(service) {
        let serving: Vec<&NodeName> = draft.serving_instances(service).into_iter().collect();
        let left = serving
            .iter()
            .filter(|node| !going.contains(**node))
            .count();
        draft.require_capacity(service, serving.len(), left);
    }
    staying == 0
}

/// Says that a part of a service is all of it, if the rest, which the scope leaves alone, does not run.
fn warn_of_the_last(draft: &mut Draft<'_>, service: &Service, chosen: &BTreeSet<NodeName>) {
    let rest: Vec<&str> = service
        .nodes
        .iter()
        .filter(|node| !chosen.contains(*node))
        .map(NodeName::as_str)
        .collect();
    if !rest.is_empty() && capacity::counts(service) {
        let text = format!(
            "nothing of it is left: these are the last that run, those on {} do not",
            rest.join(", ")
        );
        draft.report.warn(Subject::service(&service.name), text);
    }
}

fn include_dependants(
    draft: &mut Draft<'_>,
    lost: &ServiceName,
    chosen: &mut BTreeMap<ServiceName, BTreeSet<NodeName>>,
) {
    for dependant in draft.spec.services.values() {
        if !dependant
            .dependencies
            .get(lost)
            .is_some_and(|dependency| dependency.needed)
        {
            continue;
        }
        for node in &dependant.nodes {
            let is_up = draft.world.standing(&dependant.name, node) != Presence::Down;
            if is_up
                && chosen
                    .entry(dependant.name.clone())
                    .or_default()
                    .insert(node.clone())
            {
                let subject = Subject::instance(&dependant.name, node);
                draft.report.add(Entry::Included {
                    subject,
                    because_of: lost.clone(),
                });
            }
        }
    }
}

/// Dependants first, so that steps that may run at once are issued in the order that people expect; a machine's
/// power-off right after its last stop.
fn make_steps(
    draft: &mut Draft<'_>,
    targets: &BTreeMap<ServiceName, Vec<NodeName>>,
    switching: &Switching,
) -> Made {
    let mut made = Made::default();
    let mut left: BTreeMap<&NodeName, usize> = BTreeMap::new();
    targets
        .values()
        .flatten()
        .for_each(|node| *left.entry(node).or_default() += 1);
    for service in draft.by_rank(targets.keys()).into_iter().rev() {
        for node in &targets[&service.name] {
            let is_last = left.get_mut(node).is_some_and(|count| {
                *count -= 1;
                *count == 0
            });
            let switched = switching.nodes.contains(node);
            if draft.world.is_agentless(node) {
                let ends = if switched {
                    make_power_off(draft, &mut made, node)
                } else {
                    steps::manual_stop(&service.name, node).map(|step| {
                        let handle = draft.graph.add(step);
                        Ends {
                            first: handle,
                            last: handle,
                        }
                    })
                };
                made.stops
                    .entry(service.name.clone())
                    .or_default()
                    .extend(ends);
                continue;
            }
            let stop = draft.graph.add(steps::stop(service, node));
            made.stops
                .entry(service.name.clone())
                .or_default()
                .push(Ends {
                    first: stop,
                    last: stop,
                });
            if is_last && switched {
                make_power_off(draft, &mut made, node);
            }
        }
    }
    for node in &switching.nodes {
        make_power_off(draft, &mut made, node);
    }
    for stop in 0..draft.graph.len() {
        let step = draft.graph.step(stop);
        let off = step
            .service
            .as_ref()
            .and(step.node.as_ref())
            .and_then(|node| made.power_off.get(node));
        if let Some(off) = off {
            draft.graph.after(off.first, stop, Wait::Down);
        }
    }
    made
}

fn make_power_off(draft: &mut Draft<'_>, made: &mut Made, node: &NodeName) -> Option<Ends> {
    if let Some(ends) = made.power_off.get(node) {
        return Some(*ends);
    }
    let (times, power) = draft.power_of(node)?;
    let person = match power.shutdown {
        ShutdownBy::Manual => steps::manual_power_off(node).map(|step| draft.graph.add(step)),
        ShutdownBy::Agent | ShutdownBy::Command => None,
    };
    let let_go = draft.ask_to_let_go(node);
    let off = draft.graph.add(steps::power_off(node, times, power));
    if let Some(person) = person {
        draft.graph.after(off, person, Wait::Up);
    }
    for asked in let_go {
        draft.graph.after(person.unwrap_or(off), asked, Wait::Up);
    }
    let ends = Ends {
        first: person.unwrap_or(off),
        last: off,
    };
    made.power_off.insert(node.clone(), ends);
    Some(ends)
}

fn order_services(draft: &mut Draft<'_>, made: &Made) {
    let present: BTreeSet<&ServiceName> = made.stops.keys().collect();
    for (name, ends) in &made.stops {
        let Some(service) = draft.service(name) else {
            continue;
        };
        for pair in ends.windows(2) {
            draft
                .graph
                .after(pair[1].first, pair[0].last, service.sequence.stop);
        }
        // Those that wait for this service, by what they wait for.
        let mut waiting: BTreeMap<Wait, Vec<Handle>> = BTreeMap::new();
        for (required, dependency) in draft.dependencies_within(&present, name) {
            for other in made.stops.get(&required).into_iter().flatten() {
                if ends.iter().any(|end| end.last == other.last) {
                    // Both stop with their machine.
                    let rest = ends.iter().filter(|end| end.last != other.last);
                    rest.for_each(|end| draft.graph.after(other.first, end.last, dependency.stop));
                } else if dependency.stop != Wait::None {
                    waiting
                        .entry(dependency.stop)
                        .or_default()
                        .push(other.first);
                }
            }
        }
        for (until, steps) in waiting {
            let from: Vec<(Handle, Wait)> = ends.iter().map(|ends| (ends.last, until)).collect();
            let what = if until == Wait::Down {
                String::new()
            } else {
                until.to_string()
            };
            draft
                .graph
                .fan(&from, &steps, || steps::join(service, &what, Vec::new()));
        }
    }
}
