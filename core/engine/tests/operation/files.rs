//! A restart that changes a file on the way.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{PlanKind, Wait};

use crate::bench::{Bench, LIMIT, gate, seal, step};

/// Both instances of `app`, one after the other; `front` requires it and runs on.
fn change() -> Bench {
    let mut plan = seal(vec![
        step("stop:app@mgmt", &[]),
        step("write-file:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
        step(
            "start:app@mgmt",
            &[
                ("stop:app@mgmt", Wait::Down),
                ("write-file:app@mgmt", Wait::Up),
            ],
        ),
        step("stop:app@b", &[("start:app@mgmt", Wait::Up)]),
        step("write-file:app@b", &[("stop:app@b", Wait::Down)]),
        step(
            "start:app@b",
            &[("stop:app@b", Wait::Down), ("write-file:app@b", Wait::Up)],
        ),
    ]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false);
    for (service, node) in [("app", "mgmt"), ("app", "b"), ("front", "b")] {
        bench.instance(service, node, InstanceState::Running);
    }
    bench.pass(6);
    bench
}

/// A step is sent, and its agent has done it; what that makes of the instance is seen.
fn done(bench: &mut Bench, step: &str, sent: &str) {
    bench.advance();
    let told: Vec<String> = bench
        .sent()
        .into_iter()
        .filter(|it| it.contains(step))
        .collect();
    assert!(
        told.iter().any(|it| it.starts_with(sent)),
        "{step}: {told:?} {:?} {}",
        bench.phase(step),
        bench.waits_for(step)
    );
    let node = step.rsplit('@').next().unwrap();
    match sent {
        "stop" => bench.instance("app", node, InstanceState::Stopped),
        "start" => bench.instance("app", node, InstanceState::Running),
        _ => {}
    }
    bench.says(step, AttemptState::Done);
    bench.pass(6);
    bench.probed("app.port", node, Verdict::Ok);
    bench.pass(1);
}

#[test]
fn the_file_is_written_while_the_instance_is_stopped_and_put_back_before_it_starts_again() {
    let mut bench = change();
    done(&mut bench, "stop:app@mgmt", "stop");
    done(&mut bench, "write-file:app@mgmt", "write-file");
    done(&mut bench, "start:app@mgmt", "start");
    done(&mut bench, "stop:app@b", "stop");
    bench.advance();
    bench
        .says("write-file:app@b", AttemptState::Failed)
        .advance();
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.sent();

    bench.asks(Verb::Unwind, "").unwrap();
    // What failed may have happened in part.
    done(&mut bench, "write-file:app@b", "restore-file");
    done(&mut bench, "stop:app@b", "start");
    // That one runs with the new file, and others require the service: it stops all the same, as it did on the way.
    assert_eq!(bench.phase("stop:app@b"), Phase::Undone);
    done(&mut bench, "start:app@mgmt", "stop");
    done(&mut bench, "write-file:app@mgmt", "restore-file");
    done(&mut bench, "stop:app@mgmt", "start");
    bench.advance();
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn a_file_is_not_changed_under_an_instance_that_somebody_has_started_again() {
    let mut bench = change();
    bench.advance();
    bench.reports("stop:app@mgmt", 1, AttemptState::Done, false);
    bench.instance("app", "mgmt", InstanceState::Running);
    bench.sent();
    bench.pass(1);
    assert_eq!(bench.sent(), [""; 0], "it would run with the old text");
    bench.pass(6);
    assert_eq!(bench.phase("write-file:app@mgmt"), Phase::Blocked);
    let evidence = bench.evidence("write-file:app@mgmt").to_owned();
    assert!(
        evidence.contains("app on mgmt is running again"),
        "{evidence}"
    );
    bench.instance("app", "mgmt", InstanceState::Stopped);
    bench.asks(Verb::Retry, "write-file:app@mgmt").unwrap();
    done(&mut bench, "write-file:app@mgmt", "write-file");
}

/// The file is written, and its start has not begun: it waits for a gate.
fn written() -> Bench {
    let mut start = step(
        "start:app@mgmt",
        &[
            ("stop:app@mgmt", Wait::Down),
            ("write-file:app@mgmt", Wait::Up),
        ],
    );
    start.gates = vec![gate("db.port", "a")];
    let mut plan = seal(vec![
        step("stop:app@mgmt", &[]),
        step("write-file:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
        start,
    ]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false);
    bench.instance("app", "mgmt", InstanceState::Running);
    // The stop waits for the gate of its start, by a look since its turn.
    bench.pass(6).pass(1).probed("db.port", "a", Verdict::Ok);
    done(&mut bench, "stop:app@mgmt", "stop");
    bench.probed("db.port", "a", Verdict::Bad);
    done(&mut bench, "write-file:app@mgmt", "write-file");
    assert_eq!(bench.phase("start:app@mgmt"), Phase::Waiting);
    bench.sent();
    bench
}

/// Somebody starts the instance with the new text, and takes the plan back: the file stays until it is stopped again.
fn is_not_put_back_under_it(bench: &mut Bench) {
    bench.instance("app", "mgmt", InstanceState::Running);
    bench.pass(6).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    let sent = bench.sent();
    assert!(
        !sent.iter().any(|it| it.starts_with("restore-file")),
        "{sent:?}"
    );
    assert_eq!(bench.phase("write-file:app@mgmt"), Phase::UndoFailed);
    let evidence = bench.evidence("write-file:app@mgmt").to_owned();
    assert!(
        evidence.contains("app on mgmt is running again"),
        "{evidence}"
    );
    bench.instance("app", "mgmt", InstanceState::Stopped);
    bench.pass(1);
    bench.asks(Verb::Retry, "write-file:app@mgmt").unwrap();
    done(bench, "write-file:app@mgmt", "restore-file");
    assert_eq!(bench.phase("write-file:app@mgmt"), Phase::Undone);
    done(bench, "stop:app@mgmt", "start");
    bench.advance();
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn a_file_is_not_put_back_under_an_instance_that_somebody_has_started_with_the_new_text() {
    is_not_put_back_under_it(&mut written());
}

#[test]
fn nor_where_the_start_of_the_plan_was_blocked_before_it_began() {
    let mut bench = written();
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:app@mgmt"), Phase::Blocked);
    is_not_put_back_under_it(&mut bench);
}

#[test]
fn nor_where_somebody_has_started_it_after_its_own_start_was_taken_back() {
    let mut plan = seal(vec![
        step("stop:app@mgmt", &[]),
        step("write-file:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
        step("start:app@mgmt", &[("write-file:app@mgmt", Wait::Up)]),
        step("approve:look", &[("start:app@mgmt", Wait::Up)]),
    ]);
    plan.kind = PlanKind::Restart;
    let unwinding = || {
        let mut bench = Bench::of(plan.clone(), false);
        bench.instance("app", "mgmt", InstanceState::Running);
        bench.pass(6);
        for (id, sent) in [
            ("stop:app@mgmt", "stop"),
            ("write-file:app@mgmt", "write-file"),
            ("start:app@mgmt", "start"),
        ] {
            done(&mut bench, id, sent);
        }
        bench.asks(Verb::Unwind, "").unwrap();
        bench.advance();
        assert_eq!(bench.phase("start:app@mgmt"), Phase::Undoing);
        bench.sent();
        let undo = bench.attempt("start:app@mgmt");
        (bench, undo)
    };
    let restores = |bench: &mut Bench| {
        let sent = bench.sent();
        sent.iter().any(|it| it.starts_with("restore-file"))
    };
    let (mut bench, undo) = unwinding();
    bench.reports("start:app@mgmt", undo, AttemptState::Done, false);
    bench.instance("app", "mgmt", InstanceState::Running);
    for _ in 0..8 {
        bench.pass(1);
        assert!(!restores(&mut bench), "under an instance with the new text");
    }
    assert_eq!(bench.phase("write-file:app@mgmt"), Phase::UndoFailed);
    let evidence = bench.evidence("write-file:app@mgmt");
    assert!(
        evidence.contains("app on mgmt is running again"),
        "{evidence}"
    );

    // What its agent said last of the time before the undo is no word of it.
    let (mut bench, undo) = unwinding();
    bench.pass(6).pass(1);
    let seen = bench.view.clone();
    bench.reports("start:app@mgmt", undo, AttemptState::Done, false);
    bench.view = seen;
    bench.advance();
    assert!(restores(&mut bench));
}
