//! Plan, confirm, start, follow.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use interlock_model::ids::Generation;
use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_model::spec::Spec;
use interlock_planner::{Input, Report, Request, Scope, plan};
use interlock_proto::v1;

use crate::scripted::{Script, Scripted};
use crate::support::SPEC;

/// A plan of the planner's own.
fn made(scope: Scope) -> (Option<SealedPlan>, Report) {
    made_for(PlanKind::Shutdown, scope, "db1")
}

fn made_for(kind: PlanKind, scope: Scope, active: &str) -> (Option<SealedPlan>, Report) {
    let parsed = Spec::parse(SPEC.as_bytes(), "shop.yaml").unwrap();
    let mut request = Request::new(kind, scope);
    request.assume_active = [("db".parse().unwrap(), active.parse().unwrap())].into();
    let outcome = plan(&Input {
        spec: &parsed.spec,
        generation: Generation(3),
        request,
        observations: None,
        memory: &BTreeMap::new(),
        forgotten: &BTreeMap::new(),
        power_verified: None,
    });
    (outcome.plan, outcome.report)
}

fn response(scope: Scope) -> v1::MakePlanResponse {
    response_of(made(scope))
}

/// What a coordinator sends of a plan.
pub(crate) fn response_for(kind: PlanKind, scope: Scope, active: &str) -> v1::MakePlanResponse {
    response_of(made_for(kind, scope, active))
}

fn response_of((plan, report): (Option<SealedPlan>, Report)) -> v1::MakePlanResponse {
    let mut response = v1::MakePlanResponse {
        report_json: serde_json::to_string(&report).unwrap(),
        generation: 3,
        ..Default::default()
    };
    if let Some(plan) = plan {
        response.digest = plan.digest().to_string();
        response.plan_json = String::from_utf8(plan.bytes().to_vec()).unwrap();
    }
    response
}

pub(crate) fn web() -> Scope {
    Scope::Services(BTreeSet::from(["web".parse().unwrap()]))
}

/// `op-7` in a state, with the state and the evidence of `stop:web@web1`.
pub(crate) fn word(state: &str, step: &str, evidence: &str) -> v1::Operation {
    v1::Operation {
        summary: Some(v1::OperationSummary {
            operation: "op-7".into(),
            kind: "shutdown".into(),
            scope: "--service web".into(),
            state: state.into(),
            started_ms: 1_700_000_000_000,
            ended_ms: 1_700_000_002_000,
            steps: 2,
            steps_done: u32::from(step == "done") * 2,
            ..Default::default()
        }),
        plan_json: response(web()).plan_json,
        steps: ["stop:web@web1", "stop:web@web2"]
            .map(|id| v1::StepStatus {
                step: id.into(),
                state: step.into(),
                attempt: 1,
                evidence: evidence.into(),
                began_ms: 1_700_000_000_500,
                ended_ms: u64::from(step == "done") * 1_700_000_001_500,
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    }
}

pub(crate) fn script(watches: Vec<Vec<v1::Operation>>) -> Script {
    Script {
        plan: response(web()),
        watches: std::sync::Mutex::new(watches.into()),
        ..Script::default()
    }
}

#[test]
fn what_is_started_is_what_was_shown_and_it_is_followed_until_proven() {
    let words = vec![
        word("running", "running", ""),
        word("done", "done", "is stopped"),
    ];
    let coordinator = Scripted::start(script(vec![words]), "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes --reason patch")
        .exits(0);
    let (plan, _) = made(web());
    let started = coordinator.script.started.lock().unwrap();
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].digest, plan.unwrap().digest().to_string());
    assert_eq!(started[0].reason, "patch");
    assert!(ran.stdout.contains("stop:web@web1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("is stopped"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("proven 2 instances stopped"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_the_end_waits_for_is_a_line() {
    let waits = v1::Operation {
        end_waits_for: "db.port on db1 is unknown: waiting for a fresh result".into(),
        ..word("running", "done", "is stopped")
    };
    let words = vec![
        word("running", "running", ""),
        waits.clone(),
        waits,
        word("done", "done", "is stopped"),
    ];
    let coordinator = Scripted::start(script(vec![words]), "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes --reason patch")
        .exits(0);
    let line = "every step is settled; its end waits for db.port on db1 is unknown";
    assert_eq!(ran.stdout.matches(line).count(), 1, "{}", ran.stdout);
}

#[test]
fn a_refusal_because_the_cluster_has_changed_says_what_has() {
    let everything = || response_for(PlanKind::Shutdown, Scope::All, "db2");
    let first = response(Scope::All);
    let mut changed = script(vec![]);
    changed.plans = std::sync::Mutex::new([first].into());
    changed.plan = everything();
    changed.refusal = Some("the cluster has changed since this plan was made".to_owned());
    let coordinator = Scripted::start(changed, "operator");
    let ran = coordinator
        .place
        .run("shutdown --all --yes --cluster shop")
        .exits(2);
    assert!(
        ran.stderr.contains("the active side of db is db2") && ran.stderr.contains("and was db1"),
        "{}",
        ran.stderr
    );

    // Steps that have gone.
    let mut less = script(vec![]);
    less.plans = std::sync::Mutex::new([response(Scope::All)].into());
    less.refusal = Some("the cluster has changed since this plan was made".to_owned());
    let coordinator = Scripted::start(less, "operator");
    let ran = coordinator
        .place
        .run("shutdown --all --yes --cluster shop")
        .exits(2);
    assert!(ran.stderr.contains("no longer to do: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("power-off:db1"), "{}", ran.stderr);
}

#[test]
fn a_restart_ends_with_what_was_restarted_and_not_with_its_two_halves() {
    let plan = response_for(PlanKind::Restart, web(), "db1");
    let sealed = SealedPlan::open(plan.plan_json.clone().into_bytes()).unwrap();
    let mut done = word("done", "done", "");
    done.plan_json = plan.plan_json.clone();
    done.steps = sealed
        .plan()
        .steps
        .iter()
        .map(|step| v1::StepStatus {
            step: step.id.to_string(),
            state: "done".into(),
            ..Default::default()
        })
        .collect();
    let mut restart = script(vec![vec![done]]);
    restart.plan = plan;
    let coordinator = Scripted::start(restart, "operator");
    let ran = coordinator
        .place
        .run("restart --service web --yes")
        .exits(0);
    let proven: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|it| it.contains("proven"))
        .collect();
    assert_eq!(proven.len(), 1, "{proven:?}");
    assert!(
        proven[0].contains("proven 2 instances stopped and running again"),
        "{proven:?}"
    );
}

#[test]
fn what_happened_before_anybody_looked_is_told_with_its_own_time_and_in_its_order() {
    let mut failed = word("needs-attention", "done", "is stopped");
    failed.attention = "stop:web@web1: exit code 3".into();
    failed.steps[0].state = "failed".into();
    failed.steps[0].ended_ms = 0;
    failed.summary.as_mut().unwrap().ended_ms = 0;
    let mut old = script(vec![vec![failed.clone()]]);
    old.operations = [("op-7".to_owned(), failed)].into();
    let entry = |sequence, at_ms, step: &str, what: &str| v1::JournalEntry {
        sequence,
        at_ms,
        step: step.into(),
        what: what.into(),
        ..Default::default()
    };
    old.journal = vec![
        entry(1, 1_700_000_000_500, "stop:web@web1", "intent"),
        entry(2, 1_700_000_001_500, "stop:web@web2", "proven"),
        entry(3, 1_700_000_061_000, "stop:web@web1", "failed"),
        entry(4, 1_700_000_062_000, "", "turned"),
    ];
    let coordinator = Scripted::start(old, "operator");
    let ran = coordinator.place.run("operation watch op-7").exits(4);
    let lines: Vec<String> = ran
        .stdout
        .lines()
        .take(3)
        .map(|line| {
            line.split_whitespace()
                .take(4)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "2023-11-14 22:13:21 stop:web@web2 done",
            "2023-11-14 22:14:21 stop:web@web1 failed",
            "2023-11-14 22:14:22 op-7 needs-attention",
        ]
    );
}

#[test]
fn a_follower_whose_reader_goes_away_ends_in_a_quiet_operation() {
    let mut endless = script(vec![vec![word("running", "running", "")]]);
    endless.patient = true;
    let coordinator = Scripted::start(endless, "operator");
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlockctl"))
        .args(["shutdown", "--service", "web", "--yes"])
        .env_clear()
        .env("INTERLOCK_CONFIG", coordinator.place.path("config.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("op-7  ")));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_plan_that_is_not_what_its_digest_says_is_neither_shown_nor_started() {
    let mut lying = script(vec![]);
    lying.plan.plan_json = response(Scope::All).plan_json;
    let coordinator = Scripted::start(lying, "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(1);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("SHA-256"), "{}", ran.stderr);
    assert!(coordinator.script.started.lock().unwrap().is_empty());
}

#[test]
fn machines_go_down_only_on_the_clusters_name() {
    let done = vec![word("done", "done", "")];
    let mut all = script(vec![done.clone(), done]);
    all.plan = response(Scope::All);
    let coordinator = Scripted::start(all, "operator");
    let place = &coordinator.place;
    let ran = place.run("shutdown --all --yes").exits(64);
    assert!(ran.stderr.contains("--cluster shop"), "{}", ran.stderr);
    let ran = place.run("shutdown --all --yes --cluster shed").exits(2);
    assert!(ran.stderr.contains("right context"), "{}", ran.stderr);
    let ran = place.run("shutdown --all").exits(2);
    assert!(
        ran.stderr.contains("--yes --cluster shop"),
        "{}",
        ran.stderr
    );
    assert!(coordinator.script.started.lock().unwrap().is_empty());

    place.run("shutdown --all --yes --cluster shop").exits(0);
    let started = coordinator.script.started.lock().unwrap();
    assert_eq!(started[0].confirm_cluster, "shop");
}

#[test]
fn no_plan_starts_nothing() {
    let mut none = script(vec![]);
    none.plan.digest.clear();
    none.plan.plan_json.clear();
    none.plan.report_json = r#"[{"entry":"blocked","service":"web","by":"x","remedy":"y"}]"#.into();
    let coordinator = Scripted::start(none, "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(5);
    assert!(
        ran.stdout.contains("blocked: service web"),
        "{}",
        ran.stdout
    );
    assert!(coordinator.script.started.lock().unwrap().is_empty());
}

/// For programs as well: the plan with its report, though it has come to no operation.
#[test]
fn a_program_is_told_why_there_is_no_plan_and_for_what_there_is_none() {
    let mut none = script(vec![]);
    none.plan.digest.clear();
    none.plan.plan_json.clear();
    none.plan.report_json = r#"[{"entry":"blocked","service":"web","by":"x","remedy":"y"}]"#.into();
    let coordinator = Scripted::start(none, "operator");
    for words in [
        "shutdown --service web --yes -o json",
        "plan shutdown --service web -o json",
    ] {
        let value = coordinator.place.run(words).exits(5).json();
        assert_eq!(value["kind"], "shutdown", "{words}: {value}");
        assert_eq!(value["generation"], 3, "{words}: {value}");
        assert_eq!(value["digest"], serde_json::Value::Null);
        assert_eq!(value["report"][0]["by"], "x", "{words}: {value}");
    }
}

#[test]
fn a_coordinator_that_went_away_is_waited_for() {
    let first = vec![word("running", "running", "")];
    let second = vec![
        word("running", "running", ""),
        word("done", "done", "is stopped"),
    ];
    let coordinator = Scripted::start(script(vec![first, second]), "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(0);
    assert!(ran.stderr.contains("connection lost"), "{}", ran.stderr);
    assert!(ran.stderr.contains("connected again"), "{}", ran.stderr);
    let begun = ran
        .stdout
        .matches("stop:web@web1                   running")
        .count();
    assert_eq!(begun, 1, "what was said is not said again:\n{}", ran.stdout);
}

#[test]
fn what_needs_attention_ends_with_the_commands_to_go_on() {
    let mut standing = word("needs-attention", "failed", "exit code 3");
    standing.attention = "stop:web@web1: exit code 3".into();
    standing.possible = ["retry", "skip", "abort", "unwind"]
        .map(String::from)
        .to_vec();
    let coordinator = Scripted::start(script(vec![vec![standing]]), "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(4);
    for command in [
        "interlockctl operation retry op-7 stop:web@web1",
        "interlockctl operation skip op-7 stop:web@web2 --reason WHY",
        "interlockctl operation abort op-7",
        "interlockctl operation abort op-7 --unwind",
    ] {
        assert!(ran.stderr.contains(command), "{command} in\n{}", ran.stderr);
    }
}

#[test]
fn an_operation_that_was_aborted_is_6() {
    let coordinator = Scripted::start(
        script(vec![vec![word("aborted", "waiting", "")]]),
        "operator",
    );
    coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(6);
}

#[test]
fn for_programs_the_data_is_the_operation_as_it_ended() {
    let words = vec![
        word("running", "running", ""),
        word("done", "done", "is stopped"),
    ];
    let coordinator = Scripted::start(script(vec![words]), "operator");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes -o json")
        .exits(0);
    let value = ran.json();
    assert_eq!(value["operation"], "op-7");
    assert_eq!(value["state"], "done");
    assert_eq!(value["steps"][0]["evidence"], "is stopped");
    assert!(ran.stderr.contains("stop:web@web1"), "{}", ran.stderr);
}

#[test]
fn a_reader_is_told_which_role_it_takes() {
    let coordinator = Scripted::start(script(vec![]), "reader");
    let ran = coordinator
        .place
        .run("shutdown --service web --yes")
        .exits(2);
    assert!(
        ran.stderr.contains("operator anna (reader)"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("operator or admin"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_detaches_and_says_how_to_come_back() {
    let mut endless = script(vec![vec![word("running", "running", "")]]);
    endless.patient = true;
    let coordinator = Scripted::start(endless, "operator");
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlockctl"))
        .args(["shutdown", "--service", "web", "--yes"])
        .env_clear()
        .env("INTERLOCK_CONFIG", coordinator.place.path("config.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line about the operation: it is being followed.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("op-7  ")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut talk = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut talk)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(talk.contains("interlockctl operation watch op-7"), "{talk}");
}
