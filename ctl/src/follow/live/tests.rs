//! Frames, drawn for terminals of given sizes.

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
    frame(progress, width, height, Paint::new(false))
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
