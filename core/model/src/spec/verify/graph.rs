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

/// Services by number, and what each waits for. Numbers, since the search walks over every edge again and again.
struct Graph<'s> {
    names: Vec<&'s ServiceName>,
    edges: Vec<Vec<usize>>,
    /// Is the service still to be looked at?
    left: Vec<bool>,
}

/// Does an edge count in the graph of need, of starts, of stops?
const GRAPHS: [fn(&Dependency) -> bool; 3] = [
    |edge| edge.needed,
    |edge| edge.start != Wait::None,
    |edge| edge.stop != Wait::None,
];

pub(super) fn verify(facts: &Facts<'_>) {
    let mut reported = BTreeSet::new();
    for counts in GRAPHS {
        for cycle in Graph::new(facts.spec, counts).cycles() {
            if reported.insert(cycle.iter().copied().collect::<BTreeSet<_>>()) {
                report(facts, &cycle);
            }
        }
    }
}

impl<'s> Graph<'s> {
    /// The graph of the edges that count, between services that exist.
    fn new(spec: &'s Spec, counts: impl Fn(&Dependency) -> bool) -> Self {
        let names: Vec<&ServiceName> = spec.services.keys().collect();
        let numbers: BTreeMap<&ServiceName, usize> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (*name, i))
            .collect();
        let edges = spec.services.values().map(|service| {
            let counted = service.dependencies.iter().filter(|(_, edge)| counts(edge));
            counted
                .filter_map(|(other, _)| numbers.get(other).copied())
                .collect()
        });
        Self {
            edges: edges.collect(),
            left: vec![true; names.len()],
            names,
        }
    }

    /// One circle of every knot in the graph, each beginning with its first name.
    fn cycles(mut self) -> Vec<Vec<&'s ServiceName>> {
        let mut cycles = Vec::new();
        loop {
            self.strip();
            let Some(start) = self.left.iter().position(|left| *left) else {
                return cycles;
            };
            // Every service that is left depends on one that is left, so the walk meets itself.
            let mut path = vec![start];
            let mut met = BTreeMap::from([(start, 0)]);
            let cycle = loop {
                let here = path[path.len() - 1];
                let Some(next) = self.edges[here].iter().find(|next| self.left[**next]) else {
                    return cycles;
                };
                if let Some(from) = met.insert(*next, path.len()) {
                    break path.split_off(from);
                }
                path.push(*next);
            };
            for number in &cycle {
                self.left[*number] = false;
            }
            let cycle = cycle.into_iter().map(|number| self.names[number]).collect();
            cycles.push(rotated(cycle));
        }
    }

    /// Removes every service that depends on none that is left, until there is no such.
    fn strip(&mut self) {
        let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); self.names.len()];
        let mut open = vec![0_usize; self.names.len()];
        let left = |number: &usize| self.left[*number];
        for number in (0..self.names.len()).filter(left) {
            for other in self.edges[number].iter().copied().filter(left) {
                open[number] += 1;
                dependants[other].push(number);
            }
        }
        let mut free: Vec<usize> = (0..open.len())
            .filter(|number| left(number) && open[*number] == 0)
            .collect();
        while let Some(number) = free.pop() {
            self.left[number] = false;
            for dependant in &dependants[number] {
                open[*dependant] -= 1;
                if open[*dependant] == 0 {
                    free.push(*dependant);
                }
            }
        }
    }
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
    let edge = |i: usize| &facts.spec.services[cycle[i]].dependencies[next(i)];
    // By which of the graphs does it go round? One circle may be of all three.
    let [needs, starts, stops] = GRAPHS.map(|counts| (0..cycle.len()).all(|i| counts(edge(i))));
    let keys = |i: usize| {
        let needed = edge(i).needed;
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
        let why = match (starts, stops) {
            (true, _) => "none of them could start first",
            (false, true) => "none of them could stop first",
            (false, false) => "each of them needs the next, whatever it waits for",
        };
        let ways = [
            (needs, "one is an `after`"),
            (starts, "one has `start: none`"),
            (stops, "one has `stop: none`"),
        ];
        let ways: Vec<&str> = ways
            .into_iter()
            .filter_map(|(round, way)| round.then_some(way))
            .collect();
        let help = match (cycle, ways.as_slice()) {
            ([_], _) => "remove this edge".to_owned(),
            (_, [way]) => format!("remove one of the edges, or see that {way}"),
            (_, []) => "remove one of the edges".to_owned(),
            (_, [first @ .., last]) => format!(
                "remove one of the edges, or see that {}, and another {last}",
                first.join(", ")
            ),
        };
        let problem = Problem::error(what).why(why).suggest(help);
        (1..cycle.len().min(SHOWN)).fold(problem, |problem, i| {
            problem.note(
                facts.place(&keys(i)),
                format!("{} depends on {}", cycle[i], next(i)),
            )
        })
    });
}
