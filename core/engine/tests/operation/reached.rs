//! What was restarted under those who run on: it is through when they reach it again.

use interlock_engine::operation::{State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Plan, PlanKind, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

fn restart() -> Plan {
    let mut plan = seal(vec![
        step("stop:app@mgmt", &[]),
        step("start:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
    ]);
    plan.kind = PlanKind::Restart;
    plan.scope = "--service app".into();
    plan
}

/// A restart of app whose steps are done, with front running on b, which requires it.
fn restarted(plan: Plan) -> Bench {
    let mut bench = Bench::of(plan, false);
    bench.instance("app", "b", InstanceState::Running);
    bench.instance("front", "b", InstanceState::Running);
    bench.probed("app.port", "b", Verdict::Ok);
    bench.probed("app.way", "b", Verdict::Ok);
    bench.pass(1).says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).says("start:app@mgmt", AttemptState::Done);
    bench
}

#[test]
fn a_restart_is_done_when_its_dependants_reach_it_again_by_a_look_since() {
    let mut bench = restarted(restart());
    assert_eq!(
        bench.state(),
        State::Running,
        "what was green before is old"
    );
    assert!(bench.sent().contains(&"probe b".to_owned()));
    let waits = bench.operation.end_waits_for().to_owned();
    assert!(waits.starts_with("app.way on b is unknown: "), "{waits}");
    assert!(
        waits.ends_with(", after --service app was restarted"),
        "{waits}"
    );
    bench.pass(1).probed("app.way", "b", Verdict::Bad).advance();
    assert_eq!(bench.state(), State::Running);
    let waits = bench.operation.end_waits_for();
    assert!(waits.starts_with("app.way on b is bad: "), "{waits}");
    bench.pass(1).probed("app.way", "b", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn a_restart_that_its_dependants_do_not_reach_needs_attention() {
    let mut bench = restarted(restart());
    bench.pass(1).probed("app.way", "b", Verdict::Bad).advance();
    bench.pass(LIMIT.as_secs() * 3);
    assert_eq!(bench.state(), State::NeedsAttention);
    let why = bench.operation.attention();
    assert!(why.contains("app.way on b is"), "{why}");
    // Repaired, it goes on to its end.
    bench.probed("app.way", "b", Verdict::Ok);
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn whoever_takes_it_over_waits_for_a_look_of_its_own() {
    let mut bench = restarted(restart());
    bench.pass(1).probed("app.way", "b", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Done);
    bench.restarts_before_its_last_turn();
    for node in ["mgmt", "b"] {
        bench.connects(node, "boot-1");
        bench.instance("app", node, InstanceState::Running);
        bench.probed("app.port", node, Verdict::Ok);
    }
    bench.instance("front", "b", InstanceState::Running);
    // What came in before the first look may be about any time.
    bench.probed("app.way", "b", Verdict::Ok);
    bench.pass(1);
    let asked = bench.now().mono;
    assert_eq!(bench.state(), State::Running);
    assert!(bench.sent().contains(&"probe b".to_owned()));
    bench.pass(1).advance();
    assert_eq!(bench.state(), State::Running, "nothing new was said");
    bench.answered("app.way", "b", Verdict::Ok, asked).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn nobody_is_asked_where_no_dependant_runs_nor_of_a_check_that_is_forced() {
    let mut forced = restart();
    forced.forced = vec![crate::bench::gate("app.way", "b").check];
    assert_eq!(restarted(forced).state(), State::Done);

    let mut bench = Bench::of(restart(), false);
    bench.instance("app", "b", InstanceState::Running);
    bench.instance("front", "b", InstanceState::Stopped);
    bench.pass(1).says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).says("start:app@mgmt", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);
}
