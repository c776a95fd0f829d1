//! The graph of dependencies: no circles.
//!
//! There are three graphs over the services. Need may not go round; what starts wait for may not go round, and what
//! stops wait for may not. A pair of `after` edges that point one way at start and the other way at stop is no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;
use crate::names::ServiceName;
use crate::plan::Wait;
use crate::spec::problem::Problem;
use crate::spec::{Dependency, Spec};

type Edges<'s> = BTreeMap<&'s ServiceName, Vec<&'s ServiceName>>;

pub(super) fn verify(facts: &Facts<'_>) {
    let kinds: [fn(&Dependency) -> bool; 3] = [
        |edge| edge.needed,
        |edge| edge.start != Wait::None,
        |edge| edge.stop != Wait::None,
    ];
    let mut reported = BTreeSet::new();
    for counts in kinds {
        for cycle in cycles(edges(facts.spec, counts)) {
            if reported.insert(cycle.iter().copied().collect::<BTreeSet<_>>()) {
                report(facts, &cycle);
            }
        }
    }
}

/// The edges of one graph between services that exist.
fn edges(spec: &Spec, counts: impl Fn(&Dependency) -> bool) -> Edges<'_> {
    spec.services
        .iter()
        .map(|(name, service)| {
            let counted = service
                .dependencies
                .iter()
                .filter(|(_, edge)| counts(edge))
                .map(|(other, _)| other);
            (
                name,
                counted
                    .filter(|other| spec.services.contains_key(*other))
                    .collect(),
            )
        })
        .collect()
}

/// One circle of every knot in the graph, each beginning with its first name.
fn cycles(mut edges: Edges<'_>) -> Vec<Vec<&ServiceName>> {
    let mut cycles = Vec::new();
    loop {
        strip(&mut edges);
        let Some(start) = edges.keys().next().copied() else {
            return cycles;
        };
        // Every service that is left depends on one that is left, so the walk meets itself.
        let mut path = vec![start];
        let mut met = BTreeMap::from([(start, 0)]);
        let cycle = loop {
            let here = path[path.len() - 1];
            let Some(next) = edges.get(here).and_then(|others| others.first()).copied() else {
                return cycles;
            };
            if let Some(from) = met.insert(next, path.len()) {
                break path.split_off(from);
            }
            path.push(next);
        };
        for name in &cycle {
            edges.remove(name);
        }
        cycles.push(rotated(cycle));
    }
}

/// Removes every service that depends on none that is left, until there is no such.
fn strip(edges: &mut Edges<'_>) {
    let mut dependants: Edges<'_> = BTreeMap::new();
    let mut open: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    for (name, others) in edges.iter() {
        let left = others.iter().filter(|other| edges.contains_key(*other));
        open.insert(name, left.clone().count());
        left.for_each(|other| dependants.entry(other).or_default().push(name));
    }
    let mut free: Vec<&ServiceName> = open
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(name, _)| *name)
        .collect();
    while let Some(name) = free.pop() {
        edges.remove(name);
        for dependant in dependants.get(name).into_iter().flatten() {
            if let Some(n) = open.get_mut(dependant) {
                *n -= 1;
                if *n == 0 {
                    free.push(dependant);
                }
            }
        }
    }
    let names: BTreeSet<&ServiceName> = edges.keys().copied().collect();
    edges
        .values_mut()
        .for_each(|others| others.retain(|other| names.contains(other)));
}

/// The same circle, beginning with its first name.
fn rotated(mut cycle: Vec<&ServiceName>) -> Vec<&ServiceName> {
    let first = cycle
        .iter()
        .enumerate()
        .min_by_key(|(_, name)| **name)
        .map_or(0, |(i, _)| i);
    cycle.rotate_left(first);
    cycle
}

fn report(facts: &Facts<'_>, cycle: &[&ServiceName]) {
    let next = |i: usize| cycle[(i + 1) % cycle.len()];
    let keys = |i: usize| {
        let needed = facts.spec.services[cycle[i]].dependencies[next(i)].needed;
        [
            "services",
            cycle[i].as_str(),
            if needed { "requires" } else { "after" },
            next(i).as_str(),
        ]
    };
    facts.error(&keys(0), || {
        // A circle of hundreds is not read to its end by anybody.
        const SHOWN: usize = 12;
        let mut circle: Vec<&str> = cycle.iter().take(SHOWN).map(|name| name.as_str()).collect();
        circle.extend((cycle.len() > SHOWN).then_some("…"));
        circle.push(cycle[0].as_str());
        let what = match cycle {
            [alone] => format!("{alone} depends on itself"),
            _ => format!(
                "services depend on each other in a circle: {}",
                circle.join(" → ")
            ),
        };
        let problem = Problem::error(what)
            .why("none of them could start first")
            .suggest("remove one of the edges, or let one of them wait in one direction only");
        (1..cycle.len().min(SHOWN)).fold(problem, |problem, i| {
            problem.note(
                facts.place(&keys(i)),
                format!("{} depends on {}", cycle[i], next(i)),
            )
        })
    });
}
