//! Edges: what a step waits for, and that nothing begins once something went wrong.

use interlock_engine::operation::{Phase, State};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::plan::Wait;

use crate::bench::{Bench, gate, step};

/// Does `then` begin once `first` has reached exactly this?
fn begins(first: &str, until: Wait, reach: impl FnOnce(&mut Bench)) -> bool {
    let mut before = step(first, &[]);
    before.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![before, step("stop:web@b", &[(first, until)])]);
    bench.advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
    reach(&mut bench);
    bench.phase("stop:web@b") == Phase::Running
}

#[test]
fn each_wait_condition_is_met_by_what_it_names_and_by_nothing_less() {
    use AttemptState::{Accepted, Done, GoingDown};
    let accepted = |bench: &mut Bench| {
        bench.says("stop:db@a", Accepted);
    };
    let going = |bench: &mut Bench| {
        bench.says("stop:db@a", GoingDown);
    };
    let down = |bench: &mut Bench| {
        bench.says("stop:db@a", Done);
    };
    assert!(begins("stop:db@a", Wait::Issued, accepted));
    assert!(!begins("stop:db@a", Wait::GoingDown, accepted));
    assert!(begins("stop:db@a", Wait::GoingDown, going));
    assert!(!begins("stop:db@a", Wait::Down, going));
    assert!(begins("stop:db@a", Wait::Down, down));

    let accepted = |bench: &mut Bench| {
        bench.says("start:db@a", Accepted);
    };
    let up = |bench: &mut Bench| {
        bench.says("start:db@a", Done);
    };
    let healthy = |bench: &mut Bench| {
        bench
            .says("start:db@a", Done)
            .probed("db.port", "a", Verdict::Ok)
            .advance();
    };
    assert!(!begins("start:db@a", Wait::Up, accepted));
    assert!(begins("start:db@a", Wait::Up, up));
    assert!(!begins("start:db@a", Wait::Healthy, up));
    assert!(begins("start:db@a", Wait::Healthy, healthy));
}

#[test]
fn a_failure_that_was_only_reported_halts_before_anything_else_begins() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("stop:db@b", &[("stop:db@a", Wait::Issued)]),
    ]);
    bench.advance().sent();
    // Both in one batch, as they arrive after a reconnect.
    bench.reports("stop:db@a", 1, AttemptState::Accepted, false);
    bench.reports("stop:db@a", 1, AttemptState::Failed, false);
    bench.advance();
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(bench.phase("stop:db@b"), Phase::Waiting);
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn an_attempt_that_is_to_be_made_again_has_reached_nothing_yet() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("stop:db@b", &[("stop:db@a", Wait::Issued)]),
    ]);
    bench.advance();
    bench.reports("stop:db@a", 1, AttemptState::Accepted, false);
    bench.says("stop:db@a", AttemptState::Failed);
    bench.goes_silent("a");
    bench
        .asks(interlock_engine::operation::Verb::Retry, "stop:db@a")
        .unwrap();
    assert_eq!(bench.state(), State::Running);
    assert_eq!(
        bench.phase("stop:db@b"),
        Phase::Waiting,
        "the new attempt is not issued"
    );
}

#[test]
fn an_operation_is_done_when_every_step_is() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("check:all", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance();
    assert_eq!(bench.state(), State::Running);
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.phase("check:all"), Phase::Done);
    assert_eq!(bench.state(), State::Done);
}
