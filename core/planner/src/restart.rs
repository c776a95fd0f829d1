//! Rolling restart: stop and start instances, a batch at a time, each batch only when the one before is healthy.
//!
//! Dependencies go first; dependants are not stopped, they are what the capacity is kept for. Of an exclusive service
//! the standbys go first, one at a time, and the active side last, which interrupts it: nothing takes over.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::Service;

use crate::activity::warn_of_interruption;
use crate::capacity;
use crate::draft::Draft;
use crate::graph::Handle;
use crate::order::start_order;
use crate::report::Subject;
use crate::select::Selection;
use crate::startup::Found;
use crate::steps;
use crate::world::Presence;

/// The first stops and the last starts of a service's restart.
#[derive(Debug, Default)]
struct Ends {
    first: Vec<Handle>,
    last: Vec<(Handle, Wait)>,
}

pub(crate) fn build(draft: &mut Draft<'_>, selection: &Selection) {
    let mut made: BTreeMap<ServiceName, Ends> = BTreeMap::new();
    for service in draft.by_rank(selection.instances.keys()) {
        let targets = running(draft, service, &selection.instances[&service.name]);
        if targets.is_empty() {
            continue;
        }
        requirements_run(draft, service);
        let batches = batches(draft, service, &targets);
        draft.keep_capacity(service, batches.iter().map(|batch| batch.iter().collect()));
        let ends = restart(draft, service, &batches);
        made.insert(service.name.clone(), ends);
    }
    let present: BTreeSet<&ServiceName> = made.keys().collect();
    for (name, ends) in &made {
        let Some(service) = draft.service(name) else {
            continue;
        };
        for required in draft.dependencies_within(&present, name).keys() {
            let from = &made[required].last;
            draft.graph.fan(from, &ends.first, || {
                steps::join(service, &format!("after-{required}"), Vec::new())
            });
        }
    }
}

/// The instances of the scope that run: a restart starts nothing that was stopped.
fn running(
    draft: &mut Draft<'_>,
    service: &Service,
    nodes: &BTreeSet<NodeName>,
) -> BTreeSet<NodeName> {
    let mut up = BTreeSet::new();
    for node in nodes {
        let subject = Subject::instance(&service.name, node);
        if draft.world.is_agentless(node) {
            draft
                .report
                .blocked(subject, "no agent runs there", "restart it by hand");
            continue;
        }
        match draft.world.instance(&service.name, node) {
            Presence::Up => {
                up.insert(node.clone());
            }
            Presence::Down => draft
                .report
                .excluded(subject, "it is stopped, and a restart starts nothing new"),
            Presence::Unknown(why) => draft.report.unknown(subject, why, "repair its agent"),
        }
    }
    up
}

/// An instance that stops now must find what it requires when it starts again.
pub(crate) fn requirements_run(draft: &mut Draft<'_>, service: &Service) {
    for (name, _) in service
        .dependencies
        .iter()
        .filter(|(_, dependency)| dependency.needed)
    {
        let Some(required) = draft.service(name).filter(|required| !required.external) else {
            continue;
        };
        let active = draft.observed_side(required);
        let found = Found::of(&draft.world, required, &[], active.as_ref());
        if found.is_enough(required) {
            continue;
        }
        let subject = Subject::service(&service.name);
        if found.unknown.is_empty() {
            draft.report.blocked(
                subject,
                format!("it requires {name}, of which {} run", found.up),
                format!("start {name} first"),
            );
        } else {
            draft.report.unknown(
                subject,
                format!("it requires {name}: {}", found.unknown.join(", ")),
                "repair its agent",
            );
        }
    }
}

fn batches(
    draft: &mut Draft<'_>,
    service: &Service,
    targets: &BTreeSet<NodeName>,
) -> Vec<Vec<NodeName>> {
    let active = draft.active_side(service);
    let mut order: Vec<NodeName> = start_order(service, active.as_ref())
        .into_iter()
        .cloned()
        .collect();
    order.retain(|node| targets.contains(node));
    if service.is_exclusive() {
        order.reverse();
    }
    let interrupted = match &active {
        Some(active) => order.contains(active).then_some(active),
        None => order.first().filter(|_| service.nodes.len() == 1),
    };
    if let Some(node) = interrupted {
        warn_of_interruption(
            &mut draft.report,
            &service.name,
            node,
            service.nodes.len() - 1,
        );
    }
    let size = if capacity::counts(service) {
        draft.request.batch_size()
    } else {
        1
    };
    order.chunks(size).map(<[NodeName]>::to_vec).collect()
}

fn restart(draft: &mut Draft<'_>, service: &Service, batches: &[Vec<NodeName>]) -> Ends {
    let active = draft.active_side(service);
    let mut ends = Ends::default();
    for (number, batch) in batches.iter().enumerate() {
        let mut stops = Vec::new();
        let mut starts = Vec::new();
        for node in batch {
            let stop = draft.graph.add(steps::stop(service, node));
            let mut step = steps::start_again(service, node);
            step.healthy = draft.own_checks(service, node, active.as_ref(), &BTreeSet::new());
            step.gates = draft.consumer_checks(service, node);
            let subject = Subject::instance(&service.name, node);
            draft.must_be_green(&subject, &step.gates);
            let start = draft.graph.add(step);
            draft.graph.after(start, stop, Wait::Down);
            stops.push(stop);
            starts.push((start, Wait::Healthy));
        }
        let before = std::mem::replace(&mut ends.last, starts);
        draft.graph.fan(&before, &stops, || {
            steps::join(service, &format!("batch-{number}"), Vec::new())
        });
        if number == 0 {
            ends.first = stops;
        }
    }
    let comparisons = draft.comparisons(service, &[]);
    if !comparisons.is_empty() {
        let join = draft.graph.add(steps::join(service, "", comparisons));
        ends.last
            .iter()
            .for_each(|(on, until)| draft.graph.after(join, *on, *until));
        ends.last = vec![(join, Wait::Healthy)];
    }
    ends
}
