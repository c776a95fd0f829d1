//! Gates: checks that must be fresh and green, and active sides that must be where the plan took them to be.

use interlock_engine::operation::{Phase, State};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;

use crate::bench::{Bench, LIMIT, gate, seal, step};

#[test]
fn a_gate_opens_by_a_probe_that_ran_after_the_steps_turn_came() {
    let mut gated = step("start:web@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![gated]);
    bench.probed("db.port", "a", Verdict::Ok);
    bench.pass(1);
    assert_eq!(
        bench.sent(),
        ["probe a"],
        "what was green before is asked again"
    );
    bench.pass(1);
    assert_eq!(bench.phase("start:web@b"), Phase::Waiting);
    bench.probed("db.port", "a", Verdict::Unknown).advance();
    assert_eq!(
        bench.phase("start:web@b"),
        Phase::Waiting,
        "unknown is not green"
    );
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn a_gate_that_stays_closed_blocks_its_step_and_calls_a_person() {
    let mut gated = step("start:web@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![gated]);
    bench.advance();
    bench
        .probed("db.port", "a", Verdict::Bad)
        .pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:web@b"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(
        bench.evidence("start:web@b").contains("db.port on a"),
        "{}",
        bench.evidence("start:web@b")
    );
}

#[test]
fn a_forced_check_is_not_waited_for() {
    let mut gated = step("start:web@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut plan = seal(vec![gated]);
    plan.forced = vec![gate("db.port", "a").check];
    let mut bench = Bench::of(plan, false);
    bench.advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn what_is_up_must_be_healthy_within_its_limit_once_more() {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![start]);
    bench.advance().pass(50);
    bench.says("start:db@a", AttemptState::Done).pass(50);
    assert_eq!(
        bench.phase("start:db@a"),
        Phase::Checking,
        "its checks have a time of their own"
    );
    bench.pass(11);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
}

/// A plan that stops the standby of db on a, made while b was active.
fn standby_stops() -> Bench {
    let mut bench = Bench::observed(seal(vec![step("stop:db@a", &[])]), "b");
    for node in ["a", "b"] {
        bench.instance("db", node, InstanceState::Running);
    }
    bench
}

#[test]
fn the_active_side_is_looked_at_again_before_a_stop_that_relies_on_it() {
    let mut bench = standby_stops();
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok);
    bench.pass(1);
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Waiting,
        "seen before its turn came"
    );
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn a_look_counts_from_when_the_last_of_the_agents_is_back() {
    let mut bench = standby_stops();
    bench.pass(1);
    bench.probed("db.leads", "a", Verdict::Bad).goes_silent("a");
    bench.pass(5);
    bench.probed("db.leads", "b", Verdict::Ok);
    bench.pass(5);
    bench.connects("a", "boot-1");
    bench.sent();
    bench.pass(1);
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Waiting,
        "both were seen since its turn came, but not both since a is back"
    );
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn an_active_side_that_moved_halts_the_plan() {
    let mut bench = standby_stops();
    bench.advance();
    bench
        .probed("db.leads", "a", Verdict::Ok)
        .probed("db.leads", "b", Verdict::Bad)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(bench.operation.attention().contains("plan again"));
}

#[test]
fn an_active_side_that_cannot_be_told_is_not_taken_for_granted() {
    let mut bench = standby_stops();
    bench
        .advance()
        .probed("db.leads", "b", Verdict::Ok)
        .probed("db.leads", "a", Verdict::Unknown);
    bench.pass(2);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.goes_silent("a");
    bench.sent();
    bench.pass(2);
    assert_eq!(
        bench.sent(),
        ["power a", "probe b"],
        "only its power source can tell of a silent one"
    );
}
