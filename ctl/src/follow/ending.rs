//! How an operation ended, and what a person does next if it did not end well.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Action;

use super::commands;
use super::progress::{Progress, needs_person};
use crate::render::{Paint, Tone, elapsed, operation_tone};

/// The summary: duration, steps, and what was proven by whom.
pub(super) fn summary(progress: &Progress, paint: Paint) -> String {
    let summary = progress.summary();
    let until = match summary.ended_ms {
        0 => progress.now(),
        ended => ended,
    };
    let took = elapsed(Duration::from_millis(
        until.saturating_sub(summary.started_ms),
    ));
    let mut text = format!(
        "{} {} {}{}: {} after {took}, {} of {} steps settled\n",
        summary.operation,
        summary.kind,
        summary.scope,
        progress
            .cluster()
            .map(|cluster| format!(" of {cluster}"))
            .unwrap_or_default(),
        paint.tone(operation_tone(&summary.state), &summary.state),
        summary.steps_done,
        summary.steps,
    );
    for (claim, count) in proven(progress) {
        text.push_str(&format!(
            "  {} {count} {claim}\n",
            paint.tone(Tone::Good, "proven")
        ));
    }
    let skipped: Vec<&str> = with_state(progress, "skipped");
    if !skipped.is_empty() {
        text.push_str(&format!(
            "  {} {}: taken for done on a person's word\n",
            paint.tone(Tone::Doubt, "not proven"),
            skipped.join(", ")
        ));
    }
    text
}

/// What the steps that are done have proven, and how many of each.
fn proven(progress: &Progress) -> BTreeMap<&'static str, usize> {
    let mut claims = BTreeMap::new();
    for step in with_state(progress, "done") {
        let claim = match progress.planned(step).map(|planned| &planned.action) {
            Some(Action::Start | Action::Verify) => {
                "instances running, by their managers' word, with their checks green"
            }
            Some(Action::Stop) => "instances stopped, by their managers' word",
            Some(Action::PowerOn { .. }) => "machines on, heard with a new boot",
            Some(Action::PowerOff { .. }) => "machines off, by their power sources' word",
            Some(Action::Reboot) => "machines restarted, heard with a new boot",
            Some(Action::Approve { .. }) => "confirmations by people",
            Some(Action::Check) | None => continue,
        };
        *claims.entry(claim).or_insert(0) += 1;
    }
    claims
}

fn with_state<'a>(progress: &'a Progress, state: &str) -> Vec<&'a str> {
    let steps = progress.operation().steps.iter();
    steps
        .filter(|step| step.state == state)
        .map(|step| step.step.as_str())
        .collect()
}

/// What needs attention, and the exact commands to go on.
pub(super) fn what_now(progress: &Progress) -> String {
    let operation = progress.operation();
    let mut text = format!(
        "{} needs attention: {}\n",
        progress.name(),
        operation.attention
    );
    for step in operation.steps.iter().filter(|it| needs_person(&it.state)) {
        text.push_str(&format!(
            "  {} {}: {}\n",
            step.step, step.state, step.evidence
        ));
    }
    let running = with_state(progress, "running");
    if !running.is_empty() {
        text.push_str(&format!(
            "Still under way, and going on: {}\n",
            running.join(", ")
        ));
    }
    text.push_str("Nothing later begins until you decide:\n");
    let commands = commands::to_go_on(progress);
    let width = commands.iter().map(|(it, _)| it.len()).max().unwrap_or(0);
    for (command, does) in commands {
        text.push_str(&format!("  {command:<width$}  {does}\n"));
    }
    text
}
