//! A way back that stood still for a person: what had not begun by then has its turn anew.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::plan::Wait;

use crate::bench::{Bench, LIMIT, step};

/// Two starts are taken back. The stop of db has failed, and waits for a person; that of log on b, which is silent, has asked
/// the power source and not begun.
fn halted() -> Bench {
    let mut bench = Bench::new(vec![
        step("start:db@a", &[]),
        step("start:log@b", &[]),
        step(
            "approve:look",
            &[("start:db@a", Wait::Up), ("start:log@b", Wait::Up)],
        ),
    ]);
    bench.advance();
    bench
        .says("start:db@a", AttemptState::Done)
        .says("start:log@b", AttemptState::Done);
    bench.goes_silent("b");
    bench.pass(1).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    let sent = bench.sent();
    assert!(sent.contains(&"power b".to_owned()), "{sent:?}");
    bench.says("start:db@a", AttemptState::Failed);
    assert_eq!(bench.phase("start:db@a"), Phase::UndoFailed);
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    assert_eq!(bench.state(), State::NeedsAttention);
    bench
}

#[test]
fn what_a_power_source_said_while_the_way_back_stood_still_proves_nothing_when_it_goes_on() {
    let mut bench = halted();
    bench.pass(2).power("b", Power::Off).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    // Long enough for somebody to switch it on again, and not for its agent to be heard.
    bench.pass(30).sent();
    bench.asks(Verb::Retry, "start:db@a").unwrap();
    assert_eq!(bench.state(), State::Unwinding);
    assert_eq!(
        bench.phase("start:log@b"),
        Phase::Done,
        "it may run by now: that was before"
    );
    assert!(bench.sent().contains(&"power b".to_owned()));
    bench.pass(1).power("b", Power::On).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    bench.pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Undone);
    bench.says("start:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn the_wait_for_a_person_is_not_counted_against_what_had_not_begun_on_the_way_back() {
    let mut bench = halted();
    bench.pass(LIMIT.as_secs() + 1);
    bench.asks(Verb::Retry, "start:db@a").unwrap();
    assert_eq!(bench.state(), State::Unwinding);
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    bench.says("start:db@a", AttemptState::Done);
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    bench.pass(2);
    assert_eq!(bench.phase("start:log@b"), Phase::UndoFailed);
}
