//! The coordinator half from outside: what it makes of power sources that are slow, and of a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Cause, Coordinator, Event, FromAgent, Hello, Loaded, ToAgent};
use interlock_model::action::Power;
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
power: { box: { fence: fence_sim, via: [mgmt] } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: pa } }
";

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// A coordinator at second 100, with the agent of mgmt there.
fn coordinator() -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(
        Arc::new(spec),
        String::new(),
        String::new(),
        "admin",
        at(100),
    );
    says_hello(&mut coordinator, "mgmt", 100);
    coordinator.take_output();
    coordinator
}

fn says_hello(coordinator: &mut Coordinator, name: &str, seconds: u64) {
    let hello = Hello {
        boot: BootId(format!("boot-{seconds}")),
        ..Hello::default()
    };
    coordinator.agent(&node(name), FromAgent::Hello(Box::new(hello)), at(seconds));
}

/// The numbers of the questions to power sources that were sent since this was last asked.
fn questions(coordinator: &mut Coordinator) -> Vec<u64> {
    let sends = coordinator.take_output().sends;
    let asks = sends.iter().filter_map(|send| match &send.message {
        ToAgent::AskPower { ask, .. } => Some(*ask),
        _ => None,
    });
    asks.collect()
}

fn answers(coordinator: &mut Coordinator, ask: u64, power: Power, seconds: u64) {
    let answer = FromAgent::Power {
        ask,
        node: node("a"),
        power,
        detail: "status".into(),
    };
    coordinator.agent(&node("mgmt"), answer, at(seconds));
}

#[test]
fn an_answer_is_as_old_as_its_question() {
    let mut coordinator = coordinator();
    coordinator.ask_power(&node("a"), at(110));
    let ask = questions(&mut coordinator)[0];
    answers(&mut coordinator, ask, Power::On, 119);
    let view = coordinator.view();
    assert!(view.power_since(&node("a"), at(111).mono).is_none());
    assert!(view.power_since(&node("a"), at(110).mono).is_some());
}

#[test]
fn a_slow_off_does_not_take_away_a_machine_that_has_spoken_since() {
    let mut coordinator = coordinator();
    coordinator.ask_power(&node("a"), at(110));
    let ask = questions(&mut coordinator)[0];
    says_hello(&mut coordinator, "a", 112);
    answers(&mut coordinator, ask, Power::Off, 125);
    assert!(coordinator.view().alive(&node("a")));

    coordinator.ask_power(&node("a"), at(130));
    let ask = questions(&mut coordinator)[0];
    answers(&mut coordinator, ask, Power::Off, 131);
    assert!(
        !coordinator.view().alive(&node("a")),
        "that one was asked after it spoke"
    );
}

#[test]
fn a_machine_that_says_goodbye_between_question_and_answer_is_off_since_then() {
    let off = |opened| {
        let mut coordinator = coordinator();
        says_hello(&mut coordinator, "a", opened);
        coordinator.ask_power(&node("a"), at(110));
        let ask = questions(&mut coordinator)[0];
        beats(&mut coordinator, "a", 112);
        let goodbye = FromAgent::Goodbye("the machine goes down".into());
        coordinator.agent(&node("a"), goodbye, at(112));
        answers(&mut coordinator, ask, Power::Off, 115);
        coordinator
    };
    let coordinator = off(105);
    let view = coordinator.view();
    assert!(view.power_since(&node("a"), at(112).mono).is_some());
    assert!(view.power_since(&node("a"), at(113).mono).is_none());
    let causes = coordinator.causes(at(116));
    assert!(causes.iter().all(|it| it.subject != "a"), "{causes:?}");
    // It has come up after it was asked: that may be what was off.
    let booted = off(110);
    assert!(!booted.view().is_off(&node("a")));
}

#[test]
fn who_asks_while_a_question_is_under_way_gets_an_answer_of_their_own() {
    let mut coordinator = coordinator();
    coordinator.ask_power(&node("a"), at(110));
    coordinator.ask_power(&node("a"), at(111));
    let first = questions(&mut coordinator);
    assert_eq!(first.len(), 1, "one at a time");
    answers(&mut coordinator, first[0], Power::On, 112);
    let second = questions(&mut coordinator);
    assert_eq!(second.len(), 1);
    answers(&mut coordinator, first[0], Power::Off, 113);
    let said = coordinator.view().power_since(&node("a"), Duration::ZERO);
    assert_eq!(
        said.map(|(power, _)| power),
        Some(Power::On),
        "an answer counts once"
    );
}

#[test]
fn a_silent_node_is_asked_for_as_soon_as_somebody_can_ask() {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(
        Arc::new(spec),
        String::new(),
        String::new(),
        "admin",
        at(100),
    );
    coordinator.tick(at(100));
    assert_eq!(questions(&mut coordinator), [0; 0], "nobody is there yet");
    says_hello(&mut coordinator, "mgmt", 102);
    let asked = (103..110).find(|seconds| {
        coordinator.tick(at(*seconds));
        !questions(&mut coordinator).is_empty()
    });
    assert!(asked.is_some(), "not a minute later");
}

fn beats(coordinator: &mut Coordinator, name: &str, seconds: u64) {
    coordinator.agent(&node(name), FromAgent::Heartbeat, at(seconds));
}

/// What is known of the power of a, and why.
fn power(coordinator: &Coordinator) -> (Power, String) {
    let seen = coordinator.view().node(&node("a")).unwrap();
    let (power, _, why) = seen.power.clone().unwrap();
    (power, why)
}

#[test]
fn a_source_that_says_off_of_a_machine_that_speaks_is_contradicted_and_not_believed() {
    let mut coordinator = coordinator();
    says_hello(&mut coordinator, "a", 105);
    let mut told = 0;
    for second in 110..130 {
        beats(&mut coordinator, "a", second);
        beats(&mut coordinator, "mgmt", second);
        coordinator.tick(at(second));
        coordinator.ask_power(&node("a"), at(second));
        let output = coordinator.take_output();
        told += output
            .writes
            .iter()
            .filter(|write| {
                write.value.as_ref().is_some_and(|value| {
                    String::from_utf8_lossy(value).contains("power-contradicted")
                })
            })
            .count();
        for send in output.sends {
            if let ToAgent::AskPower { ask, .. } = send.message {
                answers(&mut coordinator, ask, Power::Off, second);
            }
        }
        assert!(coordinator.view().alive(&node("a")), "it does not flap");
    }
    let (said, why) = power(&coordinator);
    assert_eq!(said, Power::Unknown);
    assert!(
        why.contains("box says off") && why.contains("plug pa"),
        "{why}"
    );
    assert_eq!(told, 1, "people are told once");
    let causes = coordinator.causes(at(129));
    let of_plug = |cause: &&Cause| cause.what.contains("plug pa");
    let told: Vec<&Cause> = causes.iter().filter(of_plug).collect();
    assert_eq!(told.len(), 1, "{causes:?}");
    assert_eq!(told[0].subject, "a");

    // Its agent falls silent: now there is nothing against the source any more.
    coordinator.ask_power(&node("a"), at(160));
    let ask = questions(&mut coordinator)[0];
    answers(&mut coordinator, ask, Power::Off, 161);
    assert_eq!(power(&coordinator).0, Power::Off);
    assert!(!coordinator.view().alive(&node("a")));
}

const GUARDED: &str = "
cluster: bench
nodes: { a: { address: 10.0.0.2 } }
services:
  web: { nodes: [a], manager: { systemd: { unit: web.service } } }
";

/// What happens to web on a, as its agent tells it one after the other; returns the events of instances.
fn told(states: &[(InstanceState, Option<Wanted>, &str)]) -> Vec<String> {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Spec::parse(GUARDED.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(
        Arc::new(spec),
        String::new(),
        String::new(),
        "admin",
        at(100),
    );
    says_hello(&mut coordinator, "a", 100);
    for (state, wanted, reason) in states {
        let seen = InstanceObservation {
            state: *state,
            wanted: *wanted,
            reason: (*reason).to_owned(),
            ..InstanceObservation::default()
        };
        let observed = FromAgent::Observed {
            full: false,
            generation: Generation(1),
            instances: vec![("web".parse().unwrap(), seen)],
            checks: Vec::new(),
            refuses: Vec::new(),
        };
        coordinator.agent(&node("a"), observed, at(101));
    }
    let writes = coordinator.take_output().writes.into_iter();
    let events = writes
        .filter_map(|write| serde_json::from_slice::<Event>(&write.value?).ok())
        .filter(|event| event.kind.starts_with("instance-"));
    events
        .map(|event| format!("{} {}", event.kind, event.text))
        .collect()
}

#[test]
fn an_instance_that_was_to_run_and_ends_by_itself_is_an_event() {
    use InstanceState::{Failed, Running, Stopped};
    let run = Some(Wanted::Running);
    let ended = told(&[(Running, run, ""), (Stopped, run, "exit code 0")]);
    assert_eq!(
        ended,
        ["instance-ended web on a: exit code 0, and it was to run"]
    );
    // Said once, and not of what somebody wanted, nor of what was down before or was never seen up.
    let again = [
        (Running, run, ""),
        (Stopped, run, ""),
        (Stopped, run, "still"),
    ];
    assert_eq!(told(&again).len(), 1);
    let none: [&str; 0] = [];
    let wanted = [(Running, run, ""), (Stopped, Some(Wanted::Stopped), "")];
    assert_eq!(told(&wanted), none);
    assert_eq!(told(&[(Running, None, ""), (Stopped, None, "")]), none);
    assert_eq!(told(&[(Stopped, run, "")]), none);
    let reset = told(&[(Failed, run, "died"), (Stopped, run, "")]);
    assert_eq!(reset, none);
}
