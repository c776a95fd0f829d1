//! How a service is.

use std::time::Duration;

use interlock_engine::coordinator::{FromAgent, ServiceHealth};
use interlock_model::check::Verdict;
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};

use crate::bench::{Bench, NODES};

#[test]
fn a_service_whose_agent_is_late_is_unknown_and_never_down() {
    let mut bench = Bench::well();
    // Its last check is too old before it is lost, and of a lost agent nothing is known.
    for _ in 0..80 {
        bench.silent("db1", 1);
        let db = bench.status("db");
        let expected = [ServiceHealth::Ok, ServiceHealth::Unknown];
        assert!(
            expected.contains(&db.health),
            "{} s: {} {}",
            bench.seconds - 100,
            db.health,
            db.reason
        );
    }
    let db = bench.status("db");
    assert_eq!(
        (db.health, db.reason.as_str()),
        (ServiceHealth::Unknown, "db1 is lost")
    );
}

/// What was seen last, how long ago and by whom, is what an operator has until the agent is back.
#[test]
fn a_check_of_a_lost_agent_is_unknown_and_keeps_what_was_seen_last_with_its_age() {
    let mut bench = Bench::well();
    bench.silent("db1", 60);
    let observations = bench.coordinator.observations(bench.now());
    let node: NodeName = "db1".parse().unwrap();
    let node = &observations.nodes[&node];
    let (_, check) = node.checks.first_key_value().unwrap();
    assert_eq!(check.verdict, Verdict::Unknown);
    assert_eq!(check.age, Some(Duration::from_secs(60)), "{check:?}");
    assert!(
        check
            .evidence
            .starts_with("the agent of db1 is lost (last, 60s ago: "),
        "{}",
        check.evidence
    );
}

#[test]
fn a_check_that_is_too_old_makes_a_service_unknown_with_the_check_as_the_reason() {
    let mut bench = Bench::well();
    bench.silent("db1", 8);
    let db = bench.status("db");
    assert_eq!(db.health, ServiceHealth::Unknown);
    assert!(
        db.reason.contains("db.answers on db1 is unknown: too old"),
        "{}",
        db.reason
    );
    let causes = bench.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert!(causes[0].what.starts_with("unknown: "), "{causes:?}");
}

#[test]
fn what_is_known_to_be_too_few_is_down_whatever_else_is_unknown() {
    let mut bench = Bench::well();
    for node in ["jb1", "jb2"] {
        let wanted = Some(Wanted::Running);
        bench.instance(node, "jb", InstanceState::Failed, wanted, "exit code 1");
    }
    bench.silent("jb3", 80);
    assert_eq!(bench.status("jb").health, ServiceHealth::Down);
}

#[test]
fn a_stop_that_was_wanted_is_said_and_is_no_cause() {
    let mut bench = Bench::well();
    let wanted = Some(Wanted::Stopped);
    for state in [InstanceState::Stopping, InstanceState::Stopped] {
        bench.instance("jb3", "jb", state, wanted, "");
        let jb = bench.status("jb");
        assert_eq!(jb.health, ServiceHealth::Degraded);
        assert_eq!(jb.reason, format!("jb3 is {state}, as wanted"));
        assert!(!jb.at_fault);
        assert_eq!(bench.causes(), []);
    }
    // Fewer than it needs otherwise, and still nothing has gone wrong.
    for node in ["jb1", "jb2"] {
        bench.instance(node, "jb", InstanceState::Stopped, wanted, "");
    }
    assert_eq!(bench.status("jb").health, ServiceHealth::Stopped);
    bench.instance(
        "jb1",
        "jb",
        InstanceState::Running,
        Some(Wanted::Running),
        "",
    );
    let jb = bench.status("jb");
    assert_eq!(jb.health, ServiceHealth::Degraded);
    assert_eq!(jb.reason, "jb2 and jb3 are stopped, as wanted");
    assert_eq!(bench.causes(), []);
}

#[test]
fn a_stop_that_nobody_wanted_is_a_cause_with_its_reason() {
    for (wanted, said) in [
        (Some(Wanted::Running), "jb3 is stopped: stopped by hand"),
        (None, "jb3 is stopped, and no operation has wanted that"),
    ] {
        let mut bench = Bench::well();
        bench.instance(
            "jb3",
            "jb",
            InstanceState::Stopped,
            wanted,
            "stopped by hand",
        );
        let causes = bench.causes();
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].what, format!("degraded: {said}"));
    }
}

#[test]
fn an_instance_that_runs_without_what_looked_after_it_is_a_fault_with_what_to_do() {
    let mut bench = Bench::well();
    let seen = InstanceObservation {
        state: InstanceState::Running,
        wanted: Some(Wanted::Running),
        reason: "pid 7, without its shim, which was killed: restart it when it suits".to_owned(),
        orphaned: true,
        ..InstanceObservation::default()
    };
    bench.seen("jb1", "jb", seen.clone());
    let jb = bench.status("jb");
    assert_eq!(
        (jb.health, jb.healthy, jb.at_fault),
        (ServiceHealth::Degraded, 3, true)
    );
    assert_eq!(
        jb.reason,
        "jb1 is running: pid 7, without its shim, which was killed: restart it when it suits \
         (`interlockctl restart --service jb`)"
    );
    let kept = InstanceObservation {
        orphaned: false,
        ..seen
    };
    bench.seen("jb1", "jb", kept);
    assert_eq!(bench.status("jb").health, ServiceHealth::Ok);
}

#[test]
fn a_fault_is_told_before_what_was_wanted() {
    let mut bench = Bench::well();
    bench.instance(
        "jb1",
        "jb",
        InstanceState::Stopped,
        Some(Wanted::Stopped),
        "",
    );
    let wanted = Some(Wanted::Running);
    bench.instance("jb2", "jb", InstanceState::Failed, wanted, "exit code 1");
    let jb = bench.status("jb");
    assert_eq!(
        jb.reason,
        "jb2 is failed: exit code 1; jb1 is stopped, as wanted"
    );
    assert!(jb.at_fault);
}

#[test]
fn an_agent_that_speaks_and_cannot_tell_gives_its_reason() {
    let mut bench = Bench::well();
    let wanted = Some(Wanted::Running);
    bench.instance(
        "db1",
        "db",
        InstanceState::Unknown,
        wanted,
        "no D-Bus: connection refused",
    );
    let db = bench.status("db");
    assert_eq!(db.health, ServiceHealth::Unknown);
    assert_eq!(db.reason, "db1 is unknown: no D-Bus: connection refused");
}

#[test]
fn an_external_service_that_nobody_can_check_is_unknown_and_not_ok() {
    let mut bench = Bench::well();
    // The agents beat, and run no checks.
    for _ in 0..12 {
        bench.seconds += 1;
        for node in NODES {
            bench.told(node, FromAgent::Heartbeat);
        }
        bench.check("db1", "db.answers", Verdict::Ok);
    }
    let nfs = bench.status("nfs");
    assert_eq!(nfs.health, ServiceHealth::Unknown);
    assert!(nfs.reason.contains("too old"), "{}", nfs.reason);
    // One consumer that reaches it is enough to know.
    bench.check("jb2", "nfs.up", Verdict::Ok);
    assert_eq!(bench.status("nfs").health, ServiceHealth::Ok);
    bench.check("jb1", "nfs.up", Verdict::Bad);
    assert_eq!(bench.status("nfs").health, ServiceHealth::Down);
}

#[test]
fn a_check_of_an_agent_without_a_connection_says_what_is_missing() {
    let mut bench = Bench::well();
    bench.coordinator.session_closed(&"db1".parse().unwrap());
    let causes = bench.causes();
    assert!(
        causes[0]
            .what
            .contains("the agent of db1 is not connected, and was alive until then"),
        "{causes:?}"
    );
}

#[test]
fn what_consumers_cannot_tell_of_a_service_is_not_ok() {
    let mut bench = Bench::well();
    bench.check("jb1", "db.reached", Verdict::Unknown);
    let db = bench.status("db");
    assert_eq!(db.health, ServiceHealth::Degraded);
    assert_eq!(db.reason, "db.reached on jb1 is unknown: seen");
    assert_eq!(bench.causes()[0].subject, "db");
    for node in ["jb2", "jb3"] {
        bench.check(node, "db.reached", Verdict::Unknown);
    }
    assert_eq!(bench.status("db").health, ServiceHealth::Unknown);
    // What is known to be bad comes before what is not known.
    bench.check("jb1", "db.reached", Verdict::Bad);
    let db = bench.status("db");
    assert!(
        db.reason.starts_with("db.reached on jb1 is bad"),
        "{}",
        db.reason
    );
    for node in ["jb1", "jb2", "jb3"] {
        bench.check(node, "db.reached", Verdict::Ok);
    }
    assert_eq!(bench.status("db").health, ServiceHealth::Ok);
}

#[test]
fn every_node_that_sees_the_same_of_a_service_is_named_and_who_sees_another_thing_is_told_apart() {
    let mut bench = Bench::well();
    for node in ["jb1", "jb2", "jb3"] {
        bench.check(node, "db.reached", Verdict::Bad);
    }
    let db = bench.status("db");
    assert_eq!(db.reason, "db.reached on jb1, jb2 and jb3 is bad: seen");
    bench.finds("jb2", "db.reached", Verdict::Bad, "no route");
    let db = bench.status("db");
    assert_eq!(
        db.reason,
        "db.reached on jb1 and jb3 is bad: seen; db.reached on jb2 is bad: no route"
    );
}

#[test]
fn what_is_still_going_down_is_not_stopped() {
    let mut bench = Bench::well();
    let wanted = Some(Wanted::Stopped);
    bench.instance("jb1", "jb", InstanceState::Stopped, wanted, "");
    for node in ["jb2", "jb3"] {
        bench.instance(node, "jb", InstanceState::Stopping, wanted, "");
    }
    let jb = bench.status("jb");
    assert_eq!(jb.health, ServiceHealth::Stopping);
    assert_eq!(
        jb.reason,
        "jb1 is stopped, as wanted; jb2 and jb3 are stopping, as wanted"
    );
    assert_eq!(bench.causes(), []);
    for node in ["jb2", "jb3"] {
        bench.instance(node, "jb", InstanceState::Stopped, wanted, "");
    }
    assert_eq!(bench.status("jb").health, ServiceHealth::Stopped);
}

#[test]
fn who_differs_from_most_is_bad_and_where_there_is_no_most_everybody_is() {
    let mut bench = Bench::well();
    bench.says("jb3", "jb.version", "1.1");
    let jb = bench.status("jb");
    assert_eq!(jb.health, ServiceHealth::Degraded);
    assert_eq!(jb.reason, "jb.version on jb3 is bad: differs from jb1: 1.1");
    bench.says("jb2", "jb.version", "1.2");
    let jb = bench.status("jb");
    assert_eq!(jb.health, ServiceHealth::Down);
    assert_eq!(
        jb.reason,
        "jb.version on jb1 is bad: differs from jb2: 1.0; jb.version on jb2 is bad: differs from jb1: 1.2; and 1 more"
    );
    for node in ["jb1", "jb3"] {
        bench.says(node, "jb.version", "1.2");
    }
    assert_eq!(bench.status("jb").health, ServiceHealth::Ok);
}

#[test]
fn nobody_differs_from_the_last_word_of_a_node_that_is_lost() {
    let mut bench = Bench::well();
    bench.silent("jb3", 60);
    for node in ["jb1", "jb2"] {
        bench.check(node, "jb.web", Verdict::Ok);
    }
    bench.says("jb1", "jb.version", "1.1");
    bench.check("jb2", "jb.version", Verdict::Unknown);
    let reason = bench.status("jb").reason;
    assert!(reason.contains("jb3 is lost"), "{reason}");
    assert!(!reason.contains("differs"), "{reason}");
}
