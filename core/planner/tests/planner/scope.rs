//! What a scope covers, and what comes with it.

use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::plan::{PlanKind, Wait};
use interlock_planner::Scope;

use crate::support::{Cluster, after, ask, ids, large_v2, name, nodes, precedes, services};

const ACTIVE: [(&str, &str); 2] = [("lb", "lb2"), ("dbm", "dbm2")];

#[test]
fn stopping_a_service_takes_its_running_dependants_and_no_machine() {
    let cluster = large_v2();
    let seen = cluster
        .all_up(&ACTIVE)
        .state("tel", "tel2", InstanceState::Stopped);
    let outcome = ask(&cluster, PlanKind::Shutdown, services(&["dbs"]))
        .seeing(&seen)
        .outcome();
    let sealed = outcome.plan.unwrap();
    let mut steps = ids(sealed.plan());
    steps.sort_unstable();
    assert_eq!(
        steps,
        [
            "stop:dbs@dbs1",
            "stop:dbs@dbs2",
            "stop:jb@jb1",
            "stop:jb@jb2",
            "stop:tel@tel1"
        ]
    );
    assert!(
        outcome
            .report
            .to_string()
            .contains("included: tel@tel1: it requires dbs"),
        "{}",
        outcome.report
    );
}

#[test]
fn a_node_of_a_service_that_keeps_enough_leaves_the_dependants_alone() {
    let cluster = large_v2();
    let plan = ask(&cluster, PlanKind::Shutdown, nodes(&["dbs1"]))
        .seeing(&cluster.all_up(&ACTIVE))
        .plan();
    assert_eq!(ids(&plan), ["stop:dbs@dbs1", "power-off:dbs1"]);
}

#[test]
fn a_standby_goes_alone_and_an_active_side_takes_the_dependants() {
    let cluster = large_v2();
    let seen = cluster.all_up(&ACTIVE);
    let plan = ask(&cluster, PlanKind::Shutdown, nodes(&["dbm1"]))
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan), ["stop:dbm@dbm1", "power-off:dbm1"]);

    let outcome = ask(&cluster, PlanKind::Shutdown, nodes(&["dbm2"]))
        .seeing(&seen)
        .outcome();
    let sealed = outcome.plan.unwrap();
    let plan = sealed.plan();
    assert!(precedes(plan, "stop:dbs@dbs1", Wait::Down, "stop:dbm@dbm2"));
    assert!(precedes(plan, "stop:jb@jb1", Wait::Down, "stop:dbm@dbm2"));
    assert!(
        !ids(plan).contains(&"power-off:jb1"),
        "only the named machine is switched off"
    );
    assert!(
        outcome
            .report
            .to_string()
            .contains("warning: service dbm: it is interrupted"),
        "{}",
        outcome.report
    );
}

#[test]
fn a_label_selects_instances_and_switches_no_machine() {
    let mut cluster = large_v2();
    cluster
        .edit_node("jb1")
        .labels
        .insert("tier".into(), "web".into());
    let seen = cluster.all_up(&ACTIVE);
    let scope = Scope::Label {
        key: "tier".into(),
        value: "web".into(),
    };
    let plan = ask(&cluster, PlanKind::Shutdown, scope)
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan), ["stop:jb@jb1"]);
    assert_eq!(plan.scope, "--label tier=web");
}

#[test]
fn a_host_is_emptied_machine_by_machine() {
    let cluster = large_v2()
        .with_node("jb1", |node| node.host = Some(name("vmhost1")))
        .with_node("dbm1", |node| node.host = Some(name("vmhost1")));
    let seen = cluster.all_up(&ACTIVE);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::Host(name("vmhost1")))
        .seeing(&seen)
        .plan();
    let mut steps = ids(&plan);
    steps.sort_unstable();
    assert_eq!(
        steps,
        [
            "power-off:dbm1",
            "power-off:jb1",
            "stop:dbm@dbm1",
            "stop:jb@jb1"
        ]
    );
    assert!(precedes(
        &plan,
        "power-off:jb1",
        Wait::Down,
        "stop:dbm@dbm1"
    ));
}

#[test]
fn a_machine_with_the_last_instance_that_runs_takes_the_service_with_it_and_the_report_says_so() {
    let cluster = large_v2();
    let seen = cluster
        .all_up(&ACTIVE)
        .state("jb", "jb2", InstanceState::Stopped);
    let warned = |scope: Scope, seen| {
        let outcome = ask(&cluster, PlanKind::Shutdown, scope)
            .seeing(seen)
            .outcome();
        outcome.report.entries().iter().any(|entry| {
            entry.to_string()
                == "warning: service jb: nothing of it is left: these are the last that run, those on jb2 do not"
        })
    };
    assert!(warned(nodes(&["jb1"]), &seen));
    // While another one runs there is nothing to warn of; nor where all of it is meant.
    let both = cluster.all_up(&ACTIVE);
    assert!(!warned(nodes(&["jb1"]), &both));
    assert!(!warned(Scope::All, &seen));
}

#[test]
fn a_shutdown_that_leaves_too_few_is_refused_with_the_arithmetic() {
    let cluster = large_v2().with("jb", |jb| jb.at_least = 2);
    let refusal = ask(&cluster, PlanKind::Shutdown, nodes(&["jb1"]))
        .seeing(&cluster.all_up(&ACTIVE))
        .refusal();
    assert_eq!(
        refusal,
        ["capacity: service jb has 2 in service, the plan would leave 1, at least 2 must stay"]
    );
    // As a whole it may go: there is nothing to keep.
    ask(&cluster, PlanKind::Shutdown, services(&["jb"]))
        .seeing(&cluster.all_up(&ACTIVE))
        .plan();
}

/// What an operation counts again before it takes anything away.
#[test]
fn a_plan_names_the_services_of_which_it_leaves_enough() {
    let cluster = large_v2();
    let up = cluster.all_up(&ACTIVE);
    let keeps = |kind, scope, seen| {
        let plan = ask(&cluster, kind, scope).seeing(seen).plan();
        let keeps = plan.keeps.iter().map(ToString::to_string);
        keeps.collect::<Vec<_>>()
    };
    let part = || nodes(&["jb1"]);
    assert_eq!(keeps(PlanKind::Shutdown, part(), &up), ["jb"]);
    assert_eq!(keeps(PlanKind::Reboot, part(), &up), ["jb"]);
    assert_eq!(keeps(PlanKind::Restart, services(&["jb"]), &up), ["jb"]);
    let none: [&str; 0] = [];
    assert_eq!(keeps(PlanKind::Shutdown, services(&["jb"]), &up), none);
    // It is the last one that runs, and the plan says so.
    let last = cluster
        .all_up(&ACTIVE)
        .state("jb", "jb2", InstanceState::Stopped);
    assert_eq!(keeps(PlanKind::Shutdown, part(), &last), none);
}

#[test]
fn services_are_ordered_through_one_that_has_no_step() {
    let cluster = Cluster::new()
        .service("db", &["a"])
        .service("cache", &["b"])
        .service("web", &["c"])
        .requires("cache", &["db"])
        .requires("web", &["cache"]);
    let plan = ask(&cluster, PlanKind::Restart, services(&["db", "web"]))
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert!(precedes(&plan, "start:db@a", Wait::Healthy, "stop:web@c"));
    let seen = cluster
        .all_up(&[])
        .state("cache", "b", InstanceState::Stopped);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .plan();
    assert!(precedes(&plan, "stop:web@c", Wait::Down, "stop:db@a"));
}

#[test]
fn serial_is_one_step_after_the_other() {
    let cluster = large_v2();
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&ACTIVE))
        .serial()
        .plan();
    for pair in plan.steps.windows(2) {
        let (first, then) = (pair[0].id.as_str(), pair[1].id.as_str());
        assert!(
            after(&plan, then).contains(&format!("{first} down")),
            "{first} {then}"
        );
    }
}

#[test]
fn a_service_scope_starts_nothing_on_a_machine_that_is_off() {
    let cluster = Cluster::new().service("db", &["a"]);
    let refusal = ask(&cluster, PlanKind::Startup, services(&["db"]))
        .seeing(&cluster.all_down())
        .refusal();
    assert!(
        refusal[0].contains("a is off, and this scope switches no machine; --node a"),
        "{refusal:?}"
    );
    let plan = ask(&cluster, PlanKind::Startup, nodes(&["a"]))
        .seeing(&cluster.all_down())
        .plan();
    assert_eq!(ids(&plan), ["power-on:a", "start:db@a"]);
}

/// The store runs, and somebody who starts requires it: whoever is only ordered after it waits for its health too.
#[test]
fn an_edge_for_the_order_waits_for_the_health_that_the_plan_looks_at() {
    use interlock_model::check::CheckFrom;
    let cluster = Cluster::new()
        .service("store", &["box1"])
        .check("store", "samba", CheckFrom::Own)
        .service("lb", &["box1"])
        .edge("lb", "store", false, Wait::Healthy, Wait::Down)
        .service("tel", &["tel1"])
        .requires("tel", &["store"]);
    let seen = cluster
        .all_up(&[])
        .state("lb", "box1", InstanceState::Stopped)
        .state("tel", "tel1", InstanceState::Stopped);
    let plan = ask(&cluster, PlanKind::Startup, services(&["lb", "tel"]))
        .seeing(&seen)
        .plan();
    for start in ["start:lb@box1", "start:tel@tel1"] {
        assert!(
            precedes(&plan, "check:store@box1", Wait::Healthy, start),
            "{start}: {:?}",
            after(&plan, start)
        );
    }
    // Alone it is ordered after nothing: the store is in nobody's scope, and not required.
    let plan = ask(&cluster, PlanKind::Startup, services(&["lb"]))
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan), ["start:lb@box1"]);
}

/// It died, and its agent's guard is about to start it again: it is told to leave it alone before the database goes.
#[test]
fn a_dead_instance_that_its_agent_keeps_running_is_stopped_too() {
    let cluster = Cluster::new()
        .service("db", &["n1"])
        .service("web", &["n2"])
        .requires("web", &["db"]);
    let dead = cluster
        .all_up(&[])
        .state("web", "n2", InstanceState::Failed);
    for scope in [services(&["db", "web"]), services(&["db"])] {
        let seen = dead.clone().wanted("web", "n2", Wanted::Running);
        let plan = ask(&cluster, PlanKind::Shutdown, scope.clone())
            .seeing(&seen)
            .plan();
        assert!(precedes(&plan, "stop:web@n2", Wait::Down, "stop:db@n1"));
        // Nobody keeps this one.
        let seen = dead.clone().wanted("web", "n2", Wanted::Stopped);
        let plan = ask(&cluster, PlanKind::Shutdown, scope)
            .seeing(&seen)
            .plan();
        assert_eq!(ids(&plan), ["stop:db@n1"]);
    }
}

#[test]
fn both_sides_that_died_are_stopped_in_the_order_that_is_remembered() {
    let cluster = Cluster::new().exclusive("db", &["n1", "n2"]);
    let seen = ["n1", "n2"].iter().fold(cluster.all_up(&[]), |seen, node| {
        seen.state("db", node, InstanceState::Failed)
            .wanted("db", node, Wanted::Running)
    });
    let ask = || ask(&cluster, PlanKind::Shutdown, services(&["db"])).seeing(&seen);
    let plan = ask().remembering("db", "n2").plan();
    assert!(precedes(&plan, "stop:db@n1", Wait::Down, "stop:db@n2"));
    assert!(
        ask().refusal().join("\n").contains("--assume-active"),
        "without a memory a person says it"
    );
}

#[test]
fn what_runs_although_it_was_to_be_stopped_is_started_so_that_it_is_watched_over() {
    let cluster = Cluster::new().service("web", &["n1"]);
    let seen = cluster.all_up(&[]).wanted("web", "n1", Wanted::Stopped);
    let plan = ask(&cluster, PlanKind::Startup, services(&["web"]))
        .seeing(&seen)
        .plan();
    assert_eq!(ids(&plan), ["start:web@n1"]);
}
