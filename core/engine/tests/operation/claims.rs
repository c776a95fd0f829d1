//! Claims: the second operator is told who holds what (invariant I8).

use std::sync::Arc;

use interlock_engine::coordinator::{
    Claim, Coordinator, FromAgent, Hello, Loaded, NotStarted, Send, StartRequest, ToAgent, Wish,
};
use interlock_engine::operation::{Clash, Verb};
use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::{AttemptId, AttemptNo, BootId, Generation, OperationId, Term};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{SealedPlan, StepId, Wait};
use interlock_model::spec::Role;
use interlock_model::time::Now;

use crate::bench::{gate, seal, spec, step};

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
        assert_eq!(what, &Clash::Held(held.into()));
        assert_eq!((*holder, by.as_str()), (first, "anna"));
        assert!(refused.to_string().contains("started by anna"), "{refused}");
    }
    coordinator
        .start(&request("bert", &["stop:web@b"]), now)
        .unwrap();
}

/// A startup upon a database that runs already: it looks at it.
fn upon_db(by: &str, start: &str) -> StartRequest {
    let mut look = step("check:db@a", &[]);
    look.healthy = vec![gate("db.port", "a")];
    let plan = seal(vec![look, step(start, &[("check:db@a", Wait::Healthy)])]);
    StartRequest {
        plan: Arc::new(SealedPlan::seal(plan).unwrap()),
        ..request(by, &[])
    }
}

#[test]
fn two_operations_look_at_the_same_service_and_neither_goes_with_one_that_changes_it() {
    let mut coordinator = coordinator();
    let now = Now::default();
    let first = coordinator
        .start(&upon_db("anna", "start:web@b"), now)
        .unwrap();
    coordinator
        .start(&upon_db("bert", "start:lb@mgmt"), now)
        .unwrap();
    // Another service on the node of the database is no matter of theirs; its machine is.
    let other = ["stop:team@a"];
    coordinator.start(&request("carl", &other), now).unwrap();
    for (steps, relied) in [(["stop:db@fax"], "db"), (["reboot:a"], "a")] {
        let refused = coordinator
            .start(&request("dora", &steps), now)
            .unwrap_err();
        let NotStarted::Held { what, holder, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(what, &Clash::ReliedUpon(relied.into()));
        assert_eq!(*holder, first);
    }
    let refused = coordinator.start(&request("dora", &["stop:db@fax"]), now);
    let refused = refused.unwrap_err().to_string();
    let said =
        "db is relied upon by op-1 (shutdown --all, started by anna): wait for it, or abort it";
    assert_eq!(refused, said);
}

#[test]
fn who_changes_a_service_keeps_out_those_who_would_look_at_it() {
    let mut coordinator = coordinator();
    let now = Now::default();
    coordinator
        .start(&request("anna", &["stop:db@b"]), now)
        .unwrap();
    let refused = coordinator
        .start(&upon_db("bert", "start:lb@mgmt"), now)
        .unwrap_err();
    assert!(refused.to_string().starts_with("db is held by op-1"));
    // What a gate waits for is looked at as well.
    let mut gated = step("start:lb@mgmt", &[]);
    gated.gates = vec![gate("db.port", "mgmt")];
    let gated = StartRequest {
        plan: Arc::new(SealedPlan::seal(seal(vec![gated])).unwrap()),
        ..request("bert", &[])
    };
    let refused = coordinator.start(&gated, now).unwrap_err();
    assert!(refused.to_string().starts_with("db is held by op-1"));
    assert!(coordinator.is_held(&"db".parse().unwrap()).is_some());
}

#[test]
fn what_is_only_looked_at_keeps_no_failover_off_and_nobody_stops_it_by_hand() {
    let mut coordinator = coordinator();
    says_hello(&mut coordinator, "a");
    coordinator.take_output();
    coordinator
        .start(&upon_db("anna", "start:web@b"), Now::default())
        .unwrap();
    assert_eq!(coordinator.is_held(&"db".parse().unwrap()), None);
    coordinator.tick(Now::default());
    assert_eq!(told(&coordinator.take_output().sends), ["a db"]);
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

/// An agent tells all that runs on its node: this, and it does not.
fn is_stopped(coordinator: &mut Coordinator, service: &str, node: &str) {
    let seen = InstanceObservation {
        state: InstanceState::Stopped,
        ..InstanceObservation::default()
    };
    let observed = FromAgent::Observed {
        full: true,
        generation: Generation(1),
        instances: vec![(service.parse().unwrap(), seen)],
        checks: Vec::new(),
        refuses: Vec::new(),
    };
    coordinator.agent(&node.parse().unwrap(), observed, Now::default());
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
    is_stopped(&mut coordinator, "web", "b");
    let greeted = coordinator.take_output().sends;
    assert_eq!(told(&greeted), ["a -", "b -", "mgmt -"]);
    coordinator
        .start(&request("anna", &["stop:db@a"]), Now::default())
        .unwrap();
    let began = coordinator.take_output().sends;
    // The node a, with all that is on it, since something is wanted of it.
    assert_eq!(told(&began), ["a db+team"]);
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

#[test]
fn who_is_kept_out_by_what_waits_for_an_approval_is_told_to_give_it() {
    let mut coordinator = coordinator();
    let now = Now::default();
    coordinator
        .start(&request("anna", &["approve:look", "stop:db@b"]), now)
        .unwrap();
    let refused = coordinator.start(&request("bert", &["stop:db@b"]), now);
    let refused = refused.unwrap_err().to_string();
    let said = ": it waits for `interlockctl approve op-1 approve:look --reason WHY`, or abort it";
    assert!(refused.ends_with(said), "{refused}");
}
