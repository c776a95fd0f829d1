//! A coordinator that has just begun has heard nobody: what it does not know yet, it waits for before it takes anything away.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::observation::{InstanceState, Liveness};
use interlock_model::plan::Wait;
use interlock_model::spec::Role;

use crate::bench::{Bench, seal, step};

/// Longer than an agent may take to take back what it saw before.
const SOON: u64 = 6;

/// As long as an agent takes at most to come back and to be called lost.
const COMES_BACK: u64 = 20;

/// `web` is stopped on b; before `db` is stopped on a, a person looks, and the coordinator is started anew.
fn taken_over() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
        step(
            "stop:db@a",
            &[("stop:web@b", Wait::Down), ("approve:look", Wait::Up)],
        ),
    ]);
    bench.advance().pass(1);
    bench.says("stop:web@b", AttemptState::Done);
    assert_eq!(bench.phase("stop:web@b"), Phase::Done);
    bench.restarts();
    bench.connects("a", "boot-1");
    bench.leads("a");
    bench.advance();
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    bench
}

#[test]
fn a_stop_waits_until_the_agent_of_what_was_stopped_before_has_said_how_it_is() {
    for (state, then) in [
        (InstanceState::Stopped, Phase::Running),
        (InstanceState::Running, Phase::Blocked),
    ] {
        let mut bench = taken_over();
        assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
        assert_eq!(
            bench.waits_for("stop:db@a"),
            "web on b is unknown: its agent has not been heard yet by this coordinator"
        );
        bench.pass(1).connects("b", "boot-1");
        bench.advance();
        assert_eq!(
            bench.waits_for("stop:db@a"),
            "web on b is unknown: its agent has not said yet how it is"
        );
        bench.instance("web", "b", state);
        bench.pass(SOON);
        assert_eq!(bench.phase("stop:db@a"), then, "{state}");
    }
}

#[test]
fn an_agent_that_does_not_come_back_is_waited_for_until_it_would_be_lost() {
    let mut bench = taken_over();
    bench.pass(COMES_BACK - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    // One that was heard, and is lost before it has said anything.
    let mut bench = taken_over();
    bench.connects("b", "boot-1");
    bench.goes_silent("b");
    bench.pass(COMES_BACK);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting, "it is not lost");
    bench.view.entry(&"b".parse().unwrap()).liveness = Liveness::Lost;
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    // Its machine is off.
    let mut bench = taken_over();
    bench.power("b", Power::Off).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn a_stop_waits_for_the_agent_of_a_dependant_that_the_plan_has_no_step_for() {
    for (state, then) in [
        (InstanceState::Stopped, Phase::Running),
        (InstanceState::Running, Phase::Blocked),
    ] {
        let mut bench = Bench::of(seal(vec![step("stop:db@a", &[])]), true);
        bench.advance();
        assert_eq!(bench.waits_for("stop:db@a"), "your `next`");
        bench.restarts();
        bench.connects("a", "boot-1");
        bench.leads("a");
        bench.asks(Verb::Next, "").unwrap();
        assert_eq!(
            bench.waits_for("stop:db@a"),
            "web on b is unknown: its agent has not been heard yet by this coordinator, and it requires db"
        );
        bench.connects("b", "boot-1");
        bench.instance("web", "b", state);
        bench.pass(SOON);
        assert_eq!(bench.phase("stop:db@a"), then, "{state}");
    }
}

#[test]
fn a_dependant_that_runs_is_not_overlooked_while_its_agent_connects_again() {
    let mut bench = Bench::of(seal(vec![step("stop:db@a", &[])]), true);
    bench.instance("web", "b", InstanceState::Running);
    bench.goes_silent("b");
    bench.pass(SOON);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:db@a"),
        "web on b runs, and requires db"
    );
    // Back, and it has yet to say everything again.
    bench.connects("b", "boot-1");
    let seen = bench.view.entry(&"b".parse().unwrap());
    seen.instances.clear();
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.instance("web", "b", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn what_an_agent_cannot_tell_of_a_dependant_is_not_taken_for_down() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.instance("web", "b", InstanceState::Unknown);
    bench.advance();
    assert_eq!(
        bench.waits_for("stop:db@a"),
        "web on b is unknown: its agent cannot tell, and it requires db"
    );
}

#[test]
fn a_stop_waits_until_the_source_of_a_machine_that_was_switched_off_has_told() {
    for (power, then) in [(Power::Off, Phase::Running), (Power::On, Phase::Blocked)] {
        let mut bench = Bench::new(vec![
            step("power-off:b", &[]),
            step("approve:look", &[("power-off:b", Wait::Down)]),
            step(
                "stop:db@a",
                &[("power-off:b", Wait::Down), ("approve:look", Wait::Up)],
            ),
        ]);
        bench.power("b", Power::On).advance().pass(1);
        bench.power("b", Power::Off).pass(1);
        assert_eq!(bench.phase("power-off:b"), Phase::Done);
        bench.restarts();
        bench.connects("a", "boot-1");
        bench.leads("a");
        bench.advance();
        bench
            .asks_as(Role::Admin, Verb::Approve, "approve:look")
            .unwrap();
        bench.advance();
        assert_eq!(
            bench.waits_for("stop:db@a"),
            "whether b is still off is unknown: box has not told this coordinator yet"
        );
        // Nobody who could ask it is there yet.
        bench.power("b", Power::Unknown).pass(1);
        assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
        bench.power("b", power).pass(1);
        assert_eq!(bench.phase("stop:db@a"), then, "{power:?}");
    }
}

#[test]
fn an_operation_does_not_end_as_done_before_what_it_stopped_is_known_to_be_down() {
    let mut bench = taken_over();
    bench.connects("b", "boot-1");
    bench.instance("web", "b", InstanceState::Stopped);
    bench.advance();
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);

    bench.restarts_before_its_last_turn();
    bench.advance();
    assert_eq!(bench.state(), State::Running);
    let waits = bench.operation.end_waits_for();
    assert!(waits.contains("has not been heard yet"), "{waits}");
    for (service, node) in [("web", "b"), ("db", "a")] {
        bench.connects(node, "boot-1");
        bench.instance(service, node, InstanceState::Stopped);
    }
    bench.advance();
    assert_eq!(bench.state(), State::Done);
    assert_eq!(bench.operation.end_waits_for(), "");
}
