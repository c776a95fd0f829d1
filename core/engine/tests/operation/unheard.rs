//! What is to be taken back on machines that never came up.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{PlanKind, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

const ALL: [&str; 4] = ["power-on:a", "power-on:b", "verify:db@a", "verify:web@b"];

/// a and b were switched on, did not come up, and are being taken back: db first on a, and web on b after it.
fn never_up() -> Bench {
    let mut plan = seal(vec![
        step("power-on:a", &[]),
        step("power-on:b", &[]),
        step("verify:db@a", &[("power-on:a", Wait::Up)]),
        step(
            "verify:web@b",
            &[("power-on:b", Wait::Up), ("verify:db@a", Wait::Healthy)],
        ),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.goes_silent("a");
    bench.goes_silent("b");
    bench.advance();
    both(&mut bench, Power::Off);
    for id in ["power-on:a", "power-on:b"] {
        bench.says(id, AttemptState::Done);
    }
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::Unwinding);
    bench
}

fn both(bench: &mut Bench, power: Power) {
    bench.power("a", power).power("b", power).advance();
}

fn phases(bench: &Bench) -> [Phase; 4] {
    ALL.map(|id| bench.phase(id))
}

#[test]
fn machines_that_never_came_up_are_not_waited_for_one_after_the_other() {
    let mut bench = never_up();
    for _ in 0..LIMIT.as_secs() - 1 {
        bench.pass(1);
        both(&mut bench, Power::On);
    }
    assert_eq!(bench.state(), State::Unwinding);
    assert!(phases(&bench).iter().all(|it| *it != Phase::UndoFailed));
    bench.pass(2);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(
        phases(&bench),
        [Phase::UndoFailed; 4],
        "all of them at once"
    );
    let evidence = bench.evidence("power-on:a");
    assert!(
        evidence.contains("the agent of a is not there"),
        "{evidence}"
    );
    // Somebody switches them off.
    both(&mut bench, Power::Off);
    for id in ALL {
        bench.asks(Verb::Retry, id).unwrap();
    }
    for _ in 0..3 {
        bench.pass(1);
        both(&mut bench, Power::Off);
    }
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn what_should_have_come_up_on_a_machine_that_is_off_is_taken_back_before_its_turn() {
    let mut bench = never_up();
    let sent = bench.sent();
    for ask in ["power a", "power b"] {
        assert!(sent.contains(&ask.to_owned()), "{sent:?}");
    }
    // Only that of db is known to be off, whose turn is the later one.
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("verify:db@a"), Phase::Undone);
    assert_ne!(bench.phase("verify:web@b"), Phase::Undone, "nobody knows");
    assert_ne!(
        bench.phase("power-on:a"),
        Phase::Undone,
        "its turn is to come"
    );
}

#[test]
fn a_machine_that_comes_up_after_all_is_taken_back_in_its_turn_with_its_whole_limit() {
    let mut bench = never_up();
    bench.pass(LIMIT.as_secs() - 2);
    bench.connects("b", "boot-2");
    bench.instance("web", "b", InstanceState::Running);
    bench.sent();
    bench.advance();
    assert_eq!(bench.sent(), ["stop verify:web@b #1 on b"]);
    bench.pass(LIMIT.as_secs() / 2);
    assert_eq!(bench.phase("verify:web@b"), Phase::Undoing);
    assert_eq!(
        bench.state(),
        State::Unwinding,
        "nobody is called before something waits in vain for its turn"
    );
    bench.says("verify:web@b", AttemptState::Done);
    // Now db is due, whose machine has been silent all the time; its power source is asked once more.
    bench.pass(1);
    assert_eq!(bench.state(), State::Unwinding);
    bench.power("a", Power::On).advance();
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(bench.phase("verify:db@a"), Phase::UndoFailed);
    assert_ne!(bench.phase("power-on:b"), Phase::UndoFailed, "it is there");
}
