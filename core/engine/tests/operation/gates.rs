//! Gates: checks that must be fresh and green, and active sides that must be where the plan took them to be.

use interlock_engine::operation::{Phase, State};
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Known, StepId, Wait};

use crate::bench::{Bench, LIMIT, gate, seal, step};

#[test]
fn a_gate_opens_by_a_probe_that_ran_after_the_steps_turn_came() {
    let mut gated = step("start:log@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![gated]);
    bench.probed("db.port", "a", Verdict::Ok);
    bench.pass(1);
    assert_eq!(
        bench.sent(),
        ["probe a"],
        "what was green before is asked again"
    );
    bench.pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    bench.probed("db.port", "a", Verdict::Unknown).advance();
    assert_eq!(
        bench.phase("start:log@b"),
        Phase::Waiting,
        "unknown is not green"
    );
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn what_was_seen_before_it_was_asked_and_arrives_late_opens_no_gate() {
    let mut gated = step("start:log@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![gated]);
    let before = bench.now().mono;
    bench.pass(1);
    let asked = bench.now().mono;
    // Fresh by its age and its arrival, but its probe began before the question came.
    bench.answered("db.port", "a", Verdict::Ok, before).pass(1);
    assert_eq!(bench.phase("start:log@b"), Phase::Waiting);
    bench.answered("db.port", "a", Verdict::Ok, asked).advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn it_is_a_steps_turn_since_the_last_of_its_edges_was_met() {
    let mut gated = step("start:log@b", &[("stop:db@a", Wait::Down)]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![step("stop:db@a", &[]), gated]);
    let web = StepId::new("start:log@b");
    bench.advance().pass(5);
    assert_eq!(bench.operation.turn_since(&web), None, "an edge is not met");
    bench.says("stop:db@a", AttemptState::Done);
    let met = bench.now().wall;
    bench.pass(7);
    assert_eq!(bench.operation.turn_since(&web), Some(met));
    bench.probed("db.port", "a", Verdict::Ok).advance();
    assert_eq!(bench.operation.turn_since(&web), None, "it has begun");
}

#[test]
fn what_is_green_is_counted_in_words() {
    for (checks, words) in [
        (vec![gate("db.port", "a")], "1 check is green"),
        (
            vec![gate("db.port", "a"), gate("db.port", "b")],
            "2 checks are green",
        ),
    ] {
        let mut joint = step("check:db", &[]);
        joint.gates = checks;
        let mut bench = Bench::new(vec![joint]);
        bench.advance();
        bench
            .probed("db.port", "a", Verdict::Ok)
            .probed("db.port", "b", Verdict::Ok)
            .advance();
        assert_eq!(bench.evidence("check:db"), words);
    }
}

#[test]
fn a_gate_that_stays_closed_blocks_its_step_and_calls_a_person() {
    let mut gated = step("start:log@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![gated]);
    bench.advance();
    bench
        .probed("db.port", "a", Verdict::Bad)
        .pass(LIMIT.as_secs() + 1);
    assert_eq!(bench.phase("start:log@b"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(
        bench.evidence("start:log@b").contains("db.port on a"),
        "{}",
        bench.evidence("start:log@b")
    );
}

#[test]
fn a_forced_check_is_not_waited_for() {
    let mut gated = step("start:log@b", &[]);
    gated.gates = vec![gate("db.port", "a")];
    let mut plan = seal(vec![gated]);
    plan.forced = vec![gate("db.port", "a").check];
    let mut bench = Bench::of(plan, false);
    bench.advance();
    assert_eq!(bench.phase("start:log@b"), Phase::Running);
}

#[test]
fn what_is_up_must_be_healthy_within_its_limit_once_more() {
    let mut start = step("start:db@a", &[]);
    start.healthy = vec![gate("db.port", "a")];
    let mut bench = Bench::new(vec![start]);
    bench.advance().pass(50);
    bench.says("start:db@a", AttemptState::Done).pass(50);
    assert_eq!(
        bench.phase("start:db@a"),
        Phase::Checking,
        "its checks have a time of their own"
    );
    bench.pass(11);
    assert_eq!(bench.phase("start:db@a"), Phase::Failed);
}

/// A plan that stops the standby of db on a, made while b was active.
fn standby_stops() -> Bench {
    let mut bench = Bench::observed(seal(vec![step("stop:db@a", &[])]), "b");
    for node in ["a", "b"] {
        bench.instance("db", node, InstanceState::Running);
    }
    bench
}

#[test]
fn the_active_side_is_looked_at_again_before_a_stop_that_relies_on_it() {
    let mut bench = standby_stops();
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok);
    bench.pass(1);
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Waiting,
        "seen before its turn came"
    );
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn a_look_counts_from_when_the_last_of_the_agents_is_back() {
    let mut bench = standby_stops();
    bench.pass(1);
    bench.probed("db.leads", "a", Verdict::Bad).goes_silent("a");
    bench.pass(5);
    bench.probed("db.leads", "b", Verdict::Ok);
    bench.pass(5);
    bench.connects("a", "boot-1");
    bench.sent();
    bench.pass(1);
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Waiting,
        "both were seen since its turn came, but not both since a is back"
    );
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench
        .probed("db.leads", "a", Verdict::Bad)
        .probed("db.leads", "b", Verdict::Ok)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Running);
}

#[test]
fn an_active_side_that_moved_halts_the_plan() {
    let mut bench = standby_stops();
    bench.advance();
    bench
        .probed("db.leads", "a", Verdict::Ok)
        .probed("db.leads", "b", Verdict::Bad)
        .advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked);
    assert_eq!(bench.state(), State::NeedsAttention);
    assert!(bench.operation.attention().contains("plan again"));
}

#[test]
fn an_active_side_that_cannot_be_told_is_not_taken_for_granted() {
    let mut bench = standby_stops();
    bench
        .advance()
        .probed("db.leads", "b", Verdict::Ok)
        .probed("db.leads", "a", Verdict::Unknown);
    bench.pass(2);
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting);
    bench.goes_silent("a");
    bench.sent();
    bench.pass(2);
    assert_eq!(
        bench.sent(),
        ["power a", "probe b"],
        "only its power source can tell of a silent one"
    );
}

/// A plan that starts the standby of db on a, made while b was active.
fn standby_starts() -> Bench {
    let mut bench = Bench::observed(seal(vec![step("start:db@a", &[])]), "b");
    bench.instance("db", "a", InstanceState::Stopped);
    bench.instance("db", "b", InstanceState::Running);
    bench
}

#[test]
fn a_standby_starts_beside_an_active_side_that_is_looked_at_again() {
    let mut bench = standby_starts();
    bench.probed("db.leads", "b", Verdict::Ok).pass(1);
    assert_eq!(
        bench.phase("start:db@a"),
        Phase::Waiting,
        "seen before its turn came"
    );
    assert_eq!(bench.sent(), ["probe a", "probe b"]);
    bench.probed("db.leads", "b", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Running);
}

#[test]
fn a_standby_does_not_start_while_it_cannot_be_told_which_side_is_active() {
    type Becomes = fn(&mut Bench);
    let cases: [(&str, Becomes); 4] = [
        ("unknown", |bench| {
            bench.probed("db.leads", "b", Verdict::Unknown);
        }),
        ("no longer active", |bench| {
            bench.probed("db.leads", "b", Verdict::Bad);
        }),
        ("silent", |bench| bench.goes_silent("b")),
        ("down", |bench| {
            bench.instance("db", "b", InstanceState::Failed)
        }),
    ];
    for (what, becomes) in cases {
        let mut bench = standby_starts();
        bench.advance();
        bench.pass(1);
        becomes(&mut bench);
        bench.advance();
        assert_eq!(bench.phase("start:db@a"), Phase::Waiting, "{what}");
        bench.pass(LIMIT.as_secs());
        assert_eq!(bench.phase("start:db@a"), Phase::Blocked, "{what}");
        let why = bench.evidence("start:db@a");
        assert!(
            why.contains("which side of db is active is unknown"),
            "{why}"
        );
        assert!(why.contains("--assume-active db=NODE"), "{why}");
    }
    let mut bench = standby_starts();
    bench.advance();
    bench.instance("db", "a", InstanceState::Running);
    bench
        .probed("db.leads", "a", Verdict::Ok)
        .probed("db.leads", "b", Verdict::Bad)
        .advance();
    assert_eq!(bench.phase("start:db@a"), Phase::Blocked);
    assert!(bench.operation.attention().contains("plan again"));
}

#[test]
fn what_was_stopped_as_a_whole_starts_by_memory_or_by_word_while_nothing_can_be_seen() {
    for known in [Known::Remembered, Known::Assumed] {
        let plan = seal(vec![
            step("start:db@b", &[]),
            step("start:db@a", &[("start:db@b", Wait::Up)]),
        ]);
        let mut bench = Bench::taken(plan, "b", known);
        bench.instance("db", "a", InstanceState::Stopped);
        bench.instance("db", "b", InstanceState::Stopped);
        bench.advance();
        assert_eq!(bench.sent(), ["start start:db@b #1 on b"], "{known}");
        // Up, and not active yet: of some pairs no side is before both are up.
        bench.instance("db", "b", InstanceState::Running);
        bench.probed("db.leads", "b", Verdict::Unknown);
        bench.says("start:db@b", AttemptState::Done);
        assert_eq!(bench.sent(), ["start start:db@a #1 on a"], "{known}");
    }
}

/// A restart of the active side: it is down by then, and nobody else may have become active.
#[test]
fn an_active_side_starts_again_only_while_no_other_side_is_active() {
    let restarted = || {
        let plan = seal(vec![
            step("stop:db@b", &[]),
            step("start:db@b", &[("stop:db@b", Wait::Down)]),
        ]);
        let mut bench = Bench::observed(plan, "b");
        for node in ["a", "b"] {
            bench.instance("db", node, InstanceState::Running);
        }
        bench.advance();
        bench
            .probed("db.leads", "a", Verdict::Bad)
            .probed("db.leads", "b", Verdict::Ok)
            .advance();
        bench.instance("db", "b", InstanceState::Stopped);
        bench.pass(1).says("stop:db@b", AttemptState::Done);
        assert_eq!(
            bench.phase("start:db@b"),
            Phase::Waiting,
            "a may have become active since"
        );
        bench
    };
    let mut bench = restarted();
    bench.probed("db.leads", "a", Verdict::Unknown).advance();
    assert_eq!(bench.phase("start:db@b"), Phase::Waiting);
    bench.probed("db.leads", "a", Verdict::Bad).advance();
    assert_eq!(bench.phase("start:db@b"), Phase::Running);

    let mut bench = restarted();
    bench.probed("db.leads", "a", Verdict::Ok).advance();
    assert_eq!(bench.phase("start:db@b"), Phase::Blocked);

    let mut bench = restarted();
    bench.instance("db", "a", InstanceState::Stopped);
    bench.advance();
    assert_eq!(bench.phase("start:db@b"), Phase::Running, "nobody is there");
}

#[test]
fn the_active_side_is_looked_at_once_more_when_nothing_else_is_waited_for() {
    let mut gated = step("stop:db@a", &[]);
    gated.gates = vec![gate("team.port", "b")];
    let mut bench = Bench::observed(seal(vec![gated]), "b");
    bench.instance("db", "a", InstanceState::Running);
    bench.instance("db", "b", InstanceState::Running);
    bench.advance();
    bench.leads("b");
    bench.pass(5).sent();
    assert_eq!(bench.phase("stop:db@a"), Phase::Waiting, "for its gate");
    bench.probed("team.port", "b", Verdict::Ok).advance();
    assert_eq!(
        bench.phase("stop:db@a"),
        Phase::Waiting,
        "what was seen of the side is as old as the wait for the gate"
    );
    bench.pass(1);
    let sent = bench.sent();
    for probe in ["probe a", "probe b"] {
        assert!(sent.contains(&probe.to_owned()), "{sent:?}");
    }
    bench.leads("a");
    bench.advance();
    assert_eq!(bench.phase("stop:db@a"), Phase::Blocked, "it has moved");
    assert!(bench.evidence("stop:db@a").contains("plan again"));
}
