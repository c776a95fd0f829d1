//! Instances that die after they were proven to be up: they are not healthy, and nobody who requires them starts.

use std::time::Duration;

use interlock_engine::operation::{Operation, Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::ids::OperationId;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{Assumption, Known, Step, Wait};

use crate::bench::{Bench, LIMIT, gate, seal, spec, step};

/// Longer than an agent may take to take back what it saw before the end of an attempt.
const SOON: u64 = 6;

fn down(state: InstanceState, reason: &str) -> InstanceObservation {
    InstanceObservation {
        state,
        reason: reason.into(),
        ..InstanceObservation::default()
    }
}

/// What a guard says that does not start it again, however often it did.
fn given_up() -> InstanceObservation {
    InstanceObservation {
        given_up: true,
        ..down(InstanceState::Failed, "killed, and given up")
    }
}

fn start_db() -> Step {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    start
}

/// A start that is proven, and whose checks are awaited.
fn proven() -> Bench {
    let mut bench = Bench::new(vec![start_db()]);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    assert_eq!(bench.phase("start:db@a"), Phase::Checking);
    bench.pass(1);
    bench
}

#[test]
fn what_is_given_up_after_its_proof_is_not_healthy_whoever_answers_on_its_port() {
    let mut bench = proven();
    bench.tells("db", "a", given_up());
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Checking);
    let shown = bench.waits_for("start:db@a");
    assert!(shown.contains("db on a is failed: killed"), "{shown}");
    bench.pass(SOON);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
    let evidence = bench.evidence("start:db@a");
    assert!(evidence.contains("killed, and given up"), "{evidence}");
    assert_eq!(bench.state(), State::NeedsAttention);
}

#[test]
fn what_ended_cleanly_after_its_proof_fails_its_step_without_waiting_for_the_limit() {
    let mut bench = proven();
    bench.tells("db", "a", down(InstanceState::Stopped, "exit status 0"));
    bench.probed("db.port", "a", Verdict::Ok).pass(SOON);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
    let evidence = bench.evidence("start:db@a");
    assert!(evidence.contains("exit status 0"), "{evidence}");
}

#[test]
fn what_may_come_up_again_is_waited_for_within_the_limit() {
    let states = [
        down(InstanceState::Failed, "about to be restarted"),
        InstanceObservation {
            restarts: spec().services["db"].guard.budget,
            ..down(InstanceState::Failed, "about to be restarted once more")
        },
        down(InstanceState::Starting, "activating"),
        down(InstanceState::Unknown, "looking at it hangs"),
    ];
    for seen in states {
        let reason = seen.reason.clone();
        let mut bench = proven();
        bench.tells("db", "a", seen.clone());
        bench.probed("db.port", "a", Verdict::Ok).pass(30);
        assert_eq!(bench.phase("start:db@a"), Phase::Checking, "{reason}");
        assert!(bench.waits_for("start:db@a").contains(&reason), "{reason}");
        bench.instance("db", "a", InstanceState::Running);
        bench.probed("db.port", "a", Verdict::Ok).advance();
        assert_eq!(bench.phase("start:db@a"), Phase::Done, "{reason}");

        let mut bench = proven();
        bench.tells("db", "a", seen);
        bench
            .probed("db.port", "a", Verdict::Ok)
            .pass(LIMIT.as_secs());
        assert_eq!(bench.phase("start:db@a"), Phase::Failed, "{reason}");
        assert!(bench.evidence("start:db@a").contains(&reason), "{reason}");
    }
}

#[test]
fn what_was_seen_before_the_proof_neither_fails_a_step_nor_makes_it_healthy() {
    // It ran before it was started again, and nothing has been said of it since.
    let mut bench = Bench::new(vec![start_db()]);
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(1).pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.probed("db.port", "a", Verdict::Ok).pass(1);
    assert_eq!(bench.phase("start:db@a"), Phase::Checking);
    bench.probed("db.port", "a", Verdict::Ok).pass(SOON);
    assert_eq!(
        bench.phase("start:db@a"),
        Phase::Done,
        "it would have said so"
    );

    // It was down, and what is told after the proof was seen before it.
    let mut bench = proven();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.probed("db.port", "a", Verdict::Ok).pass(1);
    assert_eq!(bench.phase("start:db@a"), Phase::Checking);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Done);
}

#[test]
fn a_retry_of_what_runs_by_now_succeeds_however_short_its_limit_is() {
    let mut start = start_db();
    start.timeout = Duration::from_secs(4);
    let mut bench = Bench::new(vec![start]);
    bench.advance().says("start:db@a", AttemptState::Done);
    bench.probed("db.port", "a", Verdict::Bad).pass(4);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
    bench.pass(60).asks(Verb::Retry, "start:db@a").unwrap();
    // It runs already: its agent has nothing new to tell of it.
    bench.advance().pass(1);
    bench.says_of("start:db@a", 2, AttemptState::Done, false);
    for _ in 0..SOON {
        bench.probed("db.port", "a", Verdict::Ok).pass(1);
    }
    assert_eq!(bench.phase("start:db@a"), Phase::Done);
}

#[test]
fn what_came_back_up_and_died_is_not_taken_back() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1).says("stop:db@a", AttemptState::Done);
    bench.tells("db", "a", given_up());
    bench.probed("db.port", "a", Verdict::Ok).pass(SOON);
    assert_eq!(bench.phase("stop:db@a"), Phase::UndoFailed);
    assert!(bench.evidence("stop:db@a").contains("given up"));
}

/// db is up and healthy, active on a, and the start of `then` awaits a `next`.
fn met(then: &str) -> Bench {
    let mut plan = seal(vec![
        start_db(),
        step("start:db@b", &[("start:db@a", Wait::Up)]),
        step(
            then,
            &[("start:db@a", Wait::Healthy), ("start:db@b", Wait::Up)],
        ),
    ]);
    let assumption = Assumption {
        active: "a".parse().unwrap(),
        known: Known::Assumed,
    };
    plan.assumptions.insert("db".parse().unwrap(), assumption);
    let mut bench = Bench::of(plan, true);
    for db in ["start:db@a", "start:db@b"] {
        bench.asks(Verb::Next, "").unwrap();
        bench.advance().says(db, AttemptState::Done);
        bench.probed("db.port", "a", Verdict::Ok).advance();
        assert_eq!(bench.phase(db), Phase::Done);
    }
    bench.pass(1);
    assert_eq!(bench.waits_for(then), "your `next`");
    bench
}

#[test]
fn nothing_starts_upon_a_requirement_that_died_after_its_edge_was_met() {
    type Becomes = fn(&mut Bench);
    let cases: [(&str, Becomes); 4] = [
        ("db on a is failed: killed", |bench| {
            bench.tells("db", "a", down(InstanceState::Failed, "killed"));
        }),
        ("db on a is unknown: its agent", |bench| {
            bench.goes_silent("a")
        }),
        ("db on a is unknown: looking hangs", |bench| {
            bench.tells("db", "a", down(InstanceState::Unknown, "looking hangs"));
        }),
        ("db.port on a is bad", |bench| {
            bench.probed("db.port", "a", Verdict::Bad);
        }),
    ];
    for (why, becomes) in cases {
        let mut bench = met("start:web@b");
        becomes(&mut bench);
        bench.asks(Verb::Next, "").unwrap();
        bench.advance();
        assert_eq!(bench.phase("start:web@b"), Phase::Waiting, "{why}");
        let shown = bench.waits_for("start:web@b");
        assert!(shown.contains("it requires db, and"), "{shown}");
        assert!(shown.contains(why), "{shown}");

        bench.pass(LIMIT.as_secs() + 1);
        assert_eq!(bench.phase("start:web@b"), Phase::Blocked, "{why}");
        assert_eq!(bench.state(), State::NeedsAttention);

        // Repaired and retried it goes on.
        bench.connects("a", "boot-1");
        bench.instance("db", "a", InstanceState::Running);
        bench.probed("db.port", "a", Verdict::Ok);
        bench.asks(Verb::Retry, "start:web@b").unwrap();
        bench.asks(Verb::Next, "").unwrap();
        assert_eq!(bench.phase("start:web@b"), Phase::Running, "{why}");
    }
}

#[test]
fn a_requirement_that_is_given_up_blocks_its_dependants_at_once() {
    let mut bench = met("start:web@b");
    bench.tells("db", "a", given_up());
    bench.asks(Verb::Next, "").unwrap();
    bench.pass(SOON);
    assert_eq!(bench.phase("start:web@b"), Phase::Blocked);
    let evidence = bench.evidence("start:web@b");
    assert!(evidence.contains("given up"), "{evidence}");
}

#[test]
fn a_standby_that_died_holds_nobody_while_the_primary_is_well() {
    let mut bench = met("start:web@b");
    bench.tells("db", "b", given_up());
    bench.asks(Verb::Next, "").unwrap();
    bench.pass(SOON);
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn an_edge_for_the_order_alone_is_met_once_and_for_all() {
    let mut bench = met("start:log@b");
    bench.tells("db", "a", given_up());
    bench.asks(Verb::Next, "").unwrap();
    bench.pass(SOON);
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

/// Both instances of app are up and met at a step, and the start of front waits for a gate.
fn meeting() -> Bench {
    let apps = ["start:app@mgmt", "start:app@b"];
    let mut join = step("check:app", &apps.map(|app| (app, Wait::Healthy)));
    join.service = Some("app".parse().unwrap());
    let mut front = step("start:front@b", &[("check:app", Wait::Healthy)]);
    front.gates = vec![gate("db.port", "b")];
    let starts = apps.map(|app| step(app, &[]));
    let mut bench = Bench::new([starts.to_vec(), vec![join, front]].concat());
    bench.advance();
    for app in apps {
        bench.says(app, AttemptState::Done);
    }
    assert_eq!(bench.phase("check:app"), Phase::Done);
    bench.pass(1);
    assert_eq!(bench.phase("start:front@b"), Phase::Waiting);
    bench
}

#[test]
fn as_many_instances_as_are_needed_at_least_must_still_be_up() {
    let dies = |bench: &mut Bench, node: &str| bench.tells("app", node, given_up());
    let mut bench = meeting();
    dies(&mut bench, "mgmt");
    bench.probed("db.port", "b", Verdict::Ok).pass(SOON);
    assert_eq!(
        bench.phase("start:front@b"),
        Phase::Running,
        "one is enough"
    );

    let mut bench = meeting();
    dies(&mut bench, "mgmt");
    dies(&mut bench, "b");
    bench.probed("db.port", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:front@b"), Phase::Waiting);
    bench.pass(SOON);
    assert_eq!(bench.phase("start:front@b"), Phase::Blocked);
}

#[test]
fn a_requirement_that_a_person_took_for_done_is_not_looked_at_again() {
    let mut bench = Bench::new(vec![
        start_db(),
        step("start:web@b", &[("start:db@a", Wait::Healthy)]),
    ]);
    bench.advance().says("start:db@a", AttemptState::Failed);
    bench.asks(Verb::Skip, "start:db@a").unwrap();
    bench.pass(1);
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}

#[test]
fn an_operation_taken_over_from_its_journal_looks_again_at_what_it_started() {
    let mut bench = met("start:web@b");
    bench.operation = Operation::replay(
        OperationId(1),
        std::sync::Arc::clone(&bench.plan),
        bench.journal.clone(),
    )
    .unwrap();
    bench.tells("db", "a", down(InstanceState::Failed, "killed"));
    bench.asks(Verb::Next, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.phase("start:web@b"), Phase::Waiting);
    bench.instance("db", "a", InstanceState::Running);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Running);
}
