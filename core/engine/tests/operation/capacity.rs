//! Capacity: nothing is taken away while too little of its service would be left, whatever was so when the plan was made.

use interlock_engine::operation::{Phase, Refused, State, Verb};
use interlock_model::action::{Action, Power};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::member::{Member, MemberObservation, MemberState, Then};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{Plan, PlanKind, Step, Wait};
use interlock_model::spec::Role;

use crate::bench::{Bench, LIMIT, gate, plug, seal, spec, step};

/// A plan that keeps `at_least` (1) of a service of two instances.
fn keeping(service: &str, kind: PlanKind, steps: Vec<Step>) -> Plan {
    let mut plan = seal(steps);
    plan.kind = kind;
    plan.keeps.insert(service.parse().unwrap());
    plan
}

/// Both instances of app are restarted, one after the other.
fn rolling() -> Plan {
    let healthy = |id: &str, after: &[(&str, Wait)], on| {
        let mut start = step(id, after);
        start.healthy = vec![gate("app.port", on)];
        start
    };
    let steps = vec![
        step("stop:app@mgmt", &[]),
        healthy("start:app@mgmt", &[("stop:app@mgmt", Wait::Down)], "mgmt"),
        step("stop:app@b", &[("start:app@mgmt", Wait::Healthy)]),
        healthy("start:app@b", &[("stop:app@b", Wait::Down)], "b"),
    ];
    keeping("app", PlanKind::Restart, steps)
}

fn well(plan: Plan) -> Bench {
    let mut bench = Bench::of(plan, false);
    for node in ["mgmt", "b"] {
        bench.instance("app", node, InstanceState::Running);
        bench.probed("app.port", node, Verdict::Ok);
    }
    bench
}

/// The first of them is through with its restart, and the second one is under way to its turn.
fn between_batches(plan: Plan) -> Bench {
    let mut bench = well(plan);
    bench.advance().says("stop:app@mgmt", AttemptState::Done);
    bench.pass(1).says("start:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("start:app@mgmt"), Phase::Checking);
    bench.pass(1);
    bench
}

#[test]
fn the_next_batch_goes_when_enough_is_left_without_it() {
    let mut bench = between_batches(rolling());
    bench.probed("app.port", "mgmt", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn the_next_batch_waits_for_an_instance_that_died_meanwhile_and_calls_a_person_at_its_limit() {
    let mut bench = between_batches(rolling());
    bench.asks(Verb::Pause, "").unwrap();
    bench.probed("app.port", "mgmt", Verdict::Ok).advance();
    assert_eq!(bench.state(), State::Paused);
    bench.sent();
    bench.tells(
        "app",
        "mgmt",
        InstanceObservation {
            state: InstanceState::Failed,
            ..InstanceObservation::default()
        },
    );
    bench.asks(Verb::Resume, "").unwrap();
    bench.advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:app@b"),
        "at least 1 of app must stay in service, and 0 would be left: app on mgmt is failed"
    );
    assert_eq!(bench.sent(), ["probe mgmt"], "it is looked at anew");
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:app@b"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);

    bench.instance("app", "mgmt", InstanceState::Running);
    bench.probed("app.port", "mgmt", Verdict::Ok);
    bench.asks(Verb::Retry, "stop:app@b").unwrap();
    bench.advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn only_what_is_known_to_be_well_is_left() {
    type Becomes = fn(&mut Bench);
    let cases: [(&str, Becomes); 4] = [
        ("app.port on mgmt is bad", |bench| {
            bench.probed("app.port", "mgmt", Verdict::Bad);
        }),
        ("app.port on mgmt is unknown", |bench| {
            bench.probed("app.port", "mgmt", Verdict::Unknown);
        }),
        ("app on mgmt is unknown", |bench| {
            bench.tells("app", "mgmt", InstanceObservation::default());
        }),
        ("app.port on mgmt is unknown", |bench| {
            bench.goes_silent("mgmt");
        }),
    ];
    for (why, becomes) in cases {
        let plan = keeping("app", PlanKind::Restart, vec![step("stop:app@b", &[])]);
        let mut bench = well(plan);
        becomes(&mut bench);
        bench.advance();
        assert_eq!(bench.phase("stop:app@b"), Phase::Waiting, "{why}");
        let shown = bench.waits_for("stop:app@b");
        assert!(shown.contains(why), "{shown}");
    }
}

#[test]
fn a_check_that_is_overridden_does_not_count() {
    let mut plan = keeping("app", PlanKind::Restart, vec![step("stop:app@b", &[])]);
    plan.forced = vec![gate("app.port", "b").check];
    let mut bench = well(plan);
    bench.probed("app.port", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn what_the_plan_has_taken_itself_and_not_brought_back_is_not_left() {
    let steps = vec![
        step("stop:app@mgmt", &[]),
        step("stop:app@b", &[]),
        step("start:app@mgmt", &[("stop:app@mgmt", Wait::Down)]),
        step("start:app@b", &[("stop:app@b", Wait::Down)]),
    ];
    let mut bench = well(keeping("app", PlanKind::Restart, steps));
    bench.advance();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);
    let shown = bench.waits_for("stop:app@b");
    assert!(shown.contains("this plan takes mgmt"), "{shown}");
    bench.pass(1).says("stop:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting, "it is stopped");
    bench.says("start:app@mgmt", AttemptState::Done);
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn the_turn_of_an_instance_that_is_down_anyway_takes_nothing_away() {
    for (state, phase) in [
        (InstanceState::Failed, Phase::Running),
        (InstanceState::Unknown, Phase::Waiting),
    ] {
        let plan = keeping("app", PlanKind::Restart, vec![step("stop:app@b", &[])]);
        let mut bench = well(plan);
        for node in ["mgmt", "b"] {
            bench.instance("app", node, state);
        }
        bench.advance();
        assert_eq!(bench.phase("stop:app@b"), phase, "{state}");
    }
}

#[test]
fn a_shutdown_of_a_part_leaves_enough_and_one_of_all_asks_for_nothing() {
    let part = || vec![step("stop:app@b", &[])];
    let mut bench = well(keeping("app", PlanKind::Shutdown, part()));
    bench.instance("app", "mgmt", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);

    // Those that the planner found running were all that ran.
    let mut bench = well(seal(part()));
    bench.instance("app", "mgmt", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn no_member_is_drained_while_another_one_that_must_be_left_takes_no_part() {
    let member = |node: &str| Member {
        service: "page".parse().unwrap(),
        node: node.parse().unwrap(),
        by: spec().services["lb"].balancer.clone().unwrap(),
        backends: vec!["page".into()],
        server: node.into(),
    };
    let mut drain = step("stop:lb@mgmt", &[]);
    drain.action = Action::Drain {
        member: member("b"),
        within: LIMIT,
        then: Then::Maint,
    };
    let mut bench = Bench::of(keeping("page", PlanKind::Restart, vec![drain]), false);
    for node in ["mgmt", "b"] {
        bench.instance("page", node, InstanceState::Running);
    }
    let takes_part = |bench: &mut Bench, state| {
        let other = MemberObservation {
            service: "page".parse().unwrap(),
            node: "mgmt".parse().unwrap(),
            state,
            detail: "by a person".into(),
            put_back: None,
        };
        let seen = InstanceObservation {
            state: InstanceState::Running,
            members: vec![other],
            ..InstanceObservation::default()
        };
        bench.tells("lb", "mgmt", seen);
        bench.pass(1);
    };
    takes_part(&mut bench, MemberState::Maint);
    assert_eq!(bench.phase("stop:lb@mgmt"), Phase::Waiting);
    let shown = bench.waits_for("stop:lb@mgmt");
    assert!(
        shown.contains("page on mgmt is maint in lb on mgmt"),
        "{shown}"
    );
    takes_part(&mut bench, MemberState::Ready);
    assert_eq!(bench.phase("stop:lb@mgmt"), Phase::Running);
}

#[test]
fn nobody_is_asked_to_take_down_by_hand_what_must_stay() {
    // The machine with all that it carries, or one service on it.
    for service in [None, Some("pbx")] {
        let mut person = step("approve:by-hand", &[]);
        person.node = Some("tel".parse().unwrap());
        person.service = service.map(|name| name.parse().unwrap());
        let mut bench = Bench::of(keeping("pbx", PlanKind::Shutdown, vec![person]), false);
        bench.probed("pbx.sip", "a", Verdict::Ok).advance();
        let asks = "approval of by-hand: Look at it";
        assert_eq!(bench.waits_for("approve:by-hand"), asks);

        bench.probed("pbx.sip", "a", Verdict::Bad).sent();
        let refused = bench.asks_as(Role::Admin, Verb::Approve, "approve:by-hand");
        let Err(Refused::Held { why, .. }) = refused else {
            panic!("{refused:?}");
        };
        let few =
            "at least 1 of pbx must stay in service, and 0 would be left: pbx.sip on a is bad";
        assert!(why.starts_with(few), "{why}");
        bench.pass(1);
        assert!(bench.waits_for("approve:by-hand").starts_with(few));
        assert!(!bench.operation.possible().contains(&Verb::Approve));
        assert!(bench.sent().contains(&"probe a".to_owned()));
        let refused = bench.asks_as(Role::Admin, Verb::Approve, "approve:by-hand");
        assert!(matches!(refused, Err(Refused::Held { .. })), "{refused:?}");

        bench.probed("pbx.sip", "a", Verdict::Ok).advance();
        assert_eq!(bench.waits_for("approve:by-hand"), asks);
        let approved = bench.asks_as(Role::Admin, Verb::Approve, "approve:by-hand");
        assert_eq!(approved, Ok(()));
    }
}

#[test]
fn what_a_person_has_confirmed_goes_down_already() {
    let mut person = step("approve:by-hand", &[]);
    person.node = Some("tel".parse().unwrap());
    let off = step("power-off:tel", &[("approve:by-hand", Wait::Up)]);
    let mut bench = Bench::of(keeping("pbx", PlanKind::Shutdown, vec![person, off]), false);
    bench.verified.extend([plug("tel")]);
    bench.probed("pbx.sip", "a", Verdict::Ok).advance();
    bench
        .asks_as(Role::Admin, Verb::Approve, "approve:by-hand")
        .unwrap();
    bench.probed("pbx.sip", "a", Verdict::Bad);
    bench.pass(1).power("tel", Power::Off).advance();
    assert_eq!(bench.phase("power-off:tel"), Phase::Done);
}

/// Both batches are through, and wait for a person's look; then they are taken back.
fn taken_back() -> Bench {
    let mut plan = rolling();
    let look = step("approve:look", &[("start:app@b", Wait::Healthy)]);
    plan.steps.push(look);
    let mut bench = between_batches(plan);
    bench.probed("app.port", "mgmt", Verdict::Ok).advance();
    bench.pass(1).says("stop:app@b", AttemptState::Done);
    bench.pass(1).says("start:app@b", AttemptState::Done);
    bench.pass(1).probed("app.port", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:app@b"), Phase::Done);
    bench.pass(6).sent();
    bench
}

#[test]
fn a_stop_on_the_way_back_is_held_while_too_few_would_be_left() {
    let mut bench = taken_back();
    bench.instance("app", "mgmt", InstanceState::Failed);
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(
        bench.waits_for("start:app@b"),
        "at least 1 of app must stay in service, and 0 would be left: app on mgmt is failed"
    );
    let sent = bench.sent();
    assert!(sent.iter().all(|it| it.starts_with("probe ")), "{sent:?}");
    assert!(sent.contains(&"probe mgmt".to_owned()), "{sent:?}");
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:app@b"), Phase::UndoFailed);
    assert_eq!(bench.state(), State::NeedsAttention);
    let evidence = bench.evidence("start:app@b");
    assert!(evidence.contains("0 would be left"), "{evidence}");

    bench.instance("app", "mgmt", InstanceState::Running);
    bench.probed("app.port", "mgmt", Verdict::Ok);
    bench.asks(Verb::Retry, "start:app@b").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop start:app@b #2 on b"]);
}

#[test]
fn on_the_way_back_what_was_put_back_counts_and_what_is_down_for_it_does_not() {
    let mut bench = taken_back();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.advance();
    assert_eq!(bench.sent(), ["stop start:app@b #2 on b"]);
    bench.pass(1).says("start:app@b", AttemptState::Done);
    assert_eq!(bench.sent(), ["start stop:app@b #2 on b"]);
    assert_eq!(bench.phase("start:app@mgmt"), Phase::Done, "one at a time");
    bench.pass(1).says("stop:app@b", AttemptState::Done);
    bench.pass(1).probed("app.port", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Undone);
    bench.advance();
    let sent = bench.sent();
    assert!(
        sent.contains(&"stop start:app@mgmt #2 on mgmt".to_owned()),
        "{sent:?}"
    );
}
