//! Lifting the order of services to the machines that carry them.
//!
//! *Down* is the word of the power source, and a machine's rank is the earliest of its services at start and the latest
//! at stop. So:
//!
//! * whoever waits for a stop to be *down* waits for the power-off of that machine, if the plan powers it off;
//! * a machine is powered on only when what its earliest services wait for is ready, although its operating system
//!   would not care: a booted machine may start its services by itself.
//!
//! Each such lifted edge is a [`Lift`]. It is refused where it would close a circle, in two passes so that the result
//! does not depend on the order of names: first those that the graph itself contradicts, then, if the rest contradict
//! each other, one after the other as far as they go. A refused lift leaves the edge between the instances.

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::plan::Wait;

use crate::cost;
use crate::graph::{Graph, Handle};

/// An edge that is wished for: `step` waits for `on`, which makes the edge `instead.0` after `instead.1` superfluous.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lift {
    pub(crate) step: Handle,
    pub(crate) on: Handle,
    pub(crate) until: Wait,
    pub(crate) instead: (Handle, Handle),
}

/// The lifts of a shutdown. `power_off` tells a node's power-off step, and the first step of it (which may be a
/// person's), from the handle of a stop on that node.
pub(crate) fn of_shutdown(
    graph: &Graph,
    power_off: impl Fn(Handle) -> Option<(Handle, Handle)>,
) -> Vec<Lift> {
    let mut lifts = Vec::new();
    for step in 0..graph.len() {
        for (on, until) in graph.edges(step) {
            if *until != Wait::Down || !matches!(graph.step(*on).action, Action::Stop) {
                continue;
            }
            if let Some((first, off)) = power_off(*on)
                && first != step
            {
                lifts.push(Lift {
                    step,
                    on: off,
                    until: Wait::Down,
                    instead: (step, *on),
                });
            }
        }
    }
    lifts
}

/// The lifts of a startup: for each of the `earliest` starts of a node and that node's power-on step.
pub(crate) fn of_startup(graph: &Graph, earliest: &[(Handle, Handle)]) -> Vec<Lift> {
    let mut lifts = Vec::new();
    for (start, power_on) in earliest {
        for (on, until) in graph.edges(*start) {
            if on != power_on {
                lifts.push(Lift {
                    step: *power_on,
                    on: *on,
                    until: *until,
                    instead: (*start, *on),
                });
            }
        }
    }
    lifts
}

/// Adds every lift that closes no circle.
pub(crate) fn apply(graph: &mut Graph, lifts: &[Lift]) {
    let possible = not_contradicted(graph, lifts);
    possible
        .iter()
        .for_each(|lift| graph.after(lift.step, lift.on, lift.until));
    let accepted = if graph.topological().is_ok() {
        possible
    } else {
        possible
            .iter()
            .for_each(|lift| graph.forget(lift.step, lift.on));
        one_by_one(graph, possible)
    };
    for lift in accepted {
        let (step, on) = lift.instead;
        graph.forget(step, on);
    }
}

/// The lifts whose `on` does not itself wait for their `step`.
fn not_contradicted(graph: &Graph, lifts: &[Lift]) -> Vec<Lift> {
    let Ok(order) = graph.topological() else {
        return Vec::new();
    };
    // One bit per step that is to be waited for; `reach[s]` holds those of them that wait for s.
    let mut bit = vec![None; graph.len()];
    let mut bits = 0_usize;
    for lift in lifts {
        if bit[lift.on].is_none() {
            bit[lift.on] = Some(bits);
            bits += 1;
        }
    }
    let words = bits.div_ceil(64);
    let mut reach = vec![0_u64; words * graph.len()];
    for step in order.into_iter().rev() {
        if let Some(bit) = bit[step] {
            reach[step * words + bit / 64] |= 1 << (bit % 64);
        }
        for on in graph.edges(step).keys() {
            for word in 0..words {
                reach[on * words + word] |= reach[step * words + word];
            }
        }
    }
    let contradicted = |lift: &Lift| {
        bit[lift.on].is_some_and(|bit| reach[lift.step * words + bit / 64] & (1 << (bit % 64)) != 0)
    };
    lifts
        .iter()
        .filter(|lift| !contradicted(lift))
        .copied()
        .collect()
}

/// The lifts that can be added one after the other: where machines carry services crosswise.
fn one_by_one(graph: &mut Graph, lifts: Vec<Lift>) -> Vec<Lift> {
    let Some(mut order) = Order::of(graph) else {
        return Vec::new();
    };
    let mut accepted = Vec::new();
    for lift in lifts {
        if order.puts_before(graph, lift.on, lift.step) {
            graph.after(lift.step, lift.on, lift.until);
            order.successors[lift.on].push(lift.step);
            accepted.push(lift);
        }
    }
    accepted
}

/// The steps of a graph in an order that its edges allow, kept while edges are added: what lies apart from a new edge is not
/// looked at.
struct Order {
    place: Vec<usize>,
    successors: Vec<Vec<Handle>>,
}

impl Order {
    fn of(graph: &Graph) -> Option<Self> {
        let mut place = vec![0; graph.len()];
        for (at, step) in graph.topological().ok()?.into_iter().enumerate() {
            place[step] = at;
        }
        Some(Self {
            place,
            successors: graph.successors(),
        })
    }

    /// Moves `first` before `then`, with what has to move with them. False, and nothing moves, if the edges forbid it.
    fn puts_before(&mut self, graph: &Graph, first: Handle, then: Handle) -> bool {
        let (low, high) = (self.place[then], self.place[first]);
        if high < low {
            return true;
        }
        let behind = reached(then, |step, open| {
            let next = self.successors[step].iter().copied();
            open.extend(next.filter(|next| self.place[*next] <= high));
        });
        if behind.contains(&first) {
            return false;
        }
        let before = reached(first, |step, open| {
            let next = graph.edges(step).keys().copied();
            open.extend(next.filter(|next| self.place[*next] >= low));
        });
        let by_place = |steps: BTreeSet<Handle>| {
            let mut steps: Vec<Handle> = steps.into_iter().collect();
            steps.sort_by_key(|step| self.place[*step]);
            steps
        };
        let mut moved = by_place(before);
        moved.extend(by_place(behind));
        let mut places: Vec<usize> = moved.iter().map(|step| self.place[*step]).collect();
        places.sort_unstable();
        for (step, place) in moved.into_iter().zip(places) {
            self.place[step] = place;
        }
        true
    }
}

/// Everything that is reached from a step, with itself; `next` adds what lies next to one.
fn reached(from: Handle, next: impl Fn(Handle, &mut Vec<Handle>)) -> BTreeSet<Handle> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(step) = open.pop() {
        cost::count(1);
        if seen.insert(step) {
            next(step, &mut open);
        }
    }
    seen
}
