//! Machines: who may be switched, in which order, and what is left to people.

use std::collections::BTreeSet;

use interlock_model::action::{Action, Power, ShutdownBy};
use interlock_model::check::CheckFrom;
use interlock_model::observation::Liveness;
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::Spec;
use interlock_planner::Scope;
use interlock_planner::checker::{self, Violation};

use crate::support::{Cluster, Seen, after, ask, checks, ids, name, nodes, precedes, services};

fn vias(spec: &mut Spec, nodes: &[&str]) {
    spec.power.get_mut("kvm").unwrap().via = nodes.iter().map(|node| name(node)).collect();
}

#[test]
fn the_control_plane_is_left_for_the_operator() {
    let cluster = Cluster::new().node("mgmt1").service("db", &["a", "mgmt1"]);
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .outcome();
    let sealed = outcome.plan.unwrap();
    assert!(ids(sealed.plan()).contains(&"stop:db@mgmt1"));
    assert!(!ids(sealed.plan()).contains(&"power-off:mgmt1"));
    let report = outcome.report.to_string();
    assert!(
        report.contains("left for you: node mgmt1: switch it off by hand at the end"),
        "{report}"
    );

    let mut cluster = Cluster::new().service("db", &["a", "b"]);
    cluster.0.control.etcd = vec!["https://10.0.0.2:2379".into()];
    assert_eq!(cluster.edit_node("a").address, "10.0.0.2");
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert!(
        !ids(&plan).contains(&"power-off:a"),
        "a member of etcd is part of the control plane"
    );
}

#[test]
fn who_asks_the_power_source_goes_last_and_comes_first() {
    let mut cluster = Cluster::new()
        .service("db", &["a"])
        .service("web", &["b"])
        .requires("web", &["db"]);
    vias(&mut cluster.0, &["b", "mgmt1"]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert!(precedes(&plan, "power-off:a", Wait::Down, "power-off:b"));
    assert!(
        !after(&plan, "stop:db@a").contains(&"power-off:b down".into()),
        "b must stay on for that"
    );
    assert!(after(&plan, "stop:db@a").contains(&"stop:web@b down".into()));
}

#[test]
fn of_two_that_can_only_ask_for_each_other_one_stays() {
    let mut cluster = Cluster::new().service("db", &["a", "b", "c"]);
    vias(&mut cluster.0, &["a", "b"]);
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .outcome();
    let sealed = outcome.plan.unwrap();
    let steps = ids(sealed.plan());
    assert!(
        steps.contains(&"power-off:a")
            && steps.contains(&"power-off:c")
            && !steps.contains(&"power-off:b")
    );
    assert!(precedes(
        sealed.plan(),
        "power-off:c",
        Wait::Down,
        "power-off:a"
    ));
    assert!(
        outcome.report.to_string().contains("left for you: node b"),
        "{}",
        outcome.report
    );

    let refusal = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&cluster.all_down())
        .refusal();
    assert_eq!(
        refusal.len(),
        3,
        "nobody is there to begin with: {refusal:?}"
    );
    let mut seen = cluster.all_down();
    seen.node("b").power = interlock_model::action::Power::On;
    seen.node("b").liveness = Liveness::Alive;
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .plan();
    assert!(ids(&plan).contains(&"power-on:a"));
}

#[test]
fn a_chain_of_power_sources_comes_up_in_its_order() {
    let mut cluster = Cluster::new().service("db", &["a", "b"]);
    let mut second = cluster.0.power["kvm"].clone();
    second.via = vec![name("a")];
    cluster.0.power.insert(name("bmc"), second);
    cluster.edit_node("b").power.as_mut().unwrap().by = name("bmc");
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&cluster.all_down())
        .plan();
    assert_eq!(after(&plan, "power-on:b"), ["power-on:a up"]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .plan();
    assert!(precedes(&plan, "power-off:b", Wait::Down, "power-off:a"));
}

#[test]
fn a_node_without_power_source_stops_its_services_and_stays_on() {
    let cluster = Cluster::new().bare_node("a").service("db", &["a"]);
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .outcome();
    assert_eq!(ids(outcome.plan.unwrap().plan()), ["stop:db@a"]);
    assert!(
        outcome
            .report
            .to_string()
            .contains("excluded: node a: it has no power source and stays on")
    );
}

#[test]
fn a_machine_that_nothing_can_be_done_to_is_in_nobodys_way() {
    let cluster = Cluster::new().service("db", &["a"]).bare_node("jump");
    let mut seen = cluster.all_down();
    seen.node("jump").liveness = Liveness::Unheard;
    for kind in [PlanKind::Startup, PlanKind::Shutdown] {
        let outcome = ask(&cluster, kind, Scope::All).seeing(&seen).outcome();
        assert!(outcome.plan.is_some(), "{}", outcome.report);
        assert!(
            outcome.report.to_string().contains("excluded: node jump"),
            "{}",
            outcome.report
        );
    }
    // With a service on it, that service is unknown.
    let cluster = cluster.service("mon", &["jump"]);
    let refusal = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .refusal();
    assert!(refusal[0].starts_with("unknown: mon@jump"), "{refusal:?}");
}

#[test]
fn an_unverified_plug_is_not_used() {
    let cluster = Cluster::new().service("db", &["a", "b"]);
    for kind in [PlanKind::Shutdown, PlanKind::Startup] {
        let seen = if kind == PlanKind::Startup {
            cluster.all_down()
        } else {
            cluster.all_up(&[])
        };
        let refusal = ask(&cluster, kind, Scope::All)
            .seeing(&seen)
            .verified(&["a"])
            .refusal();
        assert_eq!(refusal.len(), 1, "{refusal:?}");
        assert!(
            refusal[0].contains("node b") && refusal[0].contains("power verify b"),
            "{refusal:?}"
        );
        ask(&cluster, kind, Scope::All)
            .seeing(&seen)
            .verified(&["a", "b"])
            .plan();
    }
}

/// Telephony on a machine without an agent, shut down by a person.
fn with_agentless() -> Cluster {
    Cluster::new()
        .service("db", &["a"])
        .service("tel", &["tel1"])
        .check("tel", "sip", CheckFrom::Own)
        .requires("tel", &["db"])
        .with_node("tel1", |node| {
            node.agentless = Some(vec![name("mgmt1")]);
            node.power.as_mut().unwrap().shutdown = ShutdownBy::Manual;
        })
}

fn silent(cluster: &Cluster) -> crate::support::Seen {
    let mut seen = cluster.all_up(&[]);
    seen.node("tel1").liveness = Liveness::Unheard;
    seen.node("tel1").instances.clear();
    seen.verdict("tel.sip", "mgmt1", interlock_model::check::Verdict::Ok);
    seen
}

#[test]
fn a_person_shuts_a_machine_without_agent_down_and_the_power_source_proves_it() {
    let cluster = with_agentless();
    let seen = silent(&cluster);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .plan();
    assert_eq!(
        ids(&plan),
        [
            "approve:power-off.tel1",
            "power-off:tel1",
            "stop:db@a",
            "power-off:a"
        ]
    );
    assert_eq!(
        after(&plan, "power-off:tel1"),
        ["approve:power-off.tel1 up"]
    );
    assert_eq!(after(&plan, "stop:db@a"), ["power-off:tel1 down"]);
    assert!(
        matches!(&plan.steps[0].action, Action::Approve { text, .. } if text.contains("Shut tel1 down by hand"))
    );
}

#[test]
fn a_machine_whose_power_source_is_contradicted_is_neither_up_nor_down() {
    let cluster = with_agentless();
    for (node, kinds) in [
        ("tel1", &[PlanKind::Shutdown, PlanKind::Startup][..]),
        ("a", &[PlanKind::Shutdown]),
    ] {
        for kind in kinds {
            let mut seen = silent(&cluster);
            seen.node(node).power = Power::Unknown;
            seen.node(node).contradicted = Some("kvm says off, but it answers".into());
            let refusal = ask(&cluster, *kind, Scope::All).seeing(&seen).refusal();
            let told = format!("unknown: node {node}: kvm says off, but it answers");
            assert!(
                refusal.iter().any(|it| it.starts_with(&told)),
                "{refusal:?}"
            );
        }
    }
}

#[test]
fn where_the_machine_stays_a_person_stops_what_no_agent_can() {
    let cluster = with_agentless();
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["db"]))
        .seeing(&silent(&cluster))
        .plan();
    assert_eq!(ids(&plan), ["approve:stop.tel.tel1", "stop:db@a"]);
    assert_eq!(after(&plan, "stop:db@a"), ["approve:stop.tel.tel1 up"]);
}

/// A person approves by the gate's name: a name that is cut would be that of another one, too.
#[test]
fn the_gate_of_what_a_person_stops_has_the_whole_names_of_service_and_node() {
    let long = |last: &str| format!("{}{last}", "n".repeat(62));
    let (one, other) = (long("1"), long("2"));
    let service = "s".repeat(63);
    let mut cluster = Cluster::new()
        .service("db", &["a"])
        .service(&service, &[&one, &other])
        .requires(&service, &["db"]);
    for node in [&one, &other] {
        cluster = cluster.with_node(node, |node| {
            node.agentless = Some(vec![name("mgmt1")]);
            node.power.as_mut().unwrap().shutdown = ShutdownBy::Manual;
        });
    }
    let mut seen = cluster.all_up(&[]);
    for node in [&one, &other] {
        seen.node(node).liveness = Liveness::Unheard;
        seen.node(node).instances.clear();
    }
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["db"]))
        .seeing(&seen)
        .plan();
    let gates: BTreeSet<String> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Approve { gate, .. } => Some(gate.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(
        Vec::from_iter(gates),
        [
            format!("stop.{service}.{one}"),
            format!("stop.{service}.{other}")
        ]
    );
}

#[test]
fn what_no_agent_can_start_is_waited_for_by_its_checks() {
    let cluster = with_agentless();
    let mut seen = cluster.all_down();
    seen.node("tel1").liveness = Liveness::Unheard;
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .plan();
    assert_eq!(
        ids(&plan),
        [
            "power-on:a",
            "start:db@a",
            "power-on:tel1",
            "check:tel@tel1"
        ]
    );
    assert_eq!(after(&plan, "power-on:tel1"), ["start:db@a healthy"]);
    assert_eq!(
        checks(&plan, "check:tel@tel1").1,
        ["tel.sip@mgmt1"],
        "run from the node that probes it"
    );
}

#[test]
fn two_services_that_only_go_with_their_machine_do_not_wait_for_each_other() {
    let cluster = with_agentless()
        .service("rec", &["tel1"])
        .requires("rec", &["tel"]);
    let plan = ask(&cluster, PlanKind::Shutdown, nodes(&["tel1"]))
        .seeing(&silent(&cluster))
        .plan();
    assert_eq!(ids(&plan), ["approve:power-off.tel1", "power-off:tel1"]);
}

#[test]
fn an_order_that_a_machine_without_agent_makes_impossible_is_refused() {
    // web on tel1 must go before db, and log on tel1 after it: one machine cannot do both at once.
    let cluster = with_agentless()
        .service("log", &["tel1"])
        .requires("db", &["log"]);
    let refusal = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&silent(&cluster))
        .refusal();
    assert!(refusal[0].contains("no order is possible"), "{refusal:?}");
}

#[test]
fn machines_that_carry_services_crosswise_still_get_an_order() {
    let cluster = Cluster::new()
        .service("db", &["b"])
        .service("web", &["a"])
        .service("store", &["a"])
        .service("app", &["b"])
        .requires("web", &["db"])
        .requires("app", &["store"]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All).plan();
    assert!(precedes(&plan, "stop:web@a", Wait::Down, "stop:db@b"));
    assert!(precedes(&plan, "stop:app@b", Wait::Down, "stop:store@a"));
    ask(&cluster, PlanKind::Startup, Scope::All).plan();
}

/// Mail runs on a, and the spec has it no more.
fn with_mail(cluster: &Cluster) -> Seen {
    let mut seen = cluster.all_up(&[]);
    let why = "mail was running, and generation 6 does not have it".to_owned();
    seen.node("a").let_go.insert(name("mail"), why);
    seen
}

const ASKS: &str = "approve:let-go.mail.a";

#[test]
fn a_person_is_asked_before_a_machine_goes_under_what_the_spec_has_no_more() {
    let cluster = Cluster::new().service("db", &["a", "b"]);
    let seen = with_mail(&cluster);
    for (kind, goes) in [
        (PlanKind::Shutdown, "power-off:a"),
        (PlanKind::Reboot, "reboot:a"),
    ] {
        for scope in [nodes(&["a"]), Scope::All] {
            let outcome = ask(&cluster, kind, scope).seeing(&seen).outcome();
            let told = outcome.report.to_string();
            assert!(told.contains("warning: mail@a: mail was running"), "{told}");
            let plan = outcome.plan.unwrap().plan().clone();
            assert!(after(&plan, goes).contains(&format!("{ASKS} up")));
            let asked = ids(&plan);
            let asked = asked.iter().filter(|id| id.starts_with("approve:"));
            assert_eq!(asked.count(), 1, "of the one machine alone");

            let mut bad = plan;
            for step in &mut bad.steps {
                step.after.retain(|edge| edge.step.as_str() != ASKS);
            }
            let found = checker::check(&cluster.0, &bad, Some(&seen.0));
            let is_said = |it: &Violation| matches!(it, Violation::NotStopped { service, .. } if service.as_str() == "mail");
            assert!(found.iter().any(is_said), "{found:?}");
        }
    }
    // What switches no machine has nothing to ask.
    let plan = ask(&cluster, PlanKind::Shutdown, services(&["db"]));
    assert!(!ids(&plan.seeing(&seen).plan()).contains(&ASKS));
}

#[test]
fn who_shuts_a_machine_down_by_hand_is_asked_after_that() {
    let cluster = Cluster::new().service("db", &["a"]).with_node("a", |node| {
        node.power.as_mut().unwrap().shutdown = ShutdownBy::Manual;
    });
    let seen = with_mail(&cluster);
    let plan = ask(&cluster, PlanKind::Shutdown, nodes(&["a"])).seeing(&seen);
    let plan = plan.plan();
    assert!(after(&plan, "approve:power-off.a").contains(&format!("{ASKS} up")));
}

#[test]
fn a_later_batch_is_asked_about_when_its_turn_comes() {
    let cluster = Cluster::new().service("db", &["a", "b"]).with("db", |db| {
        db.at_least = 0;
    });
    let seen = with_mail(&cluster);
    let plan = ask(&cluster, PlanKind::Reboot, Scope::All).seeing(&seen);
    let plan = plan.plan();
    // a goes first here; the one behind it waits for it as ever.
    assert!(precedes(&plan, ASKS, Wait::Up, "reboot:a"));
    assert!(precedes(&plan, "reboot:a", Wait::Up, "reboot:b"));
    let mut seen = cluster.all_up(&[]);
    let why = "mail was running, and generation 6 does not have it".to_owned();
    seen.node("b").let_go.insert(name("mail"), why);
    let plan = ask(&cluster, PlanKind::Reboot, Scope::All).seeing(&seen);
    let plan = plan.plan();
    assert!(precedes(
        &plan,
        "reboot:a",
        Wait::Up,
        "approve:let-go.mail.b"
    ));
    assert!(precedes(&plan, "reboot:a", Wait::Up, "reboot:b"));
}
