//! What an operation that ends before all is done has left down, and how that comes back.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::{Action, Power};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::member::{Balancer, Member, Then};
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Plan, PlanKind, StepId, Wait};

use crate::bench::{Bench, LIMIT, seal, step};

/// What is left down, as people are told.
fn left(bench: &Bench) -> Vec<String> {
    let left = bench.operation.left_down();
    left.iter().map(ToString::to_string).collect()
}

/// The command that brings it back.
fn brings_back(bench: &Bench) -> Option<String> {
    bench.operation.bring_back(&bench.operation.left_down())
}

/// The last word of the journal.
fn last_word(bench: &Bench) -> String {
    bench.journal.last().unwrap().what.detail()
}

/// One instance after the other; what is stopped starts again, and has nothing to be taken back.
fn rolling() -> Plan {
    let mut steps = vec![
        step("stop:app@mgmt", &[]),
        step("start:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
        step("stop:app@b", &[("start:app@mgmt", Wait::Healthy)]),
        step("start:app@b", &[("stop:app@b", Wait::Down)]),
    ];
    steps[1].undo = None;
    steps[3].undo = None;
    let mut plan = seal(steps);
    plan.kind = PlanKind::Restart;
    plan.scope = "--service app".into();
    plan
}

#[test]
fn an_aborted_rolling_restart_names_the_instance_that_it_left_stopped() {
    let mut bench = Bench::of(rolling(), true);
    bench.probed("app.port", "b", Verdict::Ok);
    bench.instance("app", "b", InstanceState::Running);
    bench.asks(Verb::Next, "").unwrap();
    bench.says("stop:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Done);
    assert!(left(&bench).is_empty(), "it goes on");
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(bench.state(), State::Aborted);
    assert_eq!(left(&bench), ["app on mgmt (stopped)"]);
    let command = "interlockctl startup --service app";
    assert_eq!(brings_back(&bench).as_deref(), Some(command));
    let word = last_word(&bench);
    assert!(
        word.contains("left down: app on mgmt (stopped); `interlockctl startup --service app`"),
        "{word}"
    );
    // Who looks is told of it for as long as it is down.
    let still = |bench: &Bench| bench.operation.still_left_down(&bench.view);
    bench.instance("app", "mgmt", InstanceState::Stopped);
    assert_eq!(still(&bench), bench.operation.left_down());
    bench.instance("app", "mgmt", InstanceState::Running);
    assert_eq!(still(&bench), []);
    assert_eq!(bench.operation.bring_back(&still(&bench)), None);
    bench.goes_silent("mgmt");
    assert_eq!(still(&bench).len(), 1, "that is no word of now");
}

#[test]
fn what_came_up_again_and_what_was_taken_back_is_not_left_down() {
    let mut bench = Bench::of(rolling(), true);
    bench.probed("app.port", "b", Verdict::Ok);
    bench.instance("app", "b", InstanceState::Running);
    for step in ["stop:app@mgmt", "start:app@mgmt"] {
        bench.asks(Verb::Next, "").unwrap();
        bench.says(step, AttemptState::Done);
        assert_eq!(bench.phase(step), Phase::Done);
    }
    bench.asks(Verb::Abort, "").unwrap();
    assert!(left(&bench).is_empty());
    assert_eq!(brings_back(&bench), None);

    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.probed("db.port", "a", Verdict::Ok);
    bench.says("stop:db@a", AttemptState::Done);
    bench.pass(1).probed("db.port", "a", Verdict::Ok);
    bench.advance();
    assert_eq!(bench.state(), State::Unwound);
    assert!(left(&bench).is_empty(), "{:?}", left(&bench));
}

#[test]
fn a_stop_that_its_agent_refused_has_taken_nothing_down_and_says_that_it_runs() {
    let stop = || vec![step("stop:db@a", &[])];
    let mut bench = Bench::new(stop());
    bench.instance(
        "db",
        "a",
        interlock_model::observation::InstanceState::Running,
    );
    bench.advance().says("stop:db@a", AttemptState::Refused);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(left(&bench).is_empty(), "{:?}", left(&bench));
    let mut words = bench.journal.iter().map(|entry| entry.what.detail());
    assert!(words.any(|word| word.contains("refused: still running")));
    // What an earlier attempt may have done stays in doubt.
    let mut bench = Bench::new(stop());
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.advance().says("stop:db@a", AttemptState::Refused);
    assert_eq!(left(&bench), ["db on a (stopped, perhaps)"]);
}

#[test]
fn a_machine_that_is_off_is_told_of_once_and_comes_back_with_what_is_on_it() {
    let mut plan = seal(vec![
        step("stop:web@b", &[]),
        step("power-off:b", &[("stop:web@b", Wait::Down)]),
        step("stop:db@a", &[("stop:web@b", Wait::Down)]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
    ]);
    plan.scope = "--node a,b".into();
    let mut bench = Bench::of(plan, false);
    bench.advance().says("stop:web@b", AttemptState::Done);
    bench.goes_silent("b");
    bench.pass(1).power("b", Power::Off).advance();
    bench.pass(1).power("b", Power::Off).advance();
    assert_eq!(bench.phase("power-off:b"), Phase::Done);
    // What failed may have gone half-way.
    bench.says("stop:db@a", AttemptState::Failed);
    assert_eq!(bench.state(), State::NeedsAttention);
    let down = ["db on a (stopped, perhaps)", "the machine b (off)"];
    assert_eq!(left(&bench), down);
    // While it could still go on, it is the one that takes back.
    let command = "interlockctl operation abort op-1 --unwind";
    assert_eq!(brings_back(&bench).as_deref(), Some(command));
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(left(&bench), down);
    let command = "interlockctl startup --node a,b";
    assert_eq!(brings_back(&bench).as_deref(), Some(command));
}

#[test]
fn a_shutdown_that_is_done_has_left_nothing_that_is_to_come_back() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.pass(6);
    assert_eq!(bench.state(), State::Done);
    assert!(left(&bench).is_empty());
}

#[test]
fn what_was_being_started_again_is_not_said_to_be_stopped_for_certain() {
    let mut bench = Bench::new(vec![
        step("stop:app@mgmt", &[]),
        step("start:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
    ]);
    bench.advance().says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).says("start:app@mgmt", AttemptState::Unknown);
    assert_eq!(bench.state(), State::NeedsAttention);
    let left = bench.operation.left_down();
    assert!(
        left.iter().all(|it| it.perhaps) && left.len() == 1,
        "{left:?}"
    );
}

/// `page` on b is drained, and then stopped.
fn draining() -> Bench {
    let mut drain = step("stop:lb@mgmt", &[]);
    drain.id = StepId::new("drain:page@b");
    drain.action = Action::Drain {
        member: Member {
            service: "page".parse().unwrap(),
            node: "b".parse().unwrap(),
            by: Balancer::Haproxy {
                socket: "/run/h.sock".into(),
            },
            backends: vec!["page".into()],
            server: "b".into(),
        },
        within: std::time::Duration::from_secs(5),
        then: Then::Maint,
    };
    let stop = step("stop:page@b", &[("drain:page@b", Wait::Down)]);
    let mut bench = Bench::new(vec![drain, stop]);
    bench.advance();
    assert_eq!(bench.phase("drain:page@b"), Phase::Running);
    bench
}

#[test]
fn a_drain_that_its_balancer_was_never_told_of_has_left_nobody_drained() {
    let mut bench = draining();
    bench.says("drain:page@b", AttemptState::Failed);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(left(&bench), [""; 0]);
    bench.asks(Verb::Retry, "drain:page@b").unwrap();
    bench.says("drain:page@b", AttemptState::GoingDown);
    bench.says("drain:page@b", AttemptState::Failed);
    assert_eq!(left(&bench), ["page on b (drained, perhaps)"]);
    // What an earlier attempt has done is not undone by a later one that does not get as far.
    bench.asks(Verb::Retry, "drain:page@b").unwrap();
    bench.says("drain:page@b", AttemptState::Failed);
    assert_eq!(left(&bench), ["page on b (drained, perhaps)"]);

    let mut bench = draining();
    bench.says("drain:page@b", AttemptState::Unknown);
    assert_eq!(left(&bench), ["page on b (drained, perhaps)"]);
}

/// No request reached an init system: the machine is as it was, and what was stopped for it is not.
#[test]
fn a_machine_whose_reboot_failed_is_not_left_down_and_what_was_stopped_on_it_is() {
    for (state, named) in [
        (AttemptState::Failed, "db on a (stopped)"),
        (AttemptState::Unknown, "the machine a (off, perhaps)"),
    ] {
        let mut plan = seal(vec![
            step("stop:db@a", &[]),
            step("reboot:a", &[("stop:db@a", Wait::Down)]),
            step("start:db@a", &[("reboot:a", Wait::Up)]),
        ]);
        plan.kind = PlanKind::Reboot;
        let mut bench = Bench::of(plan, false);
        bench.advance().says("stop:db@a", AttemptState::Done);
        bench.advance();
        assert_eq!(bench.phase("reboot:a"), Phase::Running);
        bench.says("reboot:a", state).goes_silent("a");
        bench.pass(LIMIT.as_secs() * 10);
        assert_eq!(bench.state(), State::NeedsAttention);
        assert_eq!(left(&bench), [named]);
    }
}

#[test]
fn what_is_half_taken_back_is_counted_as_people_count() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[]), step("approve:look", &[])]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.says("stop:db@a", AttemptState::Failed);
    assert_eq!(bench.phase("stop:db@a"), Phase::UndoFailed);
    bench.asks(Verb::Abort, "").unwrap();
    let word = last_word(&bench);
    assert!(word.contains("1 step is half taken back"), "{word}");
}

#[test]
fn what_is_being_aborted_is_not_said_to_be_over() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance().asks(Verb::Abort, "").unwrap();
    assert_eq!(bench.state(), State::Aborting);
    let refused = bench.asks(Verb::Pause, "").unwrap_err().to_string();
    assert!(
        refused.ends_with("possible: nothing until what is under way has ended"),
        "{refused}"
    );
}
