//! A plan must be a plan: a listed graph of well-formed steps about things that the spec has.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::Action;
use interlock_model::member::Member;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, PlanKind, Step, StepId, Wait};
use interlock_model::spec::{Boot, Service, Spec};

use super::{Violation, members};

pub(super) fn check(spec: &Spec, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut listed: BTreeMap<&StepId, &Action> = BTreeMap::new();
    let mut stopped: BTreeSet<(&Option<ServiceName>, &Option<NodeName>)> = BTreeSet::new();
    let mut drained = BTreeSet::new();
    let mut changed = BTreeSet::new();
    let stops = plan.steps.iter().filter(|it| it.action == Action::Stop);
    let going: BTreeSet<(&ServiceName, &NodeName)> = stops
        .filter_map(|it| it.service.as_ref().zip(it.node.as_ref()))
        .collect();
    for step in &plan.steps {
        let id = || step.id.clone();
        for after in &step.after {
            let (on, until) = (after.step.clone(), after.until);
            match listed.get(&after.step) {
                None => found.push(Violation::NotListedBefore { step: id(), on }),
                Some(action) if !reaches(action, until) => {
                    found.push(Violation::ImpossibleWait {
                        step: id(),
                        on,
                        until,
                    });
                }
                Some(_) => {}
            }
        }
        if listed.insert(&step.id, &step.action).is_some() {
            found.push(Violation::DuplicateId { step: id() });
        }
        if let Some(expected) = expected_id(step).filter(|expected| *expected != step.id.as_str()) {
            found.push(Violation::WrongId {
                step: id(),
                expected,
            });
        }
        if step.timeout.is_zero() {
            found.push(Violation::NoTimeLimit { step: id() });
        }
        if !is_in_spec(spec, plan.kind, step) {
            found.push(Violation::NotInSpec { step: id() });
        }
        if !has_a_place(spec, plan.kind, step) {
            found.push(Violation::WrongAction { step: id() });
        }
        let instance = (&step.service, &step.node);
        if step.action == Action::Stop {
            stopped.insert(instance);
        }
        if let Action::WriteFile { .. } = &step.action {
            changed.insert(instance);
        }
        if let Action::Drain { member, .. } = &step.action {
            drained.insert((instance, member));
        }
        // What runs again runs as before: its stop is what would be taken back.
        // But not where a file is changed on the way: all of that is taken back in reverse.
        let runs_again = matches!(step.action, Action::Start | Action::Verify)
            && stopped.contains(&instance)
            && !changed.contains(&instance);
        let expected = match &step.action {
            Action::Admit { member }
                if drained.contains(&(instance, member)) && !is_changed(&changed, member) =>
            {
                None
            }
            Action::Admit { .. } => members::opposite(spec, step),
            // Who is left out because it is not there.
            Action::Drain { member, .. } if !going.contains(&(&member.service, &member.node)) => {
                None
            }
            action => opposite(action).filter(|_| !runs_again),
        };
        if step.undo.as_ref().map(|undo| &*undo.0) != expected.as_ref() {
            found.push(Violation::WrongUndo { step: id() });
        }
        if !is_switched_rightly(spec, step) {
            found.push(Violation::WrongPower { step: id() });
        }
    }
    found
}

/// Is a file of the member's instance changed?
fn is_changed(
    changed: &BTreeSet<(&Option<ServiceName>, &Option<NodeName>)>,
    member: &Member,
) -> bool {
    changed.iter().any(|(service, node)| {
        service.as_ref() == Some(&member.service) && node.as_ref() == Some(&member.node)
    })
}

fn reaches(action: &Action, until: Wait) -> bool {
    match action {
        Action::Stop | Action::PowerOff { .. } | Action::Drain { .. } => {
            matches!(until, Wait::Issued | Wait::GoingDown | Wait::Down)
        }
        Action::Start | Action::Verify | Action::Promote => {
            matches!(until, Wait::Issued | Wait::Up | Wait::Healthy)
        }
        Action::PowerOn { .. }
        | Action::Reboot
        | Action::Admit { .. }
        | Action::TryFile { .. }
        | Action::WriteFile { .. }
        | Action::RestoreFile { .. }
        | Action::Approve { .. } => matches!(until, Wait::Issued | Wait::Up),
        Action::Check | Action::VerifyRole { .. } | Action::CatchUp => until == Wait::Healthy,
    }
}

/// Steps of people and joins are named for what they are about; all others for what they do and where.
fn expected_id(step: &Step) -> Option<String> {
    let word = step.action.word();
    if let (Some(member), Some(balancer), Some(on)) =
        (step.action.member(), &step.service, &step.node)
    {
        let (service, node) = (&member.service, &member.node);
        return Some(format!("{word}:{service}@{node}:{balancer}@{on}"));
    }
    match (&step.service, &step.node) {
        _ if matches!(step.action, Action::Approve { .. }) => None,
        (Some(service), Some(node)) => Some(format!("{word}:{service}@{node}")),
        (None, Some(node)) => Some(format!("{word}:{node}")),
        (_, None) => None,
    }
}

fn is_in_spec(spec: &Spec, kind: PlanKind, step: &Step) -> bool {
    let service = match &step.service {
        Some(name) => match spec.services.get(name) {
            Some(service) if !service.external => Some(service),
            _ => return false,
        },
        None => None,
    };
    match (&step.action, service, &step.node) {
        (Action::Start | Action::Stop | Action::Verify, Some(service), Some(node)) => {
            service.nodes.contains(node)
        }
        (
            Action::TryFile { file, .. } | Action::WriteFile { file, .. },
            Some(service),
            Some(node),
        ) => service.nodes.contains(node) && service.files.contains_key(file),
        (Action::Promote | Action::CatchUp, Some(service), Some(node)) => {
            service.is_leased() && service.nodes.contains(node)
        }
        (Action::VerifyRole { addresses, from }, Some(service), Some(node)) => {
            let declared = service.addresses().map(|it| it.ip.to_string());
            let is_outside = |on: &NodeName| {
                let on = spec.nodes.get(on);
                on.is_some_and(|on| on.agentless.is_none() && !service.nodes.contains(&on.name))
            };
            service.is_leased()
                && service.nodes.contains(node)
                && *addresses == declared.collect::<BTreeSet<String>>()
                && from.iter().all(is_outside)
        }
        (Action::Drain { .. } | Action::Admit { .. }, Some(balancer), Some(node)) => {
            balancer.nodes.contains(node) && is_member(spec, balancer, &step.action)
        }
        (Action::Check, Some(service), node) => node
            .as_ref()
            .is_none_or(|node| service.nodes.contains(node)),
        (Action::PowerOn { .. } | Action::PowerOff { .. } | Action::Reboot, None, Some(node)) => {
            spec.nodes.contains_key(node)
        }
        // Where machines meet that have no service: it looks at nothing.
        (Action::Check, None, None) if kind == PlanKind::Evacuate => step.healthy.is_empty(),
        (Action::Check, None, None) => step.healthy.is_empty() && step.gates.is_empty(),
        // What a person does by hand is held like what an agent does.
        (Action::Approve { .. }, Some(service), Some(node)) => service.nodes.contains(node),
        (Action::Approve { .. }, None, Some(node)) => spec.nodes.contains_key(node),
        (Action::Approve { .. }, None, None) => true,
        _ => false,
    }
}

/// Does the step switch the member as the spec says, and for as long?
fn is_member(spec: &Spec, balancer: &Service, action: &Action) -> bool {
    let Some(member) = action.member() else {
        return false;
    };
    let by_spec = members::declared(spec, balancer, member);
    by_spec.is_some_and(|(drain, admit)| *action == drain || *action == admit)
}

fn has_a_place(spec: &Spec, kind: PlanKind, step: &Step) -> bool {
    let autostart = step
        .service
        .as_ref()
        .and_then(|name| spec.services.get(name))
        .is_some_and(|s| s.boot == Boot::Autostart);
    let agentless = step
        .node
        .as_ref()
        .and_then(|name| spec.nodes.get(name))
        .is_some_and(|node| node.agentless.is_some());
    match step.action {
        Action::Start => match kind {
            kind if kind.only_moves() || kind.goes_down() => false,
            PlanKind::Restart => !agentless,
            _ => !autostart && !agentless,
        },
        Action::Verify => (kind.comes_up() || kind == PlanKind::Reboot) && autostart && !agentless,
        Action::Promote => kind != PlanKind::Shutdown && !agentless,
        Action::VerifyRole { .. } => {
            !agentless
                && (kind.only_moves() || matches!(kind, PlanKind::Evacuate | PlanKind::Restore))
        }
        Action::CatchUp => kind == PlanKind::Restore && !agentless,
        Action::Stop => !kind.comes_up() && !kind.only_moves() && !agentless,
        Action::PowerOn { .. } => kind.comes_up(),
        Action::PowerOff { .. } => kind.goes_down(),
        Action::Reboot => kind == PlanKind::Reboot && !agentless,
        // In a plan that only starts, of who is not there.
        Action::Drain { .. } => !agentless,
        Action::Admit { .. } => !kind.goes_down() && !agentless,
        Action::TryFile { .. } | Action::WriteFile { .. } => {
            kind == PlanKind::Restart && !agentless
        }
        // Only ever an undo.
        Action::RestoreFile { .. } => false,
        Action::Check | Action::Approve { .. } => true,
    }
}

fn opposite(action: &Action) -> Option<Action> {
    match action {
        Action::Start | Action::Verify => Some(Action::Stop),
        Action::Stop => Some(Action::Start),
        Action::PowerOn { power } => Some(Action::PowerOff {
            power: power.clone(),
        }),
        Action::PowerOff { power } => Some(Action::PowerOn {
            power: power.clone(),
        }),
        Action::Drain { member, .. } => Some(Action::Admit {
            member: member.clone(),
        }),
        Action::WriteFile { file, .. } => Some(Action::RestoreFile { file: file.clone() }),
        Action::Promote
        | Action::VerifyRole { .. }
        | Action::CatchUp
        | Action::Reboot
        | Action::TryFile { .. }
        | Action::RestoreFile { .. }
        | Action::Admit { .. }
        | Action::Check
        | Action::Approve { .. } => None,
    }
}

fn is_switched_rightly(spec: &Spec, step: &Step) -> bool {
    let (Action::PowerOn { power } | Action::PowerOff { power }) = &step.action else {
        return true;
    };
    let declared = step
        .node
        .as_ref()
        .and_then(|name| spec.nodes.get(name))
        .and_then(|node| node.power.as_ref());
    let Some(declared) = declared else {
        return false;
    };
    let Some(device) = spec.power.get(&declared.by) else {
        return false;
    };
    power.device == declared.by
        && power.plug == declared.plug
        && power.shutdown == declared.shutdown
        && power.via == device.via
}
