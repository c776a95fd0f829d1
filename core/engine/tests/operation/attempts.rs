//! Attempts: what is made of what agents say, and of their silence.

use std::time::Duration;

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;

use crate::bench::{Bench, LIMIT, gate, step};

fn stopping() -> Bench {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:db@a #1 on a"]);
    bench
}

#[test]
fn past_its_deadline_an_attempt_is_unknown_and_is_ended() {
    let mut bench = stopping();
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Unknown);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert_eq!(bench.sent(), ["cancel stop:db@a #1"]);
}

#[test]
fn a_word_after_the_deadline_counts_and_a_person_lets_it_go_on() {
    for (said, phase) in [
        (AttemptState::Done, Phase::Done),
        (AttemptState::Failed, Phase::Failed),
    ] {
        let mut bench = stopping();
        bench.pass(LIMIT.as_secs()).says("stop:db@a", said);
        assert_eq!(bench.phase("stop:db@a"), phase);
        assert_eq!(bench.state(), State::NeedsAttention);
    }
}

#[test]
fn an_attempt_that_was_never_seen_is_made_again_at_once() {
    let mut bench = stopping();
    bench.says("stop:db@a", AttemptState::NeverSeen);
    assert_eq!(bench.sent(), ["stop stop:db@a #2 on a"]);
    bench.says_of("stop:db@a", 1, AttemptState::Done, false);
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Running,
        "what is said of an earlier one is of no interest"
    );
}

#[test]
fn an_attempt_that_its_agent_had_and_has_forgotten_is_not_made_again() {
    for id in ["stop:db@a", "start:db@a", "reboot:a"] {
        let mut bench = Bench::new(vec![step(id, &[])]);
        bench.advance().says(id, AttemptState::Accepted);
        bench.sent();
        // The ledger was lost; what was accepted may still run.
        bench.says(id, AttemptState::NeverSeen);
        assert_eq!(bench.sent(), [""; 0], "{id}");
        assert_eq!(bench.state(), State::NeedsAttention);
        assert_eq!(bench.phase(id), Phase::Unknown);
        let why = bench.operation.attention();
        assert!(why.contains("its agent no longer remembers"), "{why}");
        // A person has looked: the next attempt has been accepted by nobody yet.
        bench.asks(Verb::Retry, id).unwrap();
        assert_eq!(bench.attempt(id), 2);
        bench.says(id, AttemptState::NeverSeen);
        assert_eq!(bench.attempt(id), 3, "{id}");
    }
}

#[test]
fn an_unknown_outcome_is_repeated_only_where_that_does_no_harm() {
    let mut bench = stopping();
    bench.says_of("stop:db@a", 1, AttemptState::Unknown, false);
    assert_eq!(bench.phase("stop:db@a"), Phase::Unknown);
    assert_eq!(bench.sent(), [""; 0]);

    let mut bench = stopping();
    bench.says_of("stop:db@a", 1, AttemptState::Unknown, true);
    assert_eq!(bench.sent(), ["stop stop:db@a #2 on a"]);
    bench.says_of("stop:db@a", 2, AttemptState::Unknown, true);
    bench.says_of("stop:db@a", 3, AttemptState::Unknown, true);
    assert_eq!(bench.phase("stop:db@a"), Phase::Unknown, "but not for ever");
}

#[test]
fn a_new_session_is_asked_for_an_attempt_that_it_has_not_seen() {
    let mut bench = stopping();
    bench.goes_silent("a");
    bench.pass(5);
    assert_eq!(
        bench.sent(),
        ["power a"],
        "silence is not an answer: its power source is asked for one"
    );
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    bench.connects("a", "boot-1");
    bench.advance().pass(1);
    assert_eq!(bench.sent(), ["query stop:db@a #1"], "once");
}

#[test]
fn nothing_is_begun_where_no_agent_is_there_to_be_told() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.goes_silent("a");
    bench.advance();
    assert_eq!(bench.attempt("stop:db@a"), 0);
    assert!(
        bench
            .operation
            .waits_for(&interlock_model::plan::StepId::new("stop:db@a"))
            .contains("not connected")
    );
}

#[test]
fn the_time_in_which_the_coordinator_did_not_run_makes_no_attempt_late() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.advance().says("stop:db@a", AttemptState::Accepted);
    bench.operation.forgive(LIMIT * 3);
    bench.pass(LIMIT.as_secs() * 3 + 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    // What it had left before is left still.
    bench.pass(LIMIT.as_secs());
    assert!(bench.evidence("stop:db@a").starts_with("not proven within"));
}

/// What the earlier one came to stands in the journal.
#[test]
fn a_new_attempt_does_not_show_what_was_seen_of_the_one_before_it() {
    let mut bench = stopping();
    bench.says("stop:db@a", AttemptState::Failed);
    assert_ne!(bench.evidence("stop:db@a"), "");
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    assert_eq!(bench.evidence("stop:db@a"), "");
    bench.says("stop:db@a", AttemptState::Done);
    assert_ne!(bench.evidence("stop:db@a"), "");
}

#[test]
fn attempts_that_nobody_was_asked_about_have_one_limit_together() {
    let mut bench = stopping();
    let half = LIMIT.as_secs() / 2;
    bench.pass(half);
    bench.says_of("stop:db@a", 1, AttemptState::Unknown, true);
    assert_eq!(bench.sent(), ["stop stop:db@a #2 on a"]);
    bench.pass(half - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    // At its own limit the agent may be a moment faster than the coordinator.
    bench.says_of("stop:db@a", 2, AttemptState::Unknown, true);
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Unknown);
    assert_eq!(bench.state(), State::NeedsAttention);
    // A person gives it all of its time anew.
    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn another_attempt_after_a_long_pause_has_the_whole_limit() {
    let mut bench = stopping();
    bench.asks(Verb::Pause, "").unwrap();
    bench.says_of("stop:db@a", 1, AttemptState::Unknown, true);
    bench.pass(LIMIT.as_secs() * 10);
    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop stop:db@a #2 on a"]);
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn what_a_verify_has_started_is_not_restarted_by_its_retry() {
    let mut verify = step("verify:db@a", &[]);
    verify.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![verify]);
    bench.advance();
    assert_eq!(bench.sent(), ["verify verify:db@a #1 on a"]);
    bench.says("verify:db@a", AttemptState::Done).advance();
    bench.probed("db.port", "a", Verdict::Bad);
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.phase("verify:db@a"), Phase::Failed);
    bench.sent();
    bench.asks(Verb::Retry, "verify:db@a").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["start verify:db@a #2 on a"]);

    // With the machine it came up once more, maybe before what it needs.
    bench.says("verify:db@a", AttemptState::Failed);
    bench.connects("a", "boot-2");
    bench.asks(Verb::Retry, "verify:db@a").unwrap();
    bench.advance();
    let sent = bench.sent();
    assert!(
        sent.contains(&"verify verify:db@a #3 on a".to_owned()),
        "{sent:?}"
    );
}

#[test]
fn a_clock_that_jumped_while_no_coordinator_ran_makes_no_attempt_late() {
    let mut bench = stopping();
    bench.says("stop:db@a", AttemptState::Accepted);
    bench.restarts();
    bench.clock_jumps(Duration::from_secs(3600));
    bench.connects("a", "boot-1");
    bench.pass(1).pass(LIMIT.as_secs() - 1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Unknown);
}
