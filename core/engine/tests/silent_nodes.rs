//! An operation that asks about many silent nodes, all through one agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Coordinator, FromAgent, Hello, Loaded, Output, StartRequest, ToAgent,
};
use interlock_model::action::{Action, Power};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::{Assumption, Known, Plan, PlanKind, SealedPlan, Step, StepId};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

/// More than an agent takes questions.
const SILENT: usize = 40;

/// How many questions an agent has under way at most; it refuses what is more.
const TAKEN: usize = 32;

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

#[test]
fn an_agent_is_not_asked_about_more_nodes_than_it_takes_and_every_node_has_its_turn() {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    coordinator.apply_spec(
        Arc::new(spec()),
        String::new(),
        String::new(),
        "admin",
        at(100),
    );
    let hello = Hello {
        boot: BootId("boot-1".into()),
        ..Hello::default()
    };
    coordinator.agent(&node("mgmt"), FromAgent::Hello(Box::new(hello)), at(100));
    coordinator.take_output();

    coordinator.start(&request(), at(100)).unwrap();
    let mut under_way = VecDeque::from(questions(coordinator.take_output()));
    assert!(!under_way.is_empty(), "they are asked about at once");
    let mut told = BTreeSet::new();
    for second in 101..116 {
        assert!(under_way.len() <= TAKEN, "{} at once", under_way.len());
        // It runs four at a time.
        for _ in 0..4 {
            let Some((ask, name)) = under_way.pop_front() else {
                break;
            };
            told.insert(name.clone());
            let answer = FromAgent::Power {
                ask,
                node: name,
                power: Power::On,
                detail: "status".into(),
            };
            coordinator.agent(&node("mgmt"), answer, at(second));
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
