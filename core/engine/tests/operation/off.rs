//! A machine that died under an operation, and is proven off by its power source.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;

use crate::bench::{Bench, LIMIT, step};

const PROOF: &str = "box says that b is off: nothing runs there";

#[test]
fn a_stop_on_a_machine_that_is_off_is_done_by_the_word_of_its_power_source() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:log@b", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.instance("web", "b", InstanceState::Running);
    // Told before the step's turn came, it is no proof.
    bench.power("b", Power::Off);
    bench.pass(1);
    assert_eq!(bench.sent(), ["power b"]);
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:web@b"),
        "the agent of b is not connected (left)"
    );
    bench.pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Done);
    assert_eq!(bench.evidence("stop:web@b"), PROOF);
    bench.pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.state(), State::Done);
    assert!(!bench.sent().iter().any(|sent| sent.starts_with("stop")));
}

#[test]
fn silence_and_a_plug_that_is_not_proven_stop_nothing() {
    for said in [Power::On, Power::Unknown] {
        let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
        bench.goes_silent("b");
        bench.advance().pass(1).power("b", said).advance();
        assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
        bench.pass(LIMIT.as_secs()).power("b", said).pass(1);
        assert_eq!(bench.phase("stop:web@b"), Phase::Blocked);
    }
    let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
    bench.verified.clear();
    bench.goes_silent("b");
    bench.advance().pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
}

#[test]
fn a_plug_that_is_not_proven_is_not_asked_for_a_proof() {
    let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
    bench.verified.clear();
    bench.goes_silent("b");
    bench.advance();
    assert_eq!(bench.sent(), [""; 0], "its answer would prove nothing");

    let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
    bench.instance("web", "b", InstanceState::Running);
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:web@b #1 on b"]);
    bench.verified.clear();
    bench.goes_silent("b");
    bench.pass(1);
    assert_eq!(bench.phase("stop:web@b"), Phase::Running);
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn a_machine_under_two_stops_is_asked_of_its_power_source_once() {
    let mut bench = Bench::new(vec![step("stop:web@b", &[]), step("stop:log@b", &[])]);
    bench.instance("web", "b", InstanceState::Running);
    bench.instance("log", "b", InstanceState::Running);
    bench.advance();
    assert_eq!(
        bench.sent(),
        ["stop stop:web@b #1 on b", "stop stop:log@b #1 on b"]
    );
    bench.goes_silent("b");
    bench.pass(1);
    assert_eq!(bench.sent(), ["power b"]);
}

#[test]
fn a_stop_that_has_waited_in_vain_is_proven_by_a_retry_once_the_machine_is_off() {
    let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
    bench.goes_silent("b");
    bench.advance().pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:web@b"), Phase::Blocked);
    bench.power("b", Power::Off).pass(1);
    bench.asks(Verb::Retry, "stop:web@b").unwrap();
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting, "that was before");
    bench.pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn a_machine_that_dies_under_its_stop_is_asked_of_its_power_source() {
    let mut bench = Bench::new(vec![step("stop:web@b", &[])]);
    bench.instance("web", "b", InstanceState::Running);
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:web@b #1 on b"]);
    bench.goes_silent("b");
    bench.pass(1);
    assert_eq!(bench.sent(), ["power b"]);
    bench.power("b", Power::On).pass(1);
    assert_eq!(bench.phase("stop:web@b"), Phase::Running);
    bench.power("b", Power::Off).pass(1);
    assert_eq!(bench.state(), State::Done);
    assert_eq!(bench.evidence("stop:web@b"), PROOF);
}

#[test]
fn a_start_is_taken_back_by_a_machine_that_is_off() {
    let mut bench = Bench::new(vec![
        step("start:log@b", &[]),
        step("approve:look", &[("start:log@b", Wait::Up)]),
    ]);
    bench.advance().says("start:log@b", AttemptState::Done);
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    bench.goes_silent("b");
    bench.pass(1).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert!(bench.sent().contains(&"power b".to_owned()));
    assert_eq!(bench.phase("start:log@b"), Phase::Done);
    bench.pass(1).power("b", Power::Off).pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Undone);
    assert_eq!(bench.evidence("start:log@b"), PROOF);
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn a_start_on_a_machine_that_is_off_tells_so_and_what_to_do() {
    let mut bench = Bench::new(vec![step("start:log@b", &[])]);
    bench.probed("db.port", "a", Verdict::Ok);
    bench.goes_silent("b");
    bench.advance();
    assert!(bench.sent().contains(&"power b".to_owned()));
    bench.pass(1).power("b", Power::Off).pass(1);
    let told = "box says that b is off: switch it on, `retry` if this has stopped waiting, or abort and plan again";
    assert_eq!(bench.waits_for("start:log@b"), told);
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
    assert!(bench.evidence("start:log@b").ends_with(told));
}
