//! Evacuate: a VM host is emptied while service goes on elsewhere.
//!
//! ```text
//! check:evacuate ──► promote ──► verify-role ──► promote ──► … ──► drains, stops, power-offs as a shutdown has them
//! ```
//!
//! One role after the other is moved away, those that depend on others first, as they would stop. Nothing is drained or
//! stopped before the last of them has arrived: whatever goes wrong until then has taken nothing down.
//!
//! Nothing begins while something is not known, or not as it should be, anywhere in the cluster: every node is heard or known
//! to be off, every check of what runs is green, every leased service has a primary, and its standbys that stay have what it
//! has. The checks are asked once more in the first step. A check that stands in the way for no good reason is forced by name.
//!
//! Service goes on, or there is no plan: what has nothing left elsewhere may go only if nobody elsewhere requires it.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::plan::{Gate, Wait};
use interlock_model::spec::Service;

use crate::activity::warn_of_those_without;
use crate::draft::Draft;
use crate::graph::Handle;
use crate::input::Scope;
use crate::report::{PreVerdict, Subject};
use crate::roles::Primary;
use crate::select::Selection;
use crate::shutdown;
use crate::steps;
use crate::world::{Machine, Presence};

/// How long the checks of the whole cluster may take to be green once more.
const GATE: Duration = Duration::from_secs(120);

pub(crate) fn build(draft: &mut Draft<'_>, selection: Selection) {
    if !is_about_a_host(draft) {
        return;
    }
    let leaving = selection.nodes.clone();
    let gates = health(draft, &leaving);
    choose_targets(draft, &selection, &leaving);
    if draft.report.refuses() {
        return;
    }
    shutdown::build(draft, selection);
    let stops = 0..draft.graph.len();
    let moved = std::mem::take(&mut draft.moved);
    if stops.is_empty() && moved.is_empty() {
        return;
    }
    let mut gate = steps::meeting("evacuate", GATE);
    gate.gates = gates;
    let mut last = draft.graph.add(gate);
    let mut first: Option<Handle> = None;
    for service in draft.by_rank(moved.keys()).into_iter().rev() {
        warn_of_those_without(draft, &service.name, |_| false);
        let made = draft.move_role(service, &moved[&service.name]);
        first.get_or_insert(made.promote);
        draft.graph.after(made.promote, last, Wait::Healthy);
        last = made.verify;
    }
    for step in stops {
        if draft.graph.edges(step).is_empty() {
            draft.graph.after(step, last, Wait::Healthy);
        }
    }
    if let Some(first) = first {
        draft.tell_no_return(first);
    }
}

/// An evacuation is about a VM host, and nothing else.
pub(crate) fn is_about_a_host(draft: &mut Draft<'_>) -> bool {
    let is_host = matches!(draft.request.scope, Scope::Host(_));
    if !is_host {
        let by = format!(
            "{} is about a VM host, and not about {}",
            draft.request.kind, draft.request.scope
        );
        draft
            .report
            .blocked(Subject::cluster(), by, "name one with --host");
    }
    is_host
}

/// Where the role of each leased service goes that is on a node of the host.
fn choose_targets(draft: &mut Draft<'_>, selection: &Selection, leaving: &BTreeSet<NodeName>) {
    for service in draft.by_rank(selection.instances.keys()) {
        let Primary::Is(from) = draft.primary(service) else {
            continue;
        };
        if !service.is_leased() || !leaving.contains(&from) {
            continue;
        }
        let mut unable = Vec::new();
        let mut to = None;
        for node in service.nodes.iter().filter(|node| !leaving.contains(*node)) {
            let why = draft.unfit(service, node);
            match why.or_else(|| draft.lacks(service, node, false)) {
                None => {
                    to = Some(node.clone());
                    break;
                }
                Some(why) => unable.push(format!("{node}: {why}")),
            }
        }
        // What is seen to be so when a step begins is what the plan was made for.
        draft.active_side(service);
        match to {
            Some(to) => {
                draft.moved.insert(service.name.clone(), to);
            }
            None => {
                let why = match unable.as_slice() {
                    [] => "all of its nodes are on the host".to_owned(),
                    _ => unable.join("; "),
                };
                let by = format!("its role is on {from}, and no other node can take it: {why}");
                let remedy = "repair that first";
                draft
                    .report
                    .blocked(Subject::service(&service.name), by, remedy);
            }
        }
    }
}

/// May a service go of which nothing is left elsewhere?
pub(crate) fn may_go(draft: &mut Draft<'_>, service: &Service, active: Option<&NodeName>) {
    let subject = || Subject::service(&service.name);
    let scope = draft.request.scope.clone();
    let stays = |draft: &Draft<'_>, of: &Service, node: &NodeName| {
        let goes = draft
            .spec
            .nodes
            .get(node)
            .is_some_and(|it| scope.switches(it));
        !goes && draft.world.standing(&of.name, node) != Presence::Down
    };
    let left: Vec<&str> = service
        .nodes
        .iter()
        .filter(|node| stays(draft, service, node))
        .map(NodeName::as_str)
        .collect();
    if let (false, Some(active)) = (left.is_empty(), active) {
        let by = format!(
            "its active side is on {active}, and nothing here moves it to {}: its spec has no `failover`",
            left.join(", ")
        );
        draft.report.blocked(subject(), by, "move it by hand first");
        return;
    }
    let needed = draft.spec.services.values().find_map(|other| {
        let edge = other.dependencies.get(&service.name)?;
        let node = other.nodes.iter().find(|node| stays(draft, other, node))?;
        edge.needed.then(|| format!("{} on {node}", other.name))
    });
    match needed {
        Some(other) => draft.report.blocked(
            subject(),
            format!("nothing of it is left elsewhere, and {other} requires it"),
            format!("`interlockctl shutdown {scope}` stops it with all that requires it"),
        ),
        None => draft.report.warn(
            subject(),
            "nothing of it is left elsewhere; nobody elsewhere requires it",
        ),
    }
}

/// Is everything known, and as it should be? Returns the checks that are asked once more in the first step.
fn health(draft: &mut Draft<'_>, leaving: &BTreeSet<NodeName>) -> Vec<Gate> {
    let before = draft.report.refusals().count();
    nodes_are_known(draft);
    let mut gates = Vec::new();
    for service in draft.by_rank(draft.spec.services.keys()) {
        if !service.external {
            gates.extend(of_service(draft, service, leaving));
        }
    }
    gates.sort();
    gates.dedup();
    let (verdict, why) = match draft.report.refusals().count() - before {
        0 => (
            PreVerdict::Pass,
            format!("every node is known, and {} checks are green", gates.len()),
        ),
        found => (
            PreVerdict::Fail,
            format!("{found} things are unknown, or not as they should be"),
        ),
    };
    draft.pre_check(Subject::cluster(), "cluster", verdict, why);
    gates
}

fn nodes_are_known(draft: &mut Draft<'_>) {
    for node in draft.spec.nodes.values() {
        let why = match (draft.world.machine(&node.name), &node.agentless) {
            (Machine::Off, _) | (Machine::On, Some(_)) => continue,
            (Machine::Unknown(why), _) => why,
            (Machine::On, None) => match draft.world.liveness(&node.name) {
                None | Some(Liveness::Alive) => continue,
                Some(liveness) => format!("its agent is {liveness}"),
            },
        };
        let remedy = "repair its agent, or let its power source say that the machine is off";
        draft.report.unknown(Subject::node(&node.name), why, remedy);
    }
}

fn of_service(draft: &mut Draft<'_>, service: &Service, leaving: &BTreeSet<NodeName>) -> Vec<Gate> {
    let mut up = Vec::new();
    for node in &service.nodes {
        let subject = Subject::instance(&service.name, node);
        match draft.world.instance(&service.name, node) {
            Presence::Up => up.push(node.clone()),
            Presence::Unknown(why) => {
                let remedy = draft.world.remedy(node);
                draft.report.unknown(subject, why, remedy);
            }
            Presence::Down if draft.world.may_come_up(&service.name, node) => {
                let remedy = "start it, or stop it by an operation";
                draft
                    .report
                    .blocked(subject, "it is down, and should run", remedy);
            }
            Presence::Down => {}
        }
    }
    if up.is_empty() {
        return Vec::new();
    }
    if service.is_leased() {
        has_its_standbys(draft, service, &up, leaving);
    }
    let active = draft.side_of(service);
    let mut gates = Vec::new();
    for node in &up {
        let mut asked = draft.own_checks(service, node, active.as_ref(), &BTreeSet::new());
        asked.extend(draft.consumer_checks(service, node));
        draft.must_be_green(&Subject::instance(&service.name, node), &asked);
        gates.extend(asked);
    }
    gates
}

/// A leased service has a primary, and its standbys that stay have what that one has.
fn has_its_standbys(
    draft: &mut Draft<'_>,
    service: &Service,
    up: &[NodeName],
    leaving: &BTreeSet<NodeName>,
) {
    let subject = Subject::service(&service.name);
    let primary = match draft.primary(service) {
        Primary::Is(node) => node,
        Primary::Nobody => {
            let remedy = "`interlockctl why` and `status` say why";
            draft.report.blocked(subject, "it has no primary", remedy);
            return;
        }
        Primary::Unknown(why) => {
            draft.report.unknown(subject, why, "repair its agent");
            return;
        }
    };
    // That of a role which moves is looked at when its target is chosen.
    let stay = up.iter().filter(|node| !leaving.contains(*node));
    for node in stay.filter(|node| **node != primary && !leaving.contains(&primary)) {
        if let Some(why) = draft.lacks(service, node, false) {
            let remedy = "wait until it has what its primary has";
            draft
                .report
                .blocked(Subject::instance(&service.name, node), why, remedy);
        }
    }
}
