//! Claims: the second operator is told who holds what (invariant I8).

use std::sync::Arc;

use interlock_engine::coordinator::{Coordinator, Loaded, NotStarted, StartRequest, Wish};
use interlock_engine::operation::Verb;
use interlock_model::ids::{Generation, OperationId, Term};
use interlock_model::plan::SealedPlan;
use interlock_model::spec::Role;
use interlock_model::time::Now;

use crate::bench::{seal, spec, step};

fn coordinator() -> Coordinator {
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

fn request(by: &str, steps: &[&str]) -> StartRequest {
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
