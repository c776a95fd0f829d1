//! What agents' own files refuse is known before a plan is shown.

use interlock_model::action::{Action, ShutdownBy};
use interlock_model::check::CheckFrom;
use interlock_model::permission::Permission;
use interlock_model::plan::PlanKind;
use interlock_planner::Scope;

use crate::support::{Cluster, Seen, ask, check_id, ids, name, nodes, services};

fn shop() -> Cluster {
    Cluster::new()
        .service("db", &["a"])
        .service("web", &["b", "c"])
        .requires("web", &["db"])
}

fn operate(service: &str) -> Permission {
    Permission::Operate(name(service))
}

/// Refused with one reason, which has all of these words.
#[track_caller]
fn refused_by(cluster: &Cluster, kind: PlanKind, scope: Scope, seen: &Seen, words: &[&str]) {
    let refusals = ask(cluster, kind, scope).seeing(seen).refusal();
    let [refusal] = refusals.as_slice() else {
        panic!("{refusals:?}")
    };
    for word in words {
        assert!(refusal.contains(word), "no '{word}' in {refusal}");
    }
}

#[test]
fn a_plan_that_an_agent_would_refuse_is_not_made_and_the_line_to_change_is_named() {
    let cluster = shop();
    let seen = cluster.all_up(&[]).refusing("c", operate("web"));
    let all = services(&["web", "db"]);
    let words = [
        "web@c",
        "the agent of c would refuse stop",
        "to start and stop web: set a line",
        "`interlockctl spec agent-config c`",
    ];
    refused_by(&cluster, PlanKind::Shutdown, all.clone(), &seen, &words);
    let words = ["web@c", "the agent of c would refuse start and stop"];
    refused_by(&cluster, PlanKind::Restart, all, &seen, &words);
}

#[test]
fn what_the_plan_does_not_ask_for_may_be_refused() {
    let cluster = shop();
    let seen = cluster
        .all_up(&[])
        .refusing("c", operate("db"))
        .refusing("c", Permission::Reboot)
        .refusing("a", Permission::Shutdown)
        .refusing("mgmt1", Permission::Fence("fence_kvm".into()));
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["web", "db"]))
        .seeing(&seen)
        .plan();
    assert!(ids(&plan).contains(&"stop:web@c"));
}

#[test]
fn a_machine_is_not_to_be_shut_down_or_restarted_where_its_agent_would_refuse_that() {
    let mut cluster = shop();
    let seen = cluster
        .all_up(&[])
        .refusing("b", Permission::Shutdown)
        .refusing("b", Permission::Reboot);
    let b = || nodes(&["b"]);
    let words = ["node b", "the agent of b would refuse power-off"];
    refused_by(&cluster, PlanKind::Shutdown, b(), &seen, &words);
    let words = ["node b", "the agent of b would refuse reboot"];
    refused_by(&cluster, PlanKind::Reboot, b(), &seen, &words);
    // A person shuts it down.
    let power = cluster.edit_node("b").power.as_mut().unwrap();
    power.shutdown = ShutdownBy::Manual;
    ask(&cluster, PlanKind::Shutdown, b()).seeing(&seen).plan();
}

#[test]
fn a_power_source_is_reached_through_who_may_ask_it() {
    let mut cluster = shop();
    let fence = cluster.0.power["kvm"].fence.clone();
    let refuse = || Permission::Fence(fence.clone());
    let off = |cluster: &Cluster| cluster.all_down();
    let seen = off(&cluster).refusing("mgmt1", refuse());
    let words = ["the agent of mgmt1 would refuse power-on", "run fence_"];
    let a = || nodes(&["a"]);
    refused_by(&cluster, PlanKind::Startup, a(), &seen, &words);
    let up = cluster.all_up(&[]).refusing("mgmt1", refuse());
    let words = ["the agent of mgmt1 would refuse power-off"];
    refused_by(&cluster, PlanKind::Shutdown, nodes(&["b"]), &up, &words);

    // Another one that may is enough.
    cluster.0.power.get_mut("kvm").unwrap().via = vec![name("mgmt1"), name("c")];
    let plan = ask(&cluster, PlanKind::Shutdown, nodes(&["b"]))
        .seeing(&up)
        .plan();
    let is_off = |action: &Action| matches!(action, Action::PowerOff { .. });
    assert!(plan.steps.iter().any(|step| is_off(&step.action)));
}

#[test]
fn a_balancer_whose_agent_would_not_drain_keeps_its_members_running() {
    let cluster = Cluster::new()
        .service("lb", &["lb1", "lb2"])
        .service("web", &["jb1", "jb2"])
        .check("web", "http", CheckFrom::Own)
        .member_of("web", "lb");
    let member = Permission::Member {
        balancer: name("lb"),
        service: name("web"),
        node: name("jb2"),
    };
    let seen = cluster.all_up(&[]).refusing("lb1", member);
    let words = ["lb@lb1", "the agent of lb1 would refuse admit and drain"];
    refused_by(
        &cluster,
        PlanKind::Restart,
        services(&["web"]),
        &seen,
        &words,
    );
}

#[test]
fn a_machine_without_a_power_source_is_not_restarted_against_the_file_of_its_agent() {
    let cluster = shop().bare_node("d").service("log", &["d"]);
    let seen = cluster.all_up(&[]).refusing("d", Permission::Reboot);
    let words = [
        "node d",
        "the agent of d would refuse reboot",
        "`interlockctl spec agent-config d`",
    ];
    refused_by(&cluster, PlanKind::Reboot, nodes(&["d"]), &seen, &words);
}

#[test]
fn a_plan_that_is_made_offline_says_that_no_agent_was_asked_what_it_permits() {
    let cluster = shop();
    let offline = ask(&cluster, PlanKind::Reboot, nodes(&["b"])).outcome();
    let says = "no agent was asked what its own file permits";
    assert!(offline.plan.is_some());
    assert!(
        offline.report.to_string().contains(says),
        "{}",
        offline.report
    );
    let seen = cluster.all_up(&[]);
    let online = ask(&cluster, PlanKind::Reboot, nodes(&["b"]))
        .seeing(&seen)
        .outcome();
    assert!(
        !online.report.to_string().contains(says),
        "{}",
        online.report
    );
}

#[test]
fn a_step_that_waits_for_a_check_which_an_agent_would_not_run_is_not_planned_unless_it_is_overridden()
 {
    let cluster =
        shop()
            .check("web", "http", CheckFrom::Own)
            .check("db", "path", CheckFrom::Consumers);
    for (on, check) in [("c", "web.http"), ("b", "db.path")] {
        let seen = cluster
            .all_up(&[])
            .refusing(on, Permission::Check(check_id(check)));
        let by = format!("the agent of {on} would not run its check {check}: to run the check");
        let words = [by.as_str(), "(override: --force"];
        let web = || services(&["web"]);
        refused_by(&cluster, PlanKind::Restart, web(), &seen, &words);
        let forced = ask(&cluster, PlanKind::Restart, web()).seeing(&seen);
        forced.forcing(check).plan();
    }
}
