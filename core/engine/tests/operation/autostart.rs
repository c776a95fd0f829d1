//! A startup that is taken back: a machine that it has switched on does not go under what runs there.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{PlanKind, Step, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

/// `a` is switched on, and db, which comes up with it, is to be verified once a person has looked.
fn switched_on(verify: Step) -> Bench {
    let mut plan = seal(vec![
        step("power-on:a", &[]),
        step("approve:look", &[("power-on:a", Wait::Up)]),
        verify,
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().power("a", Power::Off).advance();
    bench.connects("a", "boot-2");
    bench.instance("team", "a", InstanceState::Stopped);
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(1).sent();
    assert_eq!(bench.phase("power-on:a"), Phase::Done);
    assert_eq!(bench.phase("verify:db@a"), Phase::Waiting);
    bench
}

fn verify() -> Step {
    step(
        "verify:db@a",
        &[("power-on:a", Wait::Up), ("approve:look", Wait::Up)],
    )
}

fn goes_down(bench: &mut Bench) -> bool {
    bench.power("a", Power::On).pass(1);
    bench.sent().iter().any(|it| it.starts_with("shutdown"))
}

#[test]
fn what_came_up_with_its_machine_and_was_never_verified_is_stopped_before_the_machine_goes() {
    let mut bench = switched_on(verify());
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop verify:db@a #1 on a"]);
    assert!(!goes_down(&mut bench));
    bench.says("verify:db@a", AttemptState::Done);
    assert_eq!(bench.phase("verify:db@a"), Phase::Undone);
    assert!(goes_down(&mut bench));
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn a_machine_does_not_go_on_the_way_back_under_what_runs_and_nothing_stops() {
    // As plans of earlier versions have it: nothing takes the verification back.
    let mut bench = switched_on(Step {
        undo: None,
        ..verify()
    });
    bench.asks(Verb::Unwind, "").unwrap();
    assert!(!goes_down(&mut bench));
    assert!(!goes_down(&mut bench));
    let waits = bench.waits_for("power-on:a");
    assert!(waits.starts_with("db on a is running"), "{waits}");
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("power-on:a"), Phase::UndoFailed);
    let told = bench.evidence("power-on:a");
    assert!(told.contains("stop it there"), "{told}");
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Retry, "power-on:a").unwrap();
    assert!(goes_down(&mut bench));
}

#[test]
fn nor_under_what_a_person_has_started_again_or_what_its_agent_cannot_tell() {
    for state in [InstanceState::Running, InstanceState::Unknown] {
        let mut bench = switched_on(verify());
        bench.asks(Verb::Unwind, "").unwrap();
        bench.pass(1).says("verify:db@a", AttemptState::Done);
        assert_eq!(bench.phase("verify:db@a"), Phase::Undone);
        bench.pass(1);
        bench.instance("db", "a", state);
        assert!(!goes_down(&mut bench), "{state}");
        assert!(!goes_down(&mut bench), "{state}");
        bench.instance("db", "a", InstanceState::Stopped);
        assert!(goes_down(&mut bench), "{state}");
    }
}

#[test]
fn what_ran_on_a_machine_that_was_on_is_left_alone() {
    let mut plan = seal(vec![step("power-on:a", &[]), {
        step("approve:look", &[("power-on:a", Wait::Up)])
    }]);
    plan.steps.push(verify());
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance().power("a", Power::On).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Done);
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn nothing_is_stopped_on_the_way_back_under_a_dependant_that_was_started_again() {
    let mut plan = seal(vec![
        step("start:app@b", &[]),
        step("start:front@b", &[("start:app@b", Wait::Healthy)]),
        step("approve:look", &[("start:front@b", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().pass(1);
    bench.says("start:app@b", AttemptState::Done);
    bench.pass(1).says("start:front@b", AttemptState::Done);
    bench.pass(1);
    assert_eq!(bench.phase("start:front@b"), Phase::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    // It is started again at the very moment when its stop is proven.
    bench
        .pass(1)
        .reports("start:front@b", 2, AttemptState::Done, false);
    bench.instance("front", "b", InstanceState::Running);
    bench.sent();
    bench.pass(1);
    assert_eq!(bench.phase("start:front@b"), Phase::Undone);
    assert_eq!(bench.sent(), [""; 0]);
    bench.instance("front", "b", InstanceState::Stopped);
    bench.pass(1);
    assert_eq!(bench.sent(), ["stop start:app@b #2 on b"]);
}
