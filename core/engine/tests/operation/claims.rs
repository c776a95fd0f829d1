//! Claims: the second operator is told who holds what (invariant I8).

use std::sync::Arc;

use interlock_engine::coordinator::{
    Claim, Coordinator, FromAgent, Hello, Loaded, NotStarted, Send, StartRequest, ToAgent, Wish,
};
use interlock_engine::operation::Verb;
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, AttemptNo, BootId, Generation, OperationId, Term};
use interlock_model::plan::{SealedPlan, StepId};
use interlock_model::spec::Role;
use interlock_model::time::Now;

use crate::bench::{seal, spec, step};

pub(crate) fn coordinator() -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let spec = Arc::new(spec());
    coordinator.apply_spec(
        spec,
        String::new(),
        "bench.yaml".into(),
        "admin",
        Now::default(),
    );
    coordinator
}

pub(crate) fn request(by: &str, steps: &[&str]) -> StartRequest {
    let plan = seal(steps.iter().map(|id| step(id, &[])).collect());
    StartRequest {
        plan: Arc::new(SealedPlan::seal(plan).unwrap()),
        by: by.into(),
        reason: "why not".into(),
        single_step: false,
    }
}

#[test]
fn a_second_operation_on_the_same_node_or_service_is_told_who_holds_it() {
    let mut coordinator = coordinator();
    let now = Now::default();
    let first = coordinator
        .start(&request("anna", &["stop:db@a"]), now)
        .unwrap();
    assert_eq!(first, OperationId(1));
    for (steps, held) in [(["stop:db@b"], "db"), (["power-off:a"], "a")] {
        let refused = coordinator
            .start(&request("bert", &steps), now)
            .unwrap_err();
        let NotStarted::Held {
            what, holder, by, ..
        } = &refused
        else {
            panic!("{refused}");
        };
        assert_eq!((what.as_str(), *holder, by.as_str()), (held, first, "anna"));
        assert!(refused.to_string().contains("started by anna"), "{refused}");
    }
    coordinator
        .start(&request("bert", &["stop:web@b"]), now)
        .unwrap();
}

#[test]
fn what_is_over_holds_nothing() {
    let mut coordinator = coordinator();
    let now = Now::default();
    let first = coordinator
        .start(&request("anna", &["stop:db@a"]), now)
        .unwrap();
    let wish = Wish {
        verb: Verb::Abort,
        step: None,
        by: "anna".into(),
        role: Role::Operator,
        reason: "changed my mind".into(),
    };
    coordinator.control(first, &wish, now).unwrap().unwrap();
    coordinator.take_output();
    coordinator
        .start(&request("bert", &["stop:db@a"]), now)
        .unwrap();
}

#[test]
fn a_plan_of_another_generation_is_refused() {
    let mut coordinator = coordinator();
    let spec = Arc::new(spec());
    coordinator.apply_spec(
        spec,
        String::new(),
        "bench.yaml".into(),
        "admin",
        Now::default(),
    );
    let refused = coordinator.start(&request("anna", &["stop:db@a"]), Now::default());
    let expected = NotStarted::Generation {
        plan: Generation(1),
        current: Generation(2),
    };
    assert_eq!(refused, Err(expected));
}

pub(crate) fn says_hello(coordinator: &mut Coordinator, node: &str) {
    let hello = Hello {
        boot: BootId("boot-1".into()),
        ..Hello::default()
    };
    let hello = FromAgent::Hello(Box::new(hello));
    coordinator.agent(&node.parse().unwrap(), hello, Now::default());
}

/// Whom it is told that `op-1` holds which services; of nothing held, `-`.
fn told(sends: &[Send]) -> Vec<String> {
    let names = |claim: &Claim| {
        assert_eq!(claim.operation, OperationId(1));
        assert_eq!(claim.what, "shutdown --all, started by anna");
        let services = claim.services.iter().map(ToString::to_string);
        services.collect::<Vec<_>>().join("+")
    };
    let line = |send: &Send| match &send.message {
        ToAgent::Claims(claims) => {
            let all: Vec<String> = claims.iter().map(names).collect();
            let all = if all.is_empty() {
                "-".into()
            } else {
                all.join(", ")
            };
            Some(format!("{} {all}", send.to))
        }
        _ => None,
    };
    sends.iter().filter_map(line).collect()
}

#[test]
fn agents_are_told_what_is_held_of_their_nodes_before_the_first_step_and_when_it_is_over() {
    let mut coordinator = coordinator();
    for node in ["a", "b", "mgmt"] {
        says_hello(&mut coordinator, node);
    }
    let greeted = coordinator.take_output().sends;
    assert_eq!(told(&greeted), ["a -", "b -", "mgmt -"]);
    coordinator
        .start(&request("anna", &["stop:db@a"]), Now::default())
        .unwrap();
    let began = coordinator.take_output().sends;
    // The node a, with all that is on it, since something is wanted of it.
    assert_eq!(told(&began), ["a db"]);
    let first = |wanted: fn(&ToAgent) -> bool| began.iter().position(|it| wanted(&it.message));
    let dispatched = first(|it| matches!(it, ToAgent::Dispatch { .. }));
    let claimed = first(|it| matches!(it, ToAgent::Claims(_)));
    assert!(dispatched.is_some() && claimed < dispatched, "{began:?}");
    // Of b the other side of the same service, which can wait for the next tick, and web is free.
    coordinator.tick(Now::default());
    assert_eq!(told(&coordinator.take_output().sends), ["b db"]);

    // Who comes back is told again, right after what it is to do.
    says_hello(&mut coordinator, "b");
    let back = coordinator.take_output().sends;
    assert!(matches!(back[0].message, ToAgent::Assign(_)), "{back:?}");
    assert_eq!(told(&back[1..2]), ["b db"]);
    // Nothing of it is said again while nothing begins or ends.
    coordinator.agent(&"b".parse().unwrap(), FromAgent::Heartbeat, Now::default());
    coordinator.tick(Now::default());
    assert!(told(&coordinator.take_output().sends).is_empty());

    let abort = Wish {
        verb: Verb::Abort,
        step: None,
        by: "anna".into(),
        role: Role::Operator,
        reason: "enough".into(),
    };
    let (id, now) = (OperationId(1), Now::default());
    coordinator.control(id, &abort, now).unwrap().unwrap();
    let aborting = coordinator.take_output().sends;
    assert!(told(&aborting).is_empty(), "it is not over: {aborting:?}");
    let cancelled = AttemptReport {
        id: AttemptId {
            operation: id,
            step: StepId::new("stop:db@a"),
            attempt: AttemptNo(1),
        },
        state: AttemptState::Failed,
        evidence: "cancelled".into(),
        repeatable: false,
    };
    coordinator.agent(&"a".parse().unwrap(), FromAgent::Attempt(cancelled), now);
    coordinator.advance(now);
    coordinator.tick(now);
    assert_eq!(told(&coordinator.take_output().sends), ["a -", "b -"]);
}
