//! Leased services: who is primary, and the steps that make one so. How a role is moved: `moves`.
//!
//! The instances of a leased service start as standbys. One of them becomes primary in a step of its own, `promote`, that
//! follows its start: nobody can be told to be primary, the step waits until its lease is held. Whoever needs the service
//! waits for that step and its checks; they speak of the primary, and are asked of no standby.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::NodeName;
use interlock_model::observation::{Fitness, Liveness, Side};
use interlock_model::plan::{Gate, PlanKind, Wait};
use interlock_model::spec::Service;

use crate::activity::warn_of_those_without;
use crate::draft::Draft;
use crate::graph::Handle;
use crate::report::{Entry, PreVerdict, Subject};
use crate::select::Selection;
use crate::startup::Made;
use crate::steps;
use crate::world::Presence;

/// Who is primary of a leased service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Primary {
    /// This node.
    Is(NodeName),
    /// Nobody.
    Nobody,
    /// It cannot be told, and why.
    Unknown(String),
}

impl Draft<'_> {
    /// Who says to be primary of a leased service. What is down says nothing.
    pub(crate) fn primary(&self, service: &Service) -> Primary {
        let mut found = Primary::Nobody;
        let attested = |node: &&NodeName| self.request.attested.contains(*node);
        for node in service.nodes.iter().filter(|node| !attested(node)) {
            match self.world.instance(&service.name, node) {
                Presence::Down => continue,
                Presence::Unknown(why) => return Primary::Unknown(format!("{node}: {why}")),
                Presence::Up => {}
            }
            match (self.world.side(&service.name, node), &found) {
                (Side::Standby, _) => {}
                (Side::Changing, _) => {
                    return Primary::Unknown(format!("{node} is changing its side"));
                }
                (Side::Unknown, _) => {
                    return Primary::Unknown(format!("{node} does not say which side it is"));
                }
                (Side::Primary, Primary::Is(other)) => {
                    return Primary::Unknown(format!("{other} and {node} both say to be primary"));
                }
                (Side::Primary, _) => found = Primary::Is(node.clone()),
            }
        }
        found
    }

    /// The step after which an instance that is started, or runs as a standby, is the primary.
    pub(crate) fn promotion(
        &mut self,
        service: &Service,
        node: &NodeName,
        start: Option<Handle>,
        healthy: Vec<Gate>,
    ) -> Handle {
        let mut step = steps::promote(service, node);
        step.healthy = healthy;
        let promote = self.graph.add(step);
        if let Some(start) = start {
            self.graph.after(promote, start, Wait::Up);
        }
        promote
    }
}

/// Of a startup: the leased services in the scope that have no primary, and whose next one runs already.
pub(crate) fn promote_those_that_run(
    draft: &mut Draft<'_>,
    selection: &Selection,
    made: &mut Made,
) {
    for service in draft.by_rank(selection.instances.keys()) {
        let name = &service.name;
        if !service.is_leased()
            || made.promotions.contains_key(name)
            || draft.primary(service) != Primary::Nobody
        {
            continue;
        }
        let Some(node) = draft.active_side(service) else {
            continue;
        };
        let starts = made.starts.get(name).map(Vec::as_slice);
        let is_started = starts.is_some_and(|starts| starts.iter().any(|(it, _)| *it == node));
        if !is_started && draft.world.instance(name, &node) == Presence::Up {
            let healthy = draft.own_checks(service, &node, Some(&node), &BTreeSet::new());
            let promote = draft.promotion(service, &node, None, healthy);
            made.promotions.insert(name.clone(), (node, promote));
        }
    }
}

/// Builds a switchover, a failover or a failback: the move of the role of each service in the scope.
pub(crate) fn switchover(draft: &mut Draft<'_>, selection: &Selection) {
    let mut moves = BTreeMap::new();
    for service in draft.by_rank(selection.instances.keys()) {
        let subject = Subject::service(&service.name);
        if !service.is_leased() {
            draft.report.blocked(
                subject,
                "its spec has no `failover`, so nothing here moves its role",
                "give it a lease, or move it by hand",
            );
            continue;
        }
        let from = match draft.primary(service) {
            Primary::Is(node) => {
                let text = format!("it is {node}");
                draft.pre_check(subject.clone(), "primary", PreVerdict::Pass, text);
                Some(node)
            }
            Primary::Nobody => {
                let text = "nobody says to be it";
                draft.pre_check(subject.clone(), "primary", PreVerdict::Pass, text);
                None
            }
            Primary::Unknown(why) => {
                draft.pre_check(subject.clone(), "primary", PreVerdict::Unknown, &*why);
                let remedy = match draft.request.kind {
                    PlanKind::Failover => {
                        "repair its agent; or say with --attest-down NODE that its machine is down, when you have made sure"
                    }
                    _ => "repair its agent; a machine that is down for good calls for a failover",
                };
                let text = format!("which side is primary: {why}");
                draft.report.unknown(subject, text, remedy);
                continue;
            }
        };
        if draft.request.kind == PlanKind::Failover && !attest(draft, service, from.as_ref()) {
            continue;
        }
        let to = match draft.request.kind {
            PlanKind::Failback => preferred(draft, service, from.as_ref()),
            _ => target(draft, service, from.as_ref()),
        };
        let is_failover = draft.request.kind == PlanKind::Failover;
        if let Some(to) = to
            && (!is_failover || draft.may_lose(service, &to))
        {
            moves.insert(service.name.clone(), (from, to));
        }
    }
    for (name, (from, to)) in moves {
        let Some(service) = draft.service(&name) else {
            continue;
        };
        if from.is_some() {
            // What is seen to be so when the step begins is what the plan was made for.
            draft.active_side(service);
            warn_of_those_without(draft, &name, |_| false);
        }
        // A failback was judged by it, and a failover goes by a record that says more.
        if draft.request.kind == PlanKind::Switchover {
            draft.lacks(service, &to, true);
        }
        let made = draft.move_role(service, &to);
        draft.tell_no_return(made.promote);
    }
}

/// Where a failback goes: to the first of the service's nodes, if that could take the role now.
fn preferred(
    draft: &mut Draft<'_>,
    service: &Service,
    from: Option<&NodeName>,
) -> Option<NodeName> {
    let subject = || Subject::service(&service.name);
    let to = service.nodes.first()?.clone();
    if from == Some(&to) {
        let by = format!("its role is on {to} already, the first of its nodes in the spec");
        let remedy = "there is nothing to move back";
        draft.report.blocked(subject(), by, remedy);
        return None;
    }
    let unfit = draft.unfit(service, &to);
    match unfit.or_else(|| draft.lacks(service, &to, false)) {
        None => Some(to),
        Some(why) => {
            let by =
                format!("{to}, the first of its nodes in the spec, cannot take its role: {why}");
            draft.report.blocked(subject(), by, "repair that first");
            None
        }
    }
}

/// Does a person's word make room for a failover? What its own agent contradicts it does not.
fn attest(draft: &mut Draft<'_>, service: &Service, primary: Option<&NodeName>) -> bool {
    let subject = || Subject::service(&service.name);
    if let Some(primary) = primary {
        draft.report.blocked(
            subject(),
            format!("{primary} is its primary, and its agent is heard"),
            "move the role with `interlockctl switchover`",
        );
        return false;
    }
    let attested: Vec<NodeName> = draft.request.attested.iter().cloned().collect();
    // Where nobody is primary because nobody has all that was written, no machine has to be down.
    if attested.is_empty() && !draft.request.accept_loss {
        draft.report.blocked(
            subject(),
            "nobody has said which machine is down",
            "say it with --attest-down NODE when you have made sure",
        );
        return false;
    }
    for node in attested {
        if !service.nodes.contains(&node) {
            let by = format!("{node} is none of its nodes");
            draft
                .report
                .blocked(subject(), by, "name the node of its primary");
            return false;
        }
        if matches!(
            draft.world.liveness(&node),
            Some(Liveness::Alive | Liveness::Late)
        ) {
            let by = format!("the agent of {node} is heard, so its machine is not down");
            // Nobody is primary here.
            let remedy = "leave --attest-down out: who lacks nothing takes the role by `interlockctl switchover`, \
                          who lacks writes by a failover with --accept-loss";
            draft.report.blocked(subject(), by, remedy);
            return false;
        }
    }
    true
}

/// Where the role goes: where the operator says, or to the only standby that could take it.
fn target(draft: &mut Draft<'_>, service: &Service, from: Option<&NodeName>) -> Option<NodeName> {
    let subject = || Subject::service(&service.name);
    let mut able = Vec::new();
    let mut unable = Vec::new();
    let attested = draft.request.attested.clone();
    let others = service.nodes.iter().filter(|node| Some(*node) != from);
    for node in others.filter(|node| !attested.contains(*node)) {
        match draft.unfit(service, node) {
            None => able.push(node.clone()),
            Some(why) => unable.push((node.clone(), why)),
        }
    }
    // Who loses nothing is taken before who does.
    let loses = |node: &NodeName| {
        let fitness = draft.world.fitness(&service.name, node);
        draft.request.kind == PlanKind::Failover && matches!(fitness, Fitness::Lacks(..))
    };
    if draft.request.to.is_none() && !able.iter().all(loses) {
        able.retain(|node| !loses(node));
    }
    if let Some(to) = draft.request.to.clone() {
        if Some(&to) == from {
            draft.report.add(Entry::AlreadyDone {
                subject: Subject::instance(&service.name, &to),
                state: "primary".into(),
            });
            return None;
        }
        if able.contains(&to) {
            return Some(to);
        }
        let why = unable.into_iter().find(|(node, _)| *node == to);
        let (by, remedy) = match why {
            Some((_, why)) => (
                format!("{to} cannot take its role: {why}"),
                "repair that first",
            ),
            None => (
                format!("{to} is none of its nodes"),
                "name one of its nodes with --to",
            ),
        };
        draft.report.blocked(subject(), by, remedy);
        return None;
    }
    match able.as_slice() {
        [one] => Some(one.clone()),
        [] => {
            let why: Vec<String> = unable
                .into_iter()
                .map(|(node, why)| format!("{node}: {why}"))
                .collect();
            let by = format!("no node can take its role: {}", why.join("; "));
            draft.report.blocked(subject(), by, "repair that first");
            None
        }
        several => {
            let names: Vec<&str> = several.iter().map(NodeName::as_str).collect();
            let by = format!("several nodes could take its role: {}", names.join(", "));
            draft
                .report
                .blocked(subject(), by, "say which one with --to NODE");
            None
        }
    }
}
