//! An operation that asks about many silent nodes, all through one agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Awaited, Coordinator, FromAgent, Hello, Loaded, Output, StartRequest, ToAgent,
};
use interlock_model::action::{Action, Power};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::{Assumption, Known, Plan, PlanKind, SealedPlan, Step, StepId};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

/// More than an agent takes questions.
const SILENT: usize = 40;

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// Nodes that one device switches, and a service that has an instance on each of them and one active side.
fn spec() -> Spec {
    let names: Vec<String> = (1..=SILENT).map(|number| format!("n{number}")).collect();
    let nodes: Vec<String> = (1..=SILENT)
        .map(|number| {
            format!(
                "  n{number}: {{ address: 10.0.1.{number}, power: {{ by: box, plug: p{number} }} }}\n"
            )
        })
        .collect();
    let text = format!(
        "cluster: bench
power: {{ box: {{ fence: fence_sim, via: [mgmt] }} }}
nodes:
  mgmt: {{ address: 10.0.0.1 }}
{}services:
  db:
    nodes: [{}]
    active: one
    active_when: [leads]
    manager: {{ systemd: {{ unit: db.service }} }}
    checks: {{ leads: {{ exec: leads }} }}
",
        nodes.concat(),
        names.join(", ")
    );
    Spec::parse(text.as_bytes(), "bench.yaml").unwrap().spec
}

/// The start of one instance. As long as its agent is not there, all others are asked about.
fn request() -> StartRequest {
    let assumption = Assumption {
        active: node("n1"),
        known: Known::Assumed,
    };
    let plan = Plan {
        cluster: "bench".parse().unwrap(),
        generation: Generation(1),
        kind: PlanKind::Startup,
        scope: "--all".into(),
        assumptions: BTreeMap::from([("db".parse().unwrap(), assumption)]),
        accepted: BTreeMap::new(),
        forced: Vec::new(),
        keeps: BTreeSet::new(),
        texts: BTreeMap::new(),
        steps: vec![Step {
            id: StepId::new("start:db@n1"),
            action: Action::Start,
            node: Some(node("n1")),
            service: Some("db".parse().unwrap()),
            after: Vec::new(),
            gates: Vec::new(),
            healthy: Vec::new(),
            timeout: Duration::from_secs(600),
            undo: None,
        }],
    };
    StartRequest {
        plan: Arc::new(SealedPlan::seal(plan).unwrap()),
        by: "anna".into(),
        reason: "because".into(),
        single_step: false,
    }
}

/// The questions to power sources among what is sent.
fn questions(output: Output) -> Vec<(u64, NodeName)> {
    let sends = output.sends.into_iter();
    let questions = sends.filter_map(|send| match send.message {
        ToAgent::AskPower { ask, call } => Some((ask, call.node)),
        _ => None,
    });
    questions.collect()
}

fn says(ask: u64, node: NodeName, power: Power) -> FromAgent {
    FromAgent::Power {
        ask,
        node,
        power,
        detail: "status".into(),
    }
}

/// A coordinator at second 100, with the agent of mgmt there.
fn coordinator() -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Arc::new(spec());
    coordinator.apply_spec(spec, String::new(), String::new(), "admin", at(100));
    let hello = Hello {
        boot: BootId("boot-1".into()),
        ..Hello::default()
    };
    coordinator.agent(&node("mgmt"), FromAgent::Hello(Box::new(hello)), at(100));
    coordinator.take_output();
    coordinator
}

#[test]
fn a_device_is_asked_one_question_at_a_time_and_every_node_has_its_turn() {
    let mut coordinator = coordinator();
    coordinator.start(&request(), at(100)).unwrap();
    let mut under_way = VecDeque::from(questions(coordinator.take_output()));
    assert!(!under_way.is_empty(), "they are asked about at once");
    let mut told = BTreeSet::new();
    for second in 101..116 {
        // It answers four within a second.
        for _ in 0..4 {
            assert!(under_way.len() <= 1, "{under_way:?} at once");
            let Some((ask, name)) = under_way.pop_front() else {
                break;
            };
            told.insert(name.clone());
            let answer = says(ask, name, Power::On);
            coordinator.agent(&node("mgmt"), answer, at(second));
            under_way.extend(questions(coordinator.take_output()));
        }
        coordinator.agent(&node("mgmt"), FromAgent::Heartbeat, at(second));
        coordinator.tick(at(second));
        under_way.extend(questions(coordinator.take_output()));
    }
    assert_eq!(told.len(), SILENT, "nobody is left out: {told:?}");
    for name in &told {
        let said = coordinator.view().power_since(name, Duration::ZERO);
        assert_eq!(said, Some((Power::On, "status")), "{name}");
    }
}

#[test]
fn a_plan_that_wants_to_know_of_all_of_them_is_told_of_all_of_them_by_a_slow_device() {
    let mut coordinator = coordinator();
    let all: Vec<NodeName> = (1..=SILENT).map(|it| node(&format!("n{it}"))).collect();
    let mut under_way = VecDeque::new();
    // A call takes two seconds, and what nobody waits for is asked as well.
    for second in 100..100 + 2 * SILENT as u64 + 4 {
        coordinator.agent(&node("mgmt"), FromAgent::Heartbeat, at(second));
        coordinator.tick(at(second));
        let want = |name| coordinator.want_power(name, at(100).mono, at(second));
        let open = all.iter().map(want).filter(|it| *it == Awaited::Answer);
        let open = open.count();
        under_way.extend(questions(coordinator.take_output()));
        if open == 0 {
            break;
        }
        assert_eq!(under_way.len(), 1, "{under_way:?} at {second}");
        if second % 2 == 1 {
            let (ask, name) = under_way.pop_front().unwrap();
            coordinator.agent(&node("mgmt"), says(ask, name, Power::Off), at(second));
        }
    }
    for name in &all {
        assert!(coordinator.view().is_off(name), "{name}");
    }
}

#[test]
fn an_agent_that_is_busy_has_not_answered_and_is_asked_again() {
    let mut coordinator = coordinator();
    let n1 = node("n1");
    let want = |coordinator: &mut Coordinator, now| coordinator.want_power(&n1, at(110).mono, now);
    assert_eq!(want(&mut coordinator, at(110)), Awaited::Answer);
    let (ask, _) = questions(coordinator.take_output()).remove(0);
    coordinator.agent(&node("mgmt"), FromAgent::Busy { ask }, at(110));
    assert_eq!(want(&mut coordinator, at(110)), Awaited::Answer);
    assert!(
        questions(coordinator.take_output()).is_empty(),
        "not at once"
    );
    coordinator.tick(at(112));
    let again = questions(coordinator.take_output());
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1, n1, "the same, before all others");
    let answer = says(again[0].0, n1.clone(), Power::Off);
    coordinator.agent(&node("mgmt"), answer, at(113));
    assert_eq!(want(&mut coordinator, at(113)), Awaited::Nothing);
    assert!(coordinator.view().is_off(&n1));
}

#[test]
fn an_answer_that_comes_late_is_an_answer() {
    let mut coordinator = coordinator();
    coordinator.ask_power(&node("n1"), at(110));
    let (late, _) = questions(coordinator.take_output()).remove(0);
    // It is given up, and another one has its turn; then it comes.
    coordinator.agent(&node("mgmt"), FromAgent::Heartbeat, at(190));
    coordinator.ask_power(&node("n2"), at(190));
    assert_eq!(questions(coordinator.take_output()).len(), 1);
    let answer = says(late, node("n1"), Power::Off);
    coordinator.agent(&node("mgmt"), answer, at(191));
    let said = |since| coordinator.view().power_since(&node("n1"), at(since).mono);
    assert!(said(110).is_some(), "as old as its question");
    assert!(said(111).is_none());
}

#[test]
fn a_late_answer_says_nothing_where_something_younger_is_known() {
    let mut coordinator = coordinator();
    let n1 = node("n1");
    coordinator.ask_power(&n1, at(110));
    let (late, _) = questions(coordinator.take_output()).remove(0);
    coordinator.agent(&node("mgmt"), FromAgent::Heartbeat, at(190));
    coordinator.ask_power(&n1, at(190));
    let (young, _) = questions(coordinator.take_output()).remove(0);
    coordinator.agent(&node("mgmt"), says(young, n1.clone(), Power::On), at(191));
    coordinator.agent(&node("mgmt"), says(late, n1.clone(), Power::Off), at(192));
    let said = coordinator.view().power_since(&n1, Duration::ZERO);
    assert_eq!(said, Some((Power::On, "status")));
}
