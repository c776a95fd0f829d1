//! What a person starts again behind an operation that had stopped it: nothing is taken from under it.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;
use interlock_model::spec::Role;

use crate::bench::{Bench, gate, step};

/// Longer than an agent may take to take back what it saw before the end of an attempt.
const SOON: u64 = 6;

/// `web` is stopped on b, then `db` on a, once a person has looked.
fn plan() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
        step(
            "stop:db@a",
            &[("stop:web@b", Wait::Down), ("approve:look", Wait::Up)],
        ),
    ]);
    bench.advance().pass(1);
    bench.instance("web", "b", InstanceState::Stopped);
    bench.says("stop:web@b", AttemptState::Done);
    assert_eq!(bench.phase("stop:web@b"), Phase::Done);
    bench.pass(1).sent();
    bench
}

#[test]
fn nothing_is_stopped_under_a_dependant_that_was_started_again() {
    let mut bench = plan();
    bench.instance("web", "b", InstanceState::Running);
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(bench.waits_for("stop:db@a"), "web on b is running again");
    bench.pass(SOON);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    let evidence = bench.evidence("stop:db@a");
    assert!(
        evidence.contains("web on b is running again, which stop:web@b had stopped"),
        "{evidence}"
    );
    assert_eq!(bench.sent(), [""; 0]);

    bench.instance("web", "b", InstanceState::Stopped);
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:db@a #1 on a"]);
}

#[test]
fn an_operation_does_not_end_as_done_while_what_it_stopped_runs_again() {
    let mut bench = plan();
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    bench.instance("web", "b", InstanceState::Running);
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Running, "perhaps it is an old word");
    bench.pass(SOON);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention();
    assert!(
        attention.contains("web on b is running again"),
        "{attention}"
    );

    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::NeedsAttention, "it still runs");
    bench.instance("web", "b", InstanceState::Stopped);
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn the_silence_of_an_agent_and_a_word_from_before_the_proof_hold_nothing_up() {
    let mut bench = plan();
    bench.goes_silent("b");
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance().says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);

    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:db@a", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.instance("web", "b", InstanceState::Running);
    bench.pass(1).pass(1);
    bench.says("stop:web@b", AttemptState::Done).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn an_operation_does_not_end_as_done_over_what_it_started_and_is_down_or_sick() {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![
        start,
        step("approve:look", &[("start:db@a", Wait::Healthy)]),
    ]);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.pass(1);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Done);

    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(SOON);
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("db on a is stopped"), "{attention}");

    bench.instance("db", "a", InstanceState::Running);
    bench.probed("db.port", "a", Verdict::Bad);
    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("db.port on a is bad"), "{attention}");

    bench.probed("db.port", "a", Verdict::Ok);
    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    assert_eq!(bench.state(), State::Done);
}
