//! What runs on a machine without an agent: it is there while the machine is on, and its checks say whether it is well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    CheckReport, Coordinator, FromAgent, Hello, Loaded, ServiceHealth, ServiceStatus,
};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
power: { kvm: { fence: fence_virsh, via: [a] } }
nodes:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
  box: { address: 10.0.0.8, agentless: { probes_from: [a, b] } }
  pdu: { address: 10.0.0.9, agentless: { probes_from: [a] }, power: { by: kvm, plug: '9' } }
services:
  pbx: { nodes: [box], checks: { sip: { tcp: '{address}:5060' } } }
  fax: { nodes: [pdu] }
";

const NOW: Now = Now {
    mono: Duration::from_secs(100),
    wall: Timestamp(100_000),
};

fn bench() -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", NOW);
    for node in ["a", "b"] {
        let hello = Hello {
            boot: BootId(format!("boot of {node}")),
            generation: Generation(1),
            ..Hello::default()
        };
        let message = FromAgent::Hello(Box::new(hello));
        coordinator.agent(&named(node), message, NOW);
    }
    coordinator
}

fn named(node: &str) -> NodeName {
    node.parse().unwrap()
}

fn sees(coordinator: &mut Coordinator, verdict: Verdict) {
    finds(coordinator, "a", verdict);
}

fn finds(coordinator: &mut Coordinator, node: &str, verdict: Verdict) {
    let id = CheckId {
        service: "pbx".parse().unwrap(),
        check: "sip".parse().unwrap(),
    };
    let report = CheckReport {
        id,
        verdict,
        evidence: "seen".into(),
        value: None,
        paused: false,
        age: Duration::ZERO,
        after: 0,
    };
    let message = FromAgent::Observed {
        full: false,
        generation: Generation(1),
        instances: Vec::new(),
        checks: vec![report],
        refuses: Vec::new(),
    };
    coordinator.agent(&named(node), message, NOW);
}

fn status(coordinator: &Coordinator, service: &str) -> ServiceStatus {
    let mut all = coordinator.services(NOW).into_iter();
    all.find(|status| status.service.as_str() == service)
        .unwrap()
}

#[test]
fn it_is_as_well_as_its_checks_which_run_elsewhere() {
    let mut coordinator = bench();
    sees(&mut coordinator, Verdict::Ok);
    let pbx = status(&coordinator, "pbx");
    assert_eq!((pbx.health, pbx.healthy), (ServiceHealth::Ok, 1));
    assert!(!pbx.at_fault, "{}", pbx.reason);

    sees(&mut coordinator, Verdict::Bad);
    let pbx = status(&coordinator, "pbx");
    assert_eq!(pbx.health, ServiceHealth::Down);
    assert_eq!(pbx.reason, "pbx.sip on a is bad: seen");
}

#[test]
fn it_is_unknown_while_its_power_source_has_not_said_whether_the_machine_is_on() {
    let coordinator = bench();
    let fax = status(&coordinator, "fax");
    assert_eq!(fax.health, ServiceHealth::Unknown);
    assert_eq!(
        fax.reason,
        "pdu has no agent, and its power source has not said whether it is on"
    );
}

#[test]
fn the_word_of_the_first_prober_that_is_heard_counts() {
    let mut coordinator = bench();
    finds(&mut coordinator, "a", Verdict::Ok);
    finds(&mut coordinator, "b", Verdict::Bad);
    assert_eq!(status(&coordinator, "pbx").health, ServiceHealth::Ok);

    // The first is lost, and nothing is unknown for that.
    finds(&mut coordinator, "b", Verdict::Ok);
    coordinator.session_closed(&named("a"));
    let pbx = status(&coordinator, "pbx");
    assert_eq!((pbx.health, pbx.healthy), (ServiceHealth::Ok, 1));
    finds(&mut coordinator, "b", Verdict::Bad);
    assert_eq!(
        status(&coordinator, "pbx").reason,
        "pbx.sip on b is bad: seen"
    );

    // What a plan asks of the one that is lost, the other tells.
    let spec = Arc::clone(&coordinator.applied().unwrap().spec);
    let sip = CheckId {
        service: "pbx".parse().unwrap(),
        check: "sip".parse().unwrap(),
    };
    let view = coordinator.view();
    let seen = view.check(&spec, &named("a"), &sip, NOW);
    assert_eq!(seen.verdict, Verdict::Bad);
    assert_eq!(seen.evidence, "from b, since a is not heard: seen");

    // With nobody left it is unknown.
    coordinator.session_closed(&named("b"));
    assert_eq!(status(&coordinator, "pbx").health, ServiceHealth::Unknown);
}
