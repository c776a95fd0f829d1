//! A role that an operation moves: it is made sure of that it has arrived, and what comes behind reckons with it.

use std::collections::BTreeMap;

use interlock_engine::operation::{Phase, State, Verb};
use interlock_engine::view::Answer;
use interlock_model::action::{Action, Power};
use interlock_model::attempt::AttemptState;
use interlock_model::lease::Epoch;
use interlock_model::member::{Member, Then};
use interlock_model::observation::{
    Fitness, InstanceObservation, InstanceState, RoleObservation, Side,
};
use interlock_model::plan::{PlanKind, Step, StepId, Undo, Wait};
use interlock_model::spec::Spec;

use crate::bench::{Bench, LIMIT, seal, spec, step};

const VIP: &str = "10.1.0.9";

const WITH_LEASE: &str = "cluster: leased
nodes: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } }
services:
  db: { nodes: [a, b], active: one, parts: [ { process: { name: w } }, { systemd: { unit: db.service, on: primary } } ], failover: {} }
";

/// A step of db on b, beside those that the bench knows.
fn of_role(id: &str, action: Action, after: &[(&str, Wait)]) -> Step {
    Step {
        id: StepId::new(id),
        action,
        undo: None,
        ..step("start:db@b", after)
    }
}

fn promote() -> Step {
    of_role("promote:db@b", Action::Promote, &[])
}

fn verify(from: &[&str], after: &[(&str, Wait)]) -> Step {
    let action = Action::VerifyRole {
        addresses: [VIP.to_owned()].into(),
        from: from.iter().map(|it| it.parse().unwrap()).collect(),
    };
    of_role("verify-role:db@b", action, after)
}

/// A move of db from a to b that has just been promoted.
fn moved(from: &[&str]) -> Bench {
    let mut plan = seal(vec![
        promote(),
        verify(from, &[("promote:db@b", Wait::Healthy)]),
    ]);
    plan.kind = PlanKind::Switchover;
    let mut bench = Bench::observed(plan, "a");
    says(&mut bench, "a", Side::Primary);
    says(&mut bench, "b", Side::Standby);
    bench.advance();
    bench
}

fn says(bench: &mut Bench, on: &str, side: Side) {
    let seen = InstanceObservation {
        state: InstanceState::Running,
        role: Some(RoleObservation {
            side,
            epoch: Epoch(4),
            ..RoleObservation::default()
        }),
        ..InstanceObservation::default()
    };
    bench.tells("db", on, seen);
}

fn answers(bench: &mut Bench, answered: bool) {
    tells(bench, "mgmt", Some(answered));
}

fn tells(bench: &mut Bench, by: &str, answered: Option<bool>) {
    let answer = Answer {
        by: by.parse().unwrap(),
        asked: bench.now().mono,
        answered,
        detail: "no answer within 350 ms".into(),
    };
    bench
        .view
        .answered("db".parse().unwrap(), VIP.into(), answer);
}

#[test]
fn a_move_is_done_when_the_target_takes_writes_the_source_takes_none_and_another_machine_has_an_answer()
 {
    let mut bench = moved(&["mgmt"]);
    // What was found before is no answer.
    answers(&mut bench, true);
    bench.pass(1);
    bench.says("promote:db@b", AttemptState::Done);
    bench.sent();
    bench.pass(2);
    let waits = |bench: &Bench| bench.waits_for("verify-role:db@b");
    says(&mut bench, "b", Side::Standby);
    bench.advance();
    assert!(
        waits(&bench).contains("b is not its primary"),
        "{}",
        waits(&bench)
    );
    says(&mut bench, "b", Side::Primary);
    says(&mut bench, "a", Side::Primary);
    bench.pass(2);
    assert!(
        waits(&bench).contains("db on a may take writes"),
        "{}",
        waits(&bench)
    );
    says(&mut bench, "a", Side::Standby);
    bench.sent();
    bench.pass(2);
    assert!(waits(&bench).contains("mgmt tries"), "{}", waits(&bench));
    assert!(
        bench.sent().contains(&format!("try {VIP} from mgmt")),
        "nobody is asked"
    );
    answers(&mut bench, false);
    bench.pass(1);
    assert!(
        waits(&bench).contains("does not answer mgmt"),
        "{}",
        waits(&bench)
    );
    answers(&mut bench, true);
    bench.pass(1);
    assert_eq!(bench.phase("verify-role:db@b"), Phase::Done);
    let evidence = bench.evidence("verify-role:db@b");
    for part in ["b takes writes in", "a takes none", "10.1.0.9 answers mgmt"] {
        assert!(evidence.contains(part), "{evidence}");
    }
}

#[test]
fn a_source_that_is_not_heard_keeps_a_move_from_being_done_unless_it_is_off() {
    let silent = || {
        let mut bench = moved(&[]);
        bench.says("promote:db@b", AttemptState::Done);
        says(&mut bench, "b", Side::Primary);
        says(&mut bench, "a", Side::Standby);
        bench.goes_silent("a");
        bench
    };
    let mut bench = silent();
    bench.pass(1);
    let waits = bench.waits_for("verify-role:db@b");
    assert!(waits.contains("the agent of a is not heard"), "{waits}");
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("verify-role:db@b"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);

    let mut bench = silent();
    bench.power("a", Power::Off).pass(1);
    assert_eq!(bench.phase("verify-role:db@b"), Phase::Done);
    let evidence = bench.evidence("verify-role:db@b");
    assert!(evidence.contains("a is off"), "{evidence}");
    assert!(evidence.contains("tried by nobody else"), "{evidence}");
}

#[test]
fn a_word_of_before_the_step_proves_nothing_nor_does_who_could_not_try() {
    let mut bench = moved(&["mgmt", "c"]);
    bench.connects("c", "boot-1");
    says(&mut bench, "b", Side::Primary);
    says(&mut bench, "a", Side::Standby);
    bench.pass(1);
    bench.says("promote:db@b", AttemptState::Done).pass(1);
    let waits = |bench: &Bench| bench.waits_for("verify-role:db@b");
    assert!(
        waits(&bench).contains("b is not heard"),
        "{}",
        waits(&bench)
    );
    says(&mut bench, "b", Side::Primary);
    bench.advance();
    assert!(
        waits(&bench).contains("a is not heard"),
        "{}",
        waits(&bench)
    );
    says(&mut bench, "a", Side::Standby);
    bench.pass(1);
    let asked = bench.sent();
    for on in ["mgmt", "c"] {
        assert!(asked.contains(&format!("try {VIP} from {on}")), "{asked:?}");
    }
    tells(&mut bench, "mgmt", None);
    bench.pass(1);
    let could_not = format!("{VIP} could not be tried by mgmt");
    assert!(waits(&bench).contains(&could_not), "{}", waits(&bench));
    tells(&mut bench, "mgmt", Some(false));
    bench.pass(1);
    assert_ne!(bench.phase("verify-role:db@b"), Phase::Done);
    tells(&mut bench, "c", Some(true));
    bench.pass(1);
    assert_eq!(bench.phase("verify-role:db@b"), Phase::Done);
    let evidence = bench.evidence("verify-role:db@b");
    for part in [
        "b takes writes in epoch 4 (by its agent, ",
        "a takes none (by its agent, ",
        "10.1.0.9 does not answer mgmt, asked ",
        "10.1.0.9 answers c, asked ",
    ] {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
}

#[test]
fn two_that_say_to_be_primary_are_no_arrival() {
    let mut plan = seal(vec![verify(&[], &[])]);
    plan.kind = PlanKind::Failover;
    let mut bench = Bench::of(plan, false);
    bench.advance();
    says(&mut bench, "b", Side::Primary);
    says(&mut bench, "a", Side::Primary);
    bench.pass(1);
    let waits = bench.waits_for("verify-role:db@b");
    assert!(waits.contains("db on a says to be primary"), "{waits}");
    // A failover by hand rests on a person's word; of who is not heard nothing more can be known.
    bench.goes_silent("a");
    bench.pass(1);
    assert_eq!(bench.phase("verify-role:db@b"), Phase::Done);
    let evidence = bench.evidence("verify-role:db@b");
    assert!(evidence.contains("a is not heard"), "{evidence}");
}

#[test]
fn what_stops_behind_a_move_reckons_with_where_the_role_is_by_then() {
    let stop = || step("stop:db@a", &[("promote:db@b", Wait::Healthy)]);
    let mut plan = seal(vec![promote(), stop()]);
    plan.kind = PlanKind::Evacuate;
    let mut bench = Bench::observed(plan, "a");
    bench.leads("a");
    bench.instance("db", "b", InstanceState::Running);
    bench.advance();
    bench.instance("db", "a", InstanceState::Running);
    bench.leads("b");
    bench.says("promote:db@b", AttemptState::Done);
    bench.leads("b");
    bench.pass(1);
    bench.leads("b");
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    // Had it not moved, the stop would take the active side.
    let mut plan = seal(vec![step("stop:db@a", &[])]);
    plan.kind = PlanKind::Evacuate;
    let mut bench = Bench::observed(plan, "a");
    bench.instance("db", "a", InstanceState::Running);
    bench.leads("b");
    bench.pass(1);
    bench.leads("b");
    bench.pass(1);
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
}

#[test]
fn a_standby_has_caught_up_when_the_leader_of_its_lease_says_so_after_its_turn_came() {
    let judged = |bench: &mut Bench, fitness: Fitness| {
        let now = bench.now().mono;
        let nodes = BTreeMap::from([("b".parse().unwrap(), (now, fitness))]);
        bench.view.judged("db".parse().unwrap(), nodes);
    };
    let mut plan = seal(vec![of_role("catch-up:db@b", Action::CatchUp, &[])]);
    plan.kind = PlanKind::Restore;
    let mut bench = Bench::of(plan, false);
    judged(&mut bench, Fitness::Fit);
    bench.pass(1);
    let waits = |bench: &Bench| bench.waits_for("catch-up:db@b");
    assert!(
        waits(&bench).contains("nobody has said yet"),
        "{}",
        waits(&bench)
    );
    judged(&mut bench, Fitness::Unfit("it is 7 behind".into()));
    bench.advance();
    assert!(
        waits(&bench).contains("it is 7 behind"),
        "{}",
        waits(&bench)
    );
    judged(&mut bench, Fitness::Fit);
    bench.advance();
    assert_eq!(bench.phase("catch-up:db@b"), Phase::Done);
}

/// The spec of the bench, with a lease for db.
fn leased() -> Spec {
    let mut leased = spec();
    let db = leased.services.get_mut("db").unwrap();
    db.active_when.clear();
    let with_lease = Spec::parse(WITH_LEASE.as_bytes(), "leased.yaml").unwrap();
    db.failover = with_lease.spec.services[&db.name].failover.clone();
    leased
}

#[test]
fn a_standby_is_let_in_on_the_way_back_when_it_has_caught_up() {
    let member = Member {
        service: "db".parse().unwrap(),
        node: "b".parse().unwrap(),
        by: spec().services["lb"].balancer.clone().unwrap(),
        backends: vec!["db".into()],
        server: "b".into(),
    };
    let mut drain = step("stop:lb@mgmt", &[]);
    drain.id = StepId::new("drain:db@b");
    drain.undo = Some(Undo(Box::new(Action::Admit {
        member: member.clone(),
    })));
    drain.action = Action::Drain {
        member,
        within: LIMIT,
        then: Then::Maint,
    };
    let rest = step("approve:rest", &[("drain:db@b", Wait::Down)]);
    let mut bench = Bench::observed(seal(vec![drain, rest]), "a").on(leased());
    says(&mut bench, "a", Side::Primary);
    says(&mut bench, "b", Side::Standby);
    bench.pass(1);
    // As it was judged before it was drained.
    let judged = |bench: &mut Bench, fitness: Fitness| {
        let now = bench.now().mono;
        let nodes = BTreeMap::from([("b".parse().unwrap(), (now, fitness))]);
        bench.view.judged("db".parse().unwrap(), nodes);
    };
    judged(&mut bench, Fitness::Fit);
    bench.says("drain:db@b", AttemptState::Done);
    bench.pass(1);
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    bench.pass(1);
    judged(&mut bench, Fitness::Unfit("it is 9 behind".into()));
    says(&mut bench, "b", Side::Standby);
    bench.pass(1);
    let sent = bench.sent();
    assert!(!sent.iter().any(|it| it.starts_with("admit")), "{sent:?}");
    judged(&mut bench, Fitness::Fit);
    bench.pass(1);
    let sent = bench.sent();
    assert!(sent.iter().any(|it| it.starts_with("admit")), "{sent:?}");
}

#[test]
fn what_has_become_primary_since_it_was_started_is_not_stopped_on_the_way_back() {
    let start = step("start:db@b", &[]);
    assert!(start.undo.is_some());
    let promote = of_role(
        "promote:db@b",
        Action::Promote,
        &[("start:db@b", Wait::Healthy)],
    );
    let verify = verify(&[], &[("promote:db@b", Wait::Healthy)]);
    let mut bench = Bench::observed(seal(vec![start, promote, verify]), "a").on(leased());
    says(&mut bench, "a", Side::Primary);
    bench.advance();
    says(&mut bench, "b", Side::Standby);
    bench.says("start:db@b", AttemptState::Done);
    bench.pass(1);
    bench.says("promote:db@b", AttemptState::Done);
    says(&mut bench, "b", Side::Primary);
    says(&mut bench, "a", Side::Standby);
    bench.sent();
    bench.asks(Verb::Unwind, "").unwrap();
    for _ in 0..3 {
        bench.pass(1);
        says(&mut bench, "b", Side::Primary);
        says(&mut bench, "a", Side::Standby);
    }
    bench.pass(1);
    let sent = bench.sent();
    assert!(!sent.iter().any(|it| it.starts_with("stop ")), "{sent:?}");
    assert_eq!(bench.phase("start:db@b"), Phase::UndoFailed);
}
