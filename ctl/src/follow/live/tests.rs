//! Frames, drawn for terminals of given sizes.

use std::collections::BTreeMap;

use interlock_model::ids::Generation;
use interlock_model::plan::PlanKind;
use interlock_model::spec::Spec;
use interlock_planner::{Input, Request, Scope, plan};
use interlock_proto::v1;

use super::*;
use crate::follow::progress::{Clock, Past};

/// An operation with these steps, without its plan: all in one stage.
fn progress(steps: Vec<v1::StepStatus>) -> Progress {
    let mut progress = Progress::new("op-7", Clock::default(), Past::default());
    let operation = v1::Operation {
        summary: Some(v1::OperationSummary {
            operation: "op-7".into(),
            state: "running".into(),
            kind: "shutdown".into(),
            scope: "--all".into(),
            ..Default::default()
        }),
        steps,
        ..Default::default()
    };
    progress.update(operation);
    progress
}

fn step(name: &str, state: &str, evidence: &str) -> v1::StepStatus {
    v1::StepStatus {
        step: name.into(),
        state: state.into(),
        attempt: 1,
        evidence: evidence.into(),
        ..Default::default()
    }
}

fn drawn(progress: &Progress, width: usize, height: usize) -> Vec<String> {
    frame(progress, None, width, height, Paint::new(false))
}

#[test]
fn what_is_settled_is_folded_and_what_runs_shows_its_evidence() {
    let progress = progress(vec![
        step("stop:web@n1", "done", "stopped"),
        step("stop:web@n2", "running", "12 connections left"),
    ]);
    let lines = drawn(&progress, 80, 20);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[1].contains("1 of 2 settled"), "{lines:#?}");
    assert!(
        lines[2].contains("stop:web@n2") && lines[2].contains("12 connections left"),
        "{lines:#?}"
    );
}

#[test]
fn a_thousand_steps_fit_the_terminal_and_the_failed_one_is_seen() {
    let mut steps: Vec<v1::StepStatus> = (0..1000)
        .map(|n| step(&format!("stop:web@n{n}"), "running", &"x".repeat(300)))
        .collect();
    steps[777].state = "failed".into();
    let progress = progress(steps);
    for (width, height) in [(80, 24), (40, 5), (200, 60), (20, 3)] {
        let lines = drawn(&progress, width, height);
        assert!(lines.len() <= height, "{height}: {lines:#?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{width}: {lines:#?}"
        );
        assert!(lines.last().unwrap().contains("more"), "{lines:#?}");
        if height > 4 {
            assert!(lines[1].contains("n777"), "{lines:#?}");
        }
    }
}

#[test]
fn when_everything_is_settled_one_line_says_so() {
    let steps = (0..50)
        .map(|n| step(&format!("s{n}"), "done", ""))
        .collect();
    let lines = drawn(&progress(steps), 80, 24);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("50 steps settled"), "{lines:#?}");
}

/// The plan of a startup of `web` on two nodes.
fn planned() -> String {
    let spec = "cluster: c
nodes: { n1: { address: 10.0.0.1 }, n2: { address: 10.0.0.2 } }
services: { web: { nodes: [n1, n2], active: all, manager: { systemd: { unit: web.service } } } }
";
    let parsed = Spec::parse(spec.as_bytes(), "c.yaml").unwrap();
    let services = Scope::Services(["web".parse().unwrap()].into());
    let outcome = plan(&Input {
        spec: &parsed.spec,
        generation: Generation(1),
        request: Request::new(PlanKind::Startup, services),
        observations: None,
        memory: &BTreeMap::new(),
        forgotten: &BTreeMap::new(),
        power_verified: None,
    });
    String::from_utf8(outcome.plan.unwrap().bytes().to_vec()).unwrap()
}

#[test]
fn a_step_whose_agent_is_not_heard_says_so_and_for_how_long() {
    let mut progress = progress(Vec::new());
    let now = progress.now();
    let begun = |name: &str| v1::StepStatus {
        began_ms: now - 60_000,
        ..step(name, "running", "start sent")
    };
    let operation = v1::Operation {
        plan_json: planned(),
        steps: vec![begun("start:web@n1"), begun("start:web@n2")],
        ..progress.operation().clone()
    };
    progress.update(operation);
    let node = |name: &str, liveness: v1::Liveness, heard: u64| v1::NodeStatus {
        node: name.into(),
        liveness: liveness.into(),
        heard_ms: Some(heard),
        ..Default::default()
    };
    let status = v1::Status {
        at_ms: now,
        nodes: vec![
            node("n1", v1::Liveness::Lost, 42_000),
            node("n2", v1::Liveness::Alive, 100),
        ],
        ..Default::default()
    };
    progress.hear_of_agents(Some(&status));
    let lines = drawn(&progress, 140, 20);
    assert!(
        lines[2].contains("its agent on n1 is lost, last heard 4"),
        "{lines:#?}"
    );
    assert!(!lines[3].contains("its agent"), "{lines:#?}");
    // Nobody can tell any more.
    progress.hear_of_agents(None);
    let lines = drawn(&progress, 140, 20);
    assert!(!lines[2].contains("its agent"), "{lines:#?}");
}

#[test]
fn what_is_seen_of_a_step_can_be_read_to_its_end() {
    let evidence = "exit code 3: mariadbd: Can't start server: Bind on TCP/IP port: Address already in use, and so on \
                    until the last word";
    let progress = progress(vec![step(
        "start:database@database-server-1",
        "running",
        evidence,
    )]);
    for width in [40, 50, 80, 100, 140] {
        let lines = drawn(&progress, width, 24);
        let words: Vec<&str> = lines[2..].iter().flat_map(|line| line.split(' ')).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let text = words.join(" ");
        assert!(text.contains(evidence), "{width}: {lines:#?}");
        assert!(
            text.contains("start:database@database-server-1"),
            "{lines:#?}"
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{lines:#?}"
        );
    }
    let wide = drawn(&progress, 200, 24);
    assert_eq!(wide.len(), 3, "a line holds it: {wide:#?}");
}

/// What needs a person is told to its end, before what only runs.
#[test]
fn in_a_small_terminal_the_step_that_failed_has_its_evidence_in_full() {
    let evidence = format!("{}the end", "a word ".repeat(30));
    let mut steps: Vec<v1::StepStatus> = (0..5)
        .map(|n| step(&format!("stop:web@n{n}"), "running", &evidence))
        .collect();
    steps[3].state = "failed".into();
    let lines = drawn(&progress(steps), 80, 10);
    assert!(lines.len() <= 10, "{lines:#?}");
    let ends: Vec<&String> = lines.iter().filter(|it| it.contains("the end")).collect();
    assert_eq!(ends.len(), 1, "{lines:#?}");
    assert!(lines[1].contains("n3"), "{lines:#?}");
    assert!(lines.iter().any(|it| it.contains("n4")), "{lines:#?}");
}

/// Not all of it fits, and what fits is said: no row stays free meanwhile.
#[test]
fn in_a_narrow_terminal_free_rows_tell_what_steps_wait_for() {
    let checking = |n| v1::StepStatus {
        waits_for: "web.page on web1 is bad: the page says 503, and that for as long as it takes"
            .into(),
        ..step(&format!("start:web@web{n}"), "checking", "")
    };
    for (width, height) in [(40, 8), (37, 12)] {
        let steps = (1..4).map(checking).collect();
        let lines = drawn(&progress(steps), width, height);
        assert_eq!(lines.len(), height, "{lines:#?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{lines:#?}"
        );
        let told = lines.iter().filter(|it| it.contains("waits for web.page"));
        assert_eq!(told.count(), 3, "{lines:#?}");
        assert!(lines.iter().any(|it| it.ends_with('…')), "{lines:#?}");
    }
}

#[test]
fn a_step_whose_turn_it_is_says_for_how_long() {
    let empty = progress(Vec::new());
    let gated = v1::StepStatus {
        turn_ms: empty.now() - 65_000,
        waits_for: "db.writes on db1 is bad".into(),
        ..step("start:web@n1", "gated", "")
    };
    let lines = drawn(&progress(vec![gated]), 100, 20);
    assert!(
        lines[2].contains("1m 05s") && lines[2].contains("waits for db.writes"),
        "{lines:#?}"
    );
}

#[test]
fn a_coordinator_that_says_nothing_leaves_a_picture_that_says_so_and_stands_still() {
    let mut progress = progress(Vec::new());
    let now = progress.now();
    let mut operation = v1::Operation {
        steps: vec![v1::StepStatus {
            began_ms: now - 60_000,
            ..step("stop:web@n1", "running", "")
        }],
        ..progress.operation().clone()
    };
    operation.summary.as_mut().unwrap().started_ms = now - 60_000;
    progress.update(operation);
    let quiet = Some(Duration::from_secs(20));
    let lines = frame(&progress, quiet, 100, 20, Paint::new(false));
    assert!(lines[0].contains(" 40s "), "{lines:#?}");
    assert_eq!(
        lines[1],
        "no news from the coordinator for 20s: this is how it was then"
    );
    assert!(lines[3].contains(" 40s"), "{lines:#?}");

    let heard = Instant::now();
    assert_eq!(progress.quiet(heard), None);
    let quiet = progress.quiet(heard + Duration::from_secs(5));
    assert!(quiet.is_some_and(|quiet| quiet >= Duration::from_secs(5)));
    progress.hear_of_agents(None);
    assert!(progress.quiet(heard + Duration::from_secs(5)).is_some());
}

#[test]
fn what_the_end_waits_for_is_drawn_where_every_step_is_settled() {
    let mut progress = progress(vec![step("start:web@n1", "done", "healthy")]);
    let mut next = progress.operation().clone();
    next.end_waits_for = "db.port on n1 is unknown: waiting for a fresh result".into();
    progress.update(next);
    let lines = drawn(&progress, 60, 20);
    let text: Vec<&str> = lines[1..].iter().map(|line| line.trim()).collect();
    let text = text.join(" ");
    assert!(
        text.contains("its end waits for db.port on n1 is unknown:"),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 60));
}
