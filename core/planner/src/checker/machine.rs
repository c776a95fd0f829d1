//! What a plan does to machines.

use std::collections::BTreeMap;

use interlock_model::action::{Action, PowerRef, ShutdownBy};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Observations, Wanted};
use interlock_model::plan::{Plan, PlanKind, Wait};
use interlock_model::spec::{Node, Service, Spec};

use super::Violation;
use super::order::{out_of_order, upwards};
use super::paths::Paths;

pub(super) fn check(
    spec: &Spec,
    plan: &Plan,
    paths: &Paths<'_>,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    let mut carries: BTreeMap<&NodeName, Vec<&ServiceName>> = BTreeMap::new();
    for service in spec.services.values() {
        for node in &service.nodes {
            carries.entry(node).or_default().push(&service.name);
        }
    }
    let left_there = |node: &Node, step: usize, found: &mut Vec<Violation>| {
        let carried = carries.get(&node.name).map_or(&[][..], Vec::as_slice);
        nothing_is_left(paths, node, step, carried, observations, found);
        nobody_is_forgotten(paths, node, step, observations, found);
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(node) = step.node.as_ref().and_then(|name| spec.nodes.get(name)) else {
            continue;
        };
        match &step.action {
            Action::PowerOff { power } => {
                keeps_control(spec, node, paths, index, found);
                nothing_runs(paths, node, index, power, found);
                left_there(node, index, found);
                if !power.via.iter().any(|via| outlasts(paths, &node.name, via)) {
                    found.push(Violation::NobodyToAsk {
                        step: step.id.clone(),
                    });
                }
            }
            Action::Reboot => {
                keeps_control(spec, node, paths, index, found);
                nothing_runs_over_reboot(paths, node, index, found);
                left_there(node, index, found);
            }
            Action::PowerOn { power } => {
                nothing_starts_before(paths, node, index, found);
                if !power.via.iter().any(|via| precedes(paths, &node.name, via)) {
                    found.push(Violation::NobodyToAsk {
                        step: step.id.clone(),
                    });
                }
            }
            Action::Start
            | Action::Stop
            | Action::Verify
            | Action::Promote
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::Drain { .. }
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. }
            | Action::Check
            | Action::Approve { .. } => {}
        }
    }
    match plan.kind {
        PlanKind::Shutdown | PlanKind::Evacuate => down_is_off(spec, plan, paths, found),
        PlanKind::Startup | PlanKind::Restore => on_before_its_first(spec, paths, found),
        PlanKind::Restart
        | PlanKind::Reboot
        | PlanKind::Switchover
        | PlanKind::Failover
        | PlanKind::Failback => {}
    }
}

fn keeps_control(
    spec: &Spec,
    node: &Node,
    paths: &Paths<'_>,
    step: usize,
    found: &mut Vec<Violation>,
) {
    let addresses = || std::iter::once(&node.address).chain(node.networks.values());
    let names_it = |endpoint: &&String| {
        let parts: Vec<&str> = endpoint
            .split(['/', '[', ']'])
            .flat_map(|part| [part, before_port(part)])
            .collect();
        parts.contains(&node.name.as_str())
            || addresses().any(|address| parts.contains(&address.as_str()))
    };
    if spec.control.coordinators.contains(&node.name)
        || spec.control.etcd.iter().any(|e| names_it(&e))
    {
        found.push(Violation::ControlPlane {
            step: paths.steps[step].id.clone(),
        });
    }
}

fn before_port(text: &str) -> &str {
    text.rsplit_once(':').map_or(text, |(host, _)| host)
}

/// A machine goes only after all that stops on it is down, and after the person who shuts it down said so.
fn nothing_runs(
    paths: &Paths<'_>,
    node: &Node,
    off: usize,
    power: &PowerRef,
    found: &mut Vec<Violation>,
) {
    let person = match power.shutdown {
        ShutdownBy::Manual => paths.id(&format!("approve:power-off.{}", node.name)),
        ShutdownBy::Agent | ShutdownBy::Command => Some(off),
    };
    let Some(first) = person.filter(|person| *person == off || paths.leads_to(*person, off)) else {
        found.push(out_of_order(paths, off, off, Wait::Up));
        return;
    };
    for (stop, _) in paths.on_node(&node.name, |action| matches!(action, Action::Stop)) {
        if !paths.awaits(first, stop, Wait::Down) {
            found.push(out_of_order(paths, first, stop, Wait::Down));
        }
    }
}

fn nothing_runs_over_reboot(
    paths: &Paths<'_>,
    node: &Node,
    reboot: usize,
    found: &mut Vec<Violation>,
) {
    for (stop, _) in paths.on_node(&node.name, |action| matches!(action, Action::Stop)) {
        if !paths.awaits(reboot, stop, Wait::Down) {
            found.push(out_of_order(paths, reboot, stop, Wait::Down));
        }
    }
    nothing_starts_before(paths, node, reboot, found);
}

/// What a machine carries is stopped before it goes, and so is what is down there and its agent may start again. Where
/// no agent is, everything goes with the machine.
fn nothing_is_left(
    paths: &Paths<'_>,
    node: &Node,
    goes: usize,
    carried: &[&ServiceName],
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    if node.agentless.is_some() {
        return;
    }
    let may_run = |service: &ServiceName| {
        observations.is_none_or(|seen| {
            let instance = seen
                .node(&node.name)
                .and_then(|seen| seen.instances.get(service));
            !seen.instance(&node.name, service).is_down()
                || instance.is_some_and(|seen| seen.wanted == Some(Wanted::Running))
        })
    };
    let stopped = paths.on_node(&node.name, |action| matches!(action, Action::Stop));
    for service in carried {
        if may_run(service) && !stopped.iter().any(|(_, stopped)| stopped == service) {
            found.push(Violation::NotStopped {
                step: paths.steps[goes].id.clone(),
                service: (*service).clone(),
            });
        }
    }
}

/// Of what may run there and is no service of the spec a person is asked before the machine goes, or is asked to take it down.
fn nobody_is_forgotten(
    paths: &Paths<'_>,
    node: &Node,
    goes: usize,
    observations: Option<&Observations>,
    found: &mut Vec<Violation>,
) {
    let seen = observations.and_then(|seen| seen.node(&node.name));
    let person = paths.id(&format!("approve:power-off.{}", node.name));
    for service in seen.into_iter().flat_map(|seen| seen.let_go.keys()) {
        let asked = paths.id(&format!("approve:let-go.{service}.{}", node.name));
        let first = person.unwrap_or(goes);
        if !asked.is_some_and(|asked| paths.awaits(first, asked, Wait::Up)) {
            found.push(Violation::NotStopped {
                step: paths.steps[goes].id.clone(),
                service: service.clone(),
            });
        }
    }
}

fn nothing_starts_before(paths: &Paths<'_>, node: &Node, up: usize, found: &mut Vec<Violation>) {
    let is_start =
        |action: &Action| matches!(action, Action::Start | Action::Verify | Action::Check);
    for (start, _) in paths
        .on_node(&node.name, is_start)
        .into_iter()
        .filter(|(start, _)| !paths.awaits(*start, up, Wait::Up))
    {
        found.push(out_of_order(paths, start, up, Wait::Up));
    }
}

/// Is `via` still there when `node` has been proven off?
fn outlasts<'a>(paths: &Paths<'a>, node: &'a NodeName, via: &'a NodeName) -> bool {
    if via == node {
        return false;
    }
    match (paths.power_off(node), paths.power_off(via)) {
        (Some(off), Some(via)) => paths.awaits(via, off, Wait::Down),
        _ => true,
    }
}

/// Is `via` there when `node` is switched on?
fn precedes<'a>(paths: &Paths<'a>, node: &'a NodeName, via: &'a NodeName) -> bool {
    if via == node {
        return false;
    }
    match (paths.power_on(node), paths.power_on(via)) {
        (Some(on), Some(via)) => paths.awaits(on, via, Wait::Up),
        _ => true,
    }
}

/// An edge that waits for *down* waits for the power source, unless the machine itself has to stay for the edge.
fn down_is_off(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    let is_agentless = |node: &NodeName| {
        spec.nodes
            .get(node)
            .is_some_and(|node| node.agentless.is_some())
    };
    let stop =
        |service: &Service, node: &NodeName| paths.stop(&service.name, node, is_agentless(node));
    for service in spec.services.values() {
        let required = service
            .dependencies
            .iter()
            .filter(|(_, dependency)| dependency.stop == Wait::Down);
        let required = required.filter_map(|(name, _)| spec.services.get(name));
        let others: Vec<usize> = required
            .flat_map(|other| other.nodes.iter().filter_map(move |node| stop(other, node)))
            .collect();
        let mut after_me: Option<usize> = None;
        for node in upwards(plan, service) {
            let (Some(own), off) = (stop(service, node), paths.power_off(node)) else {
                continue;
            };
            let next = after_me
                .replace(own)
                .filter(|_| service.sequence.stop == Wait::Down);
            let Some(off) = off.filter(|off| *off != own) else {
                continue;
            };
            let met_early = paths
                .joins(&service.name)
                .iter()
                .any(|join| paths.leads_to(*join, off));
            let down = paths.beyond(off, Wait::Down);
            for later in others.iter().filter(|_| !met_early).chain(next.as_ref()) {
                if !down.contains(*later) && !paths.leads_to(*later, off) {
                    found.push(out_of_order(paths, *later, off, Wait::Down));
                }
            }
        }
    }
}

/// A machine is switched on only when its earliest services could start, unless it has to be there for that.
fn on_before_its_first(spec: &Spec, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    let heights = heights(spec);
    for node in spec.nodes.keys() {
        let Some(on) = paths.power_on(node) else {
            continue;
        };
        let here = paths.on_node(node, |_| true);
        let lowest = here
            .iter()
            .filter_map(|(_, service)| heights.get(*service))
            .min();
        for (_, service) in here
            .iter()
            .filter(|(_, service)| heights.get(*service) == lowest)
        {
            let Some(service) = spec.services.get(*service) else {
                continue;
            };
            for (name, dependency) in service
                .dependencies
                .iter()
                .filter(|(_, d)| d.start != Wait::None)
            {
                let Some(required) = spec.services.get(name) else {
                    continue;
                };
                let looks = |step: &usize| {
                    paths.only_looks(*step, false) && dependency.start != Wait::Healthy
                };
                let starts = paths.starts(name).iter().copied();
                let met_late = paths
                    .joins(name)
                    .iter()
                    .any(|join| paths.leads_to(on, *join));
                let starts =
                    starts.filter(|step| !met_late && !looks(step) && !paths.leads_to(on, *step));
                let until = if required.is_exclusive() {
                    dependency.start.min(Wait::Up)
                } else {
                    dependency.start
                };
                let early = starts.filter(|start| !paths.awaits(on, *start, until));
                found.extend(early.map(|start| out_of_order(paths, on, start, until)));
            }
        }
    }
}

/// For each service the length of the longest chain of dependencies below it.
fn heights(spec: &Spec) -> BTreeMap<&ServiceName, u32> {
    let mut known: BTreeMap<&ServiceName, u32> = BTreeMap::new();
    let mut open: Vec<&Service> = spec.services.values().collect();
    while let Some(service) = open.last() {
        // It is there once for each that stands upon it, and is looked at once.
        if known.contains_key(&service.name) {
            open.pop();
            continue;
        }
        let below = service.dependencies.keys();
        let below: Vec<&Service> = below.filter_map(|name| spec.services.get(name)).collect();
        let missing = below
            .iter()
            .filter(|other| !known.contains_key(&other.name));
        let missing: Vec<&Service> = missing.copied().collect();
        if missing.is_empty() {
            let heights = below.iter().filter_map(|other| known.get(&other.name));
            let height = heights.max().map_or(0, |height| height + 1);
            known.insert(&service.name, height);
            open.pop();
        } else {
            open.extend(missing);
        }
    }
    known
}
