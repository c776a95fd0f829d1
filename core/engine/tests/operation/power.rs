//! Power: what proves that a machine is off, and what proves that it is on.

use interlock_engine::operation::{Phase, State, Verb};
use interlock_model::action::{Action, Power};
use interlock_model::attempt::AttemptState;
use interlock_model::observation::Liveness;

use crate::bench::{Bench, LIMIT, plug, step};

fn shutting_down() -> Bench {
    let mut bench = Bench::new(vec![step("power-off:a", &[])]);
    bench.advance();
    assert_eq!(
        bench.sent(),
        ["power a"],
        "the source that must prove it is asked first"
    );
    bench.power("a", Power::On).advance();
    assert_eq!(bench.sent()[0], "shutdown power-off:a #1 on a");
    bench
}

#[test]
fn off_is_what_the_power_source_says_and_not_what_an_agent_says() {
    let mut bench = shutting_down();
    bench.says("power-off:a", AttemptState::Done);
    assert_eq!(bench.phase("power-off:a"), Phase::Running);
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn an_agent_that_is_silent_on_a_machine_that_is_on_is_not_down() {
    let mut bench = shutting_down();
    bench.goes_silent("a");
    bench
        .pass(LIMIT.as_secs() - 1)
        .power("a", Power::On)
        .pass(1);
    assert_eq!(
        bench.phase("power-off:a"),
        Phase::Failed,
        "the source says the opposite"
    );

    let mut bench = shutting_down();
    bench.goes_silent("a");
    bench.power("a", Power::Unknown).pass(LIMIT.as_secs());
    assert_eq!(
        bench.phase("power-off:a"),
        Phase::Unknown,
        "and nobody knows if it says nothing"
    );
}

#[test]
fn a_hung_shutdown_is_not_cancelled() {
    let mut bench = shutting_down();
    bench.pass(LIMIT.as_secs());
    assert!(!bench.sent().iter().any(|sent| sent.starts_with("cancel")));
}

#[test]
fn an_answer_from_before_the_steps_turn_proves_nothing() {
    let mut bench = Bench::new(vec![step("power-off:a", &[])]);
    bench.power("a", Power::Off);
    bench.pass(1);
    assert_eq!(bench.phase("power-off:a"), Phase::Waiting);
    bench.power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Done, "off already");
}

#[test]
fn a_machine_is_on_when_its_agent_speaks_from_a_new_boot() {
    let mut bench = Bench::new(vec![step("power-on:a", &[])]);
    bench.advance().power("a", Power::Off).advance();
    assert!(
        bench
            .sent()
            .contains(&"fence power-on:a #1 on mgmt".to_owned())
    );
    bench
        .says("power-on:a", AttemptState::Done)
        .pass(1)
        .power("a", Power::On)
        .advance();
    assert_eq!(
        bench.phase("power-on:a"),
        Phase::Running,
        "power is not a boot"
    );
    bench.connects("a", "boot-1");
    bench.advance();
    assert_eq!(
        bench.phase("power-on:a"),
        Phase::Running,
        "that was the boot before"
    );
    bench.connects("a", "boot-2");
    bench.advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn a_reboot_is_proven_by_a_new_boot_whatever_its_agent_said() {
    let mut bench = Bench::new(vec![step("reboot:a", &[])]);
    bench.advance().says("reboot:a", AttemptState::Done);
    assert_eq!(bench.phase("reboot:a"), Phase::Running);
    bench.connects("a", "boot-2");
    bench.advance();
    assert_eq!(bench.state(), State::Done);
}

#[test]
fn what_the_fence_agent_said_is_told_while_the_proof_is_awaited_and_when_it_does_not_come() {
    let mut bench = Bench::new(vec![step("power-on:a", &[])]);
    bench.advance().power("a", Power::Off).advance();
    bench.says("power-on:a", AttemptState::Unknown).pass(1);
    let told = "the agent of a with a new boot; mgmt said of the switching: said";
    assert_eq!(bench.waits_for("power-on:a"), told);
    bench.pass(LIMIT.as_secs() - 1);
    let told = format!("not proven within 1m: {told}");
    assert_eq!(bench.evidence("power-on:a"), told);
    assert_eq!(
        bench.operation.attention(),
        format!("power-on:a: {told}"),
        "and it is what the operation stands still for"
    );
    // Another attempt knows nothing of the words about the one before.
    bench.asks(Verb::Retry, "power-on:a").unwrap();
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Running);
    bench.pass(1);
    assert_eq!(
        bench.waits_for("power-on:a"),
        "the agent of a with a new boot"
    );
}

#[test]
fn an_abort_tells_what_the_fence_agent_had_said() {
    let mut bench = Bench::new(vec![step("power-on:a", &[])]);
    bench.advance().power("a", Power::Off).advance();
    bench.says("power-on:a", AttemptState::Unknown).pass(1);
    bench.asks(Verb::Abort, "").unwrap();
    bench.says("power-on:a", AttemptState::Unknown);
    assert_eq!(
        bench.evidence("power-on:a"),
        "aborted before it was proven: said"
    );
}

#[test]
fn a_plug_that_was_contradicted_since_the_start_is_neither_switched_nor_believed() {
    let mut bench = Bench::new(vec![step("power-on:a", &[])]);
    bench.verified.clear();
    bench.advance().power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Blocked);
    let told = "nothing proves any more that plug pa of box is a (`interlockctl power verify a`)";
    assert_eq!(bench.evidence("power-on:a"), told);
    assert!(!bench.sent().iter().any(|sent| sent.starts_with("fence")));
    // Verified again, it goes on.
    bench.verified.extend([plug("a")]);
    bench.asks(Verb::Retry, "power-on:a").unwrap();
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-on:a"), Phase::Running);

    let mut bench = shutting_down();
    bench.verified.clear();
    bench.pass(1).power("a", Power::Off).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Running);
    assert_eq!(bench.waits_for("power-off:a"), told);
    bench.pass(LIMIT.as_secs()).power("a", Power::Off).advance();
    assert_eq!(
        bench.phase("power-off:a"),
        Phase::Unknown,
        "what another machine's plug says tells nothing of this one"
    );
}

#[test]
fn a_retry_of_a_reboot_that_has_happened_is_proven_by_its_boot() {
    let mut bench = Bench::new(vec![step("reboot:a", &[])]);
    bench.advance().says("reboot:a", AttemptState::Done);
    bench.goes_silent("a");
    bench.pass(LIMIT.as_secs());
    assert_eq!(bench.state(), State::NeedsAttention);
    // It took longer than its limit.
    bench.connects("a", "boot-2");
    bench.sent();
    bench.asks(Verb::Retry, "reboot:a").unwrap();
    assert_eq!(bench.state(), State::Done);
    assert_eq!(bench.sent(), [""; 0], "and not restarted once more");

    // One that has not happened is asked for again.
    let mut bench = Bench::new(vec![step("reboot:a", &[])]);
    bench.advance().says("reboot:a", AttemptState::Failed);
    bench.sent();
    bench.asks(Verb::Retry, "reboot:a").unwrap();
    assert_eq!(bench.sent(), ["reboot reboot:a #2 on a"]);
}

/// `a` is being switched on by mgmt; b reaches its power source, too.
fn switching_on() -> Bench {
    let mut on = step("power-on:a", &[]);
    if let Action::PowerOn { power } = &mut on.action {
        power.via.push("b".parse().unwrap());
    }
    let mut bench = Bench::new(vec![on]);
    bench.advance().power("a", Power::Off).advance();
    bench.says("power-on:a", AttemptState::Accepted);
    let sent = bench.sent();
    assert!(
        sent.contains(&"fence power-on:a #1 on mgmt".to_owned()),
        "{sent:?}"
    );
    bench.pass(2);
    bench
}

#[test]
fn a_switching_on_that_its_agent_did_not_live_to_see_is_asked_for_again_when_the_source_says_off() {
    let mut bench = switching_on();
    bench.says_of("power-on:a", 1, AttemptState::Unknown, true);
    bench.sent();
    bench.pass(1);
    assert_eq!(bench.sent(), ["power a"], "the source is asked first");
    bench.power("a", Power::Off).advance().advance();
    assert_eq!(bench.sent(), ["fence power-on:a #2 on mgmt"]);
    bench.pass(LIMIT.as_secs() - 1);
    assert_eq!(
        bench.phase("power-on:a"),
        Phase::Running,
        "it has its whole limit"
    );
    bench.connects("a", "boot-2");
    assert_eq!(bench.advance().state(), State::Done);

    // It had been switched after all.
    let mut bench = switching_on();
    bench.says_of("power-on:a", 1, AttemptState::Unknown, true);
    bench.power("a", Power::On).pass(1);
    assert_eq!(bench.attempt("power-on:a"), 1);

    // Not for ever.
    let mut bench = switching_on();
    for _ in 0..9 {
        let attempt = bench.attempt("power-on:a");
        bench.says_of("power-on:a", attempt, AttemptState::Unknown, true);
        bench.pass(1).power("a", Power::Off).advance().advance();
    }
    assert_eq!(bench.attempt("power-on:a"), 3);
}

#[test]
fn a_machine_is_switched_on_by_another_agent_if_the_first_is_lost_meanwhile() {
    let mut bench = switching_on();
    bench.goes_silent("mgmt");
    bench.power("a", Power::Off).pass(1);
    assert_eq!(bench.attempt("power-on:a"), 1, "it may be back in a moment");
    bench.view.entry(&"mgmt".parse().unwrap()).liveness = Liveness::Lost;
    bench.pass(1).power("a", Power::Off).advance().advance();
    let sent = bench.sent();
    assert!(
        sent.contains(&"fence power-on:a #2 on b".to_owned()),
        "{sent:?}"
    );
}
