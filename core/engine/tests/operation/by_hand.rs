//! What a person says to have stopped where no agent runs: the checks of it may say otherwise.

use std::time::Duration;

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceState, Liveness};
use interlock_model::plan::Wait;
use interlock_model::spec::Role;

use crate::bench::{Bench, LIMIT, step};

/// `pbx` on tel, where no agent runs, is stopped by a person; mgmt probes it. Then `db` is stopped on a.
fn confirmed() -> Bench {
    let mut person = step("approve:stop.pbx.tel", &[]);
    person.node = Some("tel".parse().unwrap());
    person.service = Some("pbx".parse().unwrap());
    let under = step("stop:db@a", &[("approve:stop.pbx.tel", Wait::Up)]);
    let mut bench = Bench::new(vec![person, under]);
    bench.probed("pbx.sip", "mgmt", Verdict::Ok).pass(1);
    let approved = bench.asks_as(Role::Admin, Verb::Approve, "stop.pbx.tel");
    approved.unwrap();
    bench
}

#[test]
fn a_check_that_is_green_after_the_confirmation_is_believed_and_not_the_person() {
    let mut bench = confirmed();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting, "not looked yet");
    assert_eq!(bench.sent(), ["probe mgmt"]);
    bench
        .pass(1)
        .probed("pbx.sip", "mgmt", Verdict::Ok)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    let waits = bench.waits_for("stop:db@a");
    assert!(waits.starts_with("pbx.sip on mgmt is still ok"), "{waits}");
    for _ in 0..=LIMIT.as_secs() {
        bench.probed("pbx.sip", "mgmt", Verdict::Ok).pass(1);
    }
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);

    bench.asks(Verb::Retry, "stop:db@a").unwrap();
    bench
        .pass(1)
        .probed("pbx.sip", "mgmt", Verdict::Bad)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
    // It answers again at the end.
    bench.probed("pbx.sip", "mgmt", Verdict::Ok);
    bench.says("stop:db@a", AttemptState::Done);
    assert_eq!(bench.state(), State::Running);
    bench.probed("pbx.sip", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn what_was_green_before_says_nothing_and_neither_does_what_cannot_be_told() {
    let mut bench = confirmed();
    let before = Duration::from_secs(1000);
    bench
        .answered("pbx.sip", "mgmt", Verdict::Ok, before)
        .pass(1);
    let waits = bench.waits_for("stop:db@a");
    assert_eq!(waits, "a fresh result of pbx.sip on mgmt");
    bench.probed("pbx.sip", "mgmt", Verdict::Unknown).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    let mut bench = confirmed();
    bench.view.entry(&"mgmt".parse().unwrap()).liveness = Liveness::Lost;
    bench.goes_silent("mgmt");
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn who_has_taken_over_looks_anew() {
    let mut bench = confirmed();
    bench.restarts();
    bench.connects("mgmt", "boot-1");
    for node in ["a", "b"] {
        bench.connects(node, "boot-1");
    }
    bench.instance("web", "b", InstanceState::Stopped);
    bench.pass(1);
    let waits = bench.waits_for("stop:db@a");
    assert_eq!(waits, "a fresh result of pbx.sip on mgmt");
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.probed("pbx.sip", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}
