//! Taking back what was done.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Known, PlanKind, Step, StepId, Wait};

use crate::bench::{Bench, LIMIT, gate, seal, step};

/// Two stops with a meeting point between them, both done, and then a third one under way.
fn unwinding() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("check:met", &[("stop:web@b", Wait::Down)]),
        step("stop:db@a", &[("check:met", Wait::Healthy)]),
        step("stop:db@b", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance();
    bench
        .says("stop:web@b", AttemptState::Done)
        .says("stop:db@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    assert_eq!(bench.state(), State::AbortingToUnwind);
    bench.sent();
    bench
}

#[test]
fn steps_are_taken_back_in_reverse_each_healthy_before_the_next_also_through_meeting_points() {
    let mut bench = unwinding();
    bench.says("stop:db@b", AttemptState::Failed).advance();
    assert_eq!(
        bench.sent(),
        ["start stop:db@b #2 on b"],
        "what failed may have happened in part"
    );
    assert_eq!(
        bench.evidence("stop:db@b"),
        "",
        "what was seen of the step is not seen of its undo"
    );
    bench
        .probed("db.port", "b", Verdict::Ok)
        .pass(1)
        .says("stop:db@b", AttemptState::Done);
    bench.pass(1);
    assert_eq!(
        bench.phase("stop:db@b"),
        Phase::Undoing,
        "up is not healthy"
    );
    bench
        .probed("db.port", "b", Verdict::Ok)
        .advance()
        .advance();
    assert_eq!(bench.phase("stop:db@b"), Phase::Undone);
    let sent: Vec<String> = bench
        .sent()
        .into_iter()
        .filter(|sent| sent.starts_with("start"))
        .collect();
    assert_eq!(
        sent,
        ["start stop:db@a #2 on a"],
        "and not web at the same time"
    );
    bench.says("stop:db@a", AttemptState::Done).pass(1);
    bench.leads("a");
    bench
        .probed("db.port", "a", Verdict::Ok)
        .advance()
        .advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Undoing);
    bench.says("stop:web@b", AttemptState::Done).pass(1);
    bench
        .probed("web.http", "b", Verdict::Ok)
        .advance()
        .advance();
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn an_undo_that_fails_is_for_a_person_and_is_tried_again_as_an_undo() {
    let mut bench = unwinding();
    bench.says("stop:db@b", AttemptState::Failed).advance();
    bench.says("stop:db@b", AttemptState::Failed);
    assert_eq!(
        (bench.phase("stop:db@b"), bench.state()),
        (Phase::UndoFailed, State::NeedsAttention)
    );
    bench.sent();
    bench.asks(Verb::Retry, "stop:db@b").unwrap();
    assert_eq!(
        (bench.phase("stop:db@b"), bench.state()),
        (Phase::Undoing, State::Unwinding)
    );
    assert_eq!(bench.sent(), ["start stop:db@b #3 on b"]);
}

#[test]
fn what_is_put_back_one_by_one_differs_from_the_rest_until_all_of_it_is() {
    let mut bench = Bench::new(vec![
        step("stop:team@a", &[]),
        step("approve:look", &[("stop:team@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:team@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance().says("stop:team@a", AttemptState::Done);
    bench.pass(1).probed("team.config", "a", Verdict::Bad);
    bench.advance();
    assert_eq!(bench.phase("stop:team@a"), Phase::Undoing, "its own port");
    bench.probed("team.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:team@a"), Phase::Undone);
}

#[test]
fn what_came_back_and_has_no_checks_is_proven_by_what_its_agent_saw() {
    let mut bench = Bench::new(vec![
        step("stop:log@b", &[]),
        step("approve:look", &[("stop:log@b", Wait::Down)]),
    ]);
    bench.advance().says("stop:log@b", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance().says("stop:log@b", AttemptState::Done);
    bench.pass(1).advance();
    assert_eq!(bench.phase("stop:log@b"), Phase::Undone);
    assert_eq!(bench.evidence("stop:log@b"), "said");
}

#[test]
fn a_power_off_that_was_to_be_tried_again_is_taken_back_not_tried_again() {
    let mut bench = Bench::new(vec![step("power-off:a", &[])]);
    bench.advance().power("a", Power::On).advance();
    bench.says("power-off:a", AttemptState::Failed).pass(1);
    bench.asks(Verb::Retry, "power-off:a").unwrap();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance().sent();
    bench.pass(1).power("a", Power::On).advance();
    let sent = bench.sent();
    assert!(
        !sent.iter().any(|sent| sent.starts_with("shutdown")),
        "{sent:?}"
    );
    assert_eq!(
        bench.phase("power-off:a"),
        Phase::Undone,
        "it is on already"
    );
}

#[test]
fn what_an_undo_only_waited_for_is_still_taken_back_when_it_is_tried_again() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("power-off:a", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.power("a", Power::On).advance();
    bench.asks(Verb::Unwind, "").unwrap();
    // It hangs: on, and silent.
    bench.goes_silent("a");
    bench.pass(LIMIT.as_secs()).advance();
    bench.pass(1).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Undoing);
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("power-off:a"), Phase::UndoFailed);
    bench.asks(Verb::Retry, "power-off:a").unwrap();
    bench.pass(1).power("a", Power::Off).advance();
    assert!(
        bench
            .sent()
            .contains(&"fence power-off:a #3 on mgmt".to_owned())
    );
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Done,
        "its turn has not come"
    );
}

/// A startup that took b for the active side of db has brought up both, and is being taken back.
fn both_started() -> Bench {
    let plan = seal(vec![
        step("start:db@b", &[]),
        step("start:db@a", &[("start:db@b", Wait::Up)]),
        step("approve:look", &[("start:db@a", Wait::Up)]),
    ]);
    let mut bench = Bench::taken(plan, "b", Known::Remembered);
    bench.advance();
    for node in ["b", "a"] {
        bench.says(&format!("start:db@{node}"), AttemptState::Done);
        bench.instance("db", node, InstanceState::Running);
    }
    // What was green before the way back began does not count.
    bench
        .probed("db.leads", "b", Verdict::Ok)
        .probed("db.leads", "a", Verdict::Bad)
        .pass(1)
        .sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench
}

#[test]
fn the_active_side_is_looked_at_anew_before_a_start_is_taken_back() {
    let mut bench = both_started();
    assert_eq!(bench.phase("start:db@a"), Phase::Done);
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.sent(), ["stop start:db@a #2 on a"]);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(1);
    bench.says("start:db@a", AttemptState::Done);
    assert_eq!(
        bench.sent(),
        ["probe a", "probe b"],
        "the side may have moved to a"
    );
    bench.probed("db.leads", "b", Verdict::Unknown).advance();
    assert_eq!(
        bench.sent(),
        ["stop start:db@b #2 on b"],
        "the last one goes in any case"
    );
}

#[test]
fn a_start_is_not_taken_back_where_the_active_side_has_moved_to() {
    let mut bench = both_started();
    bench
        .probed("db.leads", "a", Verdict::Ok)
        .probed("db.leads", "b", Verdict::Bad)
        .advance();
    assert_eq!(bench.phase("start:db@a"), Phase::UndoFailed);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(bench.operation.attention().contains("plan again"));
}

#[test]
fn a_start_that_left_nothing_is_taken_back_without_a_look() {
    let mut bench = both_started();
    bench.sent();
    bench.instance("db", "a", InstanceState::Failed);
    bench.advance();
    assert_eq!(bench.sent(), ["stop start:db@a #2 on a"]);
}

#[test]
fn an_undo_that_is_asked_for_again_begins_anew_with_its_look() {
    let mut bench = both_started();
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    bench.pass(1).sent();
    bench.says("start:db@a", AttemptState::NeverSeen);
    assert_eq!(bench.sent(), ["probe a", "probe b"], "not another stop");
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.sent(), ["stop start:db@a #3 on a"]);
}

/// Three stops that know nothing of each other, and their undos under way: the one of db on a is up and not healthy yet.
fn three_undos() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:db@a", &[]),
        step("stop:db@b", &[]),
        step("approve:look", &[]),
    ]);
    bench.advance();
    for id in ["stop:web@b", "stop:db@a", "stop:db@b"] {
        bench.says(id, AttemptState::Done);
    }
    bench.asks(Verb::Unwind, "").unwrap();
    assert_eq!(bench.state(), State::Unwinding);
    bench.says("stop:db@a", AttemptState::Done);
    bench.leads("a");
    bench.advance().sent();
    bench
}

#[test]
fn an_abort_on_the_way_back_ends_the_undos_that_are_under_way_and_waits_for_them() {
    for halted in [false, true] {
        let mut bench = three_undos();
        if halted {
            bench.says("stop:web@b", AttemptState::Failed);
            assert_eq!(bench.state(), State::NeedsAttention);
        }
        assert!(!bench.operation.possible().contains(&Verb::Unwind));
        bench.sent();
        bench.asks(Verb::Abort, "").unwrap();
        let ended = match halted {
            true => vec!["cancel stop:db@b #2"],
            false => vec!["cancel stop:db@b #2", "cancel stop:web@b #2"],
        };
        let sorted = |mut sent: Vec<String>| {
            sent.sort();
            sent
        };
        assert_eq!(sorted(bench.sent()), ended, "what is up has nothing to end");
        assert_eq!(bench.state(), State::Aborting);
        assert_eq!(
            bench.phase("stop:db@a"),
            Phase::UndoFailed,
            "nobody waits for its health"
        );
        // The cancels were lost with their session.
        bench.pass(1).connects("b", "boot-1");
        bench.pass(1);
        assert_eq!(sorted(bench.sent()), ended);
        bench.says("stop:db@b", AttemptState::Failed);
        if !halted {
            assert_eq!(bench.state(), State::Aborting, "one is still under way");
            bench.says("stop:web@b", AttemptState::Failed);
        }
        assert_eq!(bench.state(), State::Aborted);
        assert_eq!(bench.phase("stop:db@b"), Phase::UndoFailed);
        assert_eq!(bench.sent(), [""; 0], "and nothing else is taken back");
    }
}

#[test]
fn an_undo_that_is_healthy_when_the_abort_comes_is_taken_back() {
    let mut bench = three_undos();
    bench.pass(1).probed("db.port", "a", Verdict::Ok);
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Undone);
}

#[test]
fn an_abort_of_an_undo_of_power_ends_with_the_last_word_of_its_agent() {
    let mut bench = Bench::new(vec![step("power-off:a", &[]), step("approve:look", &[])]);
    bench.advance().power("a", Power::On).advance();
    bench.pass(1).power("a", Power::Off).advance();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Undoing);
    bench.sent();
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(
        bench.sent(),
        ["query power-off:a #2"],
        "a switching cannot be cancelled"
    );
    bench.says("power-off:a", AttemptState::Done);
    assert_eq!(bench.state(), State::Aborted);
    assert_eq!(bench.phase("power-off:a"), Phase::UndoFailed);
}

/// A rolling restart of db: the standby on a is through, the active side on b is stopped and about to start.
fn restarting() -> Bench {
    let again = |id: &str, after: &str| Step {
        undo: None,
        ..step(id, &[(after, Wait::Down)])
    };
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        again("start:db@a", "stop:db@a"),
        step("stop:db@b", &[("start:db@a", Wait::Healthy)]),
        again("start:db@b", "stop:db@b"),
    ]);
    bench.advance();
    for id in ["stop:db@a", "start:db@a", "stop:db@b"] {
        bench.says(id, AttemptState::Done);
    }
    assert_eq!(bench.phase("start:db@b"), Phase::Running);
    bench.sent();
    bench
}

#[test]
fn what_was_restarted_is_not_restarted_again_on_the_way_back() {
    let mut bench = restarting();
    bench.says("start:db@b", AttemptState::Failed);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(
        bench.sent(),
        ["start stop:db@b #2 on b"],
        "stopped, and not started again"
    );
    bench.says("stop:db@b", AttemptState::Done).pass(1);
    bench
        .probed("db.port", "b", Verdict::Ok)
        .advance()
        .advance();
    assert_eq!(bench.state(), State::Unwound);
    let sent: Vec<String> = bench.sent();
    assert!(
        !sent.iter().any(|sent| sent.contains("db@a")),
        "it runs, as before: {sent:?}"
    );
    assert_eq!(
        (bench.phase("stop:db@a"), bench.phase("start:db@a")),
        (Phase::Undone, Phase::Done)
    );
    assert_eq!(
        bench.evidence("stop:db@a"),
        "it runs again: start:db@a is done"
    );
}

#[test]
fn what_was_started_again_and_is_not_healthy_is_brought_up_on_the_way_back() {
    let mut bench = restarting();
    bench.says("start:db@b", AttemptState::Unknown);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["start stop:db@b #2 on b"]);

    let mut start = step("start:web@b", &[("stop:web@b", Wait::Down)]);
    start.undo = None;
    start.healthy = vec![gate("web.http", "b")];
    let mut bench = Bench::new(vec![step("stop:web@b", &[]), start]);
    bench.leads("a");
    bench.advance().says("stop:web@b", AttemptState::Done);
    bench.says("start:web@b", AttemptState::Done);
    assert_eq!(bench.phase("start:web@b"), Phase::Checking);
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(
        bench.sent(),
        ["start stop:web@b #2 on b"],
        "up, but not seen healthy"
    );
}

/// A shutdown of db, whose active side was b, has stopped the standby on a, and perhaps b as well; it is being taken
/// back.
fn stopped(both: bool) -> Bench {
    let mut steps = vec![step("stop:db@a", &[])];
    if both {
        steps.push(step("stop:db@b", &[("stop:db@a", Wait::Down)]));
    }
    steps.push(step("approve:look", &[]));
    let mut bench = Bench::observed(seal(steps), "b");
    let nodes = if both { &["a", "b"][..] } else { &["a"] };
    for node in ["a", "b"] {
        bench.instance("db", node, InstanceState::Running);
    }
    bench.advance();
    for node in nodes {
        bench
            .probed("db.leads", "a", Verdict::Bad)
            .probed("db.leads", "b", Verdict::Ok)
            .advance();
        bench.instance("db", node, InstanceState::Stopped);
        bench
            .pass(1)
            .says(&format!("stop:db@{node}"), AttemptState::Done);
    }
    bench.pass(1).sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    bench
}

#[test]
fn a_stopped_standby_is_started_again_beside_an_active_side_that_is_looked_at_again() {
    let mut bench = stopped(false);
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench.probed("db.leads", "b", Verdict::Unknown).pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Done);
    bench.probed("db.leads", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Undoing);
}

#[test]
fn a_pair_that_was_stopped_as_a_whole_starts_again_from_its_active_side_without_a_look() {
    let mut bench = stopped(true);
    assert_eq!(bench.sent(), ["start stop:db@b #2 on b"], "nobody is there");
    bench.instance("db", "b", InstanceState::Running);
    bench.says("stop:db@b", AttemptState::Done).pass(1);
    // Of some pairs no side is active before both are up.
    bench
        .probed("db.leads", "b", Verdict::Unknown)
        .probed("db.port", "b", Verdict::Ok)
        .advance()
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Undoing);
}

#[test]
fn a_stopped_active_side_is_not_started_again_beside_another_active_side() {
    let mut bench = stopped(true);
    bench.says("stop:db@b", AttemptState::Failed).sent();
    // Somebody has started a by hand.
    bench.instance("db", "a", InstanceState::Running);
    bench.asks(Verb::Retry, "stop:db@b").unwrap();
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench.pass(1).probed("db.leads", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:db@b"), Phase::UndoFailed);
    assert!(bench.operation.attention().contains("plan again"));
}

#[test]
fn what_has_acted_and_was_skipped_is_taken_back_before_its_machine() {
    let mut bench = Bench::new(vec![
        step("power-on:a", &[]),
        step("start:db@a", &[("power-on:a", Wait::Up)]),
        step("approve:look", &[]),
    ]);
    bench.advance().power("a", Power::Off).advance();
    bench.connects("a", "boot-2");
    bench.instance("team", "a", InstanceState::Stopped);
    bench.advance().says("start:db@a", AttemptState::Failed);
    bench.asks(Verb::Skip, "start:db@a").unwrap();
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    assert_eq!(bench.sent(), ["stop start:db@a #2 on a"]);
    assert_eq!(bench.phase("power-on:a"), Phase::Done, "db may run there");
    bench.says("start:db@a", AttemptState::Done);
    assert_eq!(bench.phase("start:db@a"), Phase::Undone);
    bench.pass(1).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Undoing);
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.state(), State::Unwound);
}

#[test]
fn what_was_skipped_before_it_acted_has_nothing_to_be_taken_back() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("start:log@b", &[("stop:db@a", Wait::Down)]),
        step("approve:look", &[]),
    ]);
    bench.goes_silent("b");
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
    bench.asks(Verb::Skip, "start:log@b").unwrap();
    bench.connects("b", "boot-1");
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    assert_eq!(bench.sent(), ["start stop:db@a #2 on a"]);
    assert_eq!(bench.phase("start:log@b"), Phase::Skipped);
}

/// A machine that is being switched off, or restarted, when a person aborts to take everything back.
fn aborted_while_it_goes_down(step_id: &str) -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step(step_id, &[("stop:db@a", Wait::Down)]),
        step("approve:look", &[]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.power("a", Power::On).advance();
    assert_eq!(bench.phase(step_id), Phase::Running);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.sent();
    // The last word of an agent that its machine ends: it goes down.
    bench.says(step_id, AttemptState::Done);
    bench.goes_silent("a");
    bench
}

#[test]
fn a_machine_that_goes_down_is_awaited_before_anything_is_taken_back() {
    let mut bench = aborted_while_it_goes_down("power-off:a");
    bench.pass(3).power("a", Power::On).advance();
    assert_eq!(bench.state(), State::AbortingToUnwind);
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.state(), State::Unwinding);
    bench.pass(1).power("a", Power::Off).advance();
    let sent = bench.sent();
    let fence = "fence power-off:a #2 on mgmt".to_owned();
    assert!(sent.contains(&fence), "{sent:?}");

    let mut bench = aborted_while_it_goes_down("reboot:a");
    bench.pass(3);
    assert_eq!(bench.state(), State::AbortingToUnwind);
    assert_eq!(bench.sent(), [""; 0], "nothing is sent to it meanwhile");
    bench.connects("a", "boot-2");
    bench.advance().pass(1);
    let sent = bench.sent();
    let start = "start stop:db@a #2 on a".to_owned();
    assert!(sent.contains(&start), "{sent:?}");
}

#[test]
fn a_machine_that_was_on_and_silent_is_switched_on_once_it_is_off() {
    let mut bench = aborted_while_it_goes_down("power-off:a");
    // It takes longer than its limit.
    bench.pass(LIMIT.as_secs()).power("a", Power::On).advance();
    bench.pass(1).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Undoing);
    bench.sent();
    bench.pass(2).power("a", Power::Off).advance();
    let sent = bench.sent();
    let fence = "fence power-off:a #3 on mgmt".to_owned();
    assert!(sent.contains(&fence), "{sent:?}");
    bench.pass(1).connects("a", "boot-2");
    bench.advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Undone);
}

#[test]
fn what_is_taken_back_has_the_limit_of_what_is_done_for_it() {
    let long = LIMIT.as_secs();
    // The way forward is short, as stops and power-offs are: `start` and `on_within` are what the spec gives the way back.
    let short = |id: &str, after: &[(&str, Wait)]| Step {
        timeout: LIMIT / 6,
        ..step(id, after)
    };
    let mut bench = Bench::new(vec![short("stop:db@a", &[]), step("approve:look", &[])]);
    bench.advance().says("stop:db@a", AttemptState::Done);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    bench.pass(long - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Undoing);
    bench.pass(1);
    let evidence = bench.evidence("stop:db@a");
    assert!(evidence.contains("not proven within 1m:"), "{evidence}");

    let mut bench = Bench::new(vec![short("power-off:a", &[]), step("approve:look", &[])]);
    bench.advance().power("a", Power::On).advance();
    bench.pass(1).power("a", Power::Off).advance();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Undoing);
    bench.says("power-off:a", AttemptState::Done);
    bench.pass(long - 2);
    assert_eq!(bench.phase("power-off:a"), Phase::Undoing);
    bench.pass(1);
    assert_eq!(bench.phase("power-off:a"), Phase::UndoFailed);

    // So has the wait for its turn.
    let mut bench = Bench::new(vec![short("stop:web@b", &[]), step("approve:look", &[])]);
    bench.advance().says("stop:web@b", AttemptState::Done);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(long - 1);
    assert_eq!(bench.state(), State::Unwinding);
    bench.pass(2);
    assert_eq!(bench.phase("stop:web@b"), Phase::UndoFailed);
}

#[test]
fn an_undo_whose_turn_has_come_tells_what_it_waits_for() {
    let mut plan = seal(vec![step("stop:web@b", &[]), step("approve:look", &[])]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, true);
    bench.asks(Verb::Next, "").unwrap();
    bench.says("stop:web@b", AttemptState::Done);
    assert!(bench.operation.is_single_step());
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1);
    assert_eq!(bench.phase("stop:web@b"), Phase::Done);
    assert_eq!(
        bench.waits_for("stop:web@b"),
        "it requires db, and db on a is stopped (and 1 more do not run)"
    );
    assert!(bench.operation.awaits_undo(&StepId::new("stop:web@b")));
    assert!(
        !bench.operation.is_single_step(),
        "nobody asks for a `next`"
    );

    bench.leads("a");
    bench.pass(1);
    assert_eq!(bench.phase("stop:web@b"), Phase::Undoing);
    bench.says("stop:web@b", AttemptState::Done).pass(1);
    bench.probed("web.http", "b", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Unwound);
    assert_eq!(bench.waits_for("stop:web@b"), "");
    assert!(!bench.operation.awaits_undo(&StepId::new("stop:web@b")));
}
