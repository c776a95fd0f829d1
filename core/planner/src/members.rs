//! Members of load balancers: drained before they stop, admitted when they are healthy.
//!
//! Done to a graph that is finished otherwise, whatever kind of plan it is, since a drain belongs to a stop and an
//! admission to a start:
//!
//! ```text
//! what the stop waits for ──► drain on lb1, drain on lb2 ──down──► stop ──► … ──► start ──healthy──► admit on lb1, lb2
//!                                                                                 what waits for that start ◄──up──┘
//! ```
//!
//! A balancer is told on every node where it runs when the turn of the member comes. It is not told where it stops in
//! the same breath: with everything, or on a machine of the same batch. In a startup nobody waits for an admission: the
//! balancer itself may start after its members.
//!
//! A startup also brings back who was left out. An instance that runs already, and was put out of a balancer by a plan
//! that was aborted or by a person, is admitted as soon as its checks are green, after what it requires has started:
//!
//! ```text
//! start of what it requires ──► check:web@jb1 ──healthy──► admit on lb1, lb2
//! ```
//!
//! Whatever starts a balancer leaves out who is not there. One that is healthy only when its own HAProxy finds no server down
//! (check `haproxy`) would wait for a member whose machine is away, and which nobody starts. So it is told that this one is
//! out, as if a plan had drained it, and a later startup brings it back:
//!
//! ```text
//! start:lb@lb1 ──up──► drain:web@jb3:lb@lb1      start:lb@lb1 is healthy once that is so
//! ```
//! Only who is known to be down is left out: what is unknown may be serving clients.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::member::{Member, Membership};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::Wait;
use interlock_model::spec::{Service, Spec};

use crate::draft::Draft;
use crate::graph::Handle;
use crate::report::Subject;
use crate::select::Selection;
use crate::steps;
use crate::world::Presence;

/// The steps that stop and that start one instance.
#[derive(Debug, Default, Clone, Copy)]
struct Turn {
    stop: Option<Handle>,
    start: Option<Handle>,
}

type Turns = BTreeMap<(ServiceName, NodeName), Turn>;

/// One node of a balancer, as the plan finds it.
#[derive(Debug)]
struct Place<'a> {
    balancer: &'a Service,
    on: &'a NodeName,
    /// Does it run now?
    up: bool,
    turn: Turn,
    /// The steps after its start, and those before its stop.
    after_start: BTreeSet<Handle>,
    before_stop: BTreeSet<Handle>,
}

impl Place<'_> {
    /// Does the balancer run there while a member is away, from its stop to its start?
    fn runs_during(&self, member: Turn) -> bool {
        match (self.turn.stop, self.turn.start) {
            (None, None) => self.up,
            // It goes for good.
            (Some(_), None) => false,
            // It is there by the time that the member is healthy.
            (None, Some(_)) => true,
            (Some(_), Some(_)) => {
                let is_in = |steps: &BTreeSet<Handle>, step: Option<Handle>| {
                    step.is_some_and(|step| steps.contains(&step))
                };
                is_in(&self.after_start, member.stop.or(member.start))
                    || self.up && is_in(&self.before_stop, member.start.or(member.stop))
            }
        }
    }
}

/// Adds the drains and admissions of everything that the graph stops and starts.
pub(crate) fn weave(draft: &mut Draft<'_>) {
    let spec = draft.spec;
    if spec.services.values().all(|it| it.member_of.is_empty()) {
        return;
    }
    let turns = turns(draft);
    let mut places: BTreeMap<&ServiceName, Vec<Place<'_>>> = BTreeMap::new();
    let touched: Vec<(&Service, &NodeName, Turn)> = turns
        .iter()
        .filter_map(|((service, node), turn)| {
            let service = spec.services.get(service)?;
            (!service.member_of.is_empty()).then_some((service, node, *turn))
        })
        .collect();
    for (service, _, _) in &touched {
        for balancer in service
            .member_of
            .keys()
            .filter_map(|it| spec.services.get(it))
        {
            if !places.contains_key(&balancer.name) {
                let found = places_of(draft, balancer, &turns);
                places.insert(&balancer.name, found);
            }
        }
    }
    for (service, node, turn) in touched {
        for (balancer, how) in &service.member_of {
            for place in places.get(balancer).into_iter().flatten() {
                if let Some(member) = member(spec, service, node, place.balancer, how) {
                    switch(draft, place, &member, how, turn);
                }
            }
        }
    }
}

/// Adds the admissions of what the scope of a startup finds running, and out of a balancer that runs, or in one that the
/// startup brings up: as a member may have been left there. One that nobody has seen in a balancer that runs is let be: it
/// is known when its balancer's agent has looked.
pub(crate) fn readmit(draft: &mut Draft<'_>, selection: &Selection) {
    let spec = draft.spec;
    let turns = turns(draft);
    for (name, nodes) in &selection.instances {
        let Some(service) = spec.services.get(name) else {
            continue;
        };
        for node in nodes {
            let is_started = turns.contains_key(&(name.clone(), node.clone()));
            if !is_started && draft.world.instance(name, node) == Presence::Up {
                bring_back(draft, service, node, &turns);
            }
        }
    }
}

/// Has balancers that start leave out the members that are down and stay so, where they are not healthy otherwise.
pub(crate) fn leave_out(draft: &mut Draft<'_>) {
    if draft.world.is_offline() {
        return;
    }
    let (spec, turns) = (draft.spec, turns(draft));
    for service in spec.services.values() {
        for (balancer, how) in &service.member_of {
            let Some(balancer) = spec.services.get(balancer) else {
                continue;
            };
            let Some(check) = looks_at_servers(draft, balancer) else {
                continue;
            };
            for on in &balancer.nodes {
                let turn = turns.get(&(balancer.name.clone(), on.clone()));
                let Some(start) = turn.and_then(|turn| turn.start) else {
                    continue;
                };
                for node in absent(draft, service, &turns) {
                    let subject = Subject::instance(&service.name, node);
                    let at = format!("{}@{on}", balancer.name);
                    // One after the other it would be told only when it is healthy.
                    let knows = draft.world.stays_down(&service.name, node);
                    if !knows || draft.request.serial {
                        let why = if knows {
                            "it is down, and with --serial nobody leaves it out"
                        } else {
                            "it is not known to stay down"
                        };
                        let text = format!(
                            "{why}: {at} may wait for it in vain, unless with --force {check}"
                        );
                        draft.report.warn(subject, text);
                        continue;
                    }
                    let Some(member) = member(spec, service, node, balancer, how) else {
                        continue;
                    };
                    let mut step = steps::drain(balancer, on, member, how);
                    // Nobody is there who could be admitted.
                    step.undo = None;
                    let drain = draft.graph.add_beside(step, start);
                    draft.graph.after(drain, start, Wait::Up);
                    let text = format!(
                        "it is down, and no step starts it: {at} is told to leave it out, until a startup brings it back"
                    );
                    draft.report.warn(subject, text);
                }
            }
        }
    }
}

/// The nodes where an instance is not seen to run, and that nobody starts.
fn absent<'s>(draft: &Draft<'_>, service: &'s Service, turns: &Turns) -> Vec<&'s NodeName> {
    let is_absent = |node: &&NodeName| {
        !turns.contains_key(&(service.name.clone(), (*node).clone()))
            && !draft.world.is_agentless(node)
            && draft.world.instance(&service.name, node) != Presence::Up
    };
    service.nodes.iter().filter(is_absent).collect()
}

/// The check by which a balancer is healthy only when its HAProxy finds none of its servers down, if it is asked.
fn looks_at_servers(draft: &Draft<'_>, balancer: &Service) -> Option<CheckId> {
    let mut checks = balancer.checks.iter().filter_map(|(name, check)| {
        let is_asked =
            matches!(check.kind, CheckKind::Haproxy(_)) && check.from != CheckFrom::Consumers;
        is_asked.then(|| CheckId {
            service: balancer.name.clone(),
            check: name.clone(),
        })
    });
    checks.find(|id| !draft.request.force.contains(id))
}

fn bring_back(draft: &mut Draft<'_>, service: &Service, node: &NodeName, turns: &Turns) {
    let spec = draft.spec;
    let mut check = None;
    for (balancer, how) in &service.member_of {
        let Some(balancer) = spec.services.get(balancer) else {
            continue;
        };
        for on in &balancer.nodes {
            let Some(member) = member(spec, service, node, balancer, how) else {
                continue;
            };
            let turn = turns.get(&(balancer.name.clone(), on.clone()));
            let told = turn.and_then(|turn| turn.start);
            // One that starts puts its members to what they were put to, which nobody sees before.
            if told.is_none() && !draft.world.is_put_out(&balancer.name, on, &member) {
                continue;
            }
            let check = *check.get_or_insert_with(|| health(draft, service, node, turns));
            let step = steps::admit(balancer, on, member, how, false);
            let admit = match check {
                Some(check) => draft.graph.add_beside(step, check),
                None => draft.graph.add(step),
            };
            if let Some(check) = check {
                draft.graph.after(admit, check, Wait::Healthy);
            }
            if let Some(start) = told {
                draft.graph.after(admit, start, Wait::Healthy);
            }
        }
    }
}

/// The step that waits until an instance that runs already is healthy; none if nothing tells. Its checks need not be green
/// yet: what it requires may be among what the plan starts.
fn health(
    draft: &mut Draft<'_>,
    service: &Service,
    node: &NodeName,
    turns: &Turns,
) -> Option<Handle> {
    let spec = draft.spec;
    let id = steps::check(service, node, Vec::new()).id;
    if let Some(known) = (0..draft.graph.len()).find(|step| draft.graph.step(*step).id == id) {
        return Some(known);
    }
    let active = draft.side_of(service);
    let gates = draft.own_checks(service, node, active.as_ref(), &BTreeSet::new());
    if gates.is_empty() {
        return None;
    }
    let check = draft.graph.add(steps::check(service, node, gates));
    for (required, dependency) in service.dependencies.iter().filter(|(_, it)| it.needed) {
        let starts = turns.iter().filter(|((service, _), _)| service == required);
        for start in starts.filter_map(|(_, turn)| turn.start) {
            draft.graph.after(check, start, dependency.start);
        }
    }
    // Whoever waits for its health waits for what the plan looks at.
    for ((other, _), turn) in turns {
        let edge = spec
            .services
            .get(other)
            .and_then(|it| it.dependencies.get(&service.name));
        if let (Some(start), Some(edge)) = (turn.start, edge)
            && edge.start == Wait::Healthy
        {
            draft.graph.after(start, check, Wait::Healthy);
        }
    }
    Some(check)
}

/// The stop and the start of each instance that the graph touches.
fn turns(draft: &Draft<'_>) -> Turns {
    let mut turns = Turns::new();
    for handle in 0..draft.graph.len() {
        let step = draft.graph.step(handle);
        let (Some(service), Some(node)) = (&step.service, &step.node) else {
            continue;
        };
        let turn = || (service.clone(), node.clone());
        match &step.action {
            Action::Stop => turns.entry(turn()).or_default().stop = Some(handle),
            Action::Start | Action::Verify => turns.entry(turn()).or_default().start = Some(handle),
            Action::Promote
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::PowerOn { .. }
            | Action::PowerOff { .. }
            | Action::Reboot
            | Action::Drain { .. }
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. }
            | Action::Check
            | Action::Approve { .. } => {}
        }
    }
    turns
}

/// The nodes of a balancer that can be told something at some time of the plan. Whether it runs there must be known.
fn places_of<'a>(draft: &mut Draft<'_>, balancer: &'a Service, turns: &Turns) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for on in &balancer.nodes {
        let key = (balancer.name.clone(), on.clone());
        let turn = turns.get(&key).copied().unwrap_or_default();
        let up = match draft.world.instance(&balancer.name, on) {
            // Offline everything is taken to be as the plan finds it, and what it does not touch to run.
            _ if draft.world.is_offline() => !draft.request.kind.comes_up(),
            Presence::Up => true,
            Presence::Down => false,
            Presence::Unknown(why) => {
                let subject = Subject::instance(&balancer.name, on);
                let remedy = "members are switched there: repair its agent, or let the power source say that the machine is off";
                draft.report.unknown(subject, why, remedy);
                false
            }
        };
        let both = turn.stop.is_some() && turn.start.is_some();
        let successors = if both {
            draft.graph.successors()
        } else {
            Vec::new()
        };
        let after = |step: Handle| successors.get(step).cloned().unwrap_or_default();
        let before = |step: Handle| draft.graph.edges(step).keys().copied().collect();
        places.push(Place {
            balancer,
            on,
            up,
            turn,
            after_start: reached(turn.start.filter(|_| both), after),
            before_stop: reached(turn.stop.filter(|_| both), before),
        });
    }
    places
}

/// Everything that can be reached from a step.
fn reached(from: Option<Handle>, next: impl Fn(Handle) -> Vec<Handle>) -> BTreeSet<Handle> {
    let mut seen = BTreeSet::new();
    let mut stack: Vec<Handle> = from.into_iter().collect();
    while let Some(step) = stack.pop() {
        for other in next(step) {
            if seen.insert(other) {
                stack.push(other);
            }
        }
    }
    seen
}

fn member(
    spec: &Spec,
    service: &Service,
    node: &NodeName,
    balancer: &Service,
    how: &Membership,
) -> Option<Member> {
    Some(Member {
        service: service.name.clone(),
        node: node.clone(),
        by: balancer.balancer.clone()?,
        backends: how.backends.clone(),
        server: how.server_on(spec.nodes.get(node)?),
    })
}

fn switch(draft: &mut Draft<'_>, place: &Place<'_>, member: &Member, how: &Membership, turn: Turn) {
    if !place.runs_during(turn) {
        return;
    }
    let graph = &mut draft.graph;
    if let Some(start) = turn.start {
        // Where the start is taken back by a stop of its own, so is the admission by a drain.
        let again = turn.stop.is_some() && graph.step(start).undo.is_none();
        let step = steps::admit(place.balancer, place.on, member.clone(), how, again);
        let admit = graph.add_beside(step, start);
        if !draft.request.kind.comes_up() {
            // The next to be taken away waits until this one is back with the balancer.
            let waiting: Vec<Handle> = (0..admit)
                .filter(|step| graph.edges(*step).get(&start) == Some(&Wait::Healthy))
                .filter(|step| !matches!(graph.step(*step).action, Action::Admit { .. }))
                .collect();
            waiting
                .into_iter()
                .for_each(|step| graph.after(step, admit, Wait::Up));
        }
        graph.after(admit, start, Wait::Healthy);
        if let (None, Some(balancer)) = (place.turn.stop, place.turn.start) {
            graph.after(admit, balancer, Wait::Healthy);
        }
    }
    if let Some(stop) = turn.stop {
        let step = steps::drain(place.balancer, place.on, member.clone(), how);
        let drain = graph.add_beside(step, stop);
        let before = graph.edges(stop).clone();
        for (on, until) in before {
            if !matches!(graph.step(on).action, Action::Drain { .. }) {
                graph.after(drain, on, until);
            }
        }
        graph.after(stop, drain, Wait::Down);
    }
}
