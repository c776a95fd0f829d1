//! Rolling restart: stop and start instances, a batch at a time, each batch only when the one before is healthy.
//!
//! Dependencies go first; dependants are not stopped, they are what the capacity is kept for. Of an exclusive service
//! the standbys go first, one at a time, and the active side last, which interrupts it: nothing takes over. The report
//! lists the dependants that run on without it for that time.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::Service;

use crate::activity::{warn_of_interruption, warn_of_those_without};
use crate::again::Again;
use crate::capacity;
use crate::draft::Draft;
use crate::files::Rendered;
use crate::graph::Handle;
use crate::order::start_order;
use crate::report::Subject;
use crate::select::Selection;
use crate::steps;
use crate::world::Presence;

/// The first stops and the last starts of a service's restart.
#[derive(Debug, Default)]
struct Ends {
    first: Vec<Handle>,
    last: Vec<(Handle, Wait)>,
}

pub(crate) fn build(draft: &mut Draft<'_>, selection: &Selection) {
    let mut again = Again::default();
    let file = draft.rendered;
    for service in draft.by_rank(selection.instances.keys()) {
        take(
            draft,
            &mut again,
            service,
            &selection.instances[&service.name],
        );
    }
    let mut made: BTreeMap<ServiceName, Ends> = BTreeMap::new();
    for service in draft.by_rank(again.services()) {
        // A dependency is through with its restart before the first dependant stops.
        again.requirements_run(draft, service, |_| true);
        if let Some(file) = file {
            file.tell(draft, service, again.nodes(&service.name));
        }
        let batches = batches(draft, service, &again);
        draft.keep_capacity(service, batches.iter().map(|batch| batch.iter().collect()));
        let ends = restart(draft, service, &batches, &again, file);
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
    keep_balancers_apart(draft, &made);
}

/// A member cannot be drained where its balancer is just being restarted: one goes after the other, in the order of all
/// services, which no dependency contradicts.
fn keep_balancers_apart(draft: &mut Draft<'_>, made: &BTreeMap<ServiceName, Ends>) {
    let order = draft.by_rank(made.keys());
    for (index, then) in order.iter().enumerate() {
        let related = |first: &&&Service| {
            first.member_of.contains_key(&then.name) || then.member_of.contains_key(&first.name)
        };
        for first in order[..index].iter().filter(related) {
            draft
                .graph
                .fan(&made[&first.name].last, &made[&then.name].first, || {
                    let what = format!("members-{}", first.name);
                    steps::join(then, &what, Vec::new())
                });
        }
    }
}

/// Those of the scope that stop and start again: a restart starts nothing that was stopped.
fn take(draft: &mut Draft<'_>, again: &mut Again, service: &Service, nodes: &BTreeSet<NodeName>) {
    for node in nodes {
        let subject = Subject::instance(&service.name, node);
        if draft.world.is_agentless(node) {
            draft
                .report
                .blocked(subject, "no agent runs there", "restart it by hand");
            continue;
        }
        if let Some(file) = draft.rendered
            && file.is_done(draft, service, node)
        {
            continue;
        }
        match again.take(draft, service, node) {
            Presence::Up => {}
            Presence::Down => draft
                .report
                .excluded(subject, "it is stopped, and a restart starts nothing new"),
            Presence::Unknown(why) => {
                let remedy = draft.world.remedy(node);
                draft.report.unknown(subject, why, remedy);
            }
        }
    }
}

fn batches(draft: &mut Draft<'_>, service: &Service, again: &Again) -> Vec<Vec<NodeName>> {
    let active = draft.active_side(service);
    again.active_side_is_there(draft, service, active.as_ref());
    let mut order: Vec<NodeName> = start_order(service, active.as_ref())
        .into_iter()
        .cloned()
        .collect();
    order.retain(|node| again.has(&service.name, node));
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
        warn_of_those_without(draft, &service.name, |_| false);
    }
    let size = if capacity::counts(service) {
        draft.request.batch_size()
    } else {
        1
    };
    order.chunks(size).map(<[NodeName]>::to_vec).collect()
}

fn restart(
    draft: &mut Draft<'_>,
    service: &Service,
    batches: &[Vec<NodeName>],
    again: &Again,
    file: Option<&Rendered>,
) -> Ends {
    let active = draft.active_side(service);
    let mut ends = Ends::default();
    let mut trials = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let mut stops = Vec::new();
        let mut starts = Vec::new();
        for node in batch {
            let stop = draft.graph.add(steps::stop(service, node));
            let mut step = match file {
                Some(_) => steps::start(service, node),
                None => steps::start_again(service, node),
            };
            step.healthy = draft.own_checks(service, node, active.as_ref(), &BTreeSet::new());
            step.gates = draft.consumer_checks(service, node);
            let subject = Subject::instance(&service.name, node);
            draft.must_be_green(&subject, &again.judged_now(&step.gates));
            let primary = service.is_leased() && active.as_ref() == Some(node);
            let of_primary = primary.then(|| std::mem::take(&mut step.healthy));
            let start = draft.graph.add(step);
            draft.graph.after(start, stop, Wait::Down);
            stops.push(stop);
            let trial = file.and_then(|file| file.weave(draft, service, node, (stop, start)));
            trials.extend(trial.map(|trial| (trial, Wait::Up)));
            let working = match of_primary {
                Some(healthy) => draft.promotion(service, node, Some(start), healthy),
                None => start,
            };
            starts.push((working, Wait::Healthy));
        }
        let before = std::mem::replace(&mut ends.last, starts);
        draft.graph.fan(&before, &stops, || {
            steps::join(service, &format!("batch-{number}"), Vec::new())
        });
        if number == 0 {
            ends.first = stops;
        }
    }
    // What one of them refuses is to stop nothing.
    draft.graph.fan(&trials, &ends.first, || {
        steps::join(service, "files", Vec::new())
    });
    let started: Vec<NodeName> = batches.iter().flatten().cloned().collect();
    let comparisons = draft.comparisons(service, &started);
    if !comparisons.is_empty() {
        let join = draft.graph.add(steps::join(service, "", comparisons));
        ends.last
            .iter()
            .for_each(|(on, until)| draft.graph.after(join, *on, *until));
        ends.last = vec![(join, Wait::Healthy)];
    }
    ends
}
