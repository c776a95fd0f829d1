//! In single steps: steps that begin beside each other.

use interlock_engine::operation::{Phase, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;

use crate::bench::{Bench, LIMIT, gate, seal, step};

#[test]
fn a_next_without_a_step_is_for_nobody_beside_what_is_under_way() {
    let steps = ["stop:web@b", "stop:app@b", "stop:log@b"].map(|id| step(id, &[]));
    let mut bench = Bench::of(seal(steps.into()), true);
    bench.advance();
    let offered = |bench: &Bench| {
        let steps = bench.operation.steps();
        steps
            .filter(|(step, _)| bench.operation.is_offered(&step.id))
            .count()
    };
    assert_eq!(offered(&bench), 3);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(offered(&bench), 2);
    for _ in 0..4 {
        let refused = bench.asks(Verb::Next, "").unwrap_err().to_string();
        for word in ["stop:web@b is running", "name the step"] {
            assert!(refused.contains(word), "{refused}");
        }
    }
    assert_eq!(bench.sent(), ["stop stop:web@b #1 on b"]);
    // Who names it has seen that it would begin beside another one.
    bench.asks(Verb::Next, "stop:log@b").unwrap();
    assert_eq!(bench.sent(), ["stop stop:log@b #1 on b"]);
    bench.says("stop:web@b", AttemptState::Done);
    assert!(bench.asks(Verb::Next, "").is_err(), "the other one runs");
    bench.says("stop:log@b", AttemptState::Done);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn a_next_for_a_step_whose_gate_is_red_holds_no_other() {
    let mut steps = ["start:log@b", "stop:app@mgmt", "stop:db@a"].map(|id| step(id, &[]));
    steps[0].gates = vec![gate("db.port", "a")];
    let mut bench = Bench::of(seal(steps.into()), true);
    bench.advance();
    bench.asks(Verb::Next, "start:log@b").unwrap();
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    for step in ["", "start:log@b"] {
        let refused = bench.asks(Verb::Next, step).unwrap_err().to_string();
        assert!(
            refused.contains("anna has let start:log@b begin"),
            "{refused}"
        );
    }
    bench.pass(LIMIT.as_secs() - 10);
    bench.asks(Verb::Next, "stop:app@mgmt").unwrap();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
    // Both are so after a restart, and nobody has let the third begin.
    bench.restarts();
    for node in ["mgmt", "a", "b"] {
        bench.connects(node, "boot-1");
    }
    bench.says("stop:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.pass(1).probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
}

#[test]
fn what_waits_for_its_gate_is_not_given_more_time_by_a_next_for_another_step() {
    let mut steps = ["start:log@b", "stop:app@mgmt"].map(|id| step(id, &[]));
    steps[0].gates = vec![gate("db.port", "a")];
    let mut bench = Bench::of(seal(steps.into()), true);
    bench.advance();
    bench.asks(Verb::Next, "start:log@b").unwrap();
    bench.pass(LIMIT.as_secs() - 10);
    bench.asks(Verb::Next, "stop:app@mgmt").unwrap();
    bench.pass(11);
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
}
