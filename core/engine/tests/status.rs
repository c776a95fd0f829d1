//! How services are told to be, and what is behind it: what is not known is unknown, and what was ordered is no fault.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Cause, CheckReport, Coordinator, FromAgent, Hello, Loaded, ServiceHealth, ServiceStatus,
    ToAgent,
};
use interlock_model::action::Power;
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
control: { heartbeat: 1s, late: 5s, lost: 60s }
power: { kvm: { fence: fence_virsh, via: [mgmt1], options: { ip: 10.0.0.9 } } }
nodes:
  mgmt1: { address: 10.0.0.5 }
  db1: { address: 10.0.0.1, power: { by: kvm, plug: db1 } }
  \"jb[1-3]\": { address: \"10.0.0.[11-13]\" }
services:
  nfs: { external: true, checks: { up: { tcp: 10.0.0.9:2049, from: consumers, every: 2s, timeout: 1s, fresh: 10s } } }
  db:
    nodes: [db1]
    active: all
    manager: { systemd: { unit: db.service } }
    checks: { answers: { tcp: \"{address}:3306\", every: 2s, timeout: 1s, fresh: 6s } }
  jb:
    nodes: \"jb[1-3]\"
    active: all
    at_least: 2
    manager: { systemd: { unit: jb.service } }
    requires: [db, nfs]
    checks: { web: { http: \"http://{address}:8080/status\", paused: { /state: paused }, every: 2s, timeout: 1s, fresh: 60s } }
";

/// The nodes; no service is on the first.
const NODES: [&str; 5] = ["mgmt1", "db1", "jb1", "jb2", "jb3"];

/// A coordinator at a second of its clock.
struct Bench {
    coordinator: Coordinator,
    seconds: u64,
}

impl Bench {
    /// All agents are there, all instances run, all checks are green.
    fn well() -> Self {
        let mut bench = Self {
            coordinator: Coordinator::recover(Term(1), Loaded::default()).unwrap(),
            seconds: 100,
        };
        let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
        let now = bench.now();
        bench
            .coordinator
            .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
        for node in NODES {
            let hello = Hello {
                boot: BootId(format!("boot of {node}")),
                generation: Generation(1),
                ..Hello::default()
            };
            bench.told(node, FromAgent::Hello(Box::new(hello)));
        }
        bench.instance(
            "db1",
            "db",
            InstanceState::Running,
            Some(Wanted::Running),
            "",
        );
        bench.check("db1", "db.answers", Verdict::Ok);
        for node in ["jb1", "jb2", "jb3"] {
            bench.instance(
                node,
                "jb",
                InstanceState::Running,
                Some(Wanted::Running),
                "",
            );
            bench.check(node, "nfs.up", Verdict::Ok);
            bench.check(node, "jb.web", Verdict::Ok);
        }
        for service in ["nfs", "db", "jb"] {
            assert_eq!(bench.status(service).health, ServiceHealth::Ok);
        }
        assert_eq!(bench.causes(), []);
        bench
    }

    fn now(&self) -> Now {
        Now {
            mono: Duration::from_secs(self.seconds),
            wall: Timestamp(self.seconds * 1000),
        }
    }

    fn told(&mut self, node: &str, message: FromAgent) {
        let node: NodeName = node.parse().unwrap();
        let now = self.now();
        self.coordinator.agent(&node, message, now);
    }

    fn instance(
        &mut self,
        node: &str,
        service: &str,
        state: InstanceState,
        wanted: Option<Wanted>,
        reason: &str,
    ) {
        let seen = InstanceObservation {
            state,
            wanted,
            reason: reason.to_owned(),
            ..InstanceObservation::default()
        };
        let instances = vec![(service.parse().unwrap(), seen)];
        self.observed(node, instances, Vec::new());
    }

    fn check(&mut self, node: &str, id: &str, verdict: Verdict) {
        let (service, check) = id.split_once('.').unwrap();
        let report = CheckReport {
            id: CheckId {
                service: service.parse().unwrap(),
                check: check.parse().unwrap(),
            },
            verdict,
            evidence: "seen".into(),
            value: None,
            paused: false,
            age: Duration::ZERO,
            after: 0,
        };
        self.observed(node, Vec::new(), vec![report]);
    }

    /// The instance says of itself that it waits.
    fn paused(&mut self, node: &str, id: &str, why: &str) {
        let (service, check) = id.split_once('.').unwrap();
        let report = CheckReport {
            id: CheckId {
                service: service.parse().unwrap(),
                check: check.parse().unwrap(),
            },
            verdict: Verdict::Bad,
            evidence: why.to_owned(),
            value: None,
            paused: true,
            age: Duration::ZERO,
            after: 0,
        };
        self.observed(node, Vec::new(), vec![report]);
    }

    fn observed(
        &mut self,
        node: &str,
        instances: Vec<(interlock_model::names::ServiceName, InstanceObservation)>,
        checks: Vec<CheckReport>,
    ) {
        let message = FromAgent::Observed {
            full: false,
            generation: Generation(1),
            instances,
            checks,
            refuses: Vec::new(),
        };
        self.told(node, message);
    }

    /// Time passes without a word from this node; the others beat, and what they check stays green.
    fn silent(&mut self, node: &str, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            for other in NODES.iter().filter(|it| **it != node) {
                match *other {
                    "mgmt1" => self.told(other, FromAgent::Heartbeat),
                    "db1" => self.check(other, "db.answers", Verdict::Ok),
                    _ => self.check(other, "nfs.up", Verdict::Ok),
                }
            }
            let now = self.now();
            self.coordinator.tick(now);
        }
    }

    /// What jb checks of itself is green, and that was just seen.
    fn jb_is_well(&mut self) {
        for node in ["jb1", "jb2", "jb3"] {
            self.check(node, "jb.web", Verdict::Ok);
        }
    }

    fn status(&self, service: &str) -> ServiceStatus {
        let services = self.coordinator.services(self.now());
        let found = services
            .into_iter()
            .find(|status| status.service.as_str() == service);
        found.unwrap()
    }

    fn causes(&self) -> Vec<Cause> {
        self.coordinator.causes(self.now())
    }
}

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
