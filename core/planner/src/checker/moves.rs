//! Roles that a plan moves: each arrival is made sure of, nothing is taken away before, and nobody is sent to a standby that
//! has not caught up.

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, PlanKind, Step, Wait};
use interlock_model::spec::Spec;

use super::Violation;
use super::gates::end;
use super::paths::Paths;

pub(super) fn check(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    if plan.kind.only_moves() || matches!(plan.kind, PlanKind::Evacuate | PlanKind::Restore) {
        arrivals(plan, paths, found);
    }
    match plan.kind {
        PlanKind::Evacuate => {
            one_by_one(plan, paths, found);
            nothing_goes_before(plan, paths, found);
            every_role_moves(spec, plan, paths, found);
        }
        PlanKind::Restore => {
            one_by_one(plan, paths, found);
            roles_come_last(plan, paths, found);
            catches_up_late(plan, paths, found);
            admitted_late(spec, plan, paths, found);
        }
        PlanKind::Shutdown
        | PlanKind::Startup
        | PlanKind::Restart
        | PlanKind::Reboot
        | PlanKind::Switchover
        | PlanKind::Failover
        | PlanKind::Failback => {}
    }
}

fn insecure(paths: &Paths<'_>, step: usize, expected: &str) -> Violation {
    Violation::RoleNotSecured {
        step: paths.steps[step].id.clone(),
        expected: expected.to_owned(),
    }
}

/// Is that node the side that the plan found active?
fn was_active(plan: &Plan, service: &ServiceName, node: &NodeName) -> bool {
    let assumption = plan.assumptions.get(service);
    assumption.is_some_and(|it| it.active == *node)
}

/// Each move is followed by the step that makes sure of it. Who becomes primary in a startup moves nothing.
fn arrivals(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    for (at, step) in plan.steps.iter().enumerate() {
        let (Action::Promote, Some(service), Some(node)) =
            (&step.action, &step.service, &step.node)
        else {
            continue;
        };
        let starts = plan.kind == PlanKind::Restore && was_active(plan, service, node);
        let verify = format!("verify-role:{service}@{node}");
        let follows = paths
            .id(&verify)
            .is_some_and(|verify| paths.awaits(verify, at, Wait::Healthy));
        if !starts && !follows {
            found.push(insecure(paths, at, &verify));
        }
    }
}

/// The steps that move a role.
fn moves(plan: &Plan) -> impl Iterator<Item = (usize, &ServiceName, &NodeName)> {
    let steps = plan.steps.iter().enumerate();
    steps.filter_map(|(at, step)| {
        let (service, node) = (step.service.as_ref()?, step.node.as_ref()?);
        let moves = step.action == Action::Promote && !was_active(plan, service, node);
        moves.then_some((at, service, node))
    })
}

/// No role moves before another one has arrived.
fn one_by_one(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    let arrival = |service: &ServiceName, node: &NodeName| {
        let id = format!("verify-role:{service}@{node}");
        paths.id(&id).map(|at| (at, id))
    };
    for (one, service, node) in moves(plan) {
        let Some((arrived, id)) = arrival(service, node) else {
            continue;
        };
        for (other, service, node) in moves(plan).filter(|(other, ..)| *other > one) {
            let before = arrival(service, node)
                .is_some_and(|(arrived, _)| paths.awaits(one, arrived, Wait::Healthy));
            if !before && !paths.awaits(other, arrived, Wait::Healthy) {
                found.push(insecure(paths, other, &id));
            }
        }
    }
}

/// Does the plan start the instance that a step is about?
fn starts(paths: &Paths<'_>, step: &Step) -> bool {
    let (Some(service), Some(node)) = (&step.service, &step.node) else {
        return false;
    };
    let ids = ["start", "verify"].map(|word| format!("{word}:{service}@{node}"));
    ids.iter().any(|id| paths.id(id).is_some())
}

/// A role goes back only when all else is through.
fn roles_come_last(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    for (at, service, node) in moves(plan) {
        let ready = format!("catch-up:{service}@{node}");
        let waits = paths
            .id(&ready)
            .is_some_and(|ready| paths.awaits(at, ready, Wait::Healthy));
        if !waits {
            found.push(insecure(paths, at, &ready));
        }
        for (other, step) in plan.steps.iter().enumerate() {
            let is_else = match step.action {
                Action::VerifyRole { .. } | Action::Approve { .. } => false,
                // What runs already catches up with its own role.
                Action::CatchUp => starts(paths, step),
                _ => !moves(plan).any(|(it, ..)| it == other),
            };
            if is_else && !paths.awaits(at, other, end(&step.action)) {
                found.push(insecure(paths, at, step.id.as_str()));
            }
        }
    }
}

/// Nothing begins before the checks of the whole cluster were looked at, and nothing is drained, stopped or switched off
/// before every role has arrived.
fn nothing_goes_before(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    match paths.id("check:evacuate") {
        Some(gate) => {
            let beyond = paths.beyond(gate, Wait::Healthy);
            let early = (0..plan.steps.len()).filter(|it| *it != gate && !beyond.contains(*it));
            found.extend(early.map(|it| insecure(paths, it, "check:evacuate")));
        }
        None if plan.steps.is_empty() => {}
        None => found.push(insecure(paths, 0, "check:evacuate")),
    }
    let arrivals = plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| matches!(step.action, Action::VerifyRole { .. }));
    for (arrival, step) in arrivals {
        let beyond = paths.beyond(arrival, Wait::Healthy);
        let early = (0..plan.steps.len()).filter(|later| {
            let action = &plan.steps[*later].action;
            let takes = matches!(
                action,
                Action::Stop | Action::PowerOff { .. } | Action::Drain { .. }
            );
            takes && !beyond.contains(*later)
        });
        found.extend(early.map(|later| insecure(paths, later, step.id.as_str())));
    }
}

/// What stops as a primary is one no more by then: its role goes to a node that stays.
fn every_role_moves(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    for service in spec.services.values().filter(|it| it.is_leased()) {
        let stop = |node: &NodeName| {
            let id = format!("stop:{}@{node}", service.name);
            paths.id(&id)
        };
        let primary = service
            .nodes
            .iter()
            .find(|node| was_active(plan, &service.name, node));
        let Some(stopped) = primary.and_then(stop) else {
            continue;
        };
        let moves = service.nodes.iter().any(|node| {
            let promote = paths.id(&format!("promote:{}@{node}", service.name));
            promote.is_some() && Some(node) != primary && stop(node).is_none()
        });
        if !moves {
            let expected = format!("a promotion of {} elsewhere", service.name);
            found.push(insecure(paths, stopped, &expected));
        }
    }
}

/// A standby catches up once it is started.
fn catches_up_late(plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    for (at, step) in plan.steps.iter().enumerate() {
        let (Action::CatchUp, Some(service), Some(node)) =
            (&step.action, &step.service, &step.node)
        else {
            continue;
        };
        let starts = ["start", "verify"].map(|word| format!("{word}:{service}@{node}"));
        for start in starts {
            let early = paths
                .id(&start)
                .is_some_and(|start| !paths.awaits(at, start, Wait::Up));
            if early {
                found.push(insecure(paths, at, &start));
            }
        }
    }
}

/// A standby that is started gets no clients of a load balancer before it has caught up.
fn admitted_late(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    for (at, step) in plan.steps.iter().enumerate() {
        let Action::Admit { member } = &step.action else {
            continue;
        };
        let service = spec.services.get(&member.service);
        let starts = plan.steps.iter().any(|step| {
            matches!(step.action, Action::Start | Action::Verify)
                && step.service.as_ref() == Some(&member.service)
                && step.node.as_ref() == Some(&member.node)
        });
        let is_standby = service.is_some_and(|service| service.is_leased())
            && plan.assumptions.contains_key(&member.service)
            && !was_active(plan, &member.service, &member.node);
        let id = format!("catch-up:{}@{}", member.service, member.node);
        let waits = paths
            .id(&id)
            .is_some_and(|ready| paths.awaits(at, ready, Wait::Healthy));
        if starts && is_standby && !waits {
            found.push(insecure(paths, at, &id));
        }
    }
}
