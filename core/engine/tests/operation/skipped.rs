//! A stop that a person takes for done: their word does not stand against an agent that says that it runs.

use interlock_engine::operation::{Phase, Refused, State, Verb};
use interlock_model::action::{Action, Power};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{PlanKind, StepId, Wait};

use crate::bench::{Bench, LIMIT, gate, seal, step};

/// Longer than an agent may take to take back what it saw before.
const SOON: u64 = 6;

/// `db` was to be stopped on a, and then its machine; the stop has failed.
fn failed() -> Bench {
    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("power-off:a", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.instance("db", "a", InstanceState::Running);
    bench.advance().pass(1);
    bench.says("stop:db@a", AttemptState::Failed);
    assert_eq!(bench.phase("stop:db@a"), Phase::Failed);
    bench
}

fn goes_down(bench: &mut Bench) -> bool {
    bench.sent().iter().any(|it| it.starts_with("shutdown"))
}

#[test]
fn a_stop_is_not_taken_for_done_while_its_agent_says_that_it_runs() {
    let up = [
        InstanceState::Running,
        InstanceState::Paused,
        InstanceState::Starting,
    ];
    for state in up {
        let mut bench = failed();
        bench.instance("db", "a", state);
        let refused = bench.asks(Verb::Skip, "stop:db@a").unwrap_err();
        assert!(matches!(refused, Refused::Runs { .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains(&format!("db on a is {state}")), "{told}");
        assert!(told.contains("`retry`"), "{told}");
        assert_eq!(bench.phase("stop:db@a"), Phase::Failed);
        bench.power("a", Power::On).pass(1);
        assert!(!goes_down(&mut bench));
    }
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn what_was_taken_for_stopped_and_runs_keeps_its_machine_on() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(1).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Waiting);
    bench.pass(SOON).power("a", Power::On).advance();
    assert_eq!(bench.phase("power-off:a"), Phase::Blocked);
    assert!(!goes_down(&mut bench));
    let told = bench.evidence("power-off:a");
    assert!(
        told.contains("db on a is running, and stop:db@a was taken for done"),
        "{told}"
    );
    bench.instance("db", "a", InstanceState::Stopped);
    bench.asks(Verb::Retry, "power-off:a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn where_its_agent_cannot_tell_the_word_of_a_person_stands_until_it_can() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));

    // Nobody is heard: its machine cannot be shut down, and when it can, its agent is heard.
    let mut bench = failed();
    bench.goes_silent("a");
    bench.view.entry(&"a".parse().unwrap()).instances.clear();
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.connects("a", "boot-1");
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert_eq!(bench.phase("power-off:a"), Phase::Blocked);
    assert!(!goes_down(&mut bench));
}

#[test]
fn who_has_not_looked_yet_or_sees_half_of_it_cannot_be_spoken_for() {
    let mut bench = failed();
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    // Its agent has begun anew.
    bench.tells("db", "a", InstanceObservation::default());
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert!(!goes_down(&mut bench));

    let mut bench = failed();
    let db = bench.spec.services.get_mut("db").unwrap();
    let more = db.parts[0].clone();
    db.parts.push(more);
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.pass(SOON).power("a", Power::On).pass(SOON);
    assert!(!goes_down(&mut bench));
    bench.instance("db", "a", InstanceState::Stopped);
    bench.pass(1).power("a", Power::On).advance();
    assert!(goes_down(&mut bench));
}

#[test]
fn an_operation_does_not_end_as_done_over_what_was_taken_for_stopped_and_runs() {
    let mut bench = Bench::new(vec![step("stop:db@a", &[])]);
    bench.instance("db", "a", InstanceState::Stopped);
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.instance("db", "a", InstanceState::Running);
    assert!(bench.asks(Verb::Skip, "stop:db@a").is_err());
    bench.instance("db", "a", InstanceState::Unknown);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    assert_eq!(bench.state(), State::Done, "nobody says otherwise");

    let mut bench = Bench::new(vec![
        step("stop:db@a", &[]),
        step("approve:look", &[("stop:db@a", Wait::Down)]),
    ]);
    bench.advance().says("stop:db@a", AttemptState::Failed);
    bench.asks(Verb::Skip, "stop:db@a").unwrap();
    bench.instance("db", "a", InstanceState::Running);
    bench.pass(SOON);
    let admin = interlock_model::spec::Role::Admin;
    bench.asks_as(admin, Verb::Approve, "approve:look").unwrap();
    assert_eq!(bench.state(), State::NeedsAttention);
}

#[test]
fn nor_is_a_start_taken_for_taken_back_while_its_instance_runs() {
    let mut plan = seal(vec![
        step("start:log@b", &[]),
        step("approve:look", &[("start:log@b", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Startup;
    let mut bench = Bench::of(plan, false);
    bench.advance().says("start:log@b", AttemptState::Done);
    bench.pass(1).asks(Verb::Unwind, "").unwrap();
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:log@b"), Phase::UndoFailed);
    let refused = bench.asks(Verb::Skip, "start:log@b").unwrap_err();
    assert!(matches!(refused, Refused::Runs { .. }), "{refused:?}");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.asks(Verb::Skip, "start:log@b").unwrap();
    assert_eq!(bench.state(), State::Unwound);
}

/// `team` on a, then `user` on mgmt, which requires it; the start of `team` has failed.
fn start_failed(at_least: u32) -> Bench {
    let mut bench = Bench::new(vec![
        step("start:team@a", &[]),
        step("start:team@b", &[]),
        step(
            "check:team",
            &[
                ("start:team@a", Wait::Healthy),
                ("start:team@b", Wait::Healthy),
            ],
        ),
        step("start:user@mgmt", &[("check:team", Wait::Healthy)]),
    ]);
    let team = bench.spec.services.get_mut("team").unwrap();
    team.at_least = at_least;
    team.nodes.retain(|node| node.as_str() != "mgmt");
    bench.instance("team", "a", InstanceState::Stopped);
    bench.advance();
    bench.says("start:team@b", AttemptState::Done);
    bench.says("start:team@a", AttemptState::Failed);
    failed_with(&mut bench, "team", "a", "exit code 1");
    bench
}

fn failed_with(bench: &mut Bench, service: &str, on: &str, reason: &str) {
    let seen = InstanceObservation {
        state: InstanceState::Failed,
        reason: reason.to_owned(),
        ..InstanceObservation::default()
    };
    bench.tells(service, on, seen);
}

#[test]
fn a_start_is_not_taken_for_done_while_its_agent_says_that_it_failed_and_others_need_it() {
    let mut bench = start_failed(2);
    let refused = bench.asks(Verb::Skip, "start:team@a").unwrap_err();
    assert!(matches!(refused, Refused::Upon { .. }), "{refused:?}");
    let told = refused.to_string();
    for part in [
        "team on a is failed: exit code 1, says its agent",
        "start:user@mgmt would begin",
        "`retry`",
        "abort",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(bench.phase("start:team@a"), Phase::Failed);
    // Stopping and stopped are no better; what is up, or not known, is a person's to say.
    for (state, accepted) in [
        (InstanceState::Stopping, false),
        (InstanceState::Stopped, false),
        (InstanceState::Starting, true),
        (InstanceState::Running, true),
        (InstanceState::Unknown, true),
    ] {
        let mut bench = start_failed(2);
        bench.instance("team", "a", state);
        let asked = bench.asks(Verb::Skip, "start:team@a");
        assert_eq!(asked.is_ok(), accepted, "{state}: {asked:?}");
    }
}

#[test]
fn an_operator_goes_on_without_what_nobody_else_waits_for_or_enough_others_stand_for() {
    let mut bench = start_failed(1);
    bench.asks(Verb::Skip, "start:team@a").unwrap();
    bench.pass(1);
    assert_eq!(bench.phase("start:user@mgmt"), Phase::Running);

    let mut bench = Bench::new(vec![
        step("start:app@b", &[]),
        // The order alone, as `--serial` makes it.
        step("start:log@b", &[("start:app@b", Wait::Healthy)]),
        step("stop:web@b", &[("start:app@b", Wait::Issued)]),
    ]);
    bench.instance("app", "b", InstanceState::Stopped);
    bench.advance().says("start:app@b", AttemptState::Failed);
    bench.asks(Verb::Skip, "start:app@b").unwrap();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn a_red_check_speaks_against_a_start_that_others_need_healthy() {
    let checked = |until| {
        let mut start = step("start:app@b", &[]);
        start.healthy = vec![gate("app.port", "b")];
        let mut bench = Bench::new(vec![
            start,
            step("start:front@b", &[("start:app@b", until)]),
        ]);
        bench.advance().says("start:app@b", AttemptState::Done);
        bench.pass(1).probed("app.port", "b", Verdict::Bad);
        bench.pass(LIMIT.as_secs() + 1);
        bench.probed("app.port", "b", Verdict::Bad).advance();
        assert_eq!(bench.phase("start:app@b"), Phase::Failed);
        bench
    };
    let mut bench = checked(Wait::Healthy);
    let refused = bench.asks(Verb::Skip, "start:app@b").unwrap_err();
    assert!(
        refused.to_string().contains("app.port on b is bad"),
        "{refused}"
    );
    bench.probed("app.port", "b", Verdict::Unknown);
    bench.asks(Verb::Skip, "start:app@b").unwrap();
}

#[test]
fn what_waits_for_it_can_be_left_out_first_the_last_of_it_before_the_others() {
    let mut bench = start_failed(2);
    bench.asks(Verb::Skip, "start:user@mgmt").unwrap();
    assert_eq!(
        bench.state(),
        State::NeedsAttention,
        "the start is undecided"
    );
    bench.asks(Verb::Skip, "start:team@a").unwrap();
    assert_eq!(bench.state(), State::Done);
    assert!(bench.sent().iter().all(|it| !it.contains("user@mgmt")));

    // What nothing undecided keeps from beginning is begun, and not left out.
    let mut bench = start_failed(2);
    assert!(bench.asks(Verb::Skip, "check:team").is_err());
    bench.asks(Verb::Retry, "start:team@a").unwrap();
    assert!(bench.asks(Verb::Skip, "start:user@mgmt").is_err());
}

#[test]
fn what_was_taken_for_started_and_is_seen_down_later_holds_up_who_requires_it() {
    let mut bench = start_failed(2);
    bench.goes_silent("a");
    bench.view.entry(&"a".parse().unwrap()).instances.clear();
    bench.asks(Verb::Skip, "start:team@a").unwrap();
    // Nobody was heard when it was asked: as it comes to light at the moment when its turn comes.
    let mut bench = start_failed(2);
    bench.instance("team", "a", InstanceState::Unknown);
    bench.goes_silent("mgmt");
    bench.asks(Verb::Skip, "start:team@a").unwrap();
    failed_with(&mut bench, "team", "a", "exit code 1");
    bench.connects("mgmt", "boot-1");
    bench.instance("user", "mgmt", InstanceState::Stopped);
    bench.pass(1);
    assert_eq!(bench.phase("start:user@mgmt"), Phase::Waiting);
    let waits = bench.waits_for("start:user@mgmt");
    assert!(waits.contains("start:team@a was taken for done"), "{waits}");
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:user@mgmt"), Phase::Blocked);
    bench.instance("team", "a", InstanceState::Running);
    bench.asks(Verb::Retry, "start:user@mgmt").unwrap();
    assert_eq!(bench.phase("start:user@mgmt"), Phase::Running);
}

#[test]
fn a_reboot_is_not_taken_for_done_while_its_agent_is_in_the_old_boot() {
    let reboot = || {
        let mut plan = seal(vec![
            step("reboot:b", &[]),
            step("start:log@b", &[("reboot:b", Wait::Up)]),
        ]);
        plan.kind = PlanKind::Reboot;
        let mut bench = Bench::of(plan, false);
        bench.instance("log", "b", InstanceState::Stopped);
        bench.advance().says("reboot:b", AttemptState::Failed);
        assert_eq!(bench.phase("reboot:b"), Phase::Failed);
        bench
    };
    let mut bench = reboot();
    let refused = bench.asks(Verb::Skip, "reboot:b").unwrap_err().to_string();
    assert!(refused.contains("b is in the boot boot-1"), "{refused}");
    assert!(refused.contains("start:log@b would begin"), "{refused}");
    // Nobody is heard: a person's word. In the old boot again, the start waits.
    bench.goes_silent("b");
    bench.asks(Verb::Skip, "reboot:b").unwrap();
    bench.connects("b", "boot-1");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    bench.connects("b", "boot-2");
    bench.instance("log", "b", InstanceState::Stopped);
    bench.pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn a_reboot_that_was_never_sent_has_an_old_boot_also_for_another_coordinator() {
    let blocked = |before: &[&str]| {
        let mut steps: Vec<_> = before.iter().map(|id| step(id, &[])).collect();
        let after: Vec<_> = before.iter().map(|id| (*id, Wait::Down)).collect();
        let mut reboot = step("reboot:b", &after);
        reboot.gates = vec![gate("db.port", "a")];
        steps.push(reboot);
        steps.push(step("start:log@b", &[("reboot:b", Wait::Up)]));
        let mut plan = seal(steps);
        plan.kind = PlanKind::Reboot;
        let mut bench = Bench::of(plan, false);
        bench.instance("log", "b", InstanceState::Stopped);
        bench.advance();
        for id in before {
            bench.says(id, AttemptState::Done);
        }
        bench
    };
    let is_refused = |bench: &mut Bench, boot: &str| {
        for node in ["mgmt", "a"] {
            bench.connects(node, "boot-1");
        }
        bench.connects("b", boot);
        bench.instance("log", "b", InstanceState::Stopped);
        bench.pass(1).pass(LIMIT.as_secs() + 1);
        assert_eq!(bench.phase("reboot:b"), Phase::Blocked);
        bench.asks(Verb::Skip, "reboot:b").is_err()
    };
    // By what was done there before it, blocked before or after the coordinator was replaced.
    for (early, boot, refused) in [
        (true, "boot-1", true),
        (false, "boot-1", true),
        (true, "boot-2", false),
    ] {
        let mut bench = blocked(&["stop:log@b"]);
        bench.pass(if early { LIMIT.as_secs() + 1 } else { 1 });
        bench.restarts();
        assert_eq!(is_refused(&mut bench, boot), refused, "{early} {boot}");
    }
    // By the first word of its agent to this coordinator.
    let mut bench = blocked(&[]);
    bench.restarts();
    bench.pass(1);
    assert!(is_refused(&mut bench, "boot-1"));
}

#[test]
fn a_promotion_is_not_taken_for_done_while_a_check_of_its_primary_is_red_or_its_instance_is_down() {
    let promotion = || {
        let mut promote = step("start:db@a", &[]);
        (promote.id, promote.action) = (StepId::new("promote:db@a"), Action::Promote);
        promote.undo = None;
        promote.healthy = vec![gate("db.leads", "a")];
        let mut bench = Bench::observed(
            seal(vec![
                promote,
                step("start:web@b", &[("promote:db@a", Wait::Healthy)]),
            ]),
            "a",
        );
        bench.instance("db", "a", InstanceState::Running);
        bench.advance().says("promote:db@a", AttemptState::Failed);
        assert_eq!(bench.phase("promote:db@a"), Phase::Failed);
        bench
    };
    let mut bench = promotion();
    bench.probed("db.leads", "a", Verdict::Bad);
    let refused = bench.asks(Verb::Skip, "promote:db@a").unwrap_err();
    let refused = refused.to_string();
    for word in ["db.leads on a is bad", "start:web@b would begin"] {
        assert!(refused.contains(word), "{refused}");
    }
    bench.probed("db.leads", "a", Verdict::Ok);
    bench.asks(Verb::Skip, "promote:db@a").unwrap();

    let mut bench = promotion();
    bench.instance("db", "a", InstanceState::Stopped);
    let refused = bench.asks(Verb::Skip, "promote:db@a").unwrap_err();
    assert!(refused.to_string().contains("db on a is stopped"));
}
