//! Startup: power on where the scope says so, and start.
//!
//! Requirements first, each until what the spec says of it; the active side of an exclusive service first, then its
//! standbys. What already runs is left alone, but whoever waits for it to be healthy waits for its checks to be green,
//! in a step `check:SERVICE@NODE` of its own. A required service that neither runs nor is in the scope blocks the plan.
//!
//! A service that comes up with its machine (`boot: autostart`) gets `verify` for `start`: it may have been there
//! before its requirements were. On a node without an agent nothing can be started: its checks are waited for.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Gate, Wait};
use interlock_model::spec::{Boot, Service};

use crate::draft::Draft;
use crate::found::Found;
use crate::graph::Handle;
use crate::input::comma;
use crate::machines;
use crate::order::start_order;
use crate::power::Switching;
use crate::readiness;
use crate::report::{Entry, Subject};
use crate::roles::{Primary, promote_those_that_run};
use crate::select::Selection;
use crate::steps;
use crate::world::{Machine, Presence};

/// The steps made so far.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) starts: BTreeMap<ServiceName, Vec<(NodeName, Handle)>>,
    /// Of leased services: who becomes primary, and in which step.
    pub(crate) promotions: BTreeMap<ServiceName, (NodeName, Handle)>,
    power_on: BTreeMap<NodeName, Handle>,
}

impl Made {
    /// The step after which an instance that is started does its work.
    pub(crate) fn working(&self, service: &ServiceName, node: &NodeName, start: Handle) -> Handle {
        match self.promotions.get(service) {
            Some((primary, promote)) if primary == node => *promote,
            Some(_) | None => start,
        }
    }
}

pub(crate) fn build(draft: &mut Draft<'_>, selection: &Selection) {
    let switching = draft.choose_power_on(&selection.nodes);
    let targets = to_start(draft, selection, &switching);
    for service in draft.by_rank(targets.keys()) {
        require(draft, service, &targets);
    }
    let mut made = make_steps(draft, &targets, &switching);
    promote_those_that_run(draft, selection, &mut made);
    for (first, then) in &switching.order {
        if let (Some(first), Some(then)) = (made.power_on.get(first), made.power_on.get(then)) {
            draft.graph.after(*then, *first, Wait::Up);
        }
    }
    readiness::order_services(draft, &made, selection);
    let lifts = machines::of_startup(&draft.graph, &earliest(draft, &made));
    machines::apply(&mut draft.graph, &lifts);
}

/// The instances to start, by service, in the order in which they start.
fn to_start(
    draft: &mut Draft<'_>,
    selection: &Selection,
    switching: &Switching,
) -> BTreeMap<ServiceName, Vec<NodeName>> {
    let mut targets = BTreeMap::new();
    for service in draft.by_rank(selection.instances.keys()) {
        let mut down = BTreeSet::new();
        for node in &selection.instances[&service.name] {
            let subject = Subject::instance(&service.name, node);
            match draft.world.instance(&service.name, node) {
                // It runs, but its agent was told to stop it: a start makes it one that is watched over.
                Presence::Up if draft.world.is_unwatched(&service.name, node) => {
                    down.insert(node);
                }
                Presence::Up => draft.report.add(Entry::AlreadyDone {
                    subject,
                    state: "running".into(),
                }),
                Presence::Unknown(why) => {
                    let remedy = draft.world.remedy(node);
                    draft.report.unknown(subject, why, remedy);
                }
                Presence::Down => {
                    if draft.world.machine(node) == Machine::Off
                        && !switching.nodes.contains(node)
                        && !selection.nodes.contains(node)
                    {
                        let remedy = format!("--node {node} switches it on");
                        draft.report.blocked(
                            subject,
                            format!("{node} is off, and this scope switches no machine"),
                            remedy,
                        );
                    }
                    down.insert(node);
                }
            }
        }
        if down.is_empty() {
            continue;
        }
        let active = draft.active_side(service);
        let order: Vec<NodeName> = start_order(service, active.as_ref())
            .into_iter()
            .filter(|node| down.contains(node))
            .cloned()
            .collect();
        if let Some(active) = active
            && !down.contains(&active)
            && draft.world.instance(&service.name, &active) == Presence::Down
        {
            let by =
                format!("its active side {active} is down and not in the scope, and goes first");
            draft.report.blocked(
                Subject::service(&service.name),
                by,
                format!("add {active} to the scope"),
            );
        }
        targets.insert(service.name.clone(), order);
    }
    targets
}

/// What a service requires must run, or be started by this plan.
fn require(
    draft: &mut Draft<'_>,
    service: &Service,
    targets: &BTreeMap<ServiceName, Vec<NodeName>>,
) {
    for (name, dependency) in &service.dependencies {
        let Some(required) = draft
            .service(name)
            .filter(|required| dependency.needed && !required.external)
        else {
            continue;
        };
        let started = targets.get(name).map(Vec::as_slice).unwrap_or_default();
        let active = if started.is_empty() {
            draft.side_of(required)
        } else {
            draft.active_side(required)
        };
        let found = Found::of(&draft.world, required, started, active.as_ref());
        if found.is_enough(required) {
            continue;
        }
        let Found { up, unknown } = found;
        let subject = Subject::service(&service.name);
        let remedy = format!("start it first or too: --service {name}");
        if unknown.is_empty() {
            let by = format!(
                "it requires {name}, of which {up} run (nodes {}) and none is in the scope",
                comma(&required.nodes)
            );
            draft.report.blocked(subject, by, remedy);
        } else {
            draft.report.unknown(
                subject,
                format!("it requires {name}: {}", unknown.join(", ")),
                "repair its agent",
            );
        }
    }
}

fn make_steps(
    draft: &mut Draft<'_>,
    targets: &BTreeMap<ServiceName, Vec<NodeName>>,
    switching: &Switching,
) -> Made {
    let mut made = Made::default();
    for service in draft.by_rank(targets.keys()) {
        let active = draft.active_side(service);
        for node in &targets[&service.name] {
            let on = make_power_on(draft, &mut made, node, switching);
            let mut healthy = draft.own_checks(service, node, active.as_ref(), &switching.nodes);
            let promoted = service.is_leased()
                && active.as_ref() == Some(node)
                && draft.primary(service) == Primary::Nobody;
            let of_primary = promoted.then(|| std::mem::take(&mut healthy));
            let mut step = if draft.world.is_agentless(node) {
                steps::check(service, node, healthy)
            } else {
                let mut step = match service.boot {
                    Boot::Autostart => steps::verify(service, node),
                    Boot::Manual => steps::start(service, node),
                };
                step.healthy = healthy;
                step
            };
            step.gates = draft.consumer_checks(service, node);
            examine_gates(draft, service, node, &step.gates, targets);
            let start = draft.graph.add(step);
            if let Some(on) = on {
                draft.graph.after(start, on, Wait::Up);
            }
            if let Some(healthy) = of_primary {
                let promote = draft.promotion(service, node, Some(start), healthy);
                made.promotions
                    .insert(service.name.clone(), (node.clone(), promote));
            }
            made.starts
                .entry(service.name.clone())
                .or_default()
                .push((node.clone(), start));
        }
    }
    for node in &switching.nodes {
        make_power_on(draft, &mut made, node, switching);
    }
    made
}

fn make_power_on(
    draft: &mut Draft<'_>,
    made: &mut Made,
    node: &NodeName,
    switching: &Switching,
) -> Option<Handle> {
    if let Some(on) = made.power_on.get(node) {
        return Some(*on);
    }
    if !switching.nodes.contains(node) {
        return None;
    }
    let (times, power) = draft.power_of(node)?;
    let on = draft.graph.add(steps::power_on(node, times, power));
    made.power_on.insert(node.clone(), on);
    Some(on)
}

/// A gate about something that this plan does not start can be judged now, if its observer is there.
fn examine_gates(
    draft: &mut Draft<'_>,
    service: &Service,
    node: &NodeName,
    gates: &[Gate],
    targets: &BTreeMap<ServiceName, Vec<NodeName>>,
) {
    let now: Vec<_> = gates
        .iter()
        .filter(|gate| {
            !targets.contains_key(&gate.check.service) && draft.world.agent_is_heard(&gate.on)
        })
        .cloned()
        .collect();
    draft.must_be_green(&Subject::instance(&service.name, node), &now);
}

/// The starts whose order a node's power-on follows: those of the lowest rank on that node.
fn earliest(draft: &Draft<'_>, made: &Made) -> Vec<(Handle, Handle)> {
    let mut lowest: BTreeMap<&NodeName, (u32, Vec<Handle>)> = BTreeMap::new();
    for (name, starts) in &made.starts {
        let rank = draft.rank(name);
        for (node, start) in starts {
            let (known, handles) = lowest.entry(node).or_insert_with(|| (rank, Vec::new()));
            if rank < *known {
                *known = rank;
                handles.clear();
            }
            if rank == *known {
                handles.push(*start);
            }
        }
    }
    let mut pairs = Vec::new();
    for (node, (_, starts)) in lowest {
        if let Some(on) = made.power_on.get(node) {
            pairs.extend(starts.into_iter().map(|start| (start, *on)));
        }
    }
    pairs
}
