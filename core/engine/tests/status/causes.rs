//! What is behind it.

use std::sync::Arc;

use interlock_engine::coordinator::{Cause, FromAgent, Hello, ServiceHealth, ToAgent};
use interlock_model::action::Power;
use interlock_model::check::Verdict;
use interlock_model::ids::BootId;
use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::spec::Spec;

use crate::bench::{Bench, NODES, SPEC};

#[test]
fn a_service_whose_instances_wait_is_paused_with_what_they_wait_for_and_suffers_from_one_cause() {
    let mut bench = Bench::well();
    bench.instance(
        "db1",
        "db",
        InstanceState::Failed,
        Some(Wanted::Running),
        "exit code 1",
    );
    for node in ["jb1", "jb2", "jb3"] {
        bench.paused(node, "jb.web", "it waits for db");
    }
    let jb = bench.status("jb");
    assert_eq!(jb.health, ServiceHealth::Paused);
    assert!(
        jb.reason.contains("jb1 is paused: it waits for db"),
        "{}",
        jb.reason
    );
    let causes = bench.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].dependants, ["jb"]);

    // What answers well again is no longer paused.
    bench.instance(
        "db1",
        "db",
        InstanceState::Running,
        Some(Wanted::Running),
        "",
    );
    for node in ["jb1", "jb2", "jb3"] {
        bench.check(node, "jb.web", Verdict::Ok);
    }
    assert_eq!(bench.status("jb").health, ServiceHealth::Ok);
}

#[test]
fn the_silence_of_an_agent_without_services_is_a_cause_with_the_power_devices_that_need_it() {
    let mut bench = Bench::well();
    for (more, what) in [
        (4, None),
        (3, Some("late: its agent was last heard 7s ago")),
        (53, Some("lost: its agent was last heard 60s ago")),
    ] {
        bench.silent("mgmt1", more);
        let expected: Vec<Cause> = what
            .map(|what| Cause {
                subject: "mgmt1".to_owned(),
                what: what.to_owned(),
                dependants: vec!["power device kvm".to_owned()],
            })
            .into_iter()
            .collect();
        assert_eq!(bench.causes(), expected);
        assert_eq!(bench.status("jb").health, ServiceHealth::Ok);
    }
    bench.told("mgmt1", FromAgent::Heartbeat);
    assert_eq!(bench.causes(), []);
}

#[test]
fn the_silence_of_an_agent_is_told_once_by_the_service_on_it_or_by_itself() {
    let mut bench = Bench::well();
    // Late, and what it said of its instance is not yet too old: no service tells of it.
    bench.silent("jb3", 7);
    let causes = bench.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].subject, "jb3");
    bench.silent("jb3", 53);
    let causes = bench.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].subject, "jb");
    assert!(causes[0].what.contains("jb3 is lost"), "{causes:?}");
}

#[test]
fn an_agent_that_was_never_heard_is_a_cause() {
    let mut bench = Bench::well();
    let more = SPEC.replace("  mgmt1:", "  mgmt2: { address: 10.0.0.6 }\n  mgmt1:");
    let spec = Spec::parse(more.as_bytes(), "bench.yaml").unwrap().spec;
    let now = bench.now();
    bench
        .coordinator
        .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
    let causes = bench.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].subject, "mgmt2");
    assert!(causes[0].what.starts_with("unheard: "), "{causes:?}");
}

/// What was wanted of the instance on db1, and then its machine is off by its power source's word.
fn machine_off(wanted: Wanted) -> Bench {
    let mut bench = Bench::well();
    if wanted == Wanted::Stopped {
        bench.instance("db1", "db", InstanceState::Stopped, Some(wanted), "");
    }
    bench.silent("db1", 70);
    let sends = bench.coordinator.take_output().sends;
    let asked = sends.iter().rev().find_map(|send| match &send.message {
        ToAgent::AskPower { ask, call } if call.node.as_str() == "db1" => Some(*ask),
        _ => None,
    });
    let off = FromAgent::Power {
        ask: asked.unwrap(),
        node: "db1".parse().unwrap(),
        power: Power::Off,
        detail: "off".into(),
    };
    bench.told("mgmt1", off);
    bench.jb_is_well();
    bench
}

#[test]
fn a_machine_that_went_off_under_what_is_wanted_running_is_the_cause() {
    let mut bench = machine_off(Wanted::Running);
    let db = bench.status("db");
    assert_eq!(
        (db.health, db.reason.as_str()),
        (
            ServiceHealth::Down,
            "db1 is off, and it is wanted running there"
        )
    );
    let [cause] = &bench.causes()[..] else {
        panic!("{:?}", bench.causes())
    };
    assert_eq!(cause.subject, "db1");
    assert_eq!(cause.dependants, ["db"]);
    assert!(cause.what.starts_with("off: "), "{}", cause.what);
    // The source is asked again and again.
    bench.silent("db1", 30);
    assert_eq!(bench.causes().len(), 1);
    bench.jb_is_well();
    // It is back, and tells itself how it is.
    let hello = Hello {
        boot: BootId("another".into()),
        ..Hello::default()
    };
    bench.told("db1", FromAgent::Hello(Box::new(hello)));
    bench.instance(
        "db1",
        "db",
        InstanceState::Stopped,
        Some(Wanted::Stopped),
        "",
    );
    assert_eq!(bench.causes(), []);
}

#[test]
fn a_machine_that_went_off_after_what_it_carried_was_stopped_is_no_cause() {
    let bench = machine_off(Wanted::Stopped);
    assert_eq!(bench.status("db").health, ServiceHealth::Stopped);
    assert_eq!(bench.causes(), []);
}

/// A store that was lost turns every agent away: they are not silent, and nothing is wrong with their machines.
#[test]
fn agents_that_are_not_let_in_are_one_cause_with_the_reason_and_not_dead_machines() {
    let mut bench = Bench::well();
    let why = "this agent works for the store s1, and this coordinator has the store s2";
    let mut news = 0;
    let mut knock = |bench: &mut Bench| {
        for node in NODES {
            let now = bench.now();
            let node = node.parse().unwrap();
            bench.coordinator.session_closed(&node);
            news += usize::from(bench.coordinator.turn_away(&node, why, now));
        }
    };
    knock(&mut bench);
    bench.seconds += 60;
    let now = bench.now();
    bench.coordinator.tick(now);
    knock(&mut bench);
    let causes = bench.causes();
    // But for what is outside of the cluster, and seen by nobody now.
    let (outside, inside): (Vec<_>, Vec<_>) = causes.iter().partition(|it| it.subject == "nfs");
    assert_eq!((outside.len(), inside.len()), (1, 1), "{causes:?}");
    assert_eq!(inside[0].subject, "db1, jb1, jb2, jb3 and mgmt1");
    assert_eq!(inside[0].what, format!("refused: {why}"));
    assert_eq!(inside[0].dependants, ["db", "jb"]);
    let reason = bench.status("db").reason;
    assert_eq!(reason, "db1 is lost: its agent is refused");
    assert_eq!(news, NODES.len(), "each is told of once");

    // One that knocks no more is silent.
    bench.seconds += 60;
    let causes = bench.causes();
    assert!(
        !causes.iter().any(|cause| cause.what.contains("refused")),
        "{causes:?}"
    );
    // One that is let in is told of again when it is not.
    let hello = Hello::default();
    let (node, now) = ("db1".parse().unwrap(), bench.now());
    bench.coordinator.believe(&node, &hello, now).unwrap();
    assert!(bench.coordinator.turn_away(&node, why, now));
}

/// A service on two nodes beside the one that is there, so that a silent agent silences both.
fn with_a_neighbour() -> Bench {
    let mut bench = Bench::well();
    let neighbour =
        "  mon: { nodes: [db1, jb1], active: all, manager: { systemd: { unit: mon.service } } }\n";
    let more = format!("{SPEC}{neighbour}");
    let spec = Spec::parse(more.as_bytes(), "bench.yaml").unwrap().spec;
    let now = bench.now();
    bench
        .coordinator
        .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
    for node in ["db1", "jb1"] {
        let running = InstanceState::Running;
        bench.instance(node, "mon", running, Some(Wanted::Running), "");
    }
    assert_eq!(bench.causes(), []);
    bench
}

#[test]
fn an_agent_that_is_lost_under_two_services_is_one_cause_and_both_suffer_from_it() {
    let mut bench = with_a_neighbour();
    bench.silent("db1", 60);
    bench.jb_is_well();
    for service in ["db", "mon"] {
        assert!(bench.status(service).reason.contains("db1 is lost"));
    }
    let [cause] = &bench.causes()[..] else {
        panic!("{:?}", bench.causes())
    };
    assert_eq!(cause.subject, "db1");
    assert_eq!(cause.what, "lost: its agent was last heard 60s ago");
    assert_eq!(cause.dependants, ["db", "mon"]);

    // What is wrong besides is told as well.
    bench.instance(
        "jb1",
        "mon",
        InstanceState::Failed,
        Some(Wanted::Running),
        "exit code 1",
    );
    let causes = bench.causes();
    let of = |subject: &str| causes.iter().find(|cause| cause.subject == subject);
    assert!(
        of("mon").unwrap().what.contains("exit code 1"),
        "{causes:?}"
    );
    assert!(of("db").is_some() && causes.len() == 2, "{causes:?}");
}

#[test]
fn an_agent_that_is_refused_is_one_cause_also_where_the_service_still_works() {
    let mut bench = Bench::well();
    let (node, now) = ("jb3".parse().unwrap(), bench.now());
    let why = "this agent works for the store s1, and this coordinator has the store s2";
    bench.coordinator.session_closed(&node);
    bench.coordinator.turn_away(&node, why, now);
    bench.silent("jb3", 60);
    bench.jb_is_well();
    let now = bench.now();
    bench.coordinator.turn_away(&node, why, now);
    assert_eq!(bench.status("jb").health, ServiceHealth::Degraded);
    let [cause] = &bench.causes()[..] else {
        panic!("{:?}", bench.causes())
    };
    assert_eq!(cause.subject, "jb3");
    assert!(cause.what.starts_with("refused: "), "{}", cause.what);
}
