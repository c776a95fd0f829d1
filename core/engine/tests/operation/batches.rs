//! Batches: the next one begins only upon the one before, and upon what it needs itself to come back.

use interlock_engine::operation::{Effect, Phase, State, Verb};
use interlock_model::action::Action;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::member::{Member, Then};
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{Plan, PlanKind, StepId, Wait};
use interlock_model::spec::Spec;

use crate::bench::{Bench, LIMIT, gate, seal, spec, step};

/// Both instances of app are restarted, one after the other; each needs `db.port` on its own node to start.
fn rolling() -> Plan {
    let start = |id: &str, after: &str, on| {
        let mut start = step(id, &[(after, Wait::Down)]);
        start.healthy = vec![gate("app.port", on)];
        start.gates = vec![gate("db.port", on)];
        start
    };
    let mut plan = seal(vec![
        step("stop:app@mgmt", &[]),
        start("start:app@mgmt", "stop:app@mgmt", "mgmt"),
        step("check:met", &[("start:app@mgmt", Wait::Healthy)]),
        step("stop:app@b", &[("check:met", Wait::Healthy)]),
        start("start:app@b", "stop:app@b", "b"),
    ]);
    plan.kind = PlanKind::Restart;
    plan
}

fn well() -> Bench {
    let mut bench = Bench::of(rolling(), false);
    for node in ["mgmt", "b"] {
        bench.instance("app", node, InstanceState::Running);
        bench.probed("app.port", node, Verdict::Ok);
    }
    bench.instance("db", "a", InstanceState::Running);
    bench.advance();
    bench
}

/// Both look at what they need, and it is there.
fn reached(bench: &mut Bench) {
    for node in ["mgmt", "b"] {
        bench.probed("db.port", node, Verdict::Ok);
    }
    bench.advance();
}

/// The first batch is through, and the second one is about to have its turn.
fn between_batches() -> Bench {
    let mut bench = well();
    reached(&mut bench);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
    bench.pass(1).says("stop:app@mgmt", AttemptState::Done);
    reached(&mut bench);
    bench.pass(1).says("start:app@mgmt", AttemptState::Done);
    bench.pass(1);
    bench
}

#[test]
fn nothing_is_stopped_that_could_not_come_back_now() {
    let mut bench = well();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Waiting);
    assert!(bench.sent().contains(&"probe mgmt".to_owned()));
    bench.probed("db.port", "mgmt", Verdict::Bad).advance();
    assert_eq!(
        bench.waits_for("stop:app@mgmt"),
        "what start:app@mgmt needs to bring it back: db.port on mgmt is bad: seen"
    );
    bench.pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);

    bench.asks(Verb::Retry, "stop:app@mgmt").unwrap();
    reached(&mut bench);
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
}

#[test]
fn the_next_batch_waits_for_the_gates_of_the_one_before() {
    let mut bench = between_batches();
    bench.probed("app.port", "mgmt", Verdict::Ok).advance();
    assert_eq!(bench.phase("check:met"), Phase::Done);
    bench.probed("db.port", "b", Verdict::Ok).sent();
    bench.probed("db.port", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:app@b"),
        "start:app@mgmt to stand: db.port on mgmt is bad: seen"
    );
    bench.pass(2);
    assert!(bench.sent().contains(&"probe mgmt".to_owned()));
    reached(&mut bench);
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn what_was_green_before_its_turn_does_not_let_the_next_batch_begin() {
    let mut bench = between_batches();
    bench.pass(1);
    bench.probed("app.port", "mgmt", Verdict::Ok);
    bench.advance().pass(1);
    assert_eq!(bench.phase("start:app@mgmt"), Phase::Done);
    assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);
    let waits = bench.waits_for("stop:app@b");
    assert!(waits.contains("waiting for a fresh result"), "{waits}");
    reached(&mut bench);
    assert_eq!(bench.phase("stop:app@b"), Phase::Running);
}

#[test]
fn the_next_batch_waits_for_an_instance_of_the_one_before_that_is_down_again_or_sick() {
    type Becomes = fn(&mut Bench);
    let ways: [(&str, Becomes); 2] = [
        ("app on mgmt is failed", |bench| {
            bench.instance("app", "mgmt", InstanceState::Failed);
        }),
        ("app.port on mgmt is bad", |bench| {
            bench.probed("app.port", "mgmt", Verdict::Bad);
        }),
    ];
    for (why, becomes) in ways {
        let mut bench = between_batches();
        bench.asks(Verb::Pause, "").unwrap();
        bench.probed("app.port", "mgmt", Verdict::Ok).advance();
        assert_eq!(bench.state(), State::Paused);
        becomes(&mut bench);
        bench.asks(Verb::Resume, "").unwrap();
        reached(&mut bench);
        assert_eq!(bench.phase("stop:app@b"), Phase::Waiting);
        let waits = bench.waits_for("stop:app@b");
        assert!(waits.contains(why), "{waits}");
        bench.instance("app", "mgmt", InstanceState::Running);
        bench.probed("app.port", "mgmt", Verdict::Ok);
        reached(&mut bench);
        assert_eq!(bench.phase("stop:app@b"), Phase::Running, "{why}");
    }
    // For good: nobody starts it again, and a person is called at once.
    let mut bench = between_batches();
    bench.asks(Verb::Pause, "").unwrap();
    bench.probed("app.port", "mgmt", Verdict::Ok).advance();
    let seen = InstanceObservation {
        state: InstanceState::Failed,
        given_up: true,
        ..InstanceObservation::default()
    };
    bench.tells("app", "mgmt", seen);
    bench.pass(6);
    bench.asks(Verb::Resume, "").unwrap();
    reached(&mut bench);
    assert_eq!(bench.phase("stop:app@b"), Phase::Blocked);
    let evidence = bench.evidence("stop:app@b");
    assert!(
        evidence.contains("after start:app@mgmt was done"),
        "{evidence}"
    );
}

#[test]
fn an_instance_that_is_down_anyway_has_its_turn_and_a_forced_check_is_not_asked() {
    let mut bench = well();
    bench.instance("app", "mgmt", InstanceState::Failed);
    bench.probed("db.port", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);

    let mut plan = rolling();
    plan.forced = vec![gate("db.port", "mgmt").check];
    let mut bench = Bench::of(plan, false);
    bench.instance("app", "mgmt", InstanceState::Running);
    bench.probed("db.port", "mgmt", Verdict::Bad).advance();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
}

#[test]
fn a_gate_about_what_the_plan_itself_brings_back_is_left_to_the_start() {
    let mut plan = rolling();
    plan.kind = PlanKind::Reboot;
    plan.steps.push(step("start:db@a", &[]));
    let mut bench = Bench::of(plan, true);
    bench.instance("app", "mgmt", InstanceState::Running);
    bench.instance("db", "a", InstanceState::Failed);
    bench.probed("db.port", "mgmt", Verdict::Bad);
    bench.asks(Verb::Next, "stop:app@mgmt").unwrap();
    bench.advance();
    assert_eq!(bench.phase("stop:app@mgmt"), Phase::Running);
}

/// `web`, which requires db, goes down and comes back on b. Then all of a goes down: db at once, and team once it is drained.
fn upon_db() -> Plan {
    let mut web = step("start:web@b", &[("stop:web@b", Wait::Down)]);
    web.healthy = vec![gate("web.http", "b")];
    web.gates = vec![gate("db.port", "b")];
    let mut drain = step("stop:lb@mgmt", &[("start:web@b", Wait::Healthy)]);
    drain.id = StepId::new("drain:team@a");
    drain.action = Action::Drain {
        member: Member {
            service: "team".parse().unwrap(),
            node: "a".parse().unwrap(),
            by: spec().services["lb"].balancer.clone().unwrap(),
            backends: vec!["team".into()],
            server: "a".into(),
        },
        within: LIMIT,
        then: Then::Maint,
    };
    let all_down = [("stop:db@a", Wait::Down), ("stop:team@a", Wait::Down)];
    let mut plan = seal(vec![
        step("stop:web@b", &[]),
        web,
        drain,
        step("stop:db@a", &[("start:web@b", Wait::Healthy)]),
        step("stop:team@a", &[("drain:team@a", Wait::Down)]),
        step("start:db@a", &all_down),
        step("start:team@a", &all_down),
    ]);
    plan.kind = PlanKind::Reboot;
    plan
}

#[test]
fn what_is_red_because_the_plan_stopped_what_it_stands_upon_does_not_hold_the_rest_of_the_batch() {
    let mut bench = Bench::of(upon_db(), false);
    bench.leads("a");
    bench.instance("web", "b", InstanceState::Running);
    bench.instance("team", "a", InstanceState::Running);
    bench.advance();
    bench.probed("db.port", "b", Verdict::Ok).advance();
    bench.pass(1).says("stop:web@b", AttemptState::Done);
    bench.probed("db.port", "b", Verdict::Ok).advance();
    bench.pass(1).says("start:web@b", AttemptState::Done);
    bench.pass(1);
    bench.probed("web.http", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:web@b"), Phase::Done);

    // While nothing of the batch has been taken, what came back is asked for all of its health.
    bench.probed("db.port", "b", Verdict::Ok);
    bench.probed("web.http", "b", Verdict::Bad).advance();
    for first in ["drain:team@a", "stop:db@a"] {
        assert_eq!(bench.phase(first), Phase::Waiting);
        assert_eq!(
            bench.waits_for(first),
            "start:web@b to stand: web.http on b is bad: seen"
        );
    }
    bench.probed("web.http", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("drain:team@a"), Phase::Running);
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);

    bench.pass(1).says("stop:db@a", AttemptState::Done);
    bench.probed("db.port", "b", Verdict::Bad);
    bench.probed("web.http", "b", Verdict::Bad);
    bench.pass(1).says("drain:team@a", AttemptState::Done);
    assert_eq!(bench.phase("stop:team@a"), Phase::Running);
}

#[test]
fn the_next_batch_waits_for_the_checks_of_a_primary_that_was_promoted_again() {
    let mut promote = step("start:db@a", &[("start:db@a", Wait::Up)]);
    promote.id = StepId::new("promote:db@a");
    promote.action = Action::Promote;
    promote.undo = None;
    promote.healthy = vec![gate("db.port", "a")];
    let mut plan = seal(vec![
        step("stop:db@a", &[]),
        step("start:db@a", &[("stop:db@a", Wait::Down)]),
        promote,
        step("stop:web@b", &[("promote:db@a", Wait::Healthy)]),
        step("start:web@b", &[("stop:web@b", Wait::Down)]),
    ]);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false);
    bench.instance("db", "a", InstanceState::Running);
    bench.instance("web", "b", InstanceState::Running);
    bench.advance();
    for first in ["stop:db@a", "start:db@a", "promote:db@a"] {
        assert_eq!(bench.phase(first), Phase::Running);
        bench.pass(1).says(first, AttemptState::Done);
    }
    bench.asks(Verb::Pause, "").unwrap();
    bench.pass(1);
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("promote:db@a"), Phase::Done);
    assert_eq!(bench.state(), State::Paused);

    bench.probed("db.port", "a", Verdict::Bad).sent();
    bench.asks(Verb::Resume, "").unwrap();
    assert_eq!(bench.phase("stop:web@b"), Phase::Waiting);
    assert_eq!(
        bench.waits_for("stop:web@b"),
        "promote:db@a to stand: db.port on a is bad: seen"
    );
    assert!(bench.sent().contains(&"probe a".to_owned()));
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("stop:web@b"), Phase::Running);
}

/// What is asked of whom.
fn asked(bench: &mut Bench) -> Vec<(String, String)> {
    let effects = std::mem::take(&mut bench.effects);
    let asked = effects.into_iter().flat_map(|effect| match effect {
        Effect::Probe { on, checks } => {
            let checks = checks.into_iter();
            checks.map(|it| (on.to_string(), it.to_string())).collect()
        }
        _ => Vec::new(),
    });
    asked.collect()
}

/// A second batch of twenty, each of which comes behind each of the first twenty.
#[test]
fn a_batch_asks_each_question_once_for_all_of_its_steps() {
    let names =
        |prefix: &str| -> Vec<String> { (0..20).map(|it| format!("{prefix}{it}")).collect() };
    let (first, second) = (names("a"), names("b"));
    let mut text = "cluster: big\nnodes:\n  mgmt: { address: 10.0.1.0 }\n".to_owned();
    for (at, node) in first.iter().chain(&second).enumerate() {
        text += &format!("  {node}: {{ address: 10.0.0.{at} }}\n");
    }
    let nodes = [first.join(", "), second.join(", ")].join(", ");
    text += &format!(
        "services:\n  web:\n    nodes: [{nodes}]\n    active: all\n    manager: {{ process: {{ name: web }} }}\n    \
         checks: {{ port: {{ tcp: \"{{address}}:1\" }}, page: {{ tcp: \"{{address}}:2\" }} }}\n"
    );
    let spec = Spec::parse(text.as_bytes(), "big.yaml").unwrap().spec;
    let started: Vec<String> = first.iter().map(|it| format!("start:web@{it}")).collect();
    let mut steps = Vec::new();
    for (node, id) in first.iter().zip(&started) {
        let mut start = step(id, &[]);
        start.gates = vec![gate("web.page", node)];
        start.healthy = vec![gate("web.port", node)];
        steps.push(start);
    }
    let before: Vec<(&str, Wait)> = started
        .iter()
        .map(|it| (it.as_str(), Wait::Healthy))
        .collect();
    for node in &second {
        let stop = format!("stop:web@{node}");
        steps.push(step(&stop, &before));
        steps.push(step(&format!("start:web@{node}"), &[(&stop, Wait::Down)]));
    }
    let mut plan = seal(steps);
    plan.kind = PlanKind::Restart;
    let mut bench = Bench::of(plan, false).on(spec);
    for node in &second {
        bench.connects(node, "boot-1");
        bench.instance("web", node, InstanceState::Running);
    }
    for node in &first {
        bench.connects(node, "boot-1");
    }
    bench.advance();
    for node in &first {
        bench.probed("web.page", node, Verdict::Ok);
    }
    bench.advance();
    for id in &started {
        bench.says(id, AttemptState::Done);
    }
    for node in &first {
        bench.probed("web.port", node, Verdict::Ok);
    }
    bench.effects.clear();
    bench.pass(1);
    assert_eq!(bench.phase("start:web@a19"), Phase::Done);
    assert_eq!(bench.phase("stop:web@b19"), Phase::Waiting);
    for _ in 0..3 {
        let mut asked = asked(&mut bench);
        asked.sort();
        let questions = asked.len();
        asked.dedup();
        assert_eq!((questions, asked.len()), (40, 40), "each once");
        bench.pass(1);
    }
    // One answer is one for all of them.
    for node in &first {
        bench.probed("web.port", node, Verdict::Ok);
        bench.probed("web.page", node, Verdict::Ok);
    }
    bench.advance();
    for node in &second {
        assert_eq!(bench.phase(&format!("stop:web@{node}")), Phase::Running);
    }
}
