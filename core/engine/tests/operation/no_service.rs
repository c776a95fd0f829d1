//! A way back under a spec that no longer has a service of the plan.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::plan::Wait;

use crate::bench::{Bench, step};

#[test]
fn what_nobody_can_be_asked_for_any_more_is_undo_failed_with_the_reason() {
    let mut bench = Bench::new(vec![
        step("stop:log@b", &[]),
        step("approve:look", &[("stop:log@b", Wait::Down)]),
    ]);
    bench.advance().says("stop:log@b", AttemptState::Done);
    assert_eq!(bench.phase("stop:log@b"), Phase::Done);
    bench.loses_service("log");
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.phase("stop:log@b"), Phase::UndoFailed);
    let evidence = bench.evidence("stop:log@b").to_owned();
    assert!(
        evidence.contains("the spec no longer has this service"),
        "{evidence}"
    );
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.asks(Verb::Skip, "stop:log@b").unwrap();
    assert_eq!(bench.state(), State::Unwound);
}
