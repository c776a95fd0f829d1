//! What the spec has no more, and may run where a machine is about to go.

use interlock_engine::coordinator::Stray;
use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;
use interlock_model::spec::Role;

use crate::bench::{Bench, step};

/// Mail ran on a when a spec without it was applied.
fn mail(boot: &str) -> Stray {
    let text = format!(
        r#"{{"node": "a", "service": "mail", "state": "running", "heard": true, "boot": "{boot}", "generation": 2}}"#
    );
    serde_json::from_str(&text).unwrap()
}

const ASKS: &str = "approve:let-go.mail.a";

/// `approve:let-go.mail.a`, as a plan has it.
fn asks() -> interlock_model::plan::Step {
    let mut step = step(ASKS, &[]);
    step.node = Some("a".parse().unwrap());
    step
}

#[test]
fn a_machine_does_not_go_under_what_the_plan_did_not_ask_for() {
    for id in ["power-off:a", "reboot:a"] {
        let mut bench = Bench::new(vec![step(id, &[])]);
        bench.strays = [mail("boot-1")].into_iter().collect();
        bench.advance().power("a", Power::On).advance();
        let sent = bench.sent();
        assert!(!sent.iter().any(|it| it.contains(id)), "{sent:?}");
        assert_eq!(bench.phase(id), Phase::Blocked);
        assert_eq!(bench.state(), State::NeedsAttention);
        let told = bench.evidence(id);
        assert!(
            told.contains("mail was running, and generation 2"),
            "{told}"
        );
        assert!(told.contains("plan again"), "{told}");
    }
}

#[test]
fn it_goes_once_a_person_has_said_so() {
    let off = step("power-off:a", &[(ASKS, Wait::Up)]);
    let mut bench = Bench::new(vec![asks(), off]);
    bench.strays = [mail("boot-1")].into_iter().collect();
    bench.advance().power("a", Power::On).pass(1);
    assert_eq!(bench.phase("power-off:a"), Phase::Waiting);
    bench
        .asks_as(Role::Admin, Verb::Approve, "let-go.mail.a")
        .unwrap();
    bench.advance().power("a", Power::On).advance();
    let sent = bench.sent();
    assert!(
        sent.contains(&"shutdown power-off:a #1 on a".to_owned()),
        "{sent:?}"
    );
}

#[test]
fn nobody_is_asked_to_take_it_down_either() {
    let mut person = step("approve:power-off.a", &[]);
    person.node = Some("a".parse().unwrap());
    let off = step("power-off:a", &[("approve:power-off.a", Wait::Up)]);
    let mut bench = Bench::new(vec![person, off]);
    bench.strays = [mail("boot-1")].into_iter().collect();
    bench.advance();
    assert!(
        bench
            .waits_for("approve:power-off.a")
            .contains("mail was running")
    );
    let asked = bench.asks_as(Role::Admin, Verb::Approve, "power-off.a");
    assert!(asked.is_err());
}

#[test]
fn another_boot_runs_nothing_of_it_and_silence_says_nothing() {
    let mut bench = Bench::new(vec![step("reboot:a", &[])]);
    bench.strays = [mail("boot-0")].into_iter().collect();
    bench.advance();
    assert_eq!(bench.phase("reboot:a"), Phase::Running);

    let strays: interlock_engine::coordinator::Strays = [mail("boot-1")].into_iter().collect();
    let node = "a".parse().unwrap();
    bench.goes_silent("a");
    assert_eq!(strays.may_run_on(&node, &bench.view).len(), 1);
    bench.power("a", Power::Off);
    assert!(strays.may_run_on(&node, &bench.view).is_empty());
}

#[test]
fn a_power_on_is_not_taken_back_under_what_came_to_light_since() {
    let look = step("approve:look", &[("power-on:a", Wait::Up)]);
    let mut bench = Bench::new(vec![step("power-on:a", &[]), look]);
    bench.advance().power("a", Power::Off).advance();
    bench.connects("a", "boot-2");
    bench.advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Done);
    bench.strays = [mail("boot-2")].into_iter().collect();
    bench.asks(Verb::Unwind, "").unwrap();
    for _ in 0..3 {
        bench.pass(1).power("a", Power::On).advance();
    }
    assert_eq!(bench.phase("power-on:a"), Phase::UndoFailed);
    assert!(bench.evidence("power-on:a").contains("mail was running"));
}

#[test]
fn a_machine_does_not_go_under_what_somebody_has_started_since_the_plan_was_made() {
    for id in ["power-off:a", "reboot:a"] {
        let mut bench = Bench::new(vec![step(id, &[])]);
        bench.instance("db", "a", InstanceState::Running);
        for _ in 0..2 {
            bench.power("a", Power::On).pass(1);
        }
        assert_eq!(bench.phase(id), Phase::Waiting, "{id}");
        let waits = bench.waits_for(id);
        assert!(waits.starts_with("db on a runs, which was down"), "{waits}");
        // What its agent cannot tell is not nothing.
        bench.instance("db", "a", InstanceState::Unknown);
        bench.power("a", Power::On).pass(1);
        assert_eq!(bench.phase(id), Phase::Waiting, "{id}");
        let waits = bench.waits_for(id);
        assert!(waits.starts_with("db on a is unknown"), "{waits}");
        bench.instance("db", "a", InstanceState::Stopped);
        bench.power("a", Power::On).pass(1);
        assert_eq!(bench.phase(id), Phase::Running, "{id}");
    }
    // What the plan stops is looked at behind its stop.
    let off = step("power-off:a", &[("stop:db@a", Wait::Down)]);
    let mut bench = Bench::new(vec![step("stop:db@a", &[]), off]);
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(6).says("stop:db@a", AttemptState::Done);
    bench.power("a", Power::On).pass(1);
    assert_eq!(bench.phase("power-off:a"), Phase::Running);
}
