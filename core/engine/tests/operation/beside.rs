//! What a plan has no step for, and the spec ties to its steps: it may change before their turn comes.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Known, PlanKind, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

/// Longer than an agent may take to take back what it saw before.
const SOON: u64 = 6;

#[test]
fn nothing_starts_while_what_it_requires_is_down_although_the_plan_has_no_step_for_that() {
    let mut plan = seal(vec![step("start:web@b", &[])]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, true);
    bench.leads("a");
    bench.advance();
    assert_eq!(bench.waits_for("start:web@b"), "your `next`");
    // Somebody else stops it meanwhile.
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("start:web@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("start:web@b"),
        "it requires db, and db on a is stopped (and 1 more do not run)"
    );
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:web@b"), Phase::Blocked);

    bench.leads("a");
    bench.asks(Verb::Retry, "start:web@b").unwrap();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn what_only_matters_for_the_order_holds_no_start() {
    let mut bench = Bench::new(vec![step("start:log@b", &[])]);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn a_person_who_took_a_requirement_for_started_is_believed() {
    let mut plan = seal(vec![
        step("start:db@a", &[]),
        step("start:web@b", &[("start:db@a", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().says("start:db@a", AttemptState::Failed);
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "start:db@a").unwrap();
    bench.advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn nothing_is_stopped_under_a_dependant_that_was_down_when_the_plan_was_made() {
    let mut bench = Bench::of(seal(vec![step("stop:db@a", &[])]), true);
    bench.instance("db", "a", InstanceState::Running);
    bench.instance("web", "b", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.waits_for("stop:db@a"), "your `next`");
    bench.instance("web", "b", InstanceState::Running);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(
        bench.waits_for("stop:db@a"),
        "web on b runs, and requires db"
    );
    bench.pass(SOON);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);

    bench.instance("web", "b", InstanceState::Stopped);
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn a_part_that_leaves_enough_and_a_restart_go_under_their_dependants() {
    // One of two instances, of which the plan keeps the other.
    let mut plan = seal(vec![step("stop:app@b", &[])]);
    plan.keeps.insert("app".parse().unwrap());
    // A standby.
    let standby = seal(vec![step("stop:db@b", &[])]);
    let standby = Bench::taken(standby, "a", Known::Assumed);
    // What comes back.
    let mut restart = seal(vec![step("stop:db@a", &[])]);
    restart.kind = PlanKind::Restart;
    for (mut bench, step) in [
        (Bench::of(plan, false), "stop:app@b"),
        (standby, "stop:db@b"),
        (Bench::of(restart, false), "stop:db@a"),
    ] {
        for (service, node) in [("web", "b"), ("front", "b"), ("app", "mgmt"), ("db", "a")] {
            bench.instance(service, node, InstanceState::Running);
        }
        bench.probed("app.port", "mgmt", Verdict::Ok);
        bench.pass(SOON);
        assert_eq!(bench.phase(step), Phase::Running, "{step}");
    }
}

#[test]
fn a_start_on_the_way_back_waits_for_what_it_requires() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.leads("a");
    bench.advance().says("stop:web@b", AttemptState::Done);
    bench.instance("db", "a", InstanceState::Failed);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance().sent();
    bench.pass(2);
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:web@b"), Phase::UndoFailed);
    let evidence = bench.evidence("stop:web@b");
    assert!(
        evidence.contains("it requires db, and db on a is failed"),
        "{evidence}"
    );

    bench.leads("a");
    bench.asks(Verb::Retry, "stop:web@b").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["start stop:web@b #2 on b"]);
}

#[test]
fn a_start_is_not_taken_back_under_a_dependant_that_somebody_else_has_started() {
    let mut plan = seal(vec![
        step("start:db@a", &[]),
        step("approve:look", &[("start:db@a", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.instance("web", "b", InstanceState::Running);
    bench.pass(SOON).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.phase("start:db@a"), Phase::UndoFailed);
    let evidence = bench.evidence("start:db@a");
    assert!(
        evidence.contains("web on b runs, and requires db"),
        "{evidence}"
    );
}

#[test]
fn a_standby_that_runs_is_not_the_active_side_that_a_start_requires() {
    let mut plan = seal(vec![step("start:web@b", &[])]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.instance("db", "b", InstanceState::Running);
    bench.probed("db.leads", "b", Verdict::Bad).advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("start:web@b"),
        "it requires db, and no instance of db passes its active_when checks"
    );
    bench.probed("db.leads", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn a_start_is_not_taken_back_under_a_dependant_that_would_have_fewer_than_it_needs() {
    let mut plan = seal(vec![
        step("start:team@b", &[]),
        step("approve:look", &[("start:team@b", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.instance("team", "a", InstanceState::Running);
    bench.advance().pass(1);
    bench.says("start:team@b", AttemptState::Done);
    bench.instance("user", "mgmt", InstanceState::Running);
    bench.pass(SOON).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.phase("start:team@b"), Phase::UndoFailed);
    let evidence = bench.evidence("start:team@b");
    assert!(
        evidence.contains("user on mgmt runs, and requires team"),
        "{evidence}"
    );

    // Two others are enough for it.
    bench.instance("team", "mgmt", InstanceState::Running);
    bench.asks(Verb::Retry, "start:team@b").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop start:team@b #2 on b"]);
}

#[test]
fn nothing_is_stopped_under_a_dependant_that_is_still_stopping_unless_that_is_enough_for_it() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.instance("web", "b", InstanceState::Stopping);
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:db@a"),
        "web on b is still stopping, and requires db"
    );
    let web = bench.spec.services.get_mut("web").unwrap();
    web.dependencies.get_mut("db").unwrap().stop = Wait::GoingDown;
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}
