//! Restarts and reboots: batch by batch, keeping capacity.

use interlock_model::action::{Action, ShutdownBy};
use interlock_model::check::{CheckFrom, CheckKind, Verdict};
use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::Boot;
use interlock_planner::Scope;

use crate::support::{Cluster, after, ask, checks, ids, large_v2, nodes, precedes, services};

const ACTIVE: [(&str, &str); 2] = [("lb", "lb2"), ("dbm", "dbm2")];

fn web() -> Cluster {
    Cluster::new()
        .service("db", &["d"])
        .service("web", &["w1", "w2", "w3", "w4"])
        .check("web", "http", CheckFrom::Own)
        .with("web", |web| web.at_least = 3)
        .requires("web", &["db"])
}

#[test]
fn a_restart_goes_on_only_when_the_batch_before_is_healthy() {
    let cluster = web();
    let plan = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert_eq!(plan.steps.len(), 8);
    assert_eq!(after(&plan, "start:web@w1"), ["stop:web@w1 down"]);
    assert_eq!(after(&plan, "stop:web@w2"), ["start:web@w1 healthy"]);
    assert_eq!(checks(&plan, "start:web@w2").1, ["web.http@w2"]);
}

#[test]
fn a_restart_names_the_checks_of_those_who_run_on_that_its_end_waits_for() {
    let cluster = web()
        .with("web", |web| web.at_least = 2)
        .check("db", "path", CheckFrom::Consumers)
        .check("web", "way", CheckFrom::Consumers);
    let seen = cluster
        .all_up(&[])
        .state("web", "w3", InstanceState::Stopped);
    let told = |kind, scope, force: Option<&str>| {
        let mut asked = ask(&cluster, kind, scope).seeing(&seen);
        if let Some(check) = force {
            asked = asked.forcing(check);
        }
        let outcome = asked.outcome();
        assert!(outcome.plan.is_some(), "{}", outcome.report);
        let report = outcome.report.to_string();
        let lines = report.lines().filter(|line| line.starts_with("at the end"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let waits = ["at the end: waits until db.path is green again on w1, w2, w4"];
    assert_eq!(told(PlanKind::Restart, services(&["db"]), None), waits);
    let none: [&str; 0] = [];
    assert_eq!(
        told(PlanKind::Restart, services(&["db"]), Some("db.path")),
        none
    );
    // Nobody requires it, and a shutdown leaves nobody behind.
    assert_eq!(told(PlanKind::Restart, nodes(&["w1"]), None), none);
    assert_eq!(told(PlanKind::Shutdown, services(&["db"]), None), none);
}

/// What is taken back of a restart is a stop, by a start; what runs again runs as before.
#[test]
fn a_start_again_has_no_undo_and_its_stop_is_taken_back_by_a_start() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    for plan in [
        ask(&cluster, PlanKind::Restart, services(&["web"])).seeing(&seen),
        ask(&cluster, PlanKind::Reboot, nodes(&["w1"])).seeing(&seen),
    ] {
        for step in plan.plan().steps {
            let undo = step.undo.map(|undo| *undo.0);
            let expected = (step.action == Action::Stop).then_some(Action::Start);
            assert_eq!(undo, expected, "{}", step.id);
        }
    }
}

#[test]
fn a_batch_that_takes_too_many_is_refused_with_the_arithmetic() {
    let cluster = web();
    let restart = |seen| ask(&cluster, PlanKind::Restart, services(&["web"])).seeing(seen);
    let up = cluster.all_up(&[]);
    let line = |have, left| {
        format!(
            "capacity: service web has {have} in service, the plan would leave {left}, at least 3 must stay"
        )
    };
    assert_eq!(restart(&up).batch(2).refusal(), [line(4, 2)]);
    let three = up.clone().state("web", "w4", InstanceState::Stopped);
    assert_eq!(restart(&three).refusal(), [line(3, 2)]);
    // Its checks are green still, or already.
    for state in [
        InstanceState::Stopping,
        InstanceState::Starting,
        InstanceState::Paused,
    ] {
        let turning = up.clone().state("web", "w4", state);
        let asked = ask(&cluster, PlanKind::Restart, services(&["web"])).seeing(&turning);
        assert_eq!(asked.refusal(), [line(3, 2)], "{state}");
    }
    let sick = up.clone().saying("web.http", "w4", Verdict::Unknown);
    assert_eq!(
        restart(&sick).refusal(),
        [line(3, 2)],
        "unknown is not healthy"
    );
    restart(&sick).forcing("web.http").plan();
}

#[test]
fn batches_of_two_stop_and_start_together() {
    let cluster = web().with("web", |web| web.at_least = 2);
    let plan = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&cluster.all_up(&[]))
        .batch(2)
        .plan();
    assert_eq!(after(&plan, "stop:web@w2"), Vec::<String>::new());
    let mut waits = after(&plan, "stop:web@w3");
    waits.sort();
    assert_eq!(waits, ["start:web@w1 healthy", "start:web@w2 healthy"]);
}

#[test]
fn a_restart_of_all_goes_dependencies_first_and_standby_before_active() {
    let cluster = large_v2();
    let outcome = ask(&cluster, PlanKind::Restart, Scope::All)
        .seeing(&cluster.all_up(&ACTIVE))
        .outcome();
    let sealed = outcome.plan.unwrap();
    let plan = sealed.plan();
    assert!(precedes(
        plan,
        "start:store@store1",
        Wait::Healthy,
        "stop:lb@lb1"
    ));
    assert!(precedes(plan, "start:lb@lb1", Wait::Healthy, "stop:lb@lb2"));
    assert!(precedes(
        plan,
        "start:lb@lb2",
        Wait::Healthy,
        "stop:dbm@dbm1"
    ));
    assert!(precedes(
        plan,
        "start:dbs@dbs1",
        Wait::Healthy,
        "stop:jb@jb1"
    ));
    let report = outcome.report.to_string();
    assert!(
        report.contains("warning: service lb: it is interrupted: its active side lb2 goes"),
        "{report}"
    );
    assert!(
        report.contains("warning: service store: it is interrupted: its only instance"),
        "{report}"
    );
}

#[test]
fn what_is_stopped_is_not_started_by_a_restart() {
    let cluster = web().with("web", |web| web.at_least = 1);
    let seen = cluster
        .all_up(&[])
        .state("web", "w2", InstanceState::Failed);
    let outcome = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&seen)
        .outcome();
    assert!(
        !ids(outcome.plan.unwrap().plan())
            .iter()
            .any(|id| id.contains("w2"))
    );
    assert!(outcome.report.to_string().contains("excluded: web@w2"));
}

#[test]
fn instances_that_compare_themselves_are_compared_when_all_are_back() {
    let same = CheckKind::Same {
        what: interlock_model::check::Compared::Path("/etc/app.json".into()),
    };
    let cluster = web().check_of("web", "config", CheckFrom::Own, same);
    let plan = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert_eq!(ids(&plan).last(), Some(&"check:web"));
    assert_eq!(checks(&plan, "check:web").1.len(), 4);
    assert_eq!(
        checks(&plan, "start:web@w1").1,
        ["web.http@w1"],
        "one alone has nothing to be equal to"
    );
    let plan = ask(&cluster, PlanKind::Startup, Scope::All).plan();
    assert!(precedes(&plan, "start:web@w4", Wait::Healthy, "check:web"));
}

#[test]
fn what_others_see_of_a_service_is_compared_before_it_counts_as_there() {
    let same = || CheckKind::Same {
        what: interlock_model::check::Compared::Path("/etc/app.json".into()),
    };
    let named = CheckFrom::Nodes(vec!["w1".parse().unwrap(), "w2".parse().unwrap()]);
    let cluster = web().check_of("db", "seen", named, same()).check_of(
        "db",
        "client",
        CheckFrom::Consumers,
        same(),
    );
    let seen = cluster.all_up(&[]).state("db", "d", InstanceState::Stopped);
    let plan = ask(&cluster, PlanKind::Startup, services(&["db"]))
        .seeing(&seen)
        .plan();
    assert_eq!(checks(&plan, "check:db").1, ["db.seen@w1", "db.seen@w2"]);
    assert!(precedes(&plan, "start:db@d", Wait::Healthy, "check:db"));
    let plan = ask(&cluster, PlanKind::Startup, Scope::All).plan();
    assert_eq!(checks(&plan, "start:web@w1").0, ["db.client@w1"]);
}

#[test]
fn a_startup_says_which_nodes_a_comparison_leaves_out_because_they_may_be_off() {
    let same = CheckKind::Same {
        what: interlock_model::check::Compared::Path("/etc/app.json".into()),
    };
    let from = CheckFrom::Nodes(["w1", "w2"].map(|node| node.parse().unwrap()).to_vec());
    let cluster = web().check_of("db", "seen", from, same);
    let mut seen = cluster.all_down();
    for node in ["d", "w1"] {
        seen.node(node).power = interlock_model::action::Power::On;
        seen.node(node).liveness = interlock_model::observation::Liveness::Alive;
    }
    let outcome = ask(&cluster, PlanKind::Startup, services(&["db"]))
        .seeing(&seen)
        .outcome();
    let told = "warning: service db: its check seen compares what is seen on w2, which may still be off: not waited for";
    let report = &outcome.report;
    assert!(
        report
            .entries()
            .iter()
            .any(|entry| entry.to_string() == told),
        "{report}"
    );
}

#[test]
fn a_reboot_stops_what_the_machine_carries_and_starts_it_again() {
    let cluster = Cluster::new()
        .service("store", &["box1", "box2"])
        .service("jb", &["box1", "box2"])
        .with("jb", |jb| jb.boot = Boot::Autostart)
        .requires("jb", &["store"]);
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&["box1", "box2"]))
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert_eq!(
        ids(&plan),
        [
            "stop:jb@box1",
            "stop:store@box1",
            "reboot:box1",
            "start:store@box1",
            "verify:jb@box1",
            "stop:jb@box2",
            "stop:store@box2",
            "reboot:box2",
            "start:store@box2",
            "verify:jb@box2",
        ]
    );
    assert!(precedes(
        &plan,
        "verify:jb@box1",
        Wait::Healthy,
        "stop:jb@box2"
    ));
    assert_eq!(after(&plan, "start:store@box1"), ["reboot:box1 up"]);
    let refusal = ask(&cluster, PlanKind::Reboot, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .batch(2)
        .refusal();
    assert_eq!(
        refusal.len(),
        2,
        "each of the two services would fall to 0: {refusal:?}"
    );
}

#[test]
fn a_reboot_takes_the_standby_first_and_never_both_sides_at_once() {
    let cluster = large_v2();
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&["dbm1", "dbm2"]))
        .seeing(&cluster.all_up(&ACTIVE))
        .batch(2)
        .plan();
    assert!(precedes(
        &plan,
        "start:dbm@dbm1",
        Wait::Healthy,
        "stop:dbm@dbm2"
    ));
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&["dbm1", "dbm2"]))
        .seeing(&cluster.all_up(&[("lb", "lb2"), ("dbm", "dbm1")]))
        .plan();
    assert!(precedes(
        &plan,
        "start:dbm@dbm2",
        Wait::Healthy,
        "stop:dbm@dbm1"
    ));
}

#[test]
fn a_reboot_leaves_the_control_plane_and_refuses_a_service_scope() {
    let cluster = web();
    let outcome = ask(&cluster, PlanKind::Reboot, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .outcome();
    assert!(!ids(outcome.plan.unwrap().plan()).contains(&"reboot:mgmt1"));
    assert!(
        outcome
            .report
            .to_string()
            .contains("left for you: node mgmt1")
    );
    let refusal = ask(&cluster, PlanKind::Reboot, services(&["web"]))
        .seeing(&cluster.all_up(&[]))
        .refusal();
    assert!(refusal[0].contains("--node w1,w2,w3,w4"), "{refusal:?}");
}

/// A restart by its agent is another way down than the one that the spec gives the machine.
#[test]
fn a_reboot_is_refused_where_the_machine_does_not_go_down_by_its_agent_alone() {
    for (by, why) in [
        (ShutdownBy::Manual, "a person shuts it down"),
        (ShutdownBy::Command, "by a command of its own file"),
    ] {
        let cluster = web().with_node("w1", |node| {
            node.power.as_mut().unwrap().shutdown = by;
        });
        let seen = cluster.all_up(&[]);
        let refusal = ask(&cluster, PlanKind::Reboot, nodes(&["w1", "w2"]))
            .seeing(&seen)
            .refusal();
        let [refusal] = &refusal[..] else {
            panic!("{refusal:?}")
        };
        assert!(
            refusal.starts_with("blocked: node w1: ") && refusal.contains(why),
            "{refusal}"
        );
        assert!(
            refusal.contains("`shutdown --node w1` and then `startup --node w1`"),
            "{refusal}"
        );
        ask(&cluster, PlanKind::Reboot, nodes(&["w2"]))
            .seeing(&seen)
            .plan();
    }
}

/// db on two nodes, required by app, which front requires; log only starts after it.
fn required() -> Cluster {
    Cluster::new()
        .exclusive("db", &["d1", "d2"])
        .service("app", &["a1", "a2", "a3"])
        .service("front", &["d1", "f1"])
        .service("log", &["l1"])
        .requires("app", &["db"])
        .requires("front", &["app"])
        .edge("log", "db", false, Wait::Healthy, Wait::None)
}

fn cut_off(cluster: &Cluster, kind: PlanKind, scope: Scope) -> Vec<String> {
    let seen = cluster
        .all_up(&[("db", "d1")])
        .state("app", "a3", InstanceState::Stopped)
        .wanted("app", "a3", Wanted::Stopped);
    let outcome = ask(cluster, kind, scope).seeing(&seen).outcome();
    assert!(outcome.plan.is_some(), "{}", outcome.report);
    let lines = outcome.report.entries().iter().map(ToString::to_string);
    lines.filter(|line| line.contains("without it")).collect()
}

#[test]
fn who_runs_on_while_what_it_requires_is_interrupted_is_told_with_a_count() {
    let cluster = required();
    assert_eq!(
        cut_off(&cluster, PlanKind::Restart, services(&["db"])),
        [
            "warning: service db: while it is interrupted, 2 services that require it run on without it: app (2 instances), \
             front (2 instances); to stop them before, use `shutdown --service app,front` first and `startup --service \
             app,front` at the end",
        ]
    );
    // What is on the same machine stops before it.
    let told = cut_off(&cluster, PlanKind::Reboot, nodes(&["d1"]));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("without it: app (2 instances), front (1 instance); to stop"));
}

#[test]
fn nobody_is_without_a_service_whose_active_side_stays() {
    let cluster = required();
    for kind in [PlanKind::Restart, PlanKind::Reboot] {
        let told = cut_off(&cluster, kind, nodes(&["d2"]));
        assert_eq!(told, Vec::<String>::new());
    }
}

/// What stops now must find what it requires when it starts again: not knowing is no better than knowing it is down.
#[test]
fn a_requirement_that_is_unknown_or_too_few_refuses_a_restart_and_a_reboot() {
    let cluster = web();
    let asks = || {
        [
            ask(&cluster, PlanKind::Restart, services(&["web"])),
            ask(&cluster, PlanKind::Reboot, nodes(&["w1"])),
        ]
    };
    for (lost, down) in asks().into_iter().zip(asks()) {
        let seen = cluster.all_up(&[]).lose("d");
        let refusal = lost.seeing(&seen).refusal().join("\n");
        assert!(
            refusal.contains("unknown: service web: it requires db: d: "),
            "{refusal}"
        );
        let seen = cluster.all_up(&[]).state("db", "d", InstanceState::Stopped);
        let refusal = down.seeing(&seen).refusal().join("\n");
        assert!(
            refusal.contains("it requires db, of which 0 run"),
            "{refusal}"
        );
    }
}

/// It died, and its agent's guard is about to start it again: in the middle of a reboot, or before what it requires.
#[test]
fn a_dead_instance_that_its_agent_keeps_running_stops_and_starts_with_the_others() {
    let cluster = Cluster::new()
        .service("db", &["n1"])
        .check("db", "port", CheckFrom::Consumers)
        .service("web", &["n1", "n2"])
        .requires("web", &["db"])
        .with("web", |web| web.at_least = 0);
    let dead = cluster
        .all_up(&[])
        .state("web", "n1", InstanceState::Failed);
    for wanted in [Wanted::Running, Wanted::Stopped] {
        let seen = dead.clone().wanted("web", "n1", wanted);
        let asks = [
            ask(&cluster, PlanKind::Reboot, nodes(&["n1"])),
            ask(&cluster, PlanKind::Restart, nodes(&["n1"])),
        ];
        for ask in asks {
            let outcome = ask.seeing(&seen).outcome();
            let sealed = outcome.plan.unwrap();
            let (plan, report) = (sealed.plan(), outcome.report.to_string());
            let touched = ids(plan).iter().any(|id| id.contains("web@n1"));
            assert_eq!(touched, wanted == Wanted::Running, "{:?}", ids(plan));
            if !touched {
                assert!(report.contains("excluded: web@n1"), "{report}");
                continue;
            }
            assert!(
                report.contains("warning: web@n1: it is down and its agent may start it"),
                "{report}"
            );
            let (stop, start) = ("stop:web@n1", "start:web@n1");
            assert!(precedes(plan, stop, Wait::Down, start));
            if plan.kind == PlanKind::Reboot {
                assert!(precedes(plan, stop, Wait::Down, "stop:db@n1"));
                assert!(precedes(plan, stop, Wait::Down, "reboot:n1"));
            }
            assert!(precedes(plan, "start:db@n1", Wait::Healthy, start));
        }
    }
}

#[test]
fn what_requires_something_dead_that_the_plan_brings_back_first_is_not_refused() {
    let cluster = Cluster::new()
        .service("db", &["n1"])
        .check("db", "port", CheckFrom::Consumers)
        .service("web", &["n1", "n2"])
        .requires("web", &["db"])
        .with("web", |web| web.at_least = 0);
    let seen = cluster
        .all_up(&[])
        .state("db", "n1", InstanceState::Failed)
        .wanted("db", "n1", Wanted::Running)
        .saying("db.port", "n1", Verdict::Bad)
        .saying("db.port", "n2", Verdict::Bad);
    for (kind, on) in [
        (PlanKind::Reboot, &["n1"][..]),
        (PlanKind::Reboot, &["n1", "n2"]),
        (PlanKind::Restart, &["n1", "n2"]),
    ] {
        let plan = ask(&cluster, kind, nodes(on)).seeing(&seen).plan();
        assert!(precedes(
            &plan,
            "start:db@n1",
            Wait::Healthy,
            "start:web@n1"
        ));
    }
    let refusal = ask(&cluster, PlanKind::Reboot, nodes(&["n2"]))
        .seeing(&seen)
        .refusal();
    assert!(
        refusal[0].contains("it requires db, of which 0 run"),
        "nothing brings it back: {refusal:?}"
    );

    // The machine of web comes first, for the sake of what else it carries: db is not back by then.
    let cluster = Cluster::new()
        .service("low", &["n2"])
        .service("db", &["n1"])
        .service("web", &["n2"])
        .requires("db", &["low"])
        .requires("web", &["db"]);
    let seen = cluster
        .all_up(&[])
        .state("db", "n1", InstanceState::Failed)
        .wanted("db", "n1", Wanted::Running);
    let refusal = ask(&cluster, PlanKind::Reboot, nodes(&["n1", "n2"]))
        .seeing(&seen)
        .refusal();
    assert!(
        refusal[0].contains("service web: it requires db, of which 0 run"),
        "{refusal:?}"
    );
}

#[test]
fn no_side_starts_again_before_an_active_side_that_is_down() {
    let cluster = Cluster::new().exclusive("db", &["n1", "n2"]);
    let seen = ["n1", "n2"].iter().fold(cluster.all_up(&[]), |seen, node| {
        seen.state("db", node, InstanceState::Failed)
            .wanted("db", node, Wanted::Running)
    });
    for (kind, scope) in [
        (PlanKind::Restart, services(&["db"])),
        (PlanKind::Restart, nodes(&["n2"])),
        (PlanKind::Reboot, nodes(&["n1", "n2"])),
        (PlanKind::Reboot, nodes(&["n2"])),
    ] {
        let refusal = ask(&cluster, kind, scope)
            .seeing(&seen)
            .remembering("db", "n1")
            .refusal();
        assert_eq!(
            refusal,
            [
                "blocked: service db: its active side n1 is down, and goes first; bring it up first, or plan for n1 alone"
            ]
        );
    }
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&["n1"]))
        .seeing(&seen)
        .remembering("db", "n1")
        .plan();
    assert_eq!(ids(&plan), ["stop:db@n1", "reboot:n1", "start:db@n1"]);
}

#[test]
fn a_reboot_of_machines_without_services_is_about_no_service() {
    let idle: Vec<String> = (1..=18).map(|number| format!("idle{number:02}")).collect();
    let idle: Vec<&str> = idle.iter().map(String::as_str).collect();
    let mut cluster = Cluster::new().service("billing", &["db1"]);
    for node in &idle {
        cluster = cluster.node(node);
    }
    let plan = ask(&cluster, PlanKind::Reboot, nodes(&idle))
        .seeing(&cluster.all_up(&[]))
        .batch(9)
        .plan();
    assert!(precedes(&plan, "reboot:idle09", Wait::Up, "reboot:idle10"));
    let about = plan.steps.iter().find(|step| step.service.is_some());
    assert!(about.is_none(), "{about:?}");
}
