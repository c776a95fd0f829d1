//! A store that was restored counts again from its backup, and agents remember operations that it has not begun.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Coordinator, FromAgent, Hello, Loaded, StartRequest, ToAgent, Wish,
};
use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Action;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, AttemptNo, Generation, OperationId, Term};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{After, Plan, PlanKind, SealedPlan, Step, StepId, Wait};
use interlock_model::spec::{Role, Spec};
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
nodes:
  a: { address: 10.0.0.2 }
  b: { address: 10.0.0.3 }
services:
  web:
    nodes: [a, b]
    active: all
    manager: { systemd: { unit: web.service } }
    checks: { port: { tcp: \"{address}:1\" } }
";

fn now() -> Now {
    Now {
        mono: Duration::from_secs(100),
        wall: Timestamp(100_000),
    }
}

fn stop(node: &str, after: Option<&str>) -> Step {
    Step {
        id: StepId::new(&format!("stop:web@{node}")),
        action: Action::Stop,
        node: Some(node.parse().unwrap()),
        service: Some("web".parse().unwrap()),
        after: after
            .map(|step| After {
                step: StepId::new(step),
                until: Wait::Down,
            })
            .into_iter()
            .collect(),
        gates: Vec::new(),
        healthy: Vec::new(),
        timeout: Duration::from_secs(60),
        undo: None,
    }
}

/// A coordinator on a store in which seven operations were counted, with the agent of a there and an operation begun
/// that stops web on a and then on b. The agent of b was off all the time.
fn restored() -> (Coordinator, OperationId) {
    let loaded = Loaded {
        last_operation: OperationId(7),
        ..Loaded::default()
    };
    let mut coordinator = Coordinator::recover(Term(1), loaded).unwrap();
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now());
    hello(&mut coordinator, "a", Hello::default());
    let plan = Plan {
        cluster: "bench".parse().unwrap(),
        generation: Generation(1),
        kind: PlanKind::Shutdown,
        scope: "--all".into(),
        assumptions: BTreeMap::new(),
        accepted: BTreeMap::new(),
        forced: Vec::new(),
        keeps: std::collections::BTreeSet::new(),
        texts: std::collections::BTreeMap::new(),
        steps: vec![stop("a", None), stop("b", Some("stop:web@a"))],
    };
    let request = StartRequest {
        plan: Arc::new(SealedPlan::seal(plan).unwrap()),
        by: "anna".into(),
        reason: String::new(),
        single_step: false,
    };
    let id = coordinator.start(&request, now()).unwrap();
    (coordinator, id)
}

fn hello(coordinator: &mut Coordinator, node: &str, hello: Hello) {
    coordinator.agent(
        &node.parse().unwrap(),
        FromAgent::Hello(Box::new(hello)),
        now(),
    );
    coordinator.advance(now());
}

fn done(operation: OperationId, node: &str) -> AttemptReport {
    AttemptReport {
        id: AttemptId {
            operation,
            step: StepId::new(&format!("stop:web@{node}")),
            attempt: AttemptNo(1),
        },
        state: AttemptState::Done,
        evidence: "web is stopped".into(),
        repeatable: false,
    }
}

/// An agent tells all that runs on its node: web does not.
fn is_stopped(coordinator: &mut Coordinator, node: &str) {
    let seen = InstanceObservation {
        state: InstanceState::Stopped,
        ..InstanceObservation::default()
    };
    let observed = FromAgent::Observed {
        full: true,
        generation: Generation(1),
        instances: vec![("web".parse().unwrap(), seen)],
        checks: Vec::new(),
        refuses: Vec::new(),
    };
    coordinator.agent(&node.parse().unwrap(), observed, now());
}

/// The nodes that were sent an attempt.
fn dispatched(coordinator: &mut Coordinator) -> Vec<String> {
    let sends = coordinator.take_output().sends.into_iter();
    sends
        .filter(|send| matches!(send.message, ToAgent::Dispatch { .. }))
        .map(|send| send.to.to_string())
        .collect()
}

#[test]
fn an_agent_that_remembers_another_operation_of_this_number_is_not_asked_to_prove_this_one() {
    let (mut coordinator, id) = restored();
    assert_eq!(id, OperationId(8));
    assert_eq!(dispatched(&mut coordinator), ["a"]);
    let memories = [
        Hello {
            highest_operation: id,
            attempts: vec![done(id, "b")],
            ..Hello::default()
        },
        // It has heard that one is over, and keeps no attempts of it.
        Hello {
            highest_operation: OperationId(7),
            closed_below: id.next(),
            ..Hello::default()
        },
    ];
    for memory in memories {
        let (mut coordinator, id) = restored();
        hello(&mut coordinator, "b", memory);
        let operation = coordinator.operation(id).unwrap();
        assert_eq!(operation.state(), State::NeedsAttention);
        assert!(
            operation
                .attention()
                .starts_with("b remembers op-8 of another line"),
            "{}",
            operation.attention()
        );
        // Somebody lets it go on all the same: b is still not asked.
        let wish = Wish {
            verb: Verb::Resume,
            step: None,
            by: "anna".into(),
            role: Role::Operator,
            reason: "go on".into(),
        };
        coordinator.take_output();
        coordinator.control(id, &wish, now()).unwrap().unwrap();
        let told: Vec<String> = coordinator
            .take_output()
            .writes
            .iter()
            .filter_map(|write| write.value.as_deref())
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .filter(|event| event.contains("operation-"))
            .collect();
        assert!(told[0].contains("operation-controlled"), "{told:?}");
        assert!(told[1].contains("operation-turned"), "{told:?}");
        let first = FromAgent::Attempt(done(id, "a"));
        coordinator.agent(&"a".parse().unwrap(), first, now());
        is_stopped(&mut coordinator, "a");
        coordinator.advance(now());
        assert_eq!(dispatched(&mut coordinator), [""; 0]);
        let operation = coordinator.operation(id).unwrap();
        let phases: Vec<Phase> = operation.steps().map(|(_, state)| state.phase).collect();
        assert_eq!(phases, [Phase::Done, Phase::Blocked]);
    }
}

#[test]
fn what_such_an_agent_says_of_an_attempt_under_way_is_not_believed_either() {
    let (mut coordinator, id) = restored();
    assert_eq!(dispatched(&mut coordinator), ["a"]);
    // It did stop web, in the line that was given up, and started it again there.
    let again = AttemptReport {
        id: AttemptId {
            attempt: AttemptNo(2),
            ..done(id, "a").id
        },
        ..done(id, "a")
    };
    let memory = Hello {
        highest_operation: id,
        attempts: vec![done(id, "a"), again],
        ..Hello::default()
    };
    hello(&mut coordinator, "a", memory);
    let wish = |verb| Wish {
        verb,
        step: None,
        by: "anna".into(),
        role: Role::Operator,
        reason: "go on".into(),
    };
    hello(&mut coordinator, "b", Hello::default());
    assert_eq!(dispatched(&mut coordinator), [""; 0]);
    let first = |coordinator: &Coordinator| {
        let operation = coordinator.operation(id).unwrap();
        let (_, state) = operation.steps().next().unwrap();
        (state.phase, state.evidence.clone())
    };
    let (phase, evidence) = first(&coordinator);
    assert_eq!(phase, Phase::Unknown, "{evidence}");
    assert!(evidence.starts_with("a remembers op-8 of another line"));
    // Nothing is waited for when it is given up.
    coordinator
        .control(id, &wish(Verb::Abort), now())
        .unwrap()
        .unwrap();
    let operation = coordinator.operation(id).unwrap();
    assert!(operation.state().is_over(), "{:?}", operation.state());
}

#[test]
fn an_agent_that_remembers_the_attempts_of_this_operation_is_believed() {
    let (mut coordinator, id) = restored();
    let memory = Hello {
        highest_operation: id,
        closed_below: id,
        attempts: vec![done(id, "a"), done(OperationId(7), "b")],
        ..Hello::default()
    };
    hello(&mut coordinator, "a", memory);
    is_stopped(&mut coordinator, "a");
    hello(&mut coordinator, "b", Hello::default());
    assert_eq!(coordinator.operation(id).unwrap().state(), State::Running);
    assert_eq!(dispatched(&mut coordinator), ["a", "b"]);
}

#[test]
fn the_next_operation_is_above_what_any_agent_has_heard_of() {
    let (mut coordinator, _) = restored();
    let memory = Hello {
        highest_operation: OperationId(7),
        closed_below: OperationId(30),
        ..Hello::default()
    };
    hello(&mut coordinator, "b", memory);
    assert_eq!(coordinator.last_operation(), OperationId(29));
}
