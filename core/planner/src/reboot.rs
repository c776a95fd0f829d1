//! Rolling reboot: restart machines, a batch at a time, each batch only when the one before is healthy.
//!
//! What runs on a batch's machines stops in its local order, the machines restart, and the same instances start again
//! in order. Machines whose earliest services are depended on most go first; among equals those that carry standbys go
//! before those that carry active sides. Two instances of one exclusive service are never in the same batch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::ShutdownBy;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::{Boot, Node, Service};

use crate::activity::{warn_of_interruption, warn_of_those_without};
use crate::again::Again;
use crate::draft::Draft;
use crate::graph::Handle;
use crate::order::start_order;
use crate::report::{Entry, Subject};
use crate::select::Selection;
use crate::steps;
use crate::world::{Machine, Presence};

/// The limit of a point where machines meet: it has nothing to do and nothing to wait for but what leads to it.
const MEETING: Duration = Duration::from_secs(60);

pub(crate) fn build(draft: &mut Draft<'_>, selection: &Selection) {
    let nodes: Vec<NodeName> = selection
        .nodes
        .iter()
        .filter(|node| can_reboot(draft, node))
        .cloned()
        .collect();
    let again = running_on(draft, &nodes);
    let mut interrupted: Vec<(&Service, NodeName)> = Vec::new();
    for service in draft.by_rank(again.services()) {
        let active = draft.active_side(service);
        again.active_side_is_there(draft, service, active.as_ref());
        let active = active.filter(|active| again.has(&service.name, active));
        let only = service.nodes.first().filter(|_| service.nodes.len() == 1);
        interrupted.extend(active.or(only.cloned()).map(|node| (service, node)));
    }
    let batches = batches(draft, nodes);
    let turn: BTreeMap<&NodeName, usize> = batches
        .iter()
        .enumerate()
        .flat_map(|(turn, batch)| batch.iter().map(move |node| (node, turn)))
        .collect();
    for (service, node) in &interrupted {
        warn_of_interruption(
            &mut draft.report,
            &service.name,
            node,
            service.nodes.len() - 1,
        );
        // What is in the same batch stops before it.
        warn_of_those_without(draft, &service.name, |other| {
            turn.get(other) == turn.get(node)
        });
    }
    for service in draft.by_rank(again.services()) {
        // What comes back in the same batch comes back in order.
        let first = again.nodes(&service.name).map(|node| turn[node]).min();
        again.requirements_run(draft, service, |node| turn.get(node).copied() <= first);
        let own = |node: &&NodeName| again.has(&service.name, node);
        let taken: Vec<Vec<&NodeName>> = batches
            .iter()
            .map(|batch| batch.iter().filter(own).collect())
            .collect();
        draft.keep_capacity(service, taken);
    }
    let mut before = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        before = reboot(draft, number, batch, &again, &before);
    }
    compare(draft, &again, &before);
}

fn can_reboot(draft: &mut Draft<'_>, name: &NodeName) -> bool {
    let Some(node) = draft.spec.nodes.get(name) else {
        return false;
    };
    if draft.spec.runs_control(node) {
        let task = "restart it by hand: it runs the control plane".into();
        draft.report.add(Entry::LeftForYou {
            subject: Subject::node(name),
            task,
        });
        return false;
    }
    if node.agentless.is_some() {
        draft.report.blocked(
            Subject::node(name),
            "it has no agent that could restart it",
            "restart it by hand",
        );
        return false;
    }
    if let Some((by, remedy)) = other_way_down(node) {
        draft.report.blocked(Subject::node(name), by, remedy);
        return false;
    }
    match draft.world.machine(name) {
        Machine::On if draft.world.agent_is_heard(name) => return true,
        Machine::On => {
            draft.report.unknown(
                Subject::node(name),
                "it is on, but its agent is not heard",
                "repair its agent",
            );
        }
        Machine::Off => draft.report.excluded(
            Subject::node(name),
            "it is off, and a reboot switches nothing on",
        ),
        Machine::Unknown(why) => {
            draft.report.unknown(
                Subject::node(name),
                why,
                "ask its power source, or repair its agent",
            );
        }
    }
    false
}

/// A machine that the spec does not let its agent take down by itself is not restarted by its agent either: why, and
/// what to do instead.
fn other_way_down(node: &Node) -> Option<(&'static str, String)> {
    let by = match node.power.as_ref()?.shutdown {
        ShutdownBy::Agent => return None,
        ShutdownBy::Manual => "a person shuts it down (`shutdown: manual`), and its agent may not",
        ShutdownBy::Command => {
            "its agent shuts it down by a command of its own file (`shutdown: command`), which restarts nothing"
        }
    };
    let name = &node.name;
    let remedy = format!("use `shutdown --node {name}` and then `startup --node {name}`");
    Some((by, remedy))
}

fn running_on(draft: &mut Draft<'_>, nodes: &[NodeName]) -> Again {
    let mut again = Again::default();
    let chosen: BTreeSet<&NodeName> = nodes.iter().collect();
    for service in draft.spec.services.values() {
        for node in service.nodes.iter().filter(|node| chosen.contains(node)) {
            let subject = Subject::instance(&service.name, node);
            match again.take(draft, service, node) {
                Presence::Up => {}
                Presence::Down if service.boot == Boot::Autostart => {
                    draft
                        .report
                        .warn(subject, "it is stopped, but comes up with its machine");
                }
                Presence::Down => draft
                    .report
                    .excluded(subject, "it is stopped and stays stopped"),
                Presence::Unknown(why) => {
                    let remedy = draft.world.remedy(node);
                    draft.report.unknown(subject, why, remedy);
                }
            }
        }
    }
    again
}

fn batches(draft: &mut Draft<'_>, mut nodes: Vec<NodeName>) -> Vec<Vec<NodeName>> {
    let spec = draft.spec;
    let mut carries: BTreeMap<&NodeName, Vec<&Service>> = BTreeMap::new();
    for service in spec.services.values() {
        service
            .nodes
            .iter()
            .for_each(|node| carries.entry(node).or_default().push(service));
    }
    let on = |node: &NodeName| carries.get(node).map(Vec::as_slice).unwrap_or_default();
    nodes.sort_by_cached_key(|node| {
        let lowest = on(node)
            .iter()
            .map(|service| draft.rank(&service.name))
            .min()
            .unwrap_or(u32::MAX);
        let is_active = |service: &&&Service| {
            draft
                .sides
                .get(&service.name)
                .is_some_and(|side| side.as_ref() == Some(node))
        };
        (
            lowest,
            on(node).iter().filter(is_active).count(),
            node.clone(),
        )
    });
    let mut batches: Vec<Vec<NodeName>> = Vec::new();
    let mut exclusive: BTreeSet<&ServiceName> = BTreeSet::new();
    for node in nodes {
        let own: BTreeSet<&ServiceName> = on(&node)
            .iter()
            .filter(|service| service.is_exclusive())
            .map(|service| &service.name)
            .collect();
        let fits = |batch: &Vec<NodeName>| batch.len() < draft.request.batch_size();
        match batches
            .last_mut()
            .filter(|batch| fits(batch) && exclusive.is_disjoint(&own))
        {
            Some(batch) => {
                batch.push(node);
                exclusive.extend(own);
            }
            None => {
                batches.push(vec![node]);
                exclusive = own;
            }
        }
    }
    batches
}

/// One batch; gives what the next one waits for.
fn reboot(
    draft: &mut Draft<'_>,
    number: usize,
    batch: &[NodeName],
    again: &Again,
    before: &[(Handle, Wait)],
) -> Vec<(Handle, Wait)> {
    let local = local(draft, batch, again);
    let services = draft.by_rank(local.keys());
    let mut stops: BTreeMap<&ServiceName, Vec<Handle>> = BTreeMap::new();
    let mut reboots: BTreeMap<&NodeName, Handle> = BTreeMap::new();
    let mut starts: BTreeMap<&ServiceName, Vec<Handle>> = BTreeMap::new();
    for service in services.iter().rev() {
        for node in local[&service.name].iter().rev() {
            let stop = draft.graph.add(steps::stop(service, node));
            stops.entry(&service.name).or_default().push(stop);
        }
    }
    let mut let_go = Vec::new();
    for node in batch.iter().filter_map(|name| draft.spec.nodes.get(name)) {
        let asked = draft.ask_to_let_go(&node.name);
        let reboot = draft.graph.add(steps::reboot(node));
        for asked in &asked {
            draft.graph.after(reboot, *asked, Wait::Up);
        }
        let_go.extend(asked);
        reboots.insert(&node.name, reboot);
    }
    for stop in stops.values().flatten() {
        let reboot = draft
            .graph
            .step(*stop)
            .node
            .as_ref()
            .and_then(|node| reboots.get(node));
        if let Some(reboot) = reboot.copied() {
            draft.graph.after(reboot, *stop, Wait::Down);
        }
    }
    for service in &services {
        let active = draft.active_side(service);
        for node in &local[&service.name] {
            let mut step = match service.boot {
                Boot::Autostart => steps::verify_again(service, node),
                Boot::Manual => steps::start_again(service, node),
            };
            step.healthy = draft.own_checks(
                service,
                node,
                active.as_ref(),
                &batch.iter().cloned().collect(),
            );
            step.gates = draft.consumer_checks(service, node);
            let now = again.judged_now(&step.gates);
            draft.must_be_green(&Subject::instance(&service.name, node), &now);
            let primary = service.is_leased() && active.as_ref() == Some(node);
            let of_primary = primary.then(|| std::mem::take(&mut step.healthy));
            let start = draft.graph.add(step);
            draft.graph.after(start, reboots[node], Wait::Up);
            let working = match of_primary {
                Some(healthy) => draft.promotion(service, node, Some(start), healthy),
                None => start,
            };
            starts.entry(&service.name).or_default().push(working);
        }
    }
    order_locally(draft, number, &services, &stops, &starts);
    let first: Vec<Handle> = stops
        .values()
        .flatten()
        .chain(reboots.values())
        .chain(&let_go)
        .copied()
        .collect();
    let first: Vec<Handle> = first
        .into_iter()
        .filter(|step| draft.graph.edges(*step).is_empty())
        .collect();
    draft.graph.fan(before, &first, || {
        let batch = format!("batch-{number}");
        match services.first() {
            Some(some) => steps::join(some, &batch, Vec::new()),
            None => steps::meeting(&batch, MEETING),
        }
    });
    let ends = starts
        .into_values()
        .flatten()
        .map(|start| (start, Wait::Healthy));
    ends.chain(reboots.into_values().map(|reboot| (reboot, Wait::Up)))
        .collect()
}

/// What runs on the machines of a batch, by service, in the order in which it starts.
fn local(
    draft: &mut Draft<'_>,
    batch: &[NodeName],
    again: &Again,
) -> BTreeMap<ServiceName, Vec<NodeName>> {
    let here: BTreeSet<&NodeName> = batch.iter().collect();
    let names: BTreeSet<&ServiceName> = batch.iter().flat_map(|node| again.on(node)).collect();
    let mut local = BTreeMap::new();
    for service in draft.by_rank(names) {
        let active = draft.active_side(service);
        let order = start_order(service, active.as_ref()).into_iter();
        let is_local = |node: &&NodeName| here.contains(node) && again.has(&service.name, node);
        local.insert(
            service.name.clone(),
            order.filter(is_local).cloned().collect(),
        );
    }
    local
}

/// The edges of the spec among the instances of one batch.
fn order_locally(
    draft: &mut Draft<'_>,
    number: usize,
    services: &[&Service],
    stops: &BTreeMap<&ServiceName, Vec<Handle>>,
    starts: &BTreeMap<&ServiceName, Vec<Handle>>,
) {
    let present: BTreeSet<&ServiceName> = services.iter().map(|service| &service.name).collect();
    for service in services {
        let name = &service.name;
        for pair in stops[name].windows(2) {
            draft.graph.after(pair[1], pair[0], service.sequence.stop);
        }
        for pair in starts[name].windows(2) {
            draft.graph.after(pair[1], pair[0], service.sequence.start);
        }
        for (required, dependency) in draft.dependencies_within(&present, name) {
            if dependency.stop != Wait::None {
                let from: Vec<_> = stops[name]
                    .iter()
                    .map(|stop| (*stop, dependency.stop))
                    .collect();
                let what = format!("batch-{number}:before-{required}-stops");
                draft.graph.fan(&from, &stops[&required], || {
                    steps::join(service, &what, Vec::new())
                });
            }
            if dependency.start != Wait::None {
                let from: Vec<_> = starts[&required]
                    .iter()
                    .map(|start| (*start, dependency.start))
                    .collect();
                let what = format!("batch-{number}:after-{required}-starts");
                draft.graph.fan(&from, &starts[name], || {
                    steps::join(service, &what, Vec::new())
                });
            }
        }
    }
}

/// At the end the instances that compare themselves are compared.
fn compare(draft: &mut Draft<'_>, again: &Again, last: &[(Handle, Wait)]) {
    for name in again.services() {
        let Some(service) = draft.service(name) else {
            continue;
        };
        let started: Vec<NodeName> = again.nodes(name).cloned().collect();
        let comparisons = draft.comparisons(service, &started);
        if !comparisons.is_empty() {
            let join = draft.graph.add(steps::join(service, "", comparisons));
            last.iter()
                .for_each(|(on, until)| draft.graph.after(join, *on, *until));
        }
    }
}
