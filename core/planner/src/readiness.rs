//! What a start waits for on other services.
//!
//! For each service and each condition that somebody waits for there is one answer, shared by all who wait: the starts
//! of its instances, the health of those that run already, or one joining step where there would be too many edges or
//! where the instances must be compared with each other first.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::{Dependency, Service};

use crate::draft::Draft;
use crate::graph::{FAN, Handle};
use crate::report::Subject;
use crate::select::Selection;
use crate::startup::Made;
use crate::steps;
use crate::world::Presence;

/// Orders the starts after each other as the spec's edges and sequences say.
pub(crate) fn order_services(draft: &mut Draft<'_>, made: &Made, selection: &Selection) {
    let present: BTreeSet<&ServiceName> = made.starts.keys().collect();
    let looked_at = looked_at(draft, made, selection);
    let mut waits: Vec<(Handle, ServiceName, Wait)> = Vec::new();
    let mut consumers: BTreeMap<(ServiceName, Wait), usize> = BTreeMap::new();
    for (name, starts) in &made.starts {
        let Some(service) = draft.service(name) else {
            continue;
        };
        if let Some((primary, promote)) = made.promotions.get(name)
            && let Some((_, start)) = starts.first()
            && !starts.iter().any(|(node, _)| node == primary)
        {
            draft.graph.after(*start, *promote, service.sequence.start);
        }
        for pair in starts.windows(2) {
            let before = made.working(name, &pair[0].0, pair[0].1);
            draft.graph.after(pair[1].1, before, service.sequence.start);
        }
        let mut before: BTreeMap<ServiceName, Dependency> =
            draft.dependencies_within(&present, name);
        // What runs already has no start to wait for, but its health counts.
        before.extend(
            service
                .dependencies
                .iter()
                .filter(|(name, d)| d.needed || looked_at.contains(*name))
                .map(|(n, d)| (n.clone(), *d)),
        );
        for (required, dependency) in before {
            if dependency.start != Wait::None {
                *consumers
                    .entry((required.clone(), dependency.start))
                    .or_default() += starts.len();
                waits.extend(
                    starts
                        .iter()
                        .map(|(_, start)| (*start, required.clone(), dependency.start)),
                );
            }
        }
    }
    let mut ready: BTreeMap<(ServiceName, Wait), Vec<(Handle, Wait)>> = BTreeMap::new();
    for (key, count) in consumers {
        let from = readiness(draft, made, &key, count);
        ready.insert(key, from);
    }
    for (start, required, until) in waits {
        for (on, until) in ready.get(&(required, until)).into_iter().flatten() {
            draft.graph.after(start, *on, *until);
        }
    }
    // Instances that compare themselves meet at the end even if nobody waits for them.
    for (name, starts) in &made.starts {
        if let Some(service) = draft.service(name) {
            draft.warn_of_uncompared(service);
        }
        let key = (name.clone(), Wait::Healthy);
        if let Some(service) = draft.service(&key.0).filter(|_| !ready.contains_key(&key))
            && !draft.comparisons(service, &nodes_of(starts)).is_empty()
        {
            readiness(draft, made, &key, 1);
        }
    }
}

/// The services whose health is part of the plan even where they run already: those in the scope, and those that
/// somebody who starts requires. An edge for the order alone counts towards these, and towards no others.
fn looked_at(draft: &Draft<'_>, made: &Made, selection: &Selection) -> BTreeSet<ServiceName> {
    let required = made
        .starts
        .keys()
        .filter_map(|name| draft.service(name))
        .flat_map(|service| &service.dependencies)
        .filter(|(_, dependency)| dependency.needed)
        .map(|(name, _)| name);
    selection
        .instances
        .keys()
        .chain(required)
        .cloned()
        .collect()
}

fn nodes_of(starts: &[(NodeName, Handle)]) -> Vec<NodeName> {
    starts.iter().map(|(node, _)| node.clone()).collect()
}

/// What those who wait for a service wait for.
fn readiness(
    draft: &mut Draft<'_>,
    made: &Made,
    (name, until): &(ServiceName, Wait),
    consumers: usize,
) -> Vec<(Handle, Wait)> {
    let Some(service) = draft.service(name).filter(|service| !service.external) else {
        return Vec::new();
    };
    let starts = made.starts.get(name).map(Vec::as_slice).unwrap_or_default();
    let active = if starts.is_empty() {
        draft.side_of(service)
    } else {
        draft.active_side(service)
    };
    let mut from = Vec::new();
    for (node, start) in starts {
        let standby = service.is_exclusive() && active.as_ref() != Some(node);
        from.push((
            made.working(name, node, *start),
            if standby {
                (*until).min(Wait::Up)
            } else {
                *until
            },
        ));
    }
    if let Some((primary, promote)) = made.promotions.get(name) {
        if !starts.iter().any(|(node, _)| node == primary) {
            from.push((*promote, *until));
        }
    } else if *until == Wait::Healthy {
        from.extend(
            health_of_running(draft, service, starts, active.as_ref())
                .into_iter()
                .map(|h| (h, *until)),
        );
    }
    let comparisons = if *until == Wait::Healthy && !starts.is_empty() {
        draft.comparisons(service, &nodes_of(starts))
    } else {
        Vec::new()
    };
    if comparisons.is_empty() && (from.len() < 2 || consumers < 2 || from.len() * consumers <= FAN)
    {
        return from;
    }
    let what = if *until == Wait::Healthy {
        String::new()
    } else {
        until.to_string()
    };
    let join = draft.graph.add(steps::join(service, &what, comparisons));
    from.iter()
        .for_each(|(on, until)| draft.graph.after(join, *on, *until));
    vec![(join, Wait::Healthy)]
}

/// Steps that wait for the health of instances that already run: of the active side, or of those that are healthy now.
fn health_of_running(
    draft: &mut Draft<'_>,
    service: &Service,
    starts: &[(NodeName, Handle)],
    active: Option<&NodeName>,
) -> Vec<Handle> {
    let running: Vec<&NodeName> = service
        .nodes
        .iter()
        .filter(|node| !starts.iter().any(|(other, _)| other == *node))
        .filter(|node| draft.world.instance(&service.name, node) == Presence::Up)
        .filter(|node| !service.is_exclusive() || active.is_none_or(|active| active == *node))
        .collect();
    let healthy: Vec<&NodeName> = running
        .iter()
        .filter(|node| draft.is_healthy(service, node))
        .copied()
        .collect();
    let needed = usize::try_from(service.at_least)
        .unwrap_or(usize::MAX)
        .max(1);
    let enough = !service.is_exclusive() && healthy.len() + starts.len() >= needed;
    let mut steps = Vec::new();
    for node in if enough { healthy } else { running } {
        let gates = draft.own_checks(service, node, active, &BTreeSet::new());
        if gates.is_empty() {
            continue;
        }
        draft.must_be_green(&Subject::instance(&service.name, node), &gates);
        steps.push(draft.graph.add(steps::check(service, node, gates)));
    }
    steps
}
