//! What is to be taken back and is so already, on nodes whose agents would refuse to be asked.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::permission::{Permission, Refusal};
use interlock_model::plan::Wait;

use crate::bench::{Bench, step};

/// The agent of b has said that it would refuse to operate a service.
fn refuses(bench: &mut Bench, service: &str) {
    let refusal = Refusal {
        permission: Permission::Operate(service.parse().unwrap()),
        why: "it is not in the file".into(),
    };
    let seen = bench.view.entry(&"b".parse().unwrap());
    seen.refuses = vec![refusal];
}

/// A step that was done on b, and whose operation is taken back; its agent's file no longer permits it.
fn taken_back(done: &str) -> Bench {
    let mut bench = Bench::new(vec![
        step(done, &[]),
        step("approve:look", &[(done, Wait::Issued)]),
    ]);
    bench.advance().says(done, AttemptState::Done);
    bench.sent();
    refuses(&mut bench, "log");
    bench
}

/// Whatever was sent to the agent of b to be done.
fn asked(bench: &mut Bench) -> Vec<String> {
    let sent = bench.sent().into_iter();
    sent.filter(|it| it.ends_with("on b")).collect()
}

#[test]
fn what_is_down_already_is_taken_back_without_asking_who_would_refuse() {
    let mut bench = taken_back("start:log@b");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1);
    assert_eq!(
        bench.phase("start:log@b"),
        Phase::Done,
        "a look may be on its way that says otherwise"
    );
    bench.pass(5);
    assert_eq!(bench.phase("start:log@b"), Phase::Undone);
    assert_eq!(bench.state(), State::Unwound);
    assert_eq!(asked(&mut bench), Vec::<String>::new());
    let evidence = bench.evidence("start:log@b");
    for word in ["stopped already", "says its agent", "it is not in the file"] {
        assert!(evidence.contains(word), "{evidence}");
    }
}

#[test]
fn what_runs_already_is_taken_back_once_it_is_healthy() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.advance().says("stop:web@b", AttemptState::Done);
    refuses(&mut bench, "web");
    bench.instance("web", "b", InstanceState::Running);
    bench.leads("a");
    bench.asks(Verb::Unwind, "").unwrap();
    bench.sent();
    bench.pass(6);
    assert_eq!(
        bench.phase("stop:web@b"),
        Phase::Undoing,
        "up is not healthy"
    );
    bench.pass(6).probed("web.http", "b", Verdict::Ok);
    bench.advance().advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Undone);
    assert_eq!(asked(&mut bench), ["probe b"; 0]);
}

#[test]
fn who_would_not_refuse_is_asked_and_so_is_who_says_otherwise() {
    let mut bench = taken_back("start:log@b");
    bench.view.entry(&"b".parse().unwrap()).refuses.clear();
    bench.instance("log", "b", InstanceState::Stopped);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(6);
    assert_eq!(asked(&mut bench), ["stop start:log@b #2 on b"]);

    let guarded = InstanceObservation {
        state: InstanceState::Failed,
        wanted: Some(Wanted::Running),
        ..InstanceObservation::default()
    };
    let runs = InstanceObservation {
        state: InstanceState::Running,
        ..InstanceObservation::default()
    };
    for seen in [guarded, runs, InstanceObservation::default()] {
        let mut bench = taken_back("start:log@b");
        bench.tells("log", "b", seen.clone());
        bench.asks(Verb::Unwind, "").unwrap();
        bench.pass(6);
        assert_eq!(asked(&mut bench), ["stop start:log@b #2 on b"], "{seen:?}");
    }
}

#[test]
fn what_turns_out_otherwise_in_time_is_asked_for() {
    let mut bench = taken_back("start:log@b");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(4);
    bench.instance("log", "b", InstanceState::Running);
    bench.pass(1);
    assert_eq!(asked(&mut bench), ["stop start:log@b #2 on b"]);
}
