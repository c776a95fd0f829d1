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
    bench.pass(1).probed("app.way", "b", Verdict::Bad).advance();
    assert_eq!(bench.state(), State::Running);
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
