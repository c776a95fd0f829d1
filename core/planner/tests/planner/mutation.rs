//! The checker catches plans that were tampered with.

use interlock_model::action::Action;
use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::plan::{Plan, PlanKind, Step, Undo, Wait};
use interlock_planner::checker;
use proptest::prelude::*;

use crate::properties::{ask_all, cluster, shapes};
use crate::support::{Cluster, Seen, ask, large_v2, nodes, precedes, services};
use interlock_planner::checker::Violation;

fn objections(cluster: &Cluster, plan: &Plan) -> Vec<Violation> {
    checker::check(&cluster.0, plan, None)
}

fn startup(cluster: &Cluster) -> Plan {
    ask_all(cluster, PlanKind::Startup).plan()
}

fn shutdown(cluster: &Cluster) -> Plan {
    ask_all(cluster, PlanKind::Shutdown).plan()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_dropped_edge_is_caught_unless_the_rest_implies_it(shapes in shapes(false), pick in any::<prop::sample::Index>()) {
        let cluster = cluster(&shapes);
        for plan in [shutdown(&cluster), startup(&cluster)] {
            let edges: Vec<(usize, usize)> = plan.steps.iter().enumerate()
                .flat_map(|(step, value)| (0..value.after.len()).map(move |edge| (step, edge))).collect();
            if edges.is_empty() {
                continue;
            }
            let (step, edge) = edges[pick.index(edges.len())];
            let mut bad = plan.clone();
            let dropped = bad.steps[step].after.remove(edge);
            let implied = precedes(&bad, dropped.step.as_str(), dropped.until, bad.steps[step].id.as_str());
            prop_assert!(implied || !objections(&cluster, &bad).is_empty(), "{} {dropped:?}", plan.steps[step].id);
        }
    }

    #[test]
    fn a_weakened_wait_is_caught_unless_the_rest_implies_it(shapes in shapes(false), pick in any::<prop::sample::Index>()) {
        let cluster = cluster(&shapes);
        for plan in [shutdown(&cluster), startup(&cluster)] {
            let strong: Vec<(usize, usize)> = plan.steps.iter().enumerate()
                .flat_map(|(step, value)| value.after.iter().enumerate().map(move |(edge, after)| (step, edge, after)))
                .filter(|(_, _, after)| after.until > Wait::Issued)
                .map(|(step, edge, _)| (step, edge)).collect();
            if strong.is_empty() {
                continue;
            }
            let (step, edge) = strong[pick.index(strong.len())];
            let mut bad = plan.clone();
            let was = bad.steps[step].after[edge].until;
            bad.steps[step].after[edge].until = Wait::Issued;
            let on = bad.steps[step].after[edge].step.clone();
            let implied = precedes(&bad, on.as_str(), was, bad.steps[step].id.as_str());
            prop_assert!(implied || !objections(&cluster, &bad).is_empty(), "{} {on}", plan.steps[step].id);
        }
    }

    #[test]
    fn swapped_steps_are_caught_where_the_first_is_waited_for(shapes in shapes(false)) {
        let cluster = cluster(&shapes);
        let plan = shutdown(&cluster);
        for (index, pair) in plan.steps.windows(2).enumerate() {
            if pair[1].after.iter().any(|after| after.step == pair[0].id) {
                let mut bad = plan.clone();
                bad.steps.swap(index, index + 1);
                prop_assert!(!objections(&cluster, &bad).is_empty());
            }
        }
    }
}

/// Every tampering that says in one line what it does, and one that must object.
#[test]
fn each_promise_is_checked() {
    type Tamper = fn(&mut Plan);
    type Objects = fn(&Violation) -> bool;
    let cases: [(&str, PlanKind, Tamper, Objects); 15] = [
        (
            "two steps of one name",
            PlanKind::Shutdown,
            |p| {
                let s = p.steps[0].clone();
                p.steps.push(s);
            },
            |v| matches!(v, Violation::DuplicateId { .. }),
        ),
        (
            "a step that says another name",
            PlanKind::Shutdown,
            |p| p.steps[0].service = Some("jb".parse().unwrap()),
            |v| matches!(v, Violation::WrongId { .. } | Violation::NotInSpec { .. }),
        ),
        (
            "no time limit",
            PlanKind::Shutdown,
            |p| p.steps[0].timeout = std::time::Duration::ZERO,
            |v| matches!(v, Violation::NoTimeLimit { .. }),
        ),
        (
            "no undo",
            PlanKind::Shutdown,
            |p| p.steps[0].undo = None,
            |v| matches!(v, Violation::WrongUndo { .. }),
        ),
        (
            "a start again that is taken back by a stop",
            PlanKind::Restart,
            stops_undo_starts,
            |v| matches!(v, Violation::WrongUndo { .. }),
        ),
        (
            "the same over a reboot",
            PlanKind::Reboot,
            stops_undo_starts,
            |v| matches!(v, Violation::WrongUndo { .. }),
        ),
        (
            "a wait that never comes",
            PlanKind::Shutdown,
            |p| edge(p, |until| *until = Wait::Healthy),
            |v| matches!(v, Violation::ImpossibleWait { .. }),
        ),
        (
            "another plug",
            PlanKind::Shutdown,
            |p| plug(p),
            |v| matches!(v, Violation::WrongPower { .. }),
        ),
        (
            "a start in a shutdown",
            PlanKind::Shutdown,
            |p| p.kind = PlanKind::Startup,
            |v| matches!(v, Violation::WrongAction { .. }),
        ),
        (
            "no active side",
            PlanKind::Shutdown,
            |p| p.assumptions.clear(),
            |v| matches!(v, Violation::NoActiveSide { .. }),
        ),
        (
            "the other side",
            PlanKind::Shutdown,
            |p| other_side(p, "lb", "lb1"),
            |v| matches!(v, Violation::OutOfOrder { .. }),
        ),
        (
            "no gates before",
            PlanKind::Startup,
            |p| p.steps.iter_mut().for_each(|s| s.gates.clear()),
            |v| matches!(v, Violation::MissingCheck { .. }),
        ),
        (
            "no checks after",
            PlanKind::Startup,
            |p| p.steps.iter_mut().for_each(|s| s.healthy.clear()),
            |v| matches!(v, Violation::MissingCheck { .. }),
        ),
        (
            "nobody called",
            PlanKind::Startup,
            |p| {
                p.steps.pop();
            },
            |v| matches!(v, Violation::MissingGate { .. }),
        ),
        (
            "somebody called before the standby was healthy",
            PlanKind::Startup,
            |p| p.steps.iter_mut().for_each(called_too_early),
            |v| matches!(v, Violation::MissingGate { .. }),
        ),
    ];
    let cluster = large_v2();
    for (what, kind, tamper, objects) in cases {
        let ask = ask(&cluster, kind, interlock_planner::Scope::All);
        let mut plan = ask.assuming("lb", "lb2").assuming("dbm", "dbm2").plan();
        assert_eq!(objections(&cluster, &plan), [], "before: {what}");
        tamper(&mut plan);
        let found = objections(&cluster, &plan);
        assert!(found.iter().any(objects), "{what}: {found:?}");
    }
}

fn edge(plan: &mut Plan, edit: impl Fn(&mut Wait)) {
    plan.steps
        .iter_mut()
        .flat_map(|step| &mut step.after)
        .take(1)
        .for_each(|after| edit(&mut after.until));
}

fn called_too_early(step: &mut Step) {
    if matches!(step.action, Action::Approve { .. }) {
        let last = |on: &str| on.starts_with("start:jb") || on.starts_with("start:tel");
        step.after.retain(|after| last(after.step.as_str()));
    }
}

fn stops_undo_starts(plan: &mut Plan) {
    let starts = plan
        .steps
        .iter_mut()
        .filter(|step| step.action == Action::Start);
    starts.for_each(|step| step.undo = Some(Undo(Box::new(Action::Stop))));
}

fn plug(plan: &mut Plan) {
    for step in &mut plan.steps {
        if let Action::PowerOff { power } = &mut step.action {
            power.plug = "another".into();
        }
    }
}

fn other_side(plan: &mut Plan, service: &str, node: &str) {
    plan.assumptions.get_mut(service).unwrap().active = node.parse().unwrap();
}

#[test]
fn a_control_plane_that_would_go_down_is_caught() {
    let mut cluster = large_v2();
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["jb"])).plan();
    assert_eq!(objections(&cluster, &plan), []);
    let plan = ask_all(&cluster, PlanKind::Shutdown).plan();
    cluster.0.control.coordinators.push("jb1".parse().unwrap());
    assert!(
        objections(&cluster, &plan)
            .iter()
            .any(|v| matches!(v, Violation::ControlPlane { .. }))
    );
    cluster.0.control.coordinators.clear();
    for device in cluster.0.power.values_mut() {
        device.via = vec!["jb1".parse().unwrap()];
    }
    let mut plan = plan;
    for step in &mut plan.steps {
        if let Action::PowerOff { power } = &mut step.action {
            power.via = vec!["jb1".parse().unwrap()];
            step.undo = Some(Undo(Box::new(Action::PowerOn {
                power: power.clone(),
            })));
        }
    }
    assert!(
        objections(&cluster, &plan)
            .iter()
            .any(|v| matches!(v, Violation::NobodyToAsk { .. }))
    );
}

#[test]
fn a_restart_that_takes_two_at_once_is_caught_where_one_too_few_would_stay() {
    let cluster = large_v2();
    let mut plan = ask(&cluster, PlanKind::Restart, services(&["jb"])).plan();
    assert_eq!(objections(&cluster, &plan), []);
    for step in &mut plan.steps {
        if step.id.as_str() == "stop:jb@jb2" {
            step.after.clear();
        }
    }
    let found = objections(&cluster, &plan);
    assert!(
        found
            .iter()
            .any(|v| matches!(v, Violation::Capacity { would_leave: 0, .. })),
        "{found:?}"
    );
}

#[test]
fn a_machine_that_goes_while_something_may_run_there_is_caught() {
    let cluster = Cluster::new().service("web", &["n1", "n2"]);
    let up = cluster.all_up(&[]);
    let dead = up.clone().state("web", "n1", InstanceState::Failed);
    let kept = dead.clone().wanted("web", "n1", Wanted::Running);
    for kind in [PlanKind::Shutdown, PlanKind::Reboot] {
        let plan = ask(&cluster, kind, nodes(&["n1"])).seeing(&dead).plan();
        let objections = |seen: &Seen| checker::check(&cluster.0, &plan, Some(&seen.0));
        assert_eq!(objections(&dead), []);
        for seen in [&up, &kept] {
            let found = objections(seen);
            assert!(
                matches!(&found[..], [Violation::NotStopped { service, .. }] if service.as_str() == "web"),
                "{found:?}"
            );
        }
    }
}
