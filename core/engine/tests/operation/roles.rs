//! Promotions that operations wait for, and failovers that keep operations off (invariant I8, safety rule E18).

use interlock_engine::coordinator::{Coordinator, NotStarted, StartRequest, Wish};
use interlock_engine::operation::Verb;
use interlock_model::action::Action;
use interlock_model::ids::OperationId;
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::SealedPlan;
use interlock_model::spec::Role;
use interlock_model::time::Now;

use crate::bench::{seal, step};
use crate::claims::{coordinator, request, says_hello};

fn db() -> ServiceName {
    "db".parse().unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// An operation that makes an instance primary.
fn promotion(at: &str) -> StartRequest {
    let mut promote = step(&format!("start:db@{at}"), &[]);
    promote.action = Action::Promote;
    promote.undo = None;
    StartRequest {
        plan: SealedPlan::seal(seal(vec![promote])).unwrap().into(),
        ..request("anna", &["start:db@a"])
    }
}

fn abort(coordinator: &mut Coordinator, id: OperationId) {
    let wish = Wish {
        verb: Verb::Abort,
        step: None,
        by: "anna".into(),
        role: Role::Operator,
        reason: "changed my mind".into(),
    };
    coordinator
        .control(id, &wish, Now::default())
        .unwrap()
        .unwrap();
}

#[test]
fn a_promotion_is_wanted_while_its_step_is_under_way_and_not_once_its_operation_is_given_up() {
    let mut coordinator = coordinator();
    assert_eq!(coordinator.is_held(&db()), None);
    let id = coordinator.start(&promotion("b"), Now::default()).unwrap();
    assert_eq!(coordinator.is_held(&db()), Some(id));
    assert_eq!(coordinator.roles_wanted(), [], "its agent is not there yet");
    says_hello(&mut coordinator, "b");
    coordinator.advance(Now::default());
    assert_eq!(coordinator.roles_wanted(), [(db(), id, node("b"))]);
    abort(&mut coordinator, id);
    assert_eq!(coordinator.roles_wanted(), []);
}

#[test]
fn what_an_operation_holds_is_not_taken_by_a_failover() {
    let mut coordinator = coordinator();
    let now = Now::default();
    let first = coordinator
        .start(&request("anna", &["stop:web@b"]), now)
        .unwrap();
    let refused = coordinator
        .failover_takes(&db(), Epoch(2), &node("b"))
        .unwrap_err();
    assert_eq!((refused.what.as_str(), refused.holder), ("b", first));
    coordinator
        .start(&request("bert", &["stop:db@a"]), now)
        .unwrap();
    let refused = coordinator
        .failover_takes(&db(), Epoch(2), &node("a"))
        .unwrap_err();
    assert_eq!(refused.what, "db");
    assert!(coordinator.failovers().is_empty());
}

#[test]
fn no_operation_begins_on_what_a_failover_has_taken_until_it_is_given_back() {
    let mut coordinator = coordinator();
    let now = Now::default();
    coordinator
        .failover_takes(&db(), Epoch(2), &node("b"))
        .unwrap();
    for steps in [["stop:db@a"], ["stop:web@b"]] {
        let refused = coordinator
            .start(&request("anna", &steps), now)
            .unwrap_err();
        let expected = NotStarted::Failover {
            service: db(),
            node: node("b"),
            epoch: Epoch(2),
        };
        assert_eq!(refused, expected);
        assert_eq!(
            refused.to_string(),
            "failover of db to b is under way (epoch 2): wait until it has ended"
        );
    }
    // An engine that is made anew goes on with it, for the store says nothing of it.
    let mut anew = crate::claims::coordinator();
    anew.keep_failovers(&coordinator);
    anew.start(&request("anna", &["stop:db@a"]), now)
        .unwrap_err();
    coordinator.failover_gives_back(&db());
    coordinator
        .start(&request("anna", &["stop:db@a"]), now)
        .unwrap();
}
