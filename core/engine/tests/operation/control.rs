//! What people ask for.

use std::sync::Arc;

use interlock_engine::operation::{Entry, Operation, Phase, Refused, State, Verb};
use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::ids::OperationId;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{StepId, Wait};
use interlock_model::spec::Role;

use crate::bench::{Bench, LIMIT, gate, seal, step};

fn two() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("stop:db@b", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance();
    bench
}

#[test]
fn a_pause_lets_go_on_what_is_under_way_and_begins_nothing() {
    let mut bench = two();
    bench.asks(Verb::Pause, "").unwrap();
    assert_eq!(bench.state(), State::Pausing);
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(
        (bench.state(), bench.phase("stop:db@b")),
        (State::Paused, Phase::Waiting)
    );
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.phase("stop:db@b"), Phase::Running);
}

/// There is nothing left that a resume could begin, and nothing that an abort could end.
#[test]
fn a_pause_in_the_last_step_ends_with_it() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance();
    bench.asks(Verb::Pause, "").unwrap();
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);
    let refused = bench.asks(Verb::Abort, "").unwrap_err();
    assert!(refused.to_string().contains("it is over"), "{refused}");

    // Its checks are what is left of it.
    let mut last = step("start:db@a", &[]);
    last.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![last]);
    bench.advance().says("start:db@a", AttemptState::Done);
    bench.asks(Verb::Pause, "").unwrap();
    assert_eq!(bench.state(), State::Paused);
    bench.pass(1);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn who_pauses_what_is_pausing_or_paused_is_not_refused_and_changes_nothing() {
    let mut bench = Bench::new(vec![
        step("stop:web@b", &[]),
        step("stop:db@a", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.advance();
    bench.asks(Verb::Pause, "").unwrap();
    let told = bench.journal.len();
    bench.asks(Verb::Pause, "").unwrap();
    assert_eq!((bench.state(), bench.journal.len()), (State::Pausing, told));
    bench.says("stop:web@b", AttemptState::Done);
    let told = bench.journal.len();
    bench.asks(Verb::Pause, "").unwrap();
    assert_eq!((bench.state(), bench.journal.len()), (State::Paused, told));
    bench.asks(Verb::Abort, "").unwrap();
    bench.asks(Verb::Pause, "").unwrap_err();
}

/// The cancel came too late: all of it was done by then.
#[test]
fn an_abort_that_ends_nothing_leaves_an_operation_that_is_done() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance();
    bench.asks(Verb::Abort, "").unwrap();
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn next_lets_one_step_begin() {
    let steps = vec![step("stop:db@a", &[]), step("stop:db@b", &[])];
    let mut bench = Bench::of(seal(steps), true);
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    assert_eq!(bench.phase("stop:db@b"), Phase::Waiting);
    bench.asks(Verb::Abort, "").unwrap();
    assert!(bench.operation.is_single_step(), "it is not over yet");
    bench.says("stop:db@a", AttemptState::Failed);
    assert!(!bench.operation.is_single_step());
}

#[test]
fn nexts_are_not_stored_up() {
    let steps = vec![
        step("stop:db@a", &[]),
        step("stop:log@b", &[("stop:db@a", Wait::Down)]),
        step("power-off:a", &[("stop:log@b", Wait::Down)]),
    ];
    let mut bench = Bench::of(seal(steps), true);
    bench.advance();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    for _ in 0..4 {
        let refused = bench.asks(Verb::Next, "").unwrap_err().to_string();
        assert!(refused.contains("stop:db@a is running"), "{refused}");
    }
    bench.says("stop:db@a", AttemptState::Done).pass(1);
    assert_eq!(bench.phase("stop:log@b"), Phase::Waiting);
    assert_eq!(bench.phase("power-off:a"), Phase::Waiting);
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:log@b"), Phase::Running);
}

#[test]
fn a_next_is_for_the_step_that_was_shown_and_one_of_two_who_ask_for_it_wins() {
    let ids = ["stop:db@a", "stop:db@b"];
    let mut bench = Bench::of(seal(ids.map(|id| step(id, &[])).to_vec()), true);
    bench.advance();
    bench.asks(Verb::Next, "stop:db@b").unwrap();
    assert_eq!(bench.phase("stop:db@b"), Phase::Running);
    let refused = bench.asks(Verb::Next, "stop:db@b").unwrap_err().to_string();
    assert!(refused.contains("stop:db@b has begun already"), "{refused}");
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);

    // What waits for others has not its turn; and nobody is given another step while one was let begin and has not.
    let mut waits = step("stop:db@a", &[]);
    waits.gates = vec![gate("db.port", "a")];
    let last = step("stop:db@b", &[("stop:db@a", Wait::Down)]);
    let mut bench = Bench::of(seal(vec![waits, step("stop:web@b", &[]), last]), true);
    bench.advance();
    assert!(bench.asks(Verb::Next, "stop:db@b").is_err());
    bench.asks(Verb::Next, "stop:db@a").unwrap();
    let refused = bench.asks(Verb::Next, "").unwrap_err().to_string();
    assert!(
        refused.contains("anna has let stop:db@a begin"),
        "{refused}"
    );
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
    // It is so after a restart, too.
    bench.restarts();
    for step in ["", "stop:db@a"] {
        assert!(bench.asks(Verb::Next, step).is_err());
    }
}

#[test]
fn a_step_that_only_looks_takes_a_next_like_any_other() {
    let steps = vec![
        step("check:db", &[]),
        step("stop:db@a", &[("check:db", Wait::Healthy)]),
    ];
    let mut bench = Bench::of(seal(steps), true);
    bench.advance();
    assert_eq!(bench.waits_for("check:db"), "your `next`");
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("check:db"), Phase::Done);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    assert_eq!(bench.waits_for("stop:db@a"), "your `next`");
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn a_resume_ends_the_single_steps() {
    let steps = || {
        seal(vec![
            step("stop:db@a", &[]),
            step("stop:db@b", &[("stop:db@a", Wait::Down)]),
        ])
    };
    for paused in [false, true] {
        let mut bench = Bench::of(steps(), true);
        bench.advance();
        assert!(bench.operation.is_single_step());
        if paused {
            bench.asks(Verb::Pause, "").unwrap();
            bench.asks(Verb::Resume, "").unwrap();
            assert!(bench.operation.is_single_step(), "the pause is over");
            assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
        }
        assert!(bench.operation.possible().contains(&Verb::Resume));
        bench.asks(Verb::Resume, "").unwrap();
        assert_eq!(bench.state(), State::Running);
        assert_eq!(bench.phase("stop:db@a"), Phase::Running);
        bench.says("stop:db@a", AttemptState::Done);
        assert_eq!(bench.phase("stop:db@b"), Phase::Running);
        assert!(!bench.operation.is_single_step());
        let possible = bench.operation.possible();
        assert!(!possible.contains(&Verb::Next) && !possible.contains(&Verb::Resume));
        let told = bench.journal.iter().map(|entry| entry.what.detail());
        let over = told.filter(|detail| detail.contains("no longer one step at a time"));
        assert_eq!(over.count(), 1, "the journal says so");
    }
}

#[test]
fn a_next_waits_for_the_end_of_a_persons_pause() {
    let ids = ["stop:db@a", "stop:db@b", "stop:web@b"];
    let mut bench = Bench::of(seal(ids.map(|id| step(id, &[])).to_vec()), true);
    bench.advance();
    bench.asks(Verb::Next, "").unwrap();
    bench.asks(Verb::Pause, "").unwrap();
    assert_eq!(bench.state(), State::Pausing);
    assert!(!bench.operation.possible().contains(&Verb::Next));
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Paused);
    let refused = bench.asks(Verb::Next, "").unwrap_err().to_string();
    assert!(refused.contains("anna has paused it "), "{refused}");
    assert!(refused.contains("(because); `resume` first"), "{refused}");
    bench.asks(Verb::Resume, "").unwrap();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.state(), State::Running);
    assert!(bench.operation.is_single_step(), "still one at a time");
    assert_eq!(bench.phase("stop:db@b"), Phase::Running);
    bench.says("stop:db@b", AttemptState::Done);
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
}

#[test]
fn a_next_that_was_not_used_is_gone_with_a_pause() {
    let ids = ["stop:db@a", "stop:db@b"];
    let mut bench = Bench::of(seal(ids.map(|id| step(id, &[])).to_vec()), true);
    let nodes = ["a", "b"];
    nodes.iter().for_each(|node| bench.goes_silent(node));
    bench.advance();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting, "nobody is there");
    bench.asks(Verb::Pause, "").unwrap();
    nodes.iter().for_each(|node| bench.connects(node, "boot-1"));
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.asks(Verb::Next, "").unwrap();
    let running = ids.map(|id| bench.phase(id) == Phase::Running);
    assert_eq!(running, [true, false], "one, and not two");
}

#[test]
fn a_next_whose_step_could_not_begin_lets_nothing_else_begin() {
    let mut start = step("start:log@b", &[]);
    start.gates = vec![gate("db.port", "a")];
    let later = step("stop:app@mgmt", &[("start:log@b", Wait::Up)]);
    let mut bench = Bench::of(seal(vec![start, later]), true);
    bench.advance();
    bench.asks(Verb::Next, "").unwrap();
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
    bench.asks(Verb::Skip, "start:log@b").unwrap();
    assert_eq!(bench.state(), State::Running);
    assert_eq!(
        bench.phase("stop:app@mgmt"),
        Phase::Waiting,
        "nobody let it"
    );
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
}

/// A start whose gate is closed, with a step before it in the plan that has nothing to do with it.
fn gated(single_step: bool) -> Bench {
    let mut start = step("start:log@b", &[]);
    start.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::of(seal(vec![step("stop:app@mgmt", &[]), start]), single_step);
    bench.advance();
    bench
}

fn is_blocked_after_its_whole_limit(bench: &mut Bench) {
    bench.advance().pass(LIMIT.as_secs());
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    bench.pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
}

#[test]
fn no_gate_is_late_by_the_time_in_which_a_person_had_paused_or_had_to_decide() {
    let mut bench = gated(false);
    bench.says("stop:app@mgmt", AttemptState::Done);
    bench.pass(40).asks(Verb::Pause, "").unwrap();
    bench.pass(40).asks(Verb::Resume, "").unwrap();
    is_blocked_after_its_whole_limit(&mut bench);

    let mut bench = gated(false);
    bench.pass(40).says("stop:app@mgmt", AttemptState::Failed);
    assert_eq!(bench.state(), State::NeedsAttention);
    bench.pass(40);
    bench.asks(Verb::Retry, "stop:app@mgmt").unwrap();
    bench.says("stop:app@mgmt", AttemptState::Done);
    is_blocked_after_its_whole_limit(&mut bench);
}

#[test]
fn no_gate_is_late_while_its_step_awaits_a_next() {
    let mut bench = gated(true);
    bench.asks(Verb::Next, "").unwrap();
    bench.says("stop:app@mgmt", AttemptState::Done);
    bench.pass(LIMIT.as_secs() * 2);
    assert_eq!(bench.state(), State::Running);
    bench.asks(Verb::Next, "").unwrap();
    is_blocked_after_its_whole_limit(&mut bench);
}

#[test]
fn what_was_green_before_a_persons_word_is_looked_at_again() {
    let mut bench = gated(true);
    bench.asks(Verb::Next, "").unwrap();
    bench.says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.waits_for("start:log@b"), "your `next`");
    bench.pass(20).sent();
    bench.asks(Verb::Next, "").unwrap();
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    assert_eq!(bench.sent(), ["probe a"]);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn a_pause_without_single_steps_knows_no_next() {
    let mut bench = two();
    bench.asks(Verb::Pause, "").unwrap();
    assert!(!bench.operation.possible().contains(&Verb::Next));
}

/// Otherwise whoever may not open it could take it for opened.
#[test]
fn a_gate_is_never_skipped() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[]),
        step("stop:db@b", &[("approve:look", Wait::Up)]),
    ]);
    bench.advance();
    // Something else has failed, so that something can be skipped.
    bench.says("stop:db@a", AttemptState::Failed);
    let refused = |bench: &mut Bench| {
        for role in [Role::Operator, Role::Admin] {
            let skipped = bench.asks_as(role, Verb::Skip, "approve:look");
            assert!(skipped.is_err(), "{role}");
        }
    };
    refused(&mut bench);
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.says("stop:db@a", AttemptState::Failed);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    // Not when it is overdue either.
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("approve:look"), Phase::Blocked);
    refused(&mut bench);
    assert_eq!(bench.phase("stop:db@b"), Phase::Waiting);
}

#[test]
fn the_last_decision_sets_the_operation_going_again() {
    let mut bench = two();
    bench.says("stop:db@a", AttemptState::Failed);
    assert!(matches!(
        bench.asks(Verb::Resume, ""),
        Err(Refused::State { .. })
    ));
    assert!(matches!(
        bench.asks(Verb::Retry, "stop:db@b"),
        Err(Refused::Phase { .. })
    ));
    assert!(matches!(
        bench.asks(Verb::Retry, "stop:x@y"),
        Err(Refused::NoSuchStep { .. })
    ));
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    assert_eq!(
        (bench.state(), bench.attempt("stop:db@a")),
        (State::Running, 2)
    );
    bench.says("stop:db@a", AttemptState::Failed);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    assert_eq!(
        bench.phase("stop:db@b"),
        Phase::Running,
        "what is skipped is past every condition"
    );
}

#[test]
fn an_abort_ends_what_is_under_way_and_waits_until_nothing_is_left() {
    let mut bench = two();
    bench.sent();
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(bench.sent(), ["cancel stop:db@a #1"]);
    assert_eq!(bench.state(), State::Aborting);
    // The cancel was lost with its session.
    bench.pass(1).connects("a", "boot-1");
    bench.pass(1);
    assert_eq!(bench.sent(), ["cancel stop:db@a #1"]);
    bench.says("stop:db@a", AttemptState::Failed);
    assert_eq!(bench.state(), State::Aborted);
    assert!(bench.operation.possible().is_empty());
}

/// Its turn had come, and then there are no turns any more.
#[test]
fn a_step_that_will_never_run_is_not_gated_and_waits_for_nothing() {
    for verb in [Verb::Abort, Verb::Unwind] {
        let mut bench = Bench::new(vec![
            step("stop:db@a", &[]),
            step("approve:look", &[]),
            step("stop:db@b", &[("approve:look", Wait::Up)]),
        ]);
        bench.advance();
        let look = StepId::new("approve:look");
        assert!(bench.operation.is_gated(&look));
        assert!(
            !bench.operation.is_gated(&StepId::new("stop:db@b")),
            "it waits for another step"
        );
        assert_ne!(bench.operation.waits_for(&look), "");
        bench.asks(verb, "").unwrap();
        assert!(!bench.operation.is_gated(&look), "{verb}: it is ending");
        bench.says("stop:db@a", AttemptState::Failed);
        assert!(!bench.operation.is_gated(&look), "{verb}");
        assert_eq!(bench.operation.waits_for(&look), "", "{verb}");
        assert_eq!(bench.phase("approve:look"), Phase::Waiting);
    }
}

#[test]
fn an_abort_makes_no_further_attempt_of_what_was_never_seen() {
    let mut bench = two();
    bench.asks(Verb::Abort, "").unwrap();
    bench.sent();
    bench.says("stop:db@a", AttemptState::NeverSeen);
    assert_eq!((bench.state(), bench.sent()), (State::Aborted, vec![]));
}

#[test]
fn an_aborted_step_whose_outcome_is_unknown_is_settled_even_if_repeating_it_did_no_harm() {
    for repeatable in [true, false] {
        let mut bench = two();
        bench.says("stop:db@a", AttemptState::Accepted);
        bench.asks(Verb::Abort, "").unwrap();
        bench.says_of("stop:db@a", 1, AttemptState::Unknown, repeatable);
        assert_eq!(bench.state(), State::Aborted);
        assert_eq!(bench.phase("stop:db@a"), Phase::Unknown);
        assert_eq!(bench.evidence("stop:db@a"), "said");
    }
    let mut bench = two();
    bench.asks(Verb::Abort, "").unwrap();
    bench.says("stop:db@a", AttemptState::NeverSeen);
    assert_eq!(bench.phase("stop:db@a"), Phase::Failed);
}

#[test]
fn an_abort_of_a_power_step_ends_with_the_last_word_of_its_agent() {
    let mut bench = Bench::new(vec![step("reboot:a", &[])]);
    bench.advance().says("reboot:a", AttemptState::Done);
    bench.sent();
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(
        bench.sent(),
        ["query reboot:a #1"],
        "it may have been said already"
    );
    assert_eq!(bench.state(), State::Aborting);
    bench.says("reboot:a", AttemptState::Done);
    assert_eq!(bench.state(), State::Aborted);
    assert_eq!(bench.phase("reboot:a"), Phase::Unknown);
    assert!(bench.evidence("reboot:a").contains("aborted before"));

    // It is on by itself: nobody has been sent anything.
    let mut bench = Bench::new(vec![step("power-on:a", &[])]);
    bench.goes_silent("a");
    bench.advance().power("a", Power::On).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Running);
    bench.asks(Verb::Abort, "").unwrap();
    assert_eq!(bench.state(), State::Aborted);
}

#[test]
fn an_approval_needs_its_turn_and_its_role() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
        step("stop:db@b", &[("approve:look", Wait::Up)]),
    ]);
    bench.advance();
    assert!(
        bench.asks_as(Role::Admin, Verb::Approve, "look").is_err(),
        "its turn has not come"
    );
    bench.says("stop:db@a", AttemptState::Done);
    assert!(matches!(
        bench.asks(Verb::Approve, "look"),
        Err(Refused::Role { .. })
    ));
    assert_eq!(bench.phase("stop:db@b"), Phase::Waiting);
    bench.asks_as(Role::Admin, Verb::Approve, "look").unwrap();
    assert_eq!(bench.phase("stop:db@b"), Phase::Running);
}

#[test]
fn an_approval_that_nobody_gives_in_time_needs_attention_and_can_still_be_given() {
    let late = || {
        let mut bench = Bench::new(vec![
            step("approve:look", &[]),
            step("stop:db@a", &[("approve:look", Wait::Up)]),
        ]);
        bench.advance().pass(LIMIT.as_secs());
        assert_eq!(bench.state(), State::Running);
        bench.pass(1);
        assert_eq!(bench.phase("approve:look"), Phase::Blocked);
        assert_eq!(bench.state(), State::NeedsAttention);
        let possible = [Verb::Retry, Verb::Approve, Verb::Abort, Verb::Unwind];
        assert_eq!(bench.operation.possible(), possible);
        assert_eq!(
            bench.evidence("approve:look"),
            "nobody has confirmed it within 1m: Look at it"
        );
        bench
    };
    let mut bench = late();
    bench.asks_as(Role::Admin, Verb::Approve, "look").unwrap();
    assert_eq!(bench.state(), State::Running);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    // Or it is waited for once more, for as long.
    let mut bench = late();
    bench.asks(Verb::Retry, "approve:look").unwrap();
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("approve:look"), Phase::Waiting);
    bench.pass(1);
    assert_eq!(bench.phase("approve:look"), Phase::Blocked);
}

#[test]
fn while_a_person_has_paused_it_no_approval_is_late() {
    let mut bench = Bench::new(vec![step("approve:look", &[])]);
    bench.advance().pass(LIMIT.as_secs() / 2);
    bench.asks(Verb::Pause, "").unwrap();
    bench.pass(2 * LIMIT.as_secs());
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("approve:look"), Phase::Waiting);
    bench.asks_as(Role::Admin, Verb::Approve, "look").unwrap();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn who_approves_a_gate_a_second_time_is_told_that_it_is_approved() {
    let mut bench = Bench::new(vec![step("approve:look", &[]), step("approve:mail", &[])]);
    bench.advance();
    bench.asks_as(Role::Admin, Verb::Approve, "mail").unwrap();
    let again = bench.asks_as(Role::Admin, Verb::Approve, "mail");
    let told = again.unwrap_err().to_string();
    assert!(told.contains("it is approved already"), "{told}");
}

#[test]
fn a_step_whose_turn_has_come_tells_for_which_word_of_a_person_it_waits() {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("stop:web@b", &[]),
        step("stop:db@b", &[("stop:web@b", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.advance().says("stop:web@b", AttemptState::Done);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(
        bench.waits_for("stop:db@b"),
        "op-1 to go on, which needs attention"
    );
}

#[test]
fn no_check_is_late_by_the_time_in_which_a_person_had_paused() {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![start, step("approve:look", &[])]);
    bench.advance().pass(1);
    bench.says("start:db@a", AttemptState::Done);
    bench.pass(LIMIT.as_secs() / 2);
    bench.asks(Verb::Pause, "").unwrap();
    // Somebody repairs it, and stops it for that.
    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(LIMIT.as_secs() * 3).pass(1);
    assert_eq!(bench.state(), State::Paused);
    assert_eq!(bench.phase("start:db@a"), Phase::Checking);
    assert_eq!(bench.waits_for("start:db@a"), "db on a is stopped");

    bench.instance("db", "a", InstanceState::Running);
    bench.probed("db.port", "a", Verdict::Bad);
    bench.asks(Verb::Resume, "").unwrap();
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("start:db@a"), Phase::Checking, "a whole limit");
    bench.pass(1);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
}

#[test]
fn whatever_a_person_asks_is_kept_with_who_when_and_why_also_over_a_crash() {
    let steps = vec![
        step("stop:db@a", &[]),
        step("stop:db@b", &[("stop:db@a", Wait::Down)]),
    ];
    let mut bench = Bench::of(seal(steps), true);
    bench.advance();
    bench.asks_because(Verb::Next, "", "the first one");
    bench.asks_because(Verb::Pause, "", "lunch");
    bench.says("stop:db@a", AttemptState::Failed);
    bench.asks_because(Verb::Retry, "stop:db@a", "its disk was full");
    bench.says("stop:db@a", AttemptState::Failed);
    bench.asks_because(Verb::Skip, "stop:db@a", "stopped by hand");
    bench.asks_because(Verb::Next, "", "again");
    bench.asks_because(Verb::Resume, "", "enough");
    bench.asks_because(Verb::Abort, "", "changed my mind");

    let told = |operation: &Operation| {
        let asked = operation.asked().iter();
        let told = asked.map(|one| {
            assert!(!one.by.is_empty() && one.at.0 > 0, "{one:?}");
            let step = one.step.as_ref().map_or("", |step| step.as_str());
            format!("{} {step}: {}", one.verb, one.reason)
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        told(&bench.operation),
        [
            "next stop:db@a: the first one",
            "pause : lunch",
            "retry stop:db@a: its disk was full",
            "skip stop:db@a: stopped by hand",
            "next stop:db@b: again",
            "resume : enough",
            "abort : changed my mind",
        ]
    );
    let entries = bench.journal.iter().map(|entry| {
        let text = serde_json::to_string(entry).unwrap();
        serde_json::from_str::<Entry>(&text).unwrap()
    });
    let entries: Vec<Entry> = entries.collect();
    let again = Operation::replay(OperationId(1), Arc::clone(&bench.plan), entries);
    assert_eq!(told(&again.unwrap()), told(&bench.operation));
    // What a version wrote that kept no reason of `next` is read as well.
    let old = r#"{"at":1,"what":"next","by":"anna"}"#;
    let Entry { what, .. } = serde_json::from_str(old).unwrap();
    assert_eq!(what.detail(), "by anna");
}
