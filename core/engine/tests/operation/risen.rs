//! What a person starts again behind an operation that had stopped it: nothing is taken from under it.

use interlock_engine::operation::{LeftDown, Phase, State, Verb, Way};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceObservation, InstanceState, Liveness};
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::Role;

use crate::bench::{Bench, LIMIT, gate, seal, step};

/// Longer than an agent may take to take back what it saw before the end of an attempt.
const SOON: u64 = 6;

/// `web` is stopped on b, then `db` on a, once a person has looked.
fn plan() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
        step(
            "stop:db@a",
            &[("stop:web@b", Wait::Down), ("approve:look", Wait::Up)],
        ),
    ]);
    bench.advance().pass(1);
    bench.instance("web", "b", InstanceState::Stopped);
    bench.says("stop:web@b", AttemptState::Done);
    assert_eq!(bench.phase("stop:web@b"), Phase::Done);
    bench.pass(1).sent();
    bench
}

#[test]
fn nothing_is_stopped_under_a_dependant_that_was_started_again() {
    let mut bench = plan();
    bench.instance("web", "b", InstanceState::Running);
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(bench.waits_for("stop:db@a"), "web on b is running again");
    bench.pass(SOON);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    let evidence = bench.evidence("stop:db@a");
    assert!(
        evidence.contains("web on b is running again, which stop:web@b had stopped"),
        "{evidence}"
    );
    assert_eq!(bench.sent(), [""; 0]);

    bench.instance("web", "b", InstanceState::Stopped);
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:db@a #1 on a"]);
}

/// Something started it in the very moment in which it was seen down; its agent saw it run before that and after.
#[test]
fn what_is_said_to_run_after_its_stop_runs_again_also_where_nobody_knows_since_when() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("approve:look", &[("stop:web@b", Wait::Down)]),
        step(
            "stop:db@a",
            &[("stop:web@b", Wait::Down), ("approve:look", Wait::Up)],
        ),
    ]);
    bench.instance("web", "b", InstanceState::Running);
    bench.advance().pass(1);
    bench.says_unseen("stop:web@b", "b");
    bench.pass(1).sent();
    bench.instance("web", "b", InstanceState::Running);
    approve(&mut bench);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(bench.waits_for("stop:db@a"), "web on b is running again");
    // However often it is said.
    for _ in 0..SOON {
        bench.instance("web", "b", InstanceState::Running);
        bench.pass(1);
    }
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
}

#[test]
fn what_the_operation_itself_has_begun_to_start_again_holds_nothing_up() {
    let mut start = step("start:app@b", &[("stop:app@b", Wait::Down)]);
    start.gates = vec![gate("team.port", "b")];
    let mut plan = seal(vec![
        step("stop:app@b", &[]),
        start,
        step("approve:look", &[]),
        step(
            "stop:db@a",
            &[("stop:app@b", Wait::Down), ("approve:look", Wait::Up)],
        ),
    ]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false);
    bench.instance("app", "b", InstanceState::Running);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance();
    bench.probed("team.port", "b", Verdict::Ok).advance();
    bench.pass(1).says("stop:app@b", AttemptState::Done);
    bench.probed("team.port", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:app@b"), Phase::Running);
    // It came up, although its agent called the attempt failed.
    bench.pass(1);
    bench.instance("app", "b", InstanceState::Running);
    bench.says("start:app@b", AttemptState::Failed);
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.asks(Verb::Retry, "start:app@b").unwrap();
    assert_eq!(bench.state(), State::Running);
    assert_eq!(bench.phase("start:app@b"), Phase::Waiting, "for its gate");
    approve(&mut bench);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn an_operation_does_not_end_as_done_while_what_it_stopped_runs_again() {
    let mut bench = plan();
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    bench.instance("web", "b", InstanceState::Running);
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Running, "perhaps it is an old word");
    bench.pass(SOON);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention();
    assert!(
        attention.contains("web on b is running again"),
        "{attention}"
    );

    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::NeedsAttention, "it still runs");
    bench.instance("web", "b", InstanceState::Stopped);
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn the_silence_of_an_agent_and_a_word_from_before_the_proof_hold_nothing_up() {
    let mut bench = plan();
    bench.goes_silent("b");
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance().says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);

    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:db@a", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.instance("web", "b", InstanceState::Running);
    bench.pass(1).pass(1);
    bench.says("stop:web@b", AttemptState::Done).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn an_operation_does_not_end_as_done_over_what_it_started_and_is_down_or_sick() {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![
        start,
        step("approve:look", &[("start:db@a", Wait::Healthy)]),
    ]);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.pass(1);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Done);

    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(SOON);
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("db on a is stopped"), "{attention}");

    bench.instance("db", "a", InstanceState::Running);
    bench.probed("db.port", "a", Verdict::Bad);
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(SOON);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("db.port on a is bad"), "{attention}");

    bench.probed("db.port", "a", Verdict::Ok);
    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    assert_eq!(bench.state(), State::Done);
}

/// `db` is started on a, and awaits a person's look.
fn started() -> Bench {
    let mut bench = Bench::new(vec![
        step("start:db@a", &[]),
        step("approve:look", &[("start:db@a", Wait::Healthy)]),
    ]);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.pass(1);
    assert_eq!(bench.phase("start:db@a"), Phase::Done);
    bench
}

fn approve(bench: &mut Bench) {
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.advance();
}

#[test]
fn what_died_for_good_right_before_the_end_is_waited_out_and_told() {
    for given_up in [true, false] {
        let mut bench = started();
        let state = match given_up {
            true => InstanceState::Failed,
            false => InstanceState::Stopped,
        };
        let seen = InstanceObservation {
            state,
            given_up,
            ..InstanceObservation::default()
        };
        bench.tells("db", "a", seen);
        approve(&mut bench);
        assert_eq!(bench.state(), State::Running, "it may be an old word");
        bench.pass(SOON);
        assert_eq!(bench.state(), State::NeedsAttention);
        let attention = bench.operation.attention();
        assert!(attention.contains(&state.to_string()), "{attention}");
    }
    // What its guard may bring back is waited for.
    let mut bench = started();
    bench.instance("db", "a", InstanceState::Failed);
    approve(&mut bench);
    bench.pass(SOON);
    assert_eq!(bench.state(), State::Running);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn after_a_restart_of_the_coordinator_it_ends_only_upon_what_has_been_told_to_the_new_one() {
    for (state, ends) in [
        (InstanceState::Running, State::Done),
        (InstanceState::Stopped, State::NeedsAttention),
    ] {
        let mut bench = started();
        bench
            .asks_as(Role::Admin, Verb::Approve, "approve:look")
            .unwrap();
        bench.restarts_before_its_last_turn();
        bench.advance();
        assert_eq!(bench.state(), State::Running, "nobody has been heard");
        bench.connects("a", "boot-1");
        bench.pass(SOON);
        assert_eq!(bench.state(), State::Running, "nothing has been told");
        bench.instance("db", "a", state);
        bench.pass(SOON);
        assert_eq!(bench.state(), ends, "it is {state}");
    }
    // What is never told is not waited for without end.
    let mut bench = started();
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:look")
        .unwrap();
    bench.restarts_before_its_last_turn();
    bench.connects("a", "boot-1");
    bench.advance().pass(61);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention();
    assert!(attention.contains("has not said yet"), "{attention}");
}

#[test]
fn an_operation_does_not_end_as_done_over_a_machine_that_is_off_or_lost() {
    let mut bench = started();
    bench.power("a", Power::Off);
    approve(&mut bench);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("its machine is off"), "{attention}");

    let mut bench = started();
    bench.goes_silent("a");
    bench.view.entry(&"a".parse().unwrap()).liveness = Liveness::Lost;
    approve(&mut bench);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("its agent is lost"), "{attention}");
    bench.connects("a", "boot-1");
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.state(), State::Done);

    // One that is between two sessions is waited for, but not for ever.
    let mut bench = started();
    bench.goes_silent("a");
    approve(&mut bench);
    bench.pass(30);
    assert_eq!(bench.state(), State::Running);
    bench.pass(31);
    assert_eq!(bench.state(), State::NeedsAttention);
}

#[test]
fn nothing_goes_on_over_a_machine_that_was_switched_off_and_is_on_again() {
    type Becomes = fn(&mut Bench);
    let ways: [(&str, Becomes); 2] = [
        ("its agent is heard", |bench| bench.connects("b", "boot-2")),
        ("its power source says so", |bench| {
            bench.power("b", Power::On);
        }),
    ];
    for (why, becomes) in ways {
        let mut bench = Bench::new(vec![
            step("power-off:b", &[]),
            step("approve:look", &[("power-off:b", Wait::Down)]),
            step(
                "stop:db@a",
                &[("power-off:b", Wait::Down), ("approve:look", Wait::Up)],
            ),
        ]);
        bench.power("b", Power::On).advance().pass(1);
        bench.power("b", Power::Off).pass(1);
        assert_eq!(bench.phase("power-off:b"), Phase::Done);
        becomes(&mut bench);
        approve(&mut bench);
        assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
        let evidence = bench.evidence("stop:db@a").to_owned();
        assert!(evidence.contains("b is on again"), "{evidence}");
        assert!(evidence.contains(why), "{evidence}");
        let command = "`interlockctl operation retry op-1 stop:db@a`";
        assert!(evidence.contains(command), "{evidence}");

        // Nobody repairs it, and a person takes the stop for done: the end says the same.
        bench.instance("db", "a", InstanceState::Stopped);
        bench.asks(Verb::Skip, "stop:db@a").unwrap();
        bench.advance();
        assert_eq!(bench.state(), State::NeedsAttention);
        let attention = bench.operation.attention().to_owned();
        for part in ["b is on again", why, "`interlockctl operation resume op-1`"] {
            assert!(attention.contains(part), "{part}: {attention}");
        }
        // Who looks is not told that it is off by the same screen.
        let off = |left: Vec<LeftDown>| left.iter().any(|it| it.way == Way::Off);
        assert!(off(bench.operation.left_down()));
        assert!(!off(bench.operation.still_left_down(&bench.view)));
        bench.power("b", Power::Off);
        bench.asks(Verb::Resume, "").unwrap();
        bench.advance();
        assert_eq!(bench.state(), State::Done);
    }
}

#[test]
fn an_operation_does_not_end_as_done_over_a_check_or_an_instance_that_is_unknown() {
    let healthy = || {
        let mut start = step("start:db@a", &[]);
        start.healthy = vec![gate("db.port", "a")];
        let look = step("approve:look", &[("start:db@a", Wait::Healthy)]);
        let mut bench = Bench::new(vec![start, look]);
        bench.advance().pass(1);
        bench.says("start:db@a", AttemptState::Done);
        bench.pass(1);
        bench.probed("db.port", "a", Verdict::Ok).advance();
        assert_eq!(bench.phase("start:db@a"), Phase::Done);
        bench.sent();
        bench
    };
    type Becomes = fn(&mut Bench);
    let ways: [(&str, Becomes, Becomes); 2] = [
        (
            "db.port on a is unknown",
            |bench| {
                bench.probed("db.port", "a", Verdict::Unknown);
            },
            |bench| {
                bench.probed("db.port", "a", Verdict::Ok);
            },
        ),
        (
            "db on a is unknown",
            |bench| bench.instance("db", "a", InstanceState::Unknown),
            |bench| bench.instance("db", "a", InstanceState::Running),
        ),
    ];
    for (why, becomes, heals) in ways {
        let mut bench = healthy();
        becomes(&mut bench);
        approve(&mut bench);
        assert_eq!(bench.state(), State::Running, "{why}: it is waited for");
        let asked = bench.sent().contains(&"probe a".to_owned());
        assert_eq!(asked, why.contains("port"), "{why}: it is looked at anew");
        heals(&mut bench);
        bench.advance();
        assert_eq!(bench.state(), State::Done, "{why}");

        let mut bench = healthy();
        becomes(&mut bench);
        approve(&mut bench);
        // The time in which the coordinator did not run counts as little as everywhere.
        bench.operation.forgive(LIMIT);
        bench.pass(61);
        assert_eq!(bench.state(), State::Running, "{why}");
        becomes(&mut bench);
        bench.pass(60);
        assert_eq!(bench.state(), State::NeedsAttention, "{why}");
        let attention = bench.operation.attention();
        assert!(attention.contains(why), "{attention}");
    }
}

#[test]
fn an_operation_does_not_end_as_done_over_what_it_found_well_and_is_so_no_more() {
    let found = || {
        let mut look = step("check:db@a", &[]);
        look.healthy = vec![gate("db.port", "a")];
        let mut plan = seal(vec![
            look,
            step("approve:look", &[("check:db@a", Wait::Healthy)]),
        ]);
        plan.kind = PlanKind::Startup;
        let mut bench = Bench::of(plan, false);
        bench.instance("db", "a", InstanceState::Running);
        bench.advance().pass(1);
        bench.probed("db.port", "a", Verdict::Ok).advance();
        assert_eq!(bench.phase("check:db@a"), Phase::Done);
        bench.pass(1);
        bench
    };
    let mut bench = found();
    approve(&mut bench);
    assert_eq!(bench.state(), State::Done);

    let mut bench = found();
    bench.probed("db.port", "a", Verdict::Bad);
    approve(&mut bench);
    bench.pass(SOON);
    assert_eq!(bench.state(), State::NeedsAttention);
    let attention = bench.operation.attention().to_owned();
    assert!(attention.contains("db.port on a is bad"), "{attention}");
    assert!(attention.contains("check:db@a was done"), "{attention}");
    bench.probed("db.port", "a", Verdict::Ok);
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.state(), State::Done);

    // It is down although something else keeps its port open.
    let mut bench = found();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(SOON);
    bench.probed("db.port", "a", Verdict::Ok);
    approve(&mut bench);
    assert_eq!(bench.state(), State::NeedsAttention);

    // What is unknown is looked at, and waited for.
    let mut bench = found();
    bench.probed("db.port", "a", Verdict::Unknown).sent();
    approve(&mut bench);
    assert_eq!(bench.state(), State::Running);
    assert!(bench.sent().contains(&"probe a".to_owned()));
    let waits = bench.operation.end_waits_for();
    assert!(waits.contains("db.port on a is unknown"), "{waits}");
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn a_check_that_is_bad_at_the_end_is_looked_at_again_before_a_person_is_called_and_when_they_resume()
 {
    let mut look = step("check:db@a", &[]);
    look.healthy = vec![gate("db.port", "a")];
    let approval = step("approve:look", &[("check:db@a", Wait::Healthy)]);
    let mut plan = seal(vec![look, approval]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance().pass(1);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    bench.probed("db.port", "a", Verdict::Bad).pass(2).sent();
    approve(&mut bench);
    assert_eq!(bench.state(), State::Running, "that was before the end");
    assert!(bench.sent().contains(&"probe a".to_owned()));
    let waits = bench.operation.end_waits_for();
    assert!(
        waits.contains("db.port on a is bad") && waits.contains("looked at again"),
        "{waits}"
    );
    bench.probed("db.port", "a", Verdict::Bad).pass(SOON);
    assert_eq!(bench.state(), State::NeedsAttention);

    // Repaired by now, and its next run is far away.
    bench.pass(1).sent();
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.state(), State::Running);
    assert!(bench.sent().contains(&"probe a".to_owned()));
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn what_is_still_stopping_is_not_down_and_is_waited_for() {
    let mut bench = plan();
    bench.instance("web", "b", InstanceState::Stopping);
    approve(&mut bench);
    bench.pass(SOON);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(bench.waits_for("stop:db@a"), "web on b is still stopping");
    bench.instance("web", "b", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:db@a #1 on a"]);

    for id in ["power-off:b", "reboot:b"] {
        let mut bench = Bench::new(vec![step(id, &[])]);
        bench.instance("web", "b", InstanceState::Stopping);
        bench.advance().power("b", Power::On).pass(SOON);
        bench.power("b", Power::On).advance();
        assert_eq!(bench.phase(id), Phase::Waiting);
        assert_eq!(
            bench.waits_for(id),
            "web on b is still stopping, and its machine is about to go"
        );
        bench.instance("web", "b", InstanceState::Stopped);
        bench.advance();
        assert_eq!(bench.phase(id), Phase::Running);
    }
}
