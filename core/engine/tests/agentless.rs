//! What runs on a machine without an agent: it is there while the machine is on, and its checks say whether it is well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    CheckReport, Coordinator, FromAgent, Hello, Loaded, PlugList, ServiceHealth, ServiceStatus,
    Standing, ToAgent,
};
use interlock_model::action::{FenceAction, Power};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::NodeObservation;
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

/// pdu carries fax, whose line a probes, and has a power source.
fn switched() -> Coordinator {
    switched_after("1")
}

/// With a check that is bad after so many failures.
fn switched_after(fail: &str) -> Coordinator {
    let mut coordinator = bench();
    let check = format!("checks: {{ line: {{ tcp: '{{address}}:5061', fail: {fail} }} }}");
    let text = SPEC.replace(
        "fax: { nodes: [pdu] }",
        &format!("fax: {{ nodes: [pdu], {check} }}"),
    );
    let spec = Spec::parse(text.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", NOW);
    coordinator.take_output();
    coordinator
}

fn later(seconds: u64) -> Now {
    Now {
        mono: NOW.mono + Duration::from_secs(seconds),
        wall: Timestamp(NOW.wall.0 + seconds * 1000),
    }
}

/// The line of fax is looked at.
fn line(coordinator: &mut Coordinator, verdict: Verdict, now: Now) {
    let report = CheckReport {
        id: CheckId {
            service: "fax".parse().unwrap(),
            check: "line".parse().unwrap(),
        },
        verdict,
        evidence: "seen".into(),
        value: None,
        paused: false,
        age: Duration::ZERO,
        after: 0,
    };
    let message = FromAgent::Observed {
        full: false,
        generation: Generation(2),
        instances: Vec::new(),
        checks: vec![report],
        refuses: Vec::new(),
    };
    coordinator.agent(&named("a"), message, now);
}

/// The power source of pdu is asked, and says off.
fn says_off(coordinator: &mut Coordinator, now: Now) {
    coordinator.ask_power(&named("pdu"), now);
    answers_off(coordinator, now);
}

/// What was asked of power sources is answered with off.
fn answers_off(coordinator: &mut Coordinator, now: Now) {
    for send in coordinator.take_output().sends {
        if let ToAgent::AskPower { ask, call } = send.message {
            let answer = match call.action {
                FenceAction::List => FromAgent::Plugs {
                    ask,
                    list: PlugList::Failed("it has no list".into()),
                },
                _ => FromAgent::Power {
                    ask,
                    node: call.node,
                    power: Power::Off,
                    detail: "OFF".into(),
                },
            };
            coordinator.agent(&send.to, answer, now);
        }
    }
}

/// How many times people have been told of a contradicted plug since they were last asked.
fn contradictions(coordinator: &mut Coordinator) -> usize {
    let writes = coordinator.take_output().writes.into_iter();
    let texts = writes.filter_map(|write| String::from_utf8(write.value?).ok());
    texts.filter(|it| it.contains("power-contradicted")).count()
}

fn of_pdu(coordinator: &Coordinator, now: Now) -> NodeObservation {
    let spec = Arc::clone(&coordinator.applied().unwrap().spec);
    let seen = coordinator.view().snapshot(&spec, now);
    seen.node(&named("pdu")).unwrap().clone()
}

#[test]
fn a_machine_that_answers_is_not_off_whatever_its_power_source_says() {
    let mut coordinator = switched();
    line(&mut coordinator, Verdict::Ok, later(1));
    says_off(&mut coordinator, later(2));
    // It may have gone off since; nobody is told that it is.
    let seen = of_pdu(&coordinator, later(2));
    assert_eq!(seen.power, Power::Unknown);
    let why = seen.contradicted.unwrap();
    assert!(
        why.contains("kvm says off, but fax.line on a is ok"),
        "{why}"
    );

    // It answers still: the plug is another machine's.
    line(&mut coordinator, Verdict::Ok, later(4));
    coordinator.tick(later(4));
    assert!(!coordinator.view().is_off(&named("pdu")));
    assert_eq!(contradictions(&mut coordinator), 1);
    let causes = coordinator.causes(later(4));
    let only = causes.iter().find(|it| it.subject == "fax").unwrap();
    assert!(
        only.what.contains("whether pdu is on is unknown"),
        "{only:?}"
    );
    assert!(only.what.contains("says off"), "{only:?}");

    // The same answer again is the same contradiction, told once.
    says_off(&mut coordinator, later(6));
    coordinator.tick(later(6));
    assert_eq!(of_pdu(&coordinator, later(6)).power, Power::Unknown);
    assert_eq!(contradictions(&mut coordinator), 0);

    // It answers no more.
    line(&mut coordinator, Verdict::Bad, later(8));
    says_off(&mut coordinator, later(9));
    assert_eq!(of_pdu(&coordinator, later(9)).power, Power::Off);
    assert_eq!(of_pdu(&coordinator, later(9)).contradicted, None);
}

#[test]
fn a_check_that_needs_several_failures_is_no_proof_that_a_machine_is_on_before_it_had_time_for_them()
 {
    let mut coordinator = switched_after("3");
    says_off(&mut coordinator, later(2));
    for seconds in [4, 9] {
        line(&mut coordinator, Verdict::Ok, later(seconds));
        coordinator.tick(later(seconds));
        assert!(coordinator.view().is_off(&named("pdu")));
        assert_eq!(contradictions(&mut coordinator), 0);
    }
    line(&mut coordinator, Verdict::Ok, later(40));
    coordinator.tick(later(40));
    assert!(!coordinator.view().is_off(&named("pdu")));
    assert_eq!(contradictions(&mut coordinator), 1);
}

#[test]
fn no_plug_is_verified_that_says_off_of_a_machine_that_answers() {
    let pdu = named("pdu");
    for (verdict, contradicted) in [(Verdict::Ok, true), (Verdict::Bad, false)] {
        let mut coordinator = switched();
        line(&mut coordinator, Verdict::Ok, later(1));
        coordinator.begin_verification(std::slice::from_ref(&pdu), later(2));
        // For its plugs first, and then about this one.
        for _ in 0..2 {
            answers_off(&mut coordinator, later(2));
        }
        let since = later(2).mono;
        let mut finding = |at_last, now| {
            coordinator.finding(&pdu, since, at_last, Some("I am sure"), "anna", now)
        };
        assert_eq!(finding(false, later(3)), None, "too early to tell");
        let late = finding(true, later(3)).unwrap();
        assert_eq!(late.standing, Standing::Unproven, "{late:?}");
        assert!(late.detail.contains("ask again"), "{late:?}");
        line(&mut coordinator, verdict, later(4));
        let found = coordinator
            .finding(&pdu, since, false, Some("I am sure"), "anna", later(5))
            .unwrap();
        assert_eq!(
            matches!(found.standing, Standing::Contradicted { .. }),
            contradicted,
            "{found:?}"
        );
        assert_eq!(coordinator.verification(&pdu).is_none(), contradicted);
    }
}
