//! The order of services and of the instances of one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::{Dependency, Service, Spec};

/// The rank of each service: the length of the longest chain of dependencies below it.
pub(crate) fn ranks(spec: &Spec) -> BTreeMap<ServiceName, u32> {
    let mut ranks = BTreeMap::new();
    for start in spec.services.keys() {
        // Depth first with a stack of its own: a chain may be longer than the thread's stack bears.
        let mut stack = vec![(start, false)];
        while let Some((name, below_is_known)) = stack.pop() {
            if ranks.contains_key(name) {
                continue;
            }
            let below = spec.services.get(name).map(|service| &service.dependencies);
            let below = || below.into_iter().flat_map(BTreeMap::keys);
            if below_is_known {
                let rank = below()
                    .filter_map(|other| ranks.get(other))
                    .max()
                    .map_or(0, |rank| rank + 1);
                ranks.insert(name.clone(), rank);
            } else {
                stack.push((name, true));
                stack.extend(
                    below()
                        .filter(|other| !ranks.contains_key(*other))
                        .map(|other| (other, false)),
                );
            }
        }
    }
    ranks
}

/// What `name` is ordered after among the services of a plan: its own dependencies there, and those that it reaches
/// through services without a step in the plan. What the spec says of two services directly is never overruled.
pub(crate) fn dependencies_within(
    spec: &Spec,
    ranks: &BTreeMap<ServiceName, u32>,
    present: &BTreeSet<&ServiceName>,
    name: &ServiceName,
) -> BTreeMap<ServiceName, Dependency> {
    let mut found = BTreeMap::new();
    let Some(service) = spec.services.get(name) else {
        return found;
    };
    // Nothing of the plan lies below its lowest service.
    let rank = |name: &ServiceName| ranks.get(name).copied().unwrap_or(0);
    let Some(floor) = present.iter().map(|name| rank(name)).min() else {
        return found;
    };
    // Highest rank first: when an absent service is taken out, all ways to it have been merged.
    let mut open: BTreeMap<(Reverse<u32>, &ServiceName), Dependency> = BTreeMap::new();
    let key = |name| (Reverse(rank(name)), name);
    for (other, dependency) in &service.dependencies {
        open.insert(key(other), *dependency);
    }
    while let Some(((Reverse(height), other), way)) = open.pop_first() {
        if height < floor {
            break;
        }
        if present.contains(other) {
            found.insert(other.clone(), way);
            continue;
        }
        let Some(between) = spec.services.get(other) else {
            continue;
        };
        for (beyond, next) in &between.dependencies {
            if rank(beyond) < floor || service.dependencies.contains_key(beyond) {
                continue;
            }
            let through = Dependency {
                needed: way.needed && next.needed,
                start: if way.start == Wait::None {
                    Wait::None
                } else {
                    next.start
                },
                stop: if next.stop == Wait::None {
                    Wait::None
                } else {
                    way.stop
                },
            };
            open.entry(key(beyond))
                .and_modify(|known| {
                    known.needed |= through.needed;
                    known.start = known.start.max(through.start);
                    known.stop = known.stop.max(through.stop);
                })
                .or_insert(through);
        }
    }
    found
}

/// The instances in the order in which they start: the active one first, the others as the spec lists them. They stop
/// in the reverse order.
pub(crate) fn start_order<'a>(
    service: &'a Service,
    active: Option<&NodeName>,
) -> Vec<&'a NodeName> {
    let mut nodes: Vec<&NodeName> = service.nodes.iter().collect();
    nodes.sort_by_key(|node| Some(*node) != active);
    nodes
}
