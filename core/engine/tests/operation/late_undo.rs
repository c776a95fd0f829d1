//! An undo that was done after its limit: it counts, and a person goes on the way back.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{PlanKind, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

/// Two starts that are being taken back; the stop of the second one is not done within its limit.
fn late_stop() -> Bench {
    let mut plan = seal(vec![
        step("start:log@b", &[]),
        step("start:app@b", &[("start:log@b", Wait::Healthy)]),
        step("approve:look", &[("start:app@b", Wait::Healthy)]),
        step("start:app@mgmt", &[("approve:look", Wait::Up)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().pass(1);
    bench.says("start:log@b", AttemptState::Done);
    bench.pass(1).says("start:app@b", AttemptState::Done);
    bench.pass(1);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.phase("start:app@b"), Phase::Undoing);
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:app@b"), Phase::UndoFailed);
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.sent();
    bench
}

#[test]
fn a_stop_that_was_proven_too_late_is_taken_back_and_a_person_goes_on_with_the_rest() {
    let mut bench = late_stop();
    bench.instance("app", "b", InstanceState::Stopped);
    bench.says_of("start:app@b", 2, AttemptState::Done, false);
    assert_eq!(bench.phase("start:app@b"), Phase::Undone);
    assert_eq!(bench.evidence("start:app@b"), "after the deadline: said");
    assert_eq!(bench.state(), State::NeedsAttention, "a person goes on");
    assert_eq!(bench.operation.possible(), [Verb::Resume, Verb::Abort]);
    assert_eq!(bench.sent(), [""; 0]);

    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    assert_eq!(bench.state(), State::Unwinding, "back, and not forward");
    assert_eq!(bench.phase("approve:look"), Phase::Waiting);
    assert_eq!(bench.sent(), ["stop start:log@b #2 on b"]);
    bench.says("start:log@b", AttemptState::Done).advance();
    assert_eq!(bench.state(), State::Unwound);
    // A journal that is read again tells the same.
    bench.restarts();
    assert_eq!(bench.phase("start:app@b"), Phase::Undone);
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn where_the_way_forward_ended_is_not_decided_on_the_way_back() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:db@a", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.leads("a");
    bench
        .advance()
        .pass(1)
        .reports("stop:web@b", 1, AttemptState::Done, false);
    // Somebody starts it again at once, so that the second stop cannot even begin.
    bench.instance("web", "b", InstanceState::Running);
    bench.goes_silent("b");
    bench.advance().pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(LIMIT.as_secs() + 1).pass(1);
    assert_eq!(bench.phase("stop:web@b"), Phase::UndoFailed);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    for verb in [Verb::Retry, Verb::Skip] {
        let Err(refused) = bench.asks(verb, "stop:db@a") else {
            panic!("{verb}: it would go forward");
        };
        let refused = refused.to_string();
        assert!(refused.contains("it is being taken back"), "{refused}");
    }
    assert_eq!(bench.state(), State::NeedsAttention);
}

#[test]
fn what_an_agent_repeats_of_the_way_forward_is_no_proof_of_the_way_back() {
    let mut plan = seal(vec![
        step("start:db@a", &[]),
        step("approve:look", &[("start:db@a", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.instance("web", "b", InstanceState::Running);
    bench.pass(6);
    // It cannot even begin: somebody runs upon it.
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.phase("start:db@a"), Phase::UndoFailed);
    bench.says_of("start:db@a", 1, AttemptState::Done, false);
    assert_eq!(bench.phase("start:db@a"), Phase::UndoFailed);

    // A stop, whose start has nothing to run upon.
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.advance().says("stop:web@b", AttemptState::Done);
    bench.instance("db", "a", InstanceState::Failed);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance().pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:web@b"), Phase::UndoFailed);
    bench.says_of("stop:web@b", 1, AttemptState::Done, false);
    assert_eq!(bench.phase("stop:web@b"), Phase::UndoFailed);
}

/// A stop that is being taken back; the start is not done within its limit.
fn late_start() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:app@mgmt", &[]),
        step("approve:look", &[("stop:app@mgmt", Wait::Down)]),
    ]);
    bench.advance().says("stop:app@mgmt", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::UndoFailed);
    bench
}

#[test]
fn a_start_that_came_up_too_late_counts_when_it_is_healthy() {
    let mut bench = late_start();
    bench.says("stop:app@mgmt", AttemptState::Done);
    assert_eq!(
        bench.phase("stop:app@mgmt"),
        Phase::Undoing,
        "up is not healthy"
    );
    bench.pass(1).probed("app.port", "mgmt", Verdict::Ok);
    bench.advance();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Undone);
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.state(), State::Unwound);

    // Sick for its whole limit it is undo-failed again, and its agent's old word changes that no more.
    let mut bench = late_start();
    bench.says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::UndoFailed);
    bench.says("stop:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::UndoFailed);
}
