//! A stop that a person takes for done: their word does not stand against an agent that says that it runs.

use interlock_engine::operation::{Phase, Refused, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{PlanKind, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

/// Longer than an agent may take to take back what it saw before.
const SOON: u64 = 6;

/// `db` was to be stopped on a, and then its machine; the stop has failed.
fn failed() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("power-off:a", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance().pass(1);
    bench.says("stop:db@a", AttemptState::Failed);
    assert_eq!(bench.phase("stop:db@a"), Phase::Failed);
    bench
}

fn goes_down(bench: &mut Bench) -> bool {
    bench.sent().iter().any(|it| it.starts_with("shutdown"))
}

#[test]
fn a_stop_is_not_taken_for_done_while_its_agent_says_that_it_runs() {
    let up = [
        InstanceState::Running,
        InstanceState::Paused,
        InstanceState::Starting,
    ];
    for state in up {
        let mut bench = failed();
        bench.instance("db", "a", state);
        let refused = bench.asks(Verb::Skip, "stop:db@a").unwrap_err();
        assert!(matches!(refused, Refused::Runs { .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains(&format!("db on a is {state}")), "{told}");
        assert!(told.contains("`retry`"), "{told}");
        assert_eq!(bench.phase("stop:db@a"), Phase::Failed);
        bench.power("a", Power::On).pass(1);
        assert!(!goes_down(&mut bench));
    }
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn what_was_taken_for_stopped_and_runs_keeps_its_machine_on() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(1).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Waiting);
    bench.pass(SOON).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Blocked);
    assert!(!goes_down(&mut bench));
    let told = bench.evidence("power-off:a");
    assert!(
        told.contains("db on a is running, and stop:db@a was taken for done"),
        "{told}"
    );
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Retry, "power-off:a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn where_its_agent_cannot_tell_the_word_of_a_person_stands_until_it_can() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));

    // Nobody is heard: its machine cannot be shut down, and when it can, its agent is heard.
    let mut bench = failed();
    bench.goes_silent("a");
    bench.view.entry(&"a".parse().unwrap()).instances.clear();
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.connects("a", "boot-1");
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert_eq!(bench.phase("power-off:a"), Phase::Blocked);
    assert!(!goes_down(&mut bench));
}

#[test]
fn who_has_not_looked_yet_or_sees_half_of_it_cannot_be_spoken_for() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    // Its agent has begun anew.
    bench.tells("db", "a", InstanceObservation::default());
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert!(!goes_down(&mut bench));

    let mut bench = failed();
    let db = bench.spec.services.get_mut("db").unwrap();
    let more = db.parts[0].clone();
    db.parts.push(more);
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert!(!goes_down(&mut bench));
    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn an_operation_does_not_end_as_done_over_what_was_taken_for_stopped_and_runs() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.instance("db", "a", InstanceState::Running);
    assert!(bench.asks(Verb::Skip, "stop:db@a").is_err());
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    assert_eq!(bench.state(), State::Done, "nobody says otherwise");

    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(SOON);
    let admin = interlock_model::spec::Role::Admin;
    bench.asks_as(admin, Verb::Approve, "approve:look").unwrap();
    assert_eq!(bench.state(), State::NeedsAttention);
}

#[test]
fn nor_is_a_start_taken_for_taken_back_while_its_instance_runs() {
    let mut plan = seal(vec![
        step("start:log@b", &[]),
        step("approve:look", &[("start:log@b", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().says("start:log@b", AttemptState::Done);
    bench.pass(1).asks(Verb::Unwind, "").unwrap();
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:log@b"), Phase::UndoFailed);
    let refused = bench.asks(Verb::Skip, "start:log@b").unwrap_err();
    assert!(matches!(refused, Refused::Runs { .. }), "{refused:?}");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.asks(Verb::Skip, "start:log@b").unwrap();
    assert_eq!(bench.state(), State::Unwound);
}
